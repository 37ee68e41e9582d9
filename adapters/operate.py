"""How is a session operated? Lease, watch, account and loop together; the shell's one call.

`operate` holds the account for as long as the session runs, lets people watch it, and remembers the
run so that the next session takes its core up. Left out: arguments and terminals (adapters/cli).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from adapters.attending import Attending, Several
from adapters.kraken.keys import forget_keys
from adapters.live import Ran, run_session
from adapters.mirroring import Mirroring, wants_mirror
from adapters.running import Running
from adapters.start import Ready, held_account, remember_run
from adapters.trading import prepare_trading
from adapters.watching import Watch


class _Remember(Attending):
    """Notes which run the account's next session takes up, as soon as it has begun."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready

    def begin(self, running: Running) -> None:
        remember_run(self._ready.folder, self._ready.plan.mode, running.folder)


def operate(
    ready: Ready,
    *,
    stop: Callable[[asyncio.Event], None],
    for_s: float | None = None,
    take_over: bool = False,
    talk: Callable[[str], None] = lambda _: None,
    show: Callable[[dict[str, Any]], None] | None = None,
    lines: bool = True,
    more: tuple[Attending, ...] = (),
) -> Ran:
    """Run a session as a person does; raises what ends it, RefusedError for an account that is held."""
    if ready.gate.may_read_keys:
        keys = ready.keys()
        ready.secrets.add(keys.key)
        ready.secrets.add(keys.secret)
    # Read or not: whatever this process starts from here on gets no key.
    forget_keys()
    with held_account(ready, take_over) as lease:
        watch = Watch(ready, lease, ready.secrets.clean, show, lines)
        looking: list[Attending] = [_Remember(ready), watch, *more]
        condition = None
        if wants_mirror(ready.plan.profile, os.environ):
            mirror = Mirroring(ready.plan.profile, watch.say, watch.alert)
            looking.append(mirror)
            condition = mirror.committed if mirror.required else None
        prepare = None
        if ready.gate.may_send:
            prepare = prepare_trading(ready, lease, watch.say, condition=condition)
        return run_session(
            ready.plan,
            attending=Several(looking, talk),
            prepare=prepare,
            stop=stop,
            for_s=for_s,
            talk=talk,
        )
