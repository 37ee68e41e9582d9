"""`kapitaalbot data`: captures in, listed, checked and queried."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli import care
from adapters.cli.fetch import fetch_trades
from adapters.cli.options import CaptureId, JsonFlag, QuietFlag, parse_overrides
from adapters.cli.output import say, write_json, write_pairs, write_table
from adapters.cli.progress import ProgressReport
from engine.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from adapters.imports.base import Import
    from adapters.imports.formats import Format
    from adapters.parquet.manifest import Manifest

app = typer.Typer(
    help="Import, make, list, check and query captures.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

STORE = Path("store")
SAMPLE = Path("datasets/sample")
SAMPLE_ID = "sample"

StoreOption = Annotated[str, typer.Option("--store", help="Cold store: a folder or an address.")]
StoreName = Annotated[
    str, typer.Argument(metavar="[STORE]", help="Cold store: a folder or an address.")
]


@app.command("import", short_help="Turn a foreign recording into a capture.")
def import_(
    format_: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="Format of the recording, see `data formats`; `auto` looks.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Files or folders.", show_default=False),
    ],
    store: StoreOption = str(STORE),
    capture_id: Annotated[
        str | None,
        typer.Option(
            "--id", help="Name of the capture; default: that of the first path.", show_default=False
        ),
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(help="The pair, where the data does not say.", show_default=False),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(help="Only these pairs, as in BTC/USD,ETH/USD.", show_default=False),
    ] = None,
    instruments: Annotated[
        Path | None,
        typer.Option(
            help="Steps and minimums: an AssetPairs answer or a v2 instrument snapshot.",
            show_default=False,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="An option of the format, as in depth=10; may repeat.",
            show_default=False,
        ),
    ] = None,
    crossed: Annotated[
        str,
        typer.Option(
            metavar="count|gap|refuse",
            help="A book that crosses: count it, distrust it until its next snapshot, or refuse.",
        ),
    ] = "count",
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Turn a foreign recording into a capture of the cold store, with an account of every row.

    Example: kapitaalbot data import bitstamp-l3 recordings/btcusd --store store --id bitstamp
    """
    from adapters.imports.formats import FORMATS, detect, import_format

    if crossed not in ("count", "gap", "refuse"):
        raise ConfigError(f"--crossed {crossed!r} is not known.", "Use count, gap or refuse.")
    if format_ == "auto":
        format_ = detect(list(paths))
        if not quiet:
            say(f"the format is {format_}.")
    given = {"symbol": symbol, "symbols": symbols, "instruments": instruments}
    wanted = {name: value for name, value in given.items() if value is not None}
    wanted |= parse_overrides(option)
    known = FORMATS.get(format_)
    options = {name: _option(known, name, value) for name, value in wanted.items()}
    source = import_format(format_, list(paths), **options)
    name = capture_id or paths[0].name.partition(".")[0]
    manifest = store_import(source, store, name, crossed, quiet)
    account = source.summary.to_json()
    if as_json:
        write_json("data.import", {"store": store, "capture": name, "account": account})
        return
    _print_account(source, manifest, store)


def _option(known: Format | None, name: str, value: Any) -> Any:
    """A value from the command line as the kind that the format's option has."""
    kinds = {} if known is None else {each.name: each.kind for each in known.options}
    text = str(value)
    try:
        if kinds.get(name) == "texts":
            return [each.strip() for each in text.split(",") if each.strip()]
        if kinds.get(name) == "number":
            return int(text)
    except ValueError:
        raise ConfigError(f"option {name} is {text!r}, which is no whole number.") from None
    return Path(text) if kinds.get(name) == "path" else text


def store_import(source: Import, store: str, name: str, crossed: str, quiet: bool) -> Manifest:
    """Write an import into the store; its account becomes part of the manifest.

    raises DataError, RefusedError, StorageError; then nothing of the capture is left
    """
    from adapters.parquet.writer import CaptureWriter

    writer = CaptureWriter(
        store,
        name,
        source.instruments,
        channels=source.channels,
        source=source.source,
        venue=source.venue,
        clock=source.clock,
        ts_is_receive_time=source.ts_is_receive_time,
        notes=source.notes,
        assign_seq=True,
        on_crossed=crossed,  # type: ignore[arg-type]
    )
    with writer, ProgressReport("import", "events", quiet) as shown:
        for batch in source.batches():
            writer.append(batch)
            shown.update(writer.n_events, 0, int(batch["ts"][-1]))
        account = source.summary.to_json()
        del account["gaps"]  # the manifest has its own list of them
        writer.account.update(account)
        return writer.close()


def _print_account(source: Import, manifest: Manifest, store: str) -> None:
    from engine.clock import utc_text

    account = source.summary
    used = ", ".join(f"{n:,} {what}" for what, n in account.rows_used.most_common())
    rejected = ", ".join(f"{n:,} {why}" for why, n in account.rejects.most_common())
    events = ", ".join(f"{n:,} {kind}" for kind, n in account.events.most_common())
    steps = f"{account.n_backwards:,}, the longest of {account.backwards_ns_max / 1e6:,.3f} ms"
    rows = [
        ("source", source.source),
        ("capture", f"{manifest.capture_id} in {store}"),
        ("span", f"{utc_text(manifest.ts_first)} to {utc_text(manifest.ts_last)}"),
        ("symbols", ", ".join(source.instruments.symbols)),
        ("rows in", f"{account.rows_in:,}"),
        ("rows used", used or "none"),
        ("rows rejected", rejected or "none"),
        ("events", f"{manifest.n_events:,}" + (f" ({events})" if events else "")),
        ("checksums", f"{account.n_verified:,} verified, {account.n_failed:,} failed"),
        ("gaps", f"{len(manifest.gaps):,}"),
        ("steps back in time", steps if account.n_backwards else "none"),
        ("crossed books", f"{sum(each.crossed for each in manifest.checksums):,}"),
        ("clock", source.clock),
    ]
    rows += [("note", note) for note in source.notes]
    rows += [("rejected", sample) for sample in account.samples[:5]]
    write_pairs(rows)


app.command("fetch-trades", short_help="Fetch the trades of a pair from Kraken.")(fetch_trades)


@app.command(short_help="List the formats that can be imported.")
def formats(as_json: JsonFlag = False) -> None:
    """List the formats that can be imported, and their options.

    Example: kapitaalbot data formats
    """
    from adapters.imports.formats import FORMATS

    if as_json:
        made = [
            {
                "format": each.name,
                "meaning": each.help,
                "options": [vars(option) for option in each.options],
            }
            for each in FORMATS.values()
        ]
        write_json("data.formats", {"formats": made})
        return
    write_table(
        ("format", "option", "meaning"),
        [
            row
            for each in FORMATS.values()
            for row in (
                (each.name, "", each.help),
                *(("", option.name, option.help) for option in each.options),
            )
        ],
    )


@app.command(short_help="Make a synthetic capture.")
def generate(
    bundled: Annotated[
        bool, typer.Option("--bundled", help="Make the capture in datasets/sample again.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 1,
    hours: Annotated[float, typer.Option(help="Hours of market.", min=0.001)] = 1.0,
    intensity: Annotated[
        float, typer.Option(help="Multiplies every rate of arrival.", min=0.001)
    ] = 1.0,
    depth: Annotated[int, typer.Option(help="Levels a side of the book channel.")] = 10,
    level3: Annotated[
        bool, typer.Option("--level3/--no-level3", help="Record level 3 as well.")
    ] = True,
    store: StoreOption = str(STORE),
    capture_id: Annotated[
        str | None,
        typer.Option("--id", help="Name of the capture.", show_default="synthetic-SEED"),
    ] = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a synthetic capture: three pairs, books with checksums, trades, tickers, level 3.

    The same arguments give the same bytes on every machine. It is synthetic, and results on it
    prove nothing about markets. Example: kapitaalbot data generate --seed 7 --hours 2 --id week7
    """
    from engine.research.synthetic.config import GeneratorConfig
    from engine.research.synthetic.market import generate as make

    if bundled:
        manifest, where, verdict = make_sample(SAMPLE, quiet)
    else:
        config = GeneratorConfig(
            seed=seed,
            duration_s=hours * 3600.0,
            depth=depth,
            level3=level3,
            intensity=intensity,
        )
        batches = make(config)
        name = capture_id or f"synthetic-{seed}"
        manifest = _store_generated(batches, config, store, name, quiet)
        where, verdict = Path(store), ""
    facts: dict[str, Any] = {
        "store": str(where),
        "capture": manifest.capture_id,
        "events": manifest.n_events,
        "events_sha256": manifest.events_sha256,
        "bytes": sum(each.bytes for each in manifest.files),
    }
    if as_json:
        write_json("data.generate", facts)
        return
    write_pairs(
        [
            (name, f"{value:,}" if isinstance(value, int) else str(value))
            for name, value in facts.items()
        ]
    )
    if verdict:
        say(verdict)


def _store_generated(
    batches: Iterator[np.ndarray], config: Any, store: str, name: str, quiet: bool
) -> Manifest:
    from adapters.parquet.manifest import Channel
    from adapters.parquet.writer import CaptureWriter

    channels = [Channel(name="book", depth=config.depth)]
    if config.level3:
        channels.append(Channel(name="level3", depth=config.level3_depth))
    writer = CaptureWriter(
        store,
        name,
        config.instruments,
        channels=channels,
        source=f"synthetic market of engine/research/synthetic, seed {config.seed}, "
        f"{config.duration_s / 3600:g} h, intensity {config.intensity:g}",
        clock="ts is the receiver's, ts_venue the venue's; both are made",
        ts_is_receive_time=True,
        notes=("Synthetic: results on it prove nothing about markets.",),
        licence="Apache-2.0",
    )
    seconds = int(config.duration_s)
    with writer, ProgressReport("generate", "seconds of market", quiet) as shown:
        for batch in batches:
            writer.append(batch)
            ts = int(batch["ts"][-1])
            shown.update(max(0, (ts - config.start_ts) // 1_000_000_000), seconds, ts)
        return writer.close()


def make_sample(place: Path, quiet: bool) -> tuple[Manifest, Path, str]:
    """Make the bundled capture at `place`, or find that what is there is the same.

    returns its manifest, the place, and what was done, as a sentence
    """
    import shutil
    import tempfile

    from adapters.parquet.manifest import list_captures
    from engine.research.synthetic.bundled import BUNDLED, write_bundled

    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=".sample-"))
    try:
        manifest: Manifest = write_bundled(
            lambda _, batches: _store_generated(
                batches, BUNDLED, str(folder / "new"), SAMPLE_ID, quiet
            )
        )
        before = []
        if place.is_dir():
            with contextlib.suppress(Exception):  # damaged: it is replaced
                before = list_captures(place)
        if [each.digest for each in before] == [manifest.digest]:
            return manifest, place, f"{place} was the same to the byte: nothing changed."
        if place.exists():
            place.rename(folder / "old")
        (folder / "new").rename(place)
        return manifest, place, f"{place} was {'replaced' if before else 'made'}."
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@app.command("ls", short_help="List the captures of a store.")
def list_(store: StoreName = str(STORE), as_json: JsonFlag = False) -> None:
    """List the captures of a store: span, symbols, events, what their books can be trusted for.

    Example: kapitaalbot data ls datasets/sample
    """
    from adapters.parquet.manifest import list_captures
    from engine.clock import utc_text

    captures = list_captures(store)
    if as_json:
        write_json("data.ls", {"store": store, "captures": [_facts(each) for each in captures]})
        return
    if not captures:
        say(f"{store} holds no capture. Make one: `kapitaalbot data generate`.")
        return
    write_table(
        ("capture", "venue", "first", "last", "symbols", "channels", "events", "gaps", "MB"),
        [
            (
                each.capture_id,
                each.venue,
                utc_text(each.ts_first)[:19],
                utc_text(each.ts_last)[:19],
                _shortened([one["symbol"] for one in each.instruments]),
                ", ".join(each.channels),
                each.n_events,
                len(each.gaps),
                round(sum(file.bytes for file in each.files) / 1e6, 1),
            )
            for each in captures
        ],
    )


def _shortened(symbols: list[str], n_most: int = 4) -> str:
    more = f" and {len(symbols) - n_most} more" if len(symbols) > n_most else ""
    return ", ".join(symbols[:n_most]) + more


def _facts(manifest: Manifest) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    return facts


app.command("gaps", short_help="List the gaps of captures.")(care.gaps)
app.command("compact", short_help="Join the parts of a recording.")(care.compact)
app.command("retain", short_help="Delete old captures by age or size.")(care.retain)


@app.command(short_help="Prove that a store is whole.")
def check(
    store: StoreName = str(STORE),
    capture_id: CaptureId = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep/--quick", help="Also replay the books: checksums, crossed moments, level 3."
        ),
    ] = True,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Prove that a store is whole, or name its first defect: file, row, what is wrong.

    Leaves with 4 on a defect. Example: kapitaalbot data check datasets/sample
    """
    import dataclasses

    from adapters.parquet.check import check_store

    with ProgressReport("check", "events", quiet) as shown:
        report = check_store(
            store, capture_id, deep, progress=lambda _, n_events: shown.update(n_events, 0)
        )
    if as_json:
        write_json("data.check", {"ok": report.ok, **dataclasses.asdict(report)})
    else:
        rows = [
            ("captures", ", ".join(report.captures) or "none"),
            ("files", f"{report.n_files:,}, {report.n_bytes / 1e6:,.1f} MB"),
            ("events", f"{report.n_events:,}"),
        ]
        if report.deep:
            rows.append(
                (
                    "checksums",
                    f"{report.n_verified:,} right, {report.n_failed:,} known to have failed, "
                    f"{report.n_absent:,} messages without one",
                )
            )
            rows.append(("crossed books", f"{report.n_crossed:,}"))
        rows += [("note", note) for note in report.notes]
        rows.append(("verdict", "no defect" if report.ok else "defect"))
        write_pairs(rows)
    if report.defect is not None:
        found = report.defect
        where = found.place if found.row is None else f"{found.place}, row {found.row}"
        raise DataError(f"{where}: {found.text}.", found.hint)


@app.command(short_help="Ask captures in SQL.")
def sql(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Cold store.", show_default=False)],
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="One SQL query.", show_default=False)
    ],
    capture_id: CaptureId = None,
    limit: Annotated[int, typer.Option(help="Most rows printed; 0: all.", min=0)] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Ask captures in SQL (DuckDB): views events, book, trades, tickers, captures, files, gaps.

    Example: kapitaalbot data sql datasets/sample "SELECT symbol, count(*) FROM trades GROUP BY 1"
    """
    from adapters.parquet.catalog import connect

    connection = connect(store, capture_id)
    import duckdb

    try:
        answer = connection.execute(query)
        columns = [each[0] for each in answer.description or ()]
        rows = answer.fetchmany(limit + 1) if limit else answer.fetchall()
    except duckdb.Error as error:
        raise ConfigError(
            f"the query cannot be answered: {str(error).partition(chr(10))[0]}",
            "`SHOW TABLES` and `DESCRIBE trades` tell what there is.",
        ) from error
    more = bool(limit) and len(rows) > limit
    rows = rows[:limit] if more else rows
    if as_json:
        write_json(
            "data.sql", {"columns": columns, "rows": [list(row) for row in rows], "more": more}
        )
        return
    write_table(columns, [[_cell(value) for value in row] for row in rows])
    if more:
        say(f"and more than {limit} rows: --limit 0 prints all.")


def _cell(value: Any) -> Any:
    # A year or an id is not a count: integers of a query are printed as they are.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
