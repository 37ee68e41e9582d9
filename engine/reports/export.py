"""What may other programs read of a run, and what does each number mean? Versioned JSON documents.

Six documents: how it stands, its universe, its routes, positions, equity and the health of its data. Each is a
type here, and its JSON Schema is made from the type. Amounts of money and quantities are private: without leave
they are null, and shares and an index stand for them. The same run gives the same bytes. Left out: where they are
written (adapters/publish.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from engine import events
from engine.clock import utc_text
from engine.core import records
from engine.core.positions import POSITION_CLOSED, POSITION_NAMES, POSITION_NONE
from engine.core.protection import COVER_NAMES
from engine.core.records import EXECUTE, REASONS
from engine.core.regime import REGIME_NAMES
from engine.core.universe import UNIVERSE_REASONS
from engine.instruments import InstrumentTable
from engine.reports.columns import codes
from engine.reports.pairs import family_frame
from engine.units import MONEY_PER_UNIT

if TYPE_CHECKING:
    import polars as pl

Tables = Callable[[str], "pl.LazyFrame"]
POINTS_MAX: Final = 1_500  # of the equity curve
# Tables that documents are made of.
READ: Final = (
    *("evaluations", "decisions", "candidates", "fills", "realized", "positions", "equity"),
    *("health", "universe", "blockers"),
)
# Reasons whose nearest miss is an amount of ours.
_TELLING: Final = frozenset(
    REASONS[code][0]
    for code in (
        *(records.THIN_TOUCH, records.RISK_VETO, records.EXPOSURE_CAP, records.INVENTORY_CAP),
        *(records.LOSS_THROTTLE, records.SIZE_BELOW_MIN, records.CAPITAL_EXHAUSTED),
    )
)
MODES: Final = codes(events, "MODE_")


class Document(msgspec.Struct, kw_only=True):
    """What every document begins with."""

    kind: Annotated[str, Meta(description="kapitaalbot.document.NAME")]
    version: Annotated[int, Meta(description="of this schema; a reader refuses another one")]
    run: Annotated[str, Meta(description="id of the run")]
    mode: Annotated[str, Meta(description="replay, shadow, paper or live")]
    ended: Annotated[bool, Meta(description="whether the run is over")]
    time: Annotated[str | None, Meta(description="newest evaluation, UTC")]
    quote: Annotated[str, Meta(description="currency of every amount")]
    amounts: Annotated[bool, Meta(description="whether private amounts are shown")]


class Status(Document, kw_only=True):
    """How the run stands."""

    digest: Annotated[str | None, Meta(description="of an ended run: same digest, same decisions")]
    engine_mode: Annotated[
        str | None, Meta(description="mode of the engine: normal, exit_only ...")
    ]
    evaluations: Annotated[int, Meta(description="so far")]
    symbols: Annotated[int, Meta(description="pairs looked at")]
    symbols_ready: Annotated[int, Meta(description="of them, whose data passed at the newest one")]
    blocker: Annotated[str | None, Meta(description="what most pairs met then")]
    entries: Annotated[int, Meta(description="evaluations that entered")]
    fills: Annotated[int, Meta(description="so far")]
    round_trips: Annotated[int, Meta(description="positions opened and closed again")]
    won: Annotated[int, Meta(description="of them, with a profit after fees")]
    positions: Annotated[int, Meta(description="open")]
    orders: Annotated[int, Meta(description="working")]
    volume: Annotated[float | None, Meta(description="private: traded so far")]
    fees: Annotated[float | None, Meta(description="private: paid so far")]
    net: Annotated[float | None, Meta(description="private: profit of the round trips after fees")]


class Member(msgspec.Struct, kw_only=True):
    """One pair of the universe."""

    symbol: Annotated[str, Meta(description="pair")]
    member: Annotated[bool, Meta(description="may take entries")]
    reason: Annotated[str | None, Meta(description="why it is in or out, where that was decided")]
    rank: Annotated[int | None, Meta(description="its rank, where it has one")]
    since: Annotated[str | None, Meta(description="when that was decided, UTC")]


class Universe(Document, kw_only=True):
    """Which pairs may be traded."""

    universe_version: Annotated[int, Meta(description="0 where nothing was ever changed")]
    pairs: Annotated[list[Member], Meta(description="every pair of the run")]


class Route(msgspec.Struct, kw_only=True):
    """One family in one pair, over the whole run."""

    symbol: Annotated[str, Meta(description="pair")]
    family: Annotated[str, Meta(description="route family")]
    candidates: Annotated[int, Meta(description="considered; a sampled row counts its weight")]
    active: Annotated[int, Meta(description="in which the family saw an opportunity")]
    entries: Annotated[int, Meta(description="that became orders")]
    edge_best_bps: Annotated[float | None, Meta(description="best net edge recorded")]
    blocker: Annotated[str | None, Meta(description="what stopped most of them")]
    blocker_share: Annotated[float | None, Meta(description="its share of those stopped, 0..1")]
    nearest: Annotated[
        str | None, Meta(description="what would have to change; private where it tells a size")
    ]


class Routes(Document, kw_only=True):
    """What each family made of each pair."""

    routes: Annotated[list[Route], Meta(description="by pair and family")]


class Position(msgspec.Struct, kw_only=True):
    """One open position."""

    symbol: Annotated[str, Meta(description="pair")]
    state: Annotated[str, Meta(description="opening, open, reducing or closing")]
    since: Annotated[str, Meta(description="first fill, UTC")]
    coverage: Annotated[str, Meta(description="how far a stop protects it")]
    stop: Annotated[float | None, Meta(description="price of the stop")]
    target: Annotated[float | None, Meta(description="price of the target")]
    qty: Annotated[float | None, Meta(description="private: what is held, base currency")]
    cost: Annotated[float | None, Meta(description="private: what it cost, fees included")]


class Positions(Document, kw_only=True):
    """What is held."""

    positions: Annotated[list[Position], Meta(description="open ones, in the order of the pairs")]


class Point(msgspec.Struct, kw_only=True):
    """One moment of the equity curve."""

    time: Annotated[str, Meta(description="UTC")]
    index: Annotated[float | None, Meta(description="equity / equity at the first point")]
    drawdown: Annotated[float | None, Meta(description="fall from the highest equity, 0..1 of it")]
    exposure: Annotated[float | None, Meta(description="money in positions and entries / equity")]
    equity: Annotated[float | None, Meta(description="private: equity")]


class Equity(Document, kw_only=True):
    """How equity went."""

    points: Annotated[
        list[Point], Meta(description=f"oldest first, at most {POINTS_MAX}, the newest among them")
    ]


class Feed(msgspec.Struct, kw_only=True):
    """The data of one pair."""

    symbol: Annotated[str, Meta(description="pair")]
    time: Annotated[str, Meta(description="when it was looked at, UTC")]
    verified: Annotated[bool, Meta(description="its book is whole and proven")]
    book_age_s: Annotated[float | None, Meta(description="age of the newest book message")]
    spread_bps: Annotated[float | None, Meta(description="spread")]
    regime: Annotated[str, Meta(description="regime in force")]
    messages: Annotated[int, Meta(description="book messages so far")]
    trades: Annotated[int, Meta(description="trades so far")]
    gaps: Annotated[int, Meta(description="interruptions so far")]
    checksums_failed: Annotated[int, Meta(description="so far")]
    crossed: Annotated[int, Meta(description="messages that left the book crossed, so far")]


class Health(Document, kw_only=True):
    """Whether the data is what it should be."""

    feeds: Annotated[list[Feed], Meta(description="one per pair")]


DOCUMENTS: Final[dict[str, type[Document]]] = {
    "status": Status,
    "universe": Universe,
    "routes": Routes,
    "positions": Positions,
    "equity": Equity,
    "health": Health,
}
VERSION: Final = 1


def schema_of(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of one document."""
    found = msgspec.json.schema(DOCUMENTS[name])
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"kapitaalbot.document.{name}, version {VERSION}",
    }
    return head | found


def encoded(document: Document) -> bytes:
    """A document as bytes: readable, what every document begins with first."""
    plain = msgspec.to_builtins(document)
    head = [each.name for each in msgspec.structs.fields(Document)]
    ordered = {name: plain[name] for name in (*head, *(each for each in plain if each not in head))}
    return msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n"


def _iso(ts: int) -> str:
    return utc_text(ts).replace(" UTC", "Z").replace(" ", "T")


@dataclass(frozen=True)
class Source:
    """What documents are made of. tables : recorded columns, NaN as null (those of READ)"""

    run: str
    mode: str
    ended: bool
    digest: str | None
    quote: str
    tables: Tables
    instruments: InstrumentTable
    config: Mapping[str, Any]
    families: Mapping[int, str]


def documents(source: Source, amounts: bool = False) -> dict[str, Document]:
    """Every document by its name. amounts : show private amounts"""
    newest = _newest(source)
    head: dict[str, Any] = {
        "version": VERSION,
        "run": source.run,
        "mode": source.mode,
        "ended": source.ended,
        "time": None if newest is None else _iso(newest["ts"]),
        "quote": source.quote,
        "amounts": amounts,
    }
    parts: dict[str, dict[str, Any]] = {
        "status": _status(source, newest, amounts),
        "universe": _universe(source),
        "routes": {"routes": _routes(source, amounts)},
        "positions": {"positions": _positions(source, amounts)},
        "equity": {"points": _points(source, amounts)},
        "health": {"feeds": _feeds(source)},
    }
    return {
        name: DOCUMENTS[name](kind=f"kapitaalbot.document.{name}", **head, **part)
        for name, part in parts.items()
    }


def _newest(source: Source) -> dict[str, Any] | None:
    rows = source.tables("evaluations").tail(1).collect().to_dicts()
    return rows[0] if rows else None


def _money(value: int | None) -> float:
    return (value or 0) / MONEY_PER_UNIT


def _status(source: Source, newest: dict[str, Any] | None, amounts: bool) -> dict[str, Any]:
    import polars as pl

    def one(table: str, *columns: pl.Expr) -> tuple[Any, ...]:
        return source.tables(table).select(*columns).collect().row(0)

    n, volume, fees = one("fills", pl.len(), pl.col("notional").sum(), pl.col("fee").sum())
    trips, won, net = one(
        "realized", pl.len(), (pl.col("net") > 0).sum().alias("won"), pl.col("net").sum()
    )
    (entries,) = one("decisions", (pl.col("outcome") == EXECUTE).sum())
    (evaluations,) = one("evaluations", pl.len())
    row = newest or {}
    return {
        "digest": source.digest,
        "engine_mode": MODES.get(row["mode"], str(row["mode"])) if row else None,
        "evaluations": evaluations,
        "symbols": len(source.instruments),
        "symbols_ready": row.get("n_ready", 0),
        "blocker": REASONS[row["blocker"]][0] if row else None,
        "entries": entries,
        "fills": n,
        "round_trips": trips,
        "won": won,
        "positions": row.get("n_positions", 0),
        "orders": row.get("n_open_orders", 0),
        "volume": _money(volume) if amounts else None,
        "fees": _money(fees) if amounts else None,
        "net": _money(net) if amounts else None,
    }


def _last_of_each(source: Source, table: str) -> dict[int, dict[str, Any]]:
    """The newest row of each instrument row."""
    frame = source.tables(table).group_by("sym", maintain_order=True).last().collect()
    return {row["sym"]: row for row in frame.to_dicts()}


def _universe(source: Source) -> dict[str, Any]:
    rows = _last_of_each(source, "universe")
    pairs = []
    for sym, symbol in enumerate(source.instruments.symbols):
        row = rows.get(sym)
        pairs.append(
            Member(
                symbol=symbol,
                member=row is None or row["member"] == 1,
                reason=None if row is None else UNIVERSE_REASONS.get(row["member_reason"]),
                rank=None if row is None else row["rank"] or None,
                since=None if row is None else _iso(row["ts"]),
            )
        )
    version = max((row["version"] for row in rows.values()), default=0)
    return {"universe_version": version, "pairs": pairs}


def _routes(source: Source, amounts: bool) -> list[Route]:
    frame = family_frame(source.tables, source.instruments, source.config, source.families)
    known = msgspec.structs.fields(Route)
    found = []
    for row in frame.iter_rows(named=True):
        route = Route(**{each.name: row[each.name] for each in known})
        if not amounts and route.blocker in _TELLING:
            route.nearest = None  # it would say how large our orders are
        found.append(route)
    return found


def _positions(source: Source, amounts: bool) -> list[Position]:
    found = []
    for sym, row in sorted(_last_of_each(source, "positions").items()):
        if row["state"] in (POSITION_NONE, POSITION_CLOSED) or not row["qty"]:
            continue
        pair = source.instruments[source.instruments.symbols[sym]]
        tick, lot = float(pair.price_increment), float(pair.qty_increment)
        found.append(
            Position(
                symbol=pair.symbol,
                state=POSITION_NAMES[row["state"]],
                since=_iso(row["opened_ts"]),
                coverage=COVER_NAMES[row["coverage"]],
                stop=row["stop"] * tick if row["stop"] else None,
                target=row["target"] * tick if row["target"] else None,
                qty=row["qty"] * lot if amounts else None,
                cost=_money(row["cost"]) if amounts else None,
            )
        )
    return found


def _points(source: Source, amounts: bool) -> list[Point]:
    columns = ("ts", "equity", "drawdown", "peak", "exposure")
    rows = source.tables("equity").select(*columns).collect().to_dicts()
    if not rows:
        return []
    first = rows[0]["equity"]
    step = -(-len(rows) // POINTS_MAX)
    kept = rows[(len(rows) - 1) % step :: step]  # evenly, and the newest among them
    return [
        Point(
            time=_iso(row["ts"]),
            index=_share(row["equity"], first),
            drawdown=_share(row["drawdown"], row["peak"]),
            exposure=_share(row["exposure"], row["equity"]),
            equity=_money(row["equity"]) if amounts else None,
        )
        for row in kept
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _feeds(source: Source) -> list[Feed]:
    return [
        Feed(
            symbol=source.instruments.symbols[sym],
            time=_iso(row["ts"]),
            verified=row["verified"] == 1,
            book_age_s=row["book_age_ns"] / 1e9 if row["book_age_ns"] >= 0 else None,
            spread_bps=row["spread_bps"],
            regime=REGIME_NAMES.get(row["regime"], str(row["regime"])),
            messages=row["n_messages"],
            trades=row["n_trades"],
            gaps=row["n_gaps"],
            checksums_failed=row["n_checksum_failed"],
            crossed=row["n_crossed"],
        )
        for sym, row in sorted(_last_of_each(source, "health").items())
    ]


def page() -> str:
    """docs/documents.md: every document with every field, made from the types."""
    parts = [PAGE_HEAD]
    for name, kind in DOCUMENTS.items():
        parts.append(f"## {name}.json\n\n{_first_line(kind)}\n\n{_field_table(kind, Document)}")
        for inner in _structs_within(kind):
            parts.append(f"Each of them, {_first_line(inner)[:1].lower()}{_first_line(inner)[1:]}\n\n"
                         f"{_field_table(inner)}")  # fmt: skip
    return "\n".join(parts)


def _first_line(kind: Any) -> str:
    return str(kind.__doc__).strip().partition("\n")[0]


def _structs_within(kind: Any) -> list[Any]:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    found = []
    for each in info.fields:
        inner: Any = each.type
        while isinstance(inner, msgspec.inspect.Metadata):
            inner = inner.type
        if isinstance(inner, msgspec.inspect.ListType):
            item: Any = inner.item_type
            found.append(item.cls)
    return found


def _field_table(kind: Any, without: Any = None) -> str:
    schema = msgspec.json.schema(kind)
    name = schema["$ref"].rpartition("/")[2]
    fields = schema["$defs"][name]["properties"]
    left_out = {each.name for each in msgspec.structs.fields(without)} if without else set()
    rows = [
        f"| `{field}` | {_kind_text(facts)} | {facts.get('description', '')} |"
        for field, facts in fields.items()
        if field not in left_out
    ]
    return "| field | type | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _kind_text(facts: Mapping[str, Any]) -> str:
    kinds = [facts] if "type" in facts else facts.get("anyOf", [])
    return " or ".join(each.get("type", "object") for each in kinds)


PAGE_HEAD: Final = """\
# Documents for other programs

`kapitaalbot run publish RUN --to PLACE` writes six JSON documents of a run, for a website or whatever else reads
JSON; also of a session that still runs, as far as its log goes. PLACE is a folder or an address (fsspec). Each file
appears whole or not at all; `index.json` comes last and names each with its sha256, so a reader that finds another
one reads again. `schema/` holds a JSON Schema for each, made from the same types as this page.

Amounts of money and quantities are private: they are null unless `--amounts` is given, and `equity.json` then has
an index and shares only. The same run gives the same bytes. A document's `version` rises when a field changes its
meaning or goes; new fields may come without.

## What each begins with

""" + _field_table(Document)
