"""What must be true before a session begins? Profile, live gate, addresses, and whose core it takes up.

`plan_session` decides all of it before anything connects, and leaves nothing behind. The account's
folder (lock, kill flag, control socket) also remembers which run a session of this account wrote
last: the next one takes its core up. Left out: running it (live.py).
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.kraken.keys import KeysOnce, Redactor, Secret
from adapters.kraken.level3 import LEVEL3_URL, tokens
from adapters.kraken.live import Hosts
from adapters.kraken.nonce import state_folder
from adapters.kraken.private import PRIVATE_URL
from adapters.kraken.public import PUBLIC_URL
from adapters.kraken.rest import REST_URL
from adapters.lease import KillFlag, Lease, account_folder, open_folder, write_synced
from adapters.running import Plan
from adapters.sessions import SESSION_NAME
from engine.clock import PacedClock, WallClock
from engine.config import make_profile, read_given
from engine.errors import ConfigError, DataError, VenueError
from engine.live_gate import Gate, decide
from engine.plugins import load_plugins

RUN_NAME: Final = "run-{mode}.json"  # in the account's folder: which run its last session wrote
# Sections of a profile that hold secrets or belong to this machine: no run's folder has them.
NOT_KEPT: Final = ("alerts", "mirror", "metrics", "telemetry", "status")


@dataclass(frozen=True)
class Addresses:
    """Where an endpoint is reached: constants for Kraken, ports of this machine for a local venue."""

    public: str
    private: str
    level3: str
    rest: str
    ssl: ssl.SSLContext | None = None


def addresses(live: Any) -> Addresses:
    """The addresses of `live.endpoint`: a name, never an address of somebody's choosing."""
    if live.endpoint == "kraken":
        return Addresses(PUBLIC_URL, PRIVATE_URL, LEVEL3_URL, REST_URL)
    context = None
    if live.local_ca:
        try:
            context = ssl.create_default_context(cafile=live.local_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"live.local_ca {live.local_ca} is not a certificate that can be trusted: {error}.",
                "Give the PEM file that the venue was started with.",
            ) from error
    secure = "s" if context is not None else ""
    port, here = live.local_port, "127.0.0.1"
    return Addresses(
        public=f"ws{secure}://{here}:{port}/v2",
        private=f"ws{secure}://{here}:{port + 1}/v2",
        level3=f"ws{secure}://{here}:{port + 2}/v2",
        rest=f"http{secure}://{here}:{port + 3}",
        ssl=context,
    )


def _market_time(where: Addresses) -> int:
    """The time of a local venue's market, ns, as its second begins: it tells whole seconds only."""
    import httpx

    def asked() -> int:
        answer = client.get(f"{where.rest}/0/public/Time").json()
        return int(answer["result"]["unixtime"])

    try:
        with httpx.Client(trust_env=False, verify=where.ssl or True, timeout=5.0) as client:
            first = asked()
            while (now := asked()) == first:
                pass  # a market that runs faster than the machine: this is short
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise VenueError(
            f"the local venue does not tell its time: {type(error).__name__}.",
            "Is it running, and live.local_port right? Start it: `kapitaalbot venue serve`.",
        ) from error
    return now * 1_000_000_000


@dataclass(frozen=True)
class Ready:
    """A plan, and what is needed beside it.

    folder : of the account's state; keys : reads them once, and only if the gate lets it be called
    secrets : keys, tokens and passwords of this session, to be taken out of whatever it says
    path : file of the profile, if it came from one
    """

    plan: Plan
    gate: Gate
    addresses: Addresses
    folder: Path
    keys: KeysOnce
    secrets: Redactor
    path: Path | None = None


def folder_of(live: Any) -> Path:
    """The account's folder: lock, kill flag, control socket, unread alerts."""
    return account_folder(live.account, live.state, state_folder())


def plan_session(
    path: Path | None,
    mode: str,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    fresh: bool = False,
    speed: float = 1.0,
    attach: Path | None = None,
    seed: int | None = None,
) -> Ready:
    """Decide everything that a session of `mode` starts with.

    fresh : with a core that has seen nothing, whatever the last session left
    attach : store whose capture is followed; nothing public is opened then
    speed : of a local venue's market, times the machine's clock
    raises what is wrong: ConfigError, RefusedError (the live gate), SecretError (the folder)
    """
    env = os.environ if environ is None else environ
    given = read_given(path, overrides, env)
    profile = make_profile(given, str(path or "the configuration"))
    live = profile.live
    gate = decide(mode, live.endpoint, live.allow_orders, env, live.level3)
    gate.require()
    if not live.symbols:
        raise ConfigError(
            "live.symbols is empty: a session trades named pairs and no others.",
            'As in live.symbols = ["BTC/USD", "ETH/USD"].',
        )
    if speed != 1.0 and live.endpoint != "local":
        raise ConfigError("only a local venue runs at another speed.", "Leave --speed out.")
    for section in NOT_KEPT:
        given.pop(section, None)
    found = addresses(live)
    clock = PacedClock(WallClock(), speed, _market_time(found) if speed != 1.0 else None)
    keys = KeysOnce(live.keys)
    secrets = Redactor(Secret(each) for each in _passwords(profile))
    token = None
    if live.level3:
        token = tokens(found.rest, keys, clock, found.ssl, secrets)
    folder = open_folder(folder_of(live))
    plan = Plan(
        mode=mode,
        profile=profile,
        given=given,
        plugins=load_plugins(profile.plugins),
        hosts=Hosts(found.public, found.level3, found.ssl, token),
        clock=clock,
        account=live.account,
        previous=None if fresh else _previous(folder, mode),
        killed=KillFlag(folder).is_set(),
        attach=attach,
        seed=seed,
    )
    return Ready(plan, gate, found, folder, keys, secrets, path)


def _passwords(profile: Any) -> Iterator[str]:
    """Addresses that hold passwords, whole, and the password of each by itself."""
    for each in (*profile.alerts.urls, profile.mirror.dsn):
        address = each.get_secret_value()
        yield address
        with suppress(ValueError):  # not every address of Apprise's reads as a URL
            yield urlsplit(address).password or ""


def _previous(folder: Path, mode: str) -> Path | None:
    """The run that the account's last session wrote; None before the first.

    raises DataError where it is gone and orders may rest at the venue that only its core knows;
        a shadow or paper session then has nothing to take up
    """
    path = folder / RUN_NAME.format(mode=mode)
    try:
        run = Path(str(json.loads(path.read_bytes())["run"]))
        if (run / SESSION_NAME).is_file():
            return run
        problem = f"the run {run} of the account's last session is gone"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{path} cannot be read: {error}"
    if mode != "live":
        return None
    raise DataError(
        f"{problem}: what it held, and which orders are its own, is not known without it.",
        "Put the run's folder back. Else look at Kraken that nothing of it is open or held, and start "
        "anew: --fresh.",
    )


def remember_run(folder: Path, mode: str, run: Path) -> None:
    """The next session of this account and mode takes up this run's core."""
    write_synced(
        folder / RUN_NAME.format(mode=mode),
        json.dumps({"run": str(run.resolve())}).encode() + b"\n",
    )


@contextmanager
def held_account(ready: Ready, take_over: bool = False) -> Iterator[Lease]:
    """The lease of the account, for as long as the block lasts. Raises RefusedError (exit 6)."""
    lease = Lease(ready.folder, ready.plan.clock, take_over)
    try:
        yield lease
    finally:
        lease.release()
