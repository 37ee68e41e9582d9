"""What stands between a profile and a session? Everything that is missing, in one go.

Each check is small, looks at one thing and changes nothing; all of them are made, so that nobody
repairs one thing only to be told of the next. Without the live flag no key is read: the lines about
keys then say "not looked at". Left out: replays (check.py), what is asked of each command later.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.errors import (
    ClockError,
    ConfigError,
    KapitaalbotError,
    RefusedError,
    SecretError,
    StorageError,
    VenueError,
)

if TYPE_CHECKING:
    from adapters.kraken.rest import Rest
    from adapters.start import Addresses
    from engine.live_gate import Gate

OK: Final = "ok"
WARN: Final = "warn"
WRONG: Final = "wrong"
NOT_LOOKED_AT: Final = "not looked at"
DISK_LOW: Final = 2_000_000_000  # bytes: said
DISK_LEAST: Final = 256_000_000  # bytes: wrong
CLOCK_MAX_NS: Final = 1_000_000_000
VENUE_S: Final = 20.0  # all questions to the venue together
MIRROR_S: Final = 10.0
ORDERS_SHOWN: Final = 5


class Findings:
    """The lines of a check, and the first thing that is wrong."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []
        self.first: KapitaalbotError | None = None

    def add(self, check: str, verdict: str, found: str, advice: str = "") -> None:
        self.rows.append({"check": check, "verdict": verdict, "found": found, "advice": advice})

    def wrong(self, check: str, error: KapitaalbotError) -> None:
        self.add(check, WRONG, error.message, error.hint)
        self.first = self.first or error


def look(
    path: Path,
    overrides: Mapping[str, Any],
    mode: str,
    environ: Mapping[str, str] | None = None,
    speed: float = 1.0,
) -> Findings:
    """All checks of a session of `mode`. Reads no key unless the live gate lets it.

    speed : of a local venue's market, as the session will be given it
    """
    from engine.config import read_config
    from engine.live_gate import decide

    env = os.environ if environ is None else environ
    found = Findings()
    try:
        profile = read_config(path, overrides, env)
    except KapitaalbotError as error:
        found.wrong("profile", error)
        return found
    found.add("profile", OK, "every key is known and within its bounds")
    live = profile.live
    gate = decide(mode, live.endpoint, live.allow_orders, env, live.level3)
    _symbols(found, live)
    _families(found, profile)
    _gate(found, gate)
    _account(found, live, mode)
    _output(found, profile)
    _kernels(found)
    asyncio.run(_outside(found, profile, mode, gate, speed))
    return found


def _symbols(found: Findings, live: Any) -> None:
    if live.symbols:
        found.add("symbols", OK, ", ".join(live.symbols))
    else:
        found.wrong(
            "symbols",
            ConfigError("live.symbols is empty.", 'Name the pairs, as in ["BTC/USD"].'),
        )


def _families(found: Findings, profile: Any) -> None:
    from engine.plugins import load_plugins

    try:
        names = ", ".join(each.name for each in load_plugins(profile.plugins))
    except KapitaalbotError as error:
        found.wrong("families", error)
    else:
        found.add("families", OK, f"user families: {names}" if names else "no user families")


def _gate(found: Findings, gate: Gate) -> None:
    for problem in gate.problems:
        found.wrong("live gate", problem)
    for remark in gate.remarks:
        found.add("live gate", WARN, remark)
    if not gate.problems:
        sends = "orders leave" if gate.may_send else f"{gate.mode}: no order leaves"
        found.add("live gate", OK, f"{sends}; endpoint {gate.endpoint}")


def _account(found: Findings, live: Any, mode: str) -> None:
    from adapters.alerts import Alerts
    from adapters.lease import KillFlag, folder_problem, is_held, read_holder
    from adapters.start import folder_of
    from engine.clock import WallClock, utc_text

    folder = folder_of(live)
    try:
        stat = folder.lstat()
    except FileNotFoundError:
        found.add("account's folder", OK, f"{folder} will be made")
        return
    except OSError as error:
        found.wrong(
            "account's folder",
            StorageError(f"{folder} cannot be read: {error.strerror}.", "Set live.state."),
        )
        return
    if problem := folder_problem(folder, stat):
        found.wrong("account's folder", problem)
        return
    found.add("account's folder", OK, f"{folder}, for its owner only")
    if is_held(folder):
        found.wrong(
            "lease",
            RefusedError(
                f"the account is driven by {read_holder(folder)}.", "Stop that session first."
            ),
        )
    else:
        found.add("lease", OK, "free")
    if killed := KillFlag(folder).read():
        found.wrong(
            "kill flag",
            RefusedError(
                f"the account was killed {utc_text(killed.ts)}: {killed.why}.",
                "`kapitaalbot ops arm` takes it back; until then a session begins in HALT.",
            ),
        )
    else:
        found.add("kill flag", OK, "not set")
    unread = Alerts(folder, WallClock(), None).open_count()
    if unread:
        found.add(
            "alerts", WARN, f"unread critical alerts: {unread}", "`kapitaalbot ops acknowledge`"
        )
    else:
        found.add("alerts", OK, "nothing is unread")


def _output(found: Findings, profile: Any) -> None:
    import tempfile

    out = Path(profile.run.out)
    place = next(each for each in (out, *out.resolve().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except OSError as error:
        found.wrong(
            "output",
            StorageError(f"{out} cannot be written: {error.strerror}.", "Set run.out."),
        )
        return
    found.add("output", OK, f"runs go to {out}")
    text = f"{free / 1e9:.1f} GB are free"
    if free < DISK_LEAST:
        found.wrong("disk", StorageError(f"only {text}.", "Free space."))
    else:
        found.add("disk", WARN if free < DISK_LOW else OK, text)


def _kernels(found: Findings) -> None:
    from adapters.cli.warm import NOT_FOR_SESSIONS, SECONDS_USUAL, is_warm

    if is_warm(NOT_FOR_SESSIONS):
        found.add("kernels", OK, "compiled")
    else:
        text = f"not compiled: the start takes about {SECONDS_USUAL} s longer"
        found.add("kernels", WARN, text, "`kapitaalbot config warm` compiles them ahead")


async def _outside(found: Findings, profile: Any, mode: str, gate: Gate, speed: float) -> None:
    from adapters.start import addresses

    try:
        where = addresses(profile.live)
    except KapitaalbotError as error:
        found.wrong("venue", error)
    else:
        await _venue(found, profile.live, where, speed)
        await _keys(found, profile.live, mode, where, gate)
    await _mirror(found, profile.mirror)


async def _venue(found: Findings, live: Any, where: Addresses, speed: float) -> None:
    from adapters.kraken.rest import Rest
    from engine.clock import WallClock

    clock = WallClock()
    try:
        async with (
            asyncio.timeout(VENUE_S),
            Rest(where.rest, ssl_context=where.ssl, tries=1) as rest,
        ):
            status = await rest.system_status()
            before = clock.now()
            seconds = await rest.time_ns()
            after = clock.now()
            pairs = {str(each.get("wsname")): each for each in (await rest.asset_pairs()).values()}
    except KapitaalbotError as error:
        found.wrong("venue", error)
        return
    except TimeoutError:
        found.wrong("venue", VenueError(f"no answer within {VENUE_S:g} s.", "Look at the network."))
        return
    found.add("venue", OK if status == "online" else WARN, f"{live.endpoint}: {status}")
    # The venue tells whole seconds: its clock is somewhere in the second that begins there.
    off = max(0, seconds - after, before - (seconds + 1_000_000_000))
    if speed != 1.0:
        found.add("clock", OK, f"the venue's, which runs at {speed:g} times the pace of this one")
    elif off > CLOCK_MAX_NS:
        advice = "Set up time synchronisation (chrony, ntpd)."
        if live.endpoint == "local":
            advice = "If the venue was given --speed, give this command and the session the same."
        found.wrong(
            "clock",
            ClockError(f"this clock is at least {off / 1e9:.1f} s off the venue's.", advice),
        )
    else:
        found.add("clock", OK, "agrees with the venue's, which tells whole seconds")
    _pairs(found, live, pairs)


def _pairs(found: Findings, live: Any, pairs: Mapping[str, Mapping[str, Any]]) -> None:
    from engine.instruments import canonical_symbol

    known = {canonical_symbol(name): row for name, row in pairs.items() if "/" in name}
    missing = [each for each in live.symbols if each not in known]
    if missing:
        found.wrong(
            "pairs",
            ConfigError(f"the venue has no pair {', '.join(missing)}.", "Correct live.symbols."),
        )
        return
    closed = [
        f"{each}: {known[each].get('status')}"
        for each in live.symbols
        if known[each].get("status", "online") != "online"
    ]
    if closed:
        found.add("pairs", WARN, ", ".join(closed))
    else:
        found.add("pairs", OK, "all listed and online")


async def _keys(found: Findings, live: Any, mode: str, where: Addresses, gate: Gate) -> None:
    if not gate.may_read_keys:
        why = "the live gate is closed" if gate.problems else f"{mode} needs none"
        found.add("keys", NOT_LOOKED_AT, why)
        return
    from adapters.kraken.keys import read_keys

    try:
        keys = read_keys(live.keys)
    except KapitaalbotError as error:
        found.wrong("keys", error)
        return
    found.add("keys", OK, f"from {keys.origin}, fingerprint {keys.fingerprint}")
    await _scope(found, live, mode, where, keys)


async def _scope(found: Findings, live: Any, mode: str, where: Addresses, keys: Any) -> None:
    from adapters.identity import fingerprint_of, must_be_the_same
    from adapters.kraken.limits import TIERS
    from adapters.kraken.nonce import NonceFile
    from adapters.kraken.rest import REST_URL, Rest
    from adapters.kraken.scope import findings_of, key_info
    from adapters.start import folder_of
    from engine.clock import WallClock

    clock = WallClock()
    nonces = NonceFile(folder_of(live), keys.fingerprint, clock)
    rest = Rest(
        where.rest,
        tier=TIERS[live.tier],
        nonce=lambda _: nonces.draw(),
        keys=lambda: keys,
        ssl_context=where.ssl,
        tries=1,
    )
    try:
        async with asyncio.timeout(VENUE_S), rest:
            info = await key_info(rest)
            holds = await _holds(rest) if mode == "live" else []
        # As the session does: a venue on this machine has play keys, and no addresses to speak of.
        local = where.rest != REST_URL
        findings = findings_of(
            info, clock.now(), "trade" if mode == "live" else "watch", any_address=local
        )
    except KapitaalbotError as error:
        found.wrong("key's rights", error)
        return
    except TimeoutError:
        found.wrong("key's rights", VenueError("no answer.", "Look at the network."))
        return
    for each in findings:
        if each.verdict == WRONG:
            found.wrong(f"key: {each.name}", SecretError(each.text, each.advice))
        else:
            found.add(f"key: {each.name}", each.verdict, each.text, each.advice)
    account = fingerprint_of(info)
    try:
        must_be_the_same(folder_of(live), account)
    except KapitaalbotError as error:
        found.wrong("key: account", error)
    else:
        text = f"the account is {account}" if account else "the venue does not name the account"
        found.add("key: account", OK, text)
    for check, verdict, text in holds:
        found.add(check, verdict, text)


async def _holds(rest: Rest) -> list[tuple[str, str, str]]:
    """What the account holds and what rests on it, as check, verdict and text; no session knows of it yet.

    A key without the right to ask is not wrong here: its rights are a check of their own.
    """
    from adapters.kraken.rest import mapping

    rows = []
    try:
        parts = [
            f"{amount:f} {asset}" + (f" ({kind})" if kind else "")
            for asset, kinds in sorted((await rest.balances()).items())
            for kind, amount in sorted(kinds.items())
            if amount
        ]
        rows.append(("balances", OK, ", ".join(parts) or "nothing"))
        answer = mapping(await rest.call("OpenOrders"), "OpenOrders")
        orders = mapping(answer.get("open"), "OpenOrders")
        texts = [
            str(mapping(mapping(each, "an order").get("descr"), "an order").get("order", key))
            for key, each in sorted(orders.items())
        ]
        shown = "; ".join(texts[:ORDERS_SHOWN]) + ("; ..." if len(texts) > ORDERS_SHOWN else "")
        rows.append(("open orders", OK, f"{len(texts)}: {shown}" if texts else "none"))
    except KapitaalbotError as error:
        rows.append(("account", WARN, f"it was not told: {error.message}"))
    return rows


async def _mirror(found: Findings, mirror: Any) -> None:
    dsn = mirror.dsn.get_secret_value()
    if not dsn:
        if mirror.required:
            found.wrong(
                "mirror", ConfigError("mirror.required without mirror.dsn.", "Set one of them.")
            )
        else:
            found.add("mirror", OK, "none is configured")
        return
    try:
        from adapters.postgres.pools import lone_connection
        from adapters.postgres.settings import Settings

        async with asyncio.timeout(MIRROR_S), lone_connection(Settings(dsn)) as connection:
            await connection.fetchval("SELECT 1")
    except KapitaalbotError as error:
        found.wrong("mirror", error)
    except TimeoutError:
        found.wrong("mirror", StorageError("the mirror does not answer.", "Look at mirror.dsn."))
    else:
        found.add("mirror", OK, "reachable")
