"""`kapitaalbot data fetch-trades`: the history of a pair from Kraken's REST into the cold store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.options import JsonFlag, QuietFlag
from adapters.cli.output import say, write_json, write_pairs
from adapters.cli.progress import ProgressReport
from engine.errors import ConfigError, DataError, RefusedError, VenueError

if TYPE_CHECKING:
    from adapters.kraken.history import Fetch, Plan
    from adapters.parquet.manifest import Manifest

KRAKEN = "https://api.kraken.com"


def fetch_trades(
    symbol: Annotated[
        str, typer.Argument(metavar="SYMBOL", help="The pair, as in BTC/USD.", show_default=False)
    ],
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="First moment, as in 2025-11-01 or 2025-11-01T12:00:00 (UTC); `start` for all.",
            show_default=False,
        ),
    ],
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Last moment.", show_default="when it was started"),
    ] = None,
    store: Annotated[
        str, typer.Option("--store", help="Cold store: a folder or an address.")
    ] = "store",
    capture_id: Annotated[
        str | None,
        typer.Option("--id", help="Name of the capture.", show_default="trades-SYMBOL-SINCE"),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pages on the way; needed where the store is not a local folder.",
            show_default="_fetch in the store",
        ),
    ] = None,
    url: Annotated[str, typer.Option(help="Kraken's address, or that of a local venue.")] = KRAKEN,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Fetch the trades of a pair, page by page, and store them as a capture.

    Kraken gives 1,000 trades a second, no account needed. Each page is kept as it comes: after an
    interruption the same command goes on where it stopped. Example:
    kapitaalbot data fetch-trades BTC/USD --since 2025-11-01 --until 2025-11-02
    """
    from adapters.kraken.history import Fetch
    from adapters.parquet.store import Store, manifest_path
    from engine.clock import WallClock, utc_stamp
    from engine.instruments import canonical_symbol, path_symbol

    pair = canonical_symbol(symbol)
    since_ns = 0 if since == "start" else _time(since, "--since")
    until_ns = WallClock().now() if until is None else _time(until, "--until")
    name = capture_id or f"trades-{path_symbol(pair)}-{utc_stamp(since_ns)}"
    target = Store(store)
    if target.exists(manifest_path(name)):
        raise RefusedError(
            f"the store {store} already has a capture {name!r}.",
            "Give another --since to go on after it, or another --id.",
        )
    if work is None and target.local is None:
        raise ConfigError(f"the store {store} is not a local folder.", "Name a folder with --work.")
    folder = (work if work is not None else Path(target.local or "") / "_fetch") / name
    with Fetch(folder) as fetch:
        resumed = fetch.plan() is not None
        if resumed and not quiet:
            say(f"going on with the fetch in {folder}.")
        try:
            plan = asyncio.run(_fetch(fetch, url, pair, since_ns, until_ns, quiet))
        except (KeyboardInterrupt, VenueError):
            say(f"{len(fetch.pages()):,} pages are kept in {folder}: the same command goes on.")
            raise
        if until is not None and plan.until_ns != until_ns:
            say("the fetch was started with another --until, which holds.")
        manifest, facts = _store_pages(fetch, plan, store, name, quiet)
        fetch.remove()
    if as_json:
        write_json("data.fetch-trades", facts)
        return
    write_pairs(
        [
            (key, f"{value:,}" if isinstance(value, int) else str(value))
            for key, value in facts.items()
        ]
    )
    for gap in manifest.gaps:
        say(f"gap: trades are missing before seq {gap.seq} ({gap.cause}).")


def _time(text: str, option: str) -> int:
    from engine.config import parse_time

    try:
        moment = parse_time(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} {text!r} is not a time.", "Write it as in 2025-11-01T12:00:00."
        ) from error
    assert moment is not None
    return moment


async def _fetch(
    fetch: Fetch, url: str, symbol: str, since_ns: int, until_ns: int, quiet: bool
) -> Plan:
    from adapters.kraken.rest import Rest

    async with Rest(url) as rest:
        plan = await fetch.begin(rest, symbol, since_ns, until_ns)
        with ProgressReport("fetch", "seconds of market", quiet) as shown:

            def report(n_trades: int, ts: int) -> None:
                # A fetch of everything has no known beginning: the bar starts at the first trade.
                begin = plan.since_ns or ts
                whole = max(1, plan.until_ns - begin)
                done = min(max(0, ts - begin), whole)
                shown.update(done // 1_000_000_000, whole // 1_000_000_000, ts)

            await fetch.run(rest, plan, report)
        return plan


def _store_pages(
    fetch: Fetch, plan: Plan, store: str, name: str, quiet: bool
) -> tuple[Manifest, dict[str, int | str]]:
    """The pages as one capture, and what to tell about it."""
    from adapters.cli.data import store_import
    from adapters.imports.instruments import instruments_from_asset_pairs
    from adapters.imports.kraken_rest import read
    from engine.clock import utc_text

    pages = fetch.pages()
    if not fetch.has_trades(plan):
        fetch.remove()
        raise DataError(
            f"{plan.symbol} has no trades from {utc_text(plan.since_ns)} to "
            f"{utc_text(plan.until_ns)}.",
            "Choose another stretch of time.",
        )
    source = read(
        list(pages),
        symbol=plan.symbol,
        instruments=instruments_from_asset_pairs(fetch.asset_pairs),
        until_ns=plan.until_ns,
        finer=True,
    )
    source.source = (
        f"Kraken REST Trades of {plan.symbol}, {utc_text(plan.since_ns)} to "
        f"{utc_text(plan.until_ns)}, {len(pages)} pages"
    )
    manifest = store_import(source, store, name, "count", quiet)
    account = source.summary
    return manifest, {
        "store": store,
        "capture": name,
        "pages": len(pages),
        "trades": account.rows_used["trade"],
        "rejected": account.n_rejected,
        "gaps": len(manifest.gaps),
        "from": utc_text(manifest.ts_first),
        "to": utc_text(manifest.ts_last),
    }
