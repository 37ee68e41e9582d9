"""Print the digest of a short run and of the state it ends in: `python -m ... SECONDS`."""

from __future__ import annotations

import hashlib
import sys
import warnings

from tests.support.short_market import short_market
from tests.support.worlds import make_world, run_world


def main() -> None:
    # Without the JIT numpy warns about integers that wrap; compiled they wrap in silence.
    warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
    instruments, events = short_market(int(sys.argv[1]), symbols=1)
    world = make_world(instruments)
    result, _ = run_world(world, [events])
    state = hashlib.sha256()
    for array in (world.core.glob, world.core.symbols, world.core.orders, world.venue.glob):
        state.update(array.tobytes())
    print(result.digest, state.hexdigest())


if __name__ == "__main__":
    main()
