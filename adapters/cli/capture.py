"""`kapitaalbot capture`: record Kraken's market into the cold store."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adapters.cli.options import JsonFlag, QuietFlag
from adapters.cli.output import is_terminal, say, write_json, write_pairs, write_table
from engine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.live import Live

    from adapters.kraken.capture import CaptureConfig
    from adapters.kraken.live import Hosts
    from adapters.kraken.rotation import Rotation

app = typer.Typer(
    help="Record Kraken's market into the cold store.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

BEAT_S: Final = 10.0
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PARTS: Final = {"hour": 3600, "day": 86400}

StoreOption = Annotated[str, typer.Option("--store", help="Cold store: a folder or an address.")]
SpoolOption = Annotated[
    Path | None,
    typer.Option(help="Folder for what is not sealed yet.", show_default="_capture in the store"),
]


def parse_duration(text: str) -> float:
    """`90s`, `1.5h` or `1h30m` as seconds; raises ConfigError."""
    found = _DURATION.findall(text)
    if not found or "".join(number + unit for number, unit in found) != text:
        raise ConfigError(f"{text!r} is not a duration.", "Write it as in 90s, 15m, 1h or 1h30m.")
    return sum(float(number) * _SECONDS[unit] for number, unit in found)


def parse_channels(text: str) -> dict[str, int]:
    """`book:100,trade` as channel to depth, 0 where none is given; raises ConfigError."""
    channels: dict[str, int] = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, separator, depth = each.partition(":")
        if separator and not depth.isdigit():
            raise ConfigError(f"{each!r} has no depth.", "Write it as in book:100.")
        if name in channels:
            raise ConfigError(f"{name} is given twice.", "Name each channel once.")
        default = 10 if name in ("book", "level3") else 0
        channels[name] = int(depth) if separator else default
    return channels


@app.callback()
def group() -> None:
    """Record Kraken's market into the cold store."""


@app.command(short_help="Record until Ctrl-C.")
def run(
    symbols: Annotated[
        str | None,
        typer.Option(help="Pairs, as in BTC/USD,ETH/USD.", show_default=False),
    ] = None,
    universe: Annotated[
        bool, typer.Option("--universe", help="All pairs of the quote that are online.")
    ] = False,
    quote: Annotated[str, typer.Option(help="Quote currency of the universe.")] = "USD",
    deny: Annotated[
        str | None,
        typer.Option(help="Coins that the universe leaves out.", show_default="stable coins"),
    ] = None,
    symbols_max: Annotated[
        int, typer.Option(help="Refuse a universe that is larger; 0: any size.", min=0)
    ] = 0,
    universe_cap: Annotated[
        int,
        typer.Option(
            help="Of the universe only the best so many, by turnover and spread, chosen anew.",
            min=0,
        ),
    ] = 0,
    universe_every: Annotated[str, typer.Option(help="How often it is chosen.")] = "15m",
    pin: Annotated[
        str | None, typer.Option(help="Pairs that never leave it.", show_default=False)
    ] = None,
    channels: Annotated[
        str,
        typer.Option(help="What to record: book:DEPTH, trade, ticker, level3:DEPTH."),
    ] = "book:100,trade,ticker",
    for_: Annotated[
        str | None,
        typer.Option("--for", help="End by itself, as in 90s, 1h.", show_default="until Ctrl-C"),
    ] = None,
    store: StoreOption = "store",
    name: Annotated[str, typer.Option(help="Captures are named NAME-DATE-TIME.")] = "kraken",
    part: Annotated[
        str, typer.Option(metavar="hour|day", help="How often a part is sealed into the store.")
    ] = "hour",
    raw: Annotated[
        bool, typer.Option("--raw", help="Keep every frame as it came, beside the events.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(help="Public WebSocket of another venue.", show_default="Kraken's"),
    ] = None,
    level3_url: Annotated[
        str | None,
        typer.Option(help="Level 3 WebSocket of another venue.", show_default="Kraken's"),
    ] = None,
    rest_url: Annotated[
        str | None,
        typer.Option(help="REST of another venue, for tokens.", show_default="Kraken's"),
    ] = None,
    keys: Annotated[
        str,
        typer.Option(help="Where API keys come from, for level 3 only: auto, env, file, keyring."),
    ] = "auto",
    certificate: Annotated[
        Path | None,
        typer.Option(help="Trust this certificate authority (PEM).", show_default=False),
    ] = None,
    silence: Annotated[
        str | None,
        typer.Option(
            help="A connection is dead after so long without a frame.", show_default="10s"
        ),
    ] = None,
    channel_silence: Annotated[
        str | None,
        typer.Option(
            help="A channel is asked again after so long without a message, as in book=60s.",
            show_default="book=60s,level3=60s",
        ),
    ] = None,
    disk_free: Annotated[
        float, typer.Option(help="End before the disk has less than so many GB free.", min=0.0)
    ] = 1.0,
    spool: SpoolOption = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Record Kraken's market into the cold store until Ctrl-C. Needs no account but for level 3.

    What was not sealed when an earlier run died is recovered and sealed first. Example:
    kapitaalbot capture run --symbols BTC/USD,ETH/USD --channels book:100,trade,ticker --for 1h
    """
    from adapters.record import record

    seconds = parse_duration(for_) if for_ else None
    config = _config(
        symbols, universe, quote, deny, symbols_max, channels, name, part, silence, channel_silence
    )
    if universe_cap or pin:
        config = replace(config, rotation=_rotation(config, universe_cap, universe_every, pin))
    hosts = _hosts(config, url, level3_url, rest_url, keys, certificate)
    with _View(quiet or as_json) as view:
        done = record(
            store,
            config,
            hosts,
            stop=_stop_on_signals,
            for_s=seconds,
            raw=raw,
            spool=spool,
            disk_free_min=int(disk_free * 1e9),
            talk=view.talk,
            progress=view.show,
        )
    if as_json:
        write_json("capture.run", {"store": store, **vars(done)})
    else:
        write_pairs(
            [
                ("store", store),
                ("lineage", done.lineage),
                ("captures", ", ".join(done.captures) or "none"),
                *((("not sealed", ", ".join(done.unsealed)),) if done.unsealed else ()),
                ("frames", f"{done.n_frames:,}"),
                ("events", f"{done.n_events:,}"),
                ("gaps", f"{done.n_gaps:,}"),
                ("dropped frames", f"{done.n_dropped:,}"),
                ("seconds", f"{done.seconds:,.1f}"),
            ]
        )


def _config(
    symbols: str | None,
    universe: bool,
    quote: str,
    deny: str | None,
    symbols_max: int,
    channels: str,
    name: str,
    part: str,
    silence: str | None,
    channel_silence: str | None,
) -> CaptureConfig:
    from adapters.kraken.capture import STABLE, CaptureConfig
    from adapters.kraken.phases import SECOND, Limits
    from adapters.parquet.store import checked_name

    named = tuple(filter(None, (each.strip() for each in (symbols or "").split(","))))
    if bool(named) == universe:
        raise ConfigError("a capture needs symbols.", "Give --symbols or --universe, one of them.")
    if part not in _PARTS:
        raise ConfigError(f"--part {part!r} is not known.", "Use hour or day.")
    limits: dict[str, Any] = {}
    if silence:
        limits["silence"] = int(parse_duration(silence) * SECOND)
    if channel_silence:
        pairs = [each.partition("=") for each in channel_silence.split(",")]
        limits["channel_silence"] = {
            channel.strip(): int(parse_duration(text.strip()) * SECOND)
            for channel, _, text in pairs
        }
    denied = frozenset(filter(None, (each.strip().upper() for each in (deny or "").split(","))))
    return CaptureConfig(
        symbols=named,
        channels=parse_channels(channels),
        name=checked_name(name, "name"),
        quote=quote.upper(),
        deny=STABLE if deny is None else denied,
        symbols_max=symbols_max,
        part_ns=_PARTS[part] * SECOND,
        limits=Limits(**limits),
    )


def _rotation(config: CaptureConfig, cap: int, every: str, pin: str | None) -> Rotation:
    """The rule of a universe of `cap` pairs: enter among the best 4 in 5, leave beyond 6 in 5."""
    from adapters.kraken.phases import SECOND
    from adapters.kraken.rotation import Rotation
    from engine.core.universe import universe_params
    from engine.instruments import canonical_symbol

    if config.symbols or not cap:
        raise ConfigError(
            "only a universe with a cap is chosen anew.", "Give --universe and --universe-cap N."
        )
    pins = filter(None, (each.strip() for each in (pin or "").split(",")))
    params = universe_params(
        cap,
        enter_rank=max(cap - cap // 5, 1),
        leave_rank=cap + cap // 5,
        rotation_max=max(cap // 10, 1),
    )
    every_ns = int(parse_duration(every) * SECOND)
    return Rotation(params, every_ns, frozenset(map(canonical_symbol, pins)))


def _hosts(
    config: CaptureConfig,
    url: str | None,
    level3_url: str | None,
    rest_url: str | None,
    keys: str,
    certificate: Path | None,
) -> Hosts:
    import ssl

    from adapters.kraken.keys import read_keys
    from adapters.kraken.level3 import LEVEL3_URL, tokens
    from adapters.kraken.live import Hosts
    from adapters.kraken.public import PUBLIC_URL
    from adapters.kraken.rotation import tickers
    from engine.clock import WallClock

    public = url or PUBLIC_URL
    if not public.startswith(("ws://", "wss://")):
        raise ConfigError(
            f"--url {public!r} is no WebSocket address.", "As in ws://127.0.0.1:8080/v2."
        )
    context = None
    if certificate is not None:
        try:
            context = ssl.create_default_context(cafile=str(certificate))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{certificate} is not a certificate that can be trusted: {error}.",
                "Give the PEM file that the venue wrote.",
            ) from error
    if config.rotation is not None and url and not rest_url:
        raise ConfigError(
            "a universe of another venue is chosen by that venue's REST.",
            "Give --rest-url, as it prints it.",
        )
    from adapters.kraken.rest import REST_URL

    clock = WallClock()
    measure = None
    if config.rotation is not None:
        measure = tickers(rest_url or REST_URL, clock, context)
    if not config.needs_token:
        return Hosts(public, ssl=context, measure=measure)
    if url and not (level3_url and rest_url):
        raise ConfigError(
            "level 3 of another venue needs its other addresses too.",
            "Give --level3-url and --rest-url, as that venue prints them.",
        )
    token = tokens(rest_url or REST_URL, lambda: read_keys(keys), clock, context)
    return Hosts(public, level3_url or LEVEL3_URL, context, token, measure)


def _stop_on_signals(ended: asyncio.Event) -> None:
    """Ctrl-C and a request to end stop the capture in order."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, ended.set)


class _View:
    """What a person sees while it runs: a live table, or one JSON line every ten seconds."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._live: Live | None = None
        self._told = -BEAT_S
        self._noted = 0

    def __enter__(self) -> _View:
        if not self._quiet and is_terminal(sys.stderr):
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def talk(self) -> Callable[[str], None]:
        if self._quiet:
            return lambda text: None
        if self._live is not None:
            return self._live.console.print
        return say

    def show(self, facts: dict[str, Any]) -> None:
        if self._live is not None:
            self._live.update(draw(facts), refresh=True)
        elif not self._quiet and facts["seconds"] - self._told >= BEAT_S:
            self._told = facts["seconds"]
            say(json.dumps({"progress": "capture", **facts}))


def draw(facts: dict[str, Any]) -> Any:
    """The live view as something that rich can print."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2))
    for _ in range(4):
        table.add_column()
    colour = {"valid": "green", "degraded": "yellow"}.get(facts["verdict"], "red")
    offset = facts["clock_offset_ms"]
    rows: list[tuple[Any, ...]] = [
        (
            "time",
            f"{facts['seconds']:,.0f} s",
            "epoch",
            Text(f"{facts['epoch']} {facts['verdict']}", colour),
        ),
        (
            "connections",
            ", ".join(facts["connections"]),
            "symbols verified",
            f"{facts['symbols_verified']:,} of {facts['symbols']:,}",
        ),
        (
            "frames",
            f"{facts['frames_per_s']:,.0f}/s, {facts['frames']:,}",
            "events",
            f"{facts['events_per_s']:,.0f}/s, {facts['events']:,}",
        ),
        (
            "lag decoding, writing",
            f"{facts['decode_lag_ms']:,.0f} ms, {facts['writer_lag_ms']:,.0f} ms",
            "checksums",
            f"{facts['checksums_right']:,} right, {facts['checksums_wrong']:,} wrong",
        ),
        (
            "gaps, resyncs, reconnects",
            f"{facts['gaps']:,}, {facts['resyncs']:,}, {facts['reconnects']:,}",
            "dropped frames",
            f"{facts['dropped_frames']:,}",
        ),
        (
            "disk",
            f"{facts['bytes_per_s'] / 1e3:,.0f} kB/s in, {facts['disk_free_gb']:,.1f} GB free",
            "clock offset",
            "not measured" if offset is None else f"{offset:,.1f} ms",
        ),
        (
            "parts",
            f"{facts['parts']:,}, {facts['parts_sealed']:,} sealed, {facts['parts_waiting']:,} waiting",
            "subscriptions",
            ", ".join(f"{n:,} {state}" for state, n in facts["subscriptions"].items() if n),
        ),
    ]
    for row in rows:
        table.add_row(*row)
    return Group(table, *(Text(note, style="dim") for note in facts["notes"]))


@app.command(short_help="Show what is not sealed, and the newest captures.")
def status(
    store: StoreOption = "store", spool: SpoolOption = None, as_json: JsonFlag = False
) -> None:
    """Show whether a capture runs, what is not sealed yet, and what was sealed last.

    Example: kapitaalbot capture status --store store
    """
    from adapters.record import look

    facts = look(store, spool)
    if as_json:
        write_json("capture.status", facts)
        return
    write_pairs(
        [
            ("store", facts["store"]),
            ("running", facts["running"] or "no"),
            ("lineage", facts["lineage"] or "none"),
        ]
    )
    if facts["parts"]:
        write_table(
            ("not sealed", "state", "events", "first", "last", "MB"),
            [
                (p["part"], p["state"], p["events"], p["first"], p["last"], p["mb"])
                for p in facts["parts"]
            ],
        )
    if facts["captures"]:
        write_table(
            ("sealed", "first", "last", "events", "gaps", "epochs", "MB"),
            [
                (c["capture"], c["first"], c["last"], c["events"], c["gaps"], c["epochs"], c["mb"])
                for c in facts["captures"]
            ],
        )


@app.command(short_help="Recover and seal what an earlier run left.")
def seal(
    store: StoreOption = "store", spool: SpoolOption = None, as_json: JsonFlag = False
) -> None:
    """Recover and seal what an earlier run left, without starting a new one.

    Example: kapitaalbot capture seal --store store
    """
    from adapters.record import seal_all

    sealed = seal_all(store, spool, say)
    if as_json:
        write_json("capture.seal", {"store": store, "sealed": sealed})
    else:
        say(f"{len(sealed)} parts sealed." if sealed else "nothing was left to seal.")
