"""`kapitaalbot venue`: a venue on this machine that speaks Kraken's protocol."""

from __future__ import annotations

import dataclasses
import errno
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.options import JsonFlag
from adapters.cli.output import say, write_json, write_pairs
from engine.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from adapters.local_venue import ApiKey, LocalVenue, MarketSource, VenueOptions

app = typer.Typer(
    help="Serve a venue on this machine that speaks Kraken's protocol.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def group() -> None:
    """Serve a venue on this machine that speaks Kraken's protocol."""


@app.command(short_help="Serve a recorded or generated market, and take orders.")
def serve(
    capture: Annotated[
        Path | None,
        typer.Option(help="Serve this capture: a store or an event log.", show_default=False),
    ] = None,
    capture_id: Annotated[
        str | None,
        typer.Option("--id", help="The capture's id, or how it begins.", show_default=False),
    ] = None,
    generate: Annotated[
        int | None,
        typer.Option(help="Serve the generator's market of this seed.", show_default="1"),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(help="Only these pairs, as in BTC/USD,ETH/USD.", show_default=False),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="Market seconds per second; `max`: as fast as clients take it.")
    ] = "1",
    recorded_time: Annotated[
        bool,
        typer.Option("--recorded-time", help="Keep the market's own dates; else it begins now."),
    ] = False,
    faults: Annotated[
        Path | None, typer.Option(help="Script of faults, a TOML file.", show_default=False)
    ] = None,
    port: Annotated[
        int,
        typer.Option(help="Public; private, level 3 and REST are the next three. 0: free ones."),
    ] = 8600,
    host: Annotated[str, typer.Option(help="Address of this machine to listen on.")] = "127.0.0.1",
    tls_cert: Annotated[
        Path | None,
        typer.Option(help="Certificate, PEM; serves wss and https.", show_default=False),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM.", show_default=False)] = None,
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="FROM,TO",
            help="Milliseconds of a request to the engine.",
            show_default="1,4",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="Set one assumption, as in tier=pro; may repeat. docs/howto-venue-server.md.",
            show_default=False,
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="API keys of the venue, a TOML file.", show_default="one demo key"),
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option("--for", help="End by itself, as in 90s, 1h.", show_default="until Ctrl-C"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Serve Kraken's WebSocket v2 (public, private, level 3) and REST, and match orders.

    Nothing leaves this machine. Example: kapitaalbot venue serve --generate 7 --speed 10
    """
    import asyncio

    from adapters.cli.capture import parse_duration
    from adapters.local_venue import read_script

    seconds = None if for_ is None else parse_duration(for_)
    if capture is not None and generate is not None:
        raise ConfigError("a venue serves one market.", "Give --capture or --generate, not both.")
    options = read_options(settings or [], latency)
    script = read_script(faults) if faults is not None else None
    source = (
        from_capture(capture, capture_id, symbols, recorded_time)
        if capture is not None
        else from_generator(1 if generate is None else generate, symbols, recorded_time)
    )
    if not (port == 0 or 1 <= port <= 65_532):
        raise ConfigError(f"port {port} leaves no room for four.", "Choose 1 to 65532, or 0.")
    ports = (port, port + 1, port + 2, port + 3) if port else (0, 0, 0, 0)

    async def run() -> LocalVenue:
        from adapters.local_venue import serve as serve_venue

        async with serve_venue(
            source,
            speed=read_speed(speed),
            options=options,
            keys=read_keys(keys),
            faults=script,
            host=host,
            ports=ports,
            ssl=tls_context(tls_cert, tls_key),
            hold=False if speed != "max" else None,
            record=False,
            catch_up=not recorded_time,
        ) as venue:
            tell(venue, as_json)
            await until_told(seconds)
            return venue

    try:
        venue = asyncio.run(run())
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ConfigError(
            f"one of the ports {port} to {port + 3} of {host} is taken: another venue may run.",
            "End it, or choose with --port; --port 0 takes free ones.",
        ) from error
    say(
        f"venue.end connections={venue.core.n_connections} accounts={len(venue.core.clients)} "
        f"faults={len(venue.faults.done)}"
    )


def tell(venue: LocalVenue, as_json: bool) -> None:
    """Print where the venue listens."""
    import sys

    from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET

    facts = {
        "public": venue.public_url,
        "private": venue.private_url,
        "level3": venue.level3_url,
        "rest": venue.rest_url,
    }
    if DEMO_KEY in venue.core.keyring.keys:
        facts |= {"demo key": DEMO_KEY, "demo secret": DEMO_SECRET}
    if as_json:
        write_json("venue.serve", {name.replace(" ", "_"): each for name, each in facts.items()})
    else:
        write_pairs(list(facts.items()))
    sys.stdout.flush()


async def until_told(seconds: float | None) -> None:
    """Wait for Ctrl-C, a polite kill, or the end of the time."""
    import asyncio
    import contextlib
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def read_speed(text: str) -> float:
    """Market seconds per second; inf for `max`."""
    if text == "max":
        return float("inf")
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1e-6 <= speed <= 1e6:
        raise ConfigError(
            f"a market of speed {text!r} does not run.", "Give 0.000001 to 1000000, or max."
        )
    return speed


def read_options(settings: list[str], latency: str | None) -> VenueOptions:
    """`["tier=pro", "balances.USD=5"]` to the venue's options; a wrong key or value is refused."""
    from adapters.cli.options import parse_overrides
    from adapters.local_venue import VenueOptions

    defaults = VenueOptions()
    values: dict[str, Any] = {}
    if latency is not None:
        values["engine_ms"] = _span(latency)
    known = {each.name for each in dataclasses.fields(VenueOptions)}
    for name, value in parse_overrides(settings).items():
        if name not in known:
            raise ConfigError(
                f"the venue has no option {name!r}.",
                f"It has {', '.join(sorted(known))}.",
            )
        values[name] = _option(name, value, getattr(defaults, name))
    return dataclasses.replace(defaults, **values)


def _option(name: str, value: Any, default: Any) -> Any:
    """A value in the type of its default."""
    try:
        if isinstance(default, bool):
            if isinstance(value, bool):
                return value
        elif isinstance(default, int) and isinstance(value, int):
            return value
        elif isinstance(default, float | Decimal) and isinstance(value, int | float | Decimal):
            return type(default)(value)
        elif isinstance(default, str) and not isinstance(value, dict):
            return str(value)
        elif isinstance(default, dict) and isinstance(value, dict):
            return default | {asset: Decimal(str(each)) for asset, each in value.items()}
        elif isinstance(default, tuple) and name == "integers_refused":
            return tuple(filter(None, str(value).split(",")))
        elif isinstance(default, tuple):
            return _span(str(value))
    except ArithmeticError:
        pass
    raise ConfigError(f"option {name}: {value!r} does not fit.", f"Its default is {default!r}.")


def _span(text: str) -> tuple[float, float]:
    """`1,4` to (1.0, 4.0)."""
    parts = text.split(",")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low, high = 1.0, 0.0
    if len(parts) > 2 or not 0 <= low <= high <= 60_000:
        raise ConfigError(f"{text!r} is no span of milliseconds.", "Write it as in 1,4.")
    return low, high


def read_keys(path: Path | None) -> list[ApiKey]:
    """The venue's own API keys; without a file, one demo key."""
    from adapters.local_venue import ApiKey
    from adapters.local_venue.keys import RIGHTS

    if path is None:
        return [ApiKey()]
    try:
        tables = tomllib.loads(path.read_text()).get("key", [])
        keys = [
            ApiKey(
                str(each["key"]),
                str(each["secret"]),
                frozenset(each.get("rights", RIGHTS)),
                addresses=tuple(map(str, each.get("addresses", ()))),
                account=str(each.get("account", "")),
            )
            for each in tables
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} holds no keys of a venue.",
            'Write [[key]] tables with key, secret and, if you like, rights = ["query"].',
        ) from error
    if not keys:
        raise ConfigError(f"{path} names no key.", "Write at least one [[key]] table.")
    return keys


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS, if a certificate is given."""
    import ssl

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("TLS needs two files.", "Give --tls-cert and --tls-key.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{certificate} and {key} are no certificate and key: {error.reason}.",
            "Both must be PEM, and belong together.",
        ) from error
    return context


def from_generator(seed: int, symbols: str | None, recorded_time: bool) -> MarketSource:
    """The generator's market; it begins now unless its own date is wanted."""
    from adapters.local_venue import generated
    from engine.clock import WallClock
    from engine.research.synthetic.config import DEFAULT_SYMBOLS, SymbolSpec

    specs: tuple[SymbolSpec, ...] = DEFAULT_SYMBOLS
    if symbols is not None:
        wanted = {each.strip().upper() for each in symbols.split(",")}
        specs = tuple(each for each in specs if each.instrument.symbol in wanted)
        if len(specs) < len(wanted):
            known = ", ".join(each.instrument.symbol for each in DEFAULT_SYMBOLS)
            raise ConfigError(
                f"the generator does not make all of {symbols}.", f"It makes {known}."
            )
    start = None if recorded_time else WallClock().now()
    return generated(seed, symbols=specs, start_ts=start)


def from_capture(
    path: Path, capture_id: str | None, symbols: str | None, recorded_time: bool
) -> MarketSource:
    """The market of a capture or an event log."""
    from adapters.local_venue import MarketSource
    from adapters.parquet.reader import open_events
    from engine.clock import WallClock

    wanted = None if symbols is None else [each.strip() for each in symbols.split(",")]
    events = open_events(path, capture_id=capture_id, symbols=wanted)
    depths = {
        name: dict(facts.depths)
        for name, facts in events.manifest.channels.items()
        if name in ("book", "level3")
    }
    shift = 0 if recorded_time else WallClock().now() - events.span[0]
    return MarketSource(events.instruments, events.batches(), depths, shift)
