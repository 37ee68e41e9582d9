"""Print the hash of a symbol's whole state after a short made-up market: `python -m ... SEED`."""

from __future__ import annotations

import hashlib
import sys

from engine.core.daytime import update_daytime
from engine.core.features import compute_features
from engine.core.ignition import update_ignition
from engine.core.params import default_params
from engine.core.regime import update_regime
from engine.core.wide import widen_features
from tests.support.market import Market

HISTORY = (
    ("busy", 40),
    ("no book", 5),
    ("trend", 70),
    ("silence", 900),
    ("sub-second", 10),
    ("coarse", 400),
    ("silence", 7200),
    ("quiet", 330),
)


def tape_hash(seed: int) -> str:
    """sha256 over the bytes of the symbol after every segment, features and regime included."""
    market = Market(seed)
    params = default_params()[0]
    params["ignition_enabled"] = 1
    digest = hashlib.sha256()
    for kind, length_s in HISTORY:
        market.run(kind, length_s)
        compute_features(market.symbol, market.now)
        update_regime(market.symbol, params, market.now)
        update_ignition(market.symbol, params, market.now)
        update_daytime(market.symbol, params, market.now)
        widen_features(market.symbol, params, market.now)
        digest.update(market.array.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    print(tape_hash(int(sys.argv[1])))
