"""What does the mirror hold? Its tables, made from the definitions of the run's tables and events.

Every recorded column stands with its integer; beside it what a person reads: the symbol, the exact
decimal of ticks, lots and money, the name of a code, the time. Left out: SQL of the schema
(schema.py, migrations/), transactions (store.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np

from engine import events
from engine.commands import COMMAND_NAMES
from engine.core.records import TABLES
from engine.core.routes import ENTRY_NAMES, HORIZONS_S
from engine.events import (
    BALANCE,
    HEALTH,
    KIND_NAMES,
    LAST,
    MODE,
    NO_SYMBOL,
    OPERATOR,
    ORDER_COMMAND,
)
from engine.flow.journal import commands_of
from engine.reports.columns import (
    CANCEL_NAMES,
    REJECT_NAMES,
    SIDE_NAMES,
    FamilyRule,
    Frame,
    MoneyRule,
    NameRule,
    OrderReasonRule,
    RouteRule,
    Rule,
    SecondsRule,
    StepRule,
    SymbolRule,
    TimeRule,
    codes,
    companions,
    table_columns,
)
from engine.units import from_money

# Of the run's tables those that people ask of orders and money; a table that this version of the
# engine does not record is left out.
RUN_TABLES: Final[tuple[str, ...]] = tuple(
    name
    for name in (
        *("orders", "fills", "positions", "realized", "balances", "decisions"),
        *("recoveries", "modes"),
    )
    if name in TABLES
)
COMMANDS: Final = "commands"
EVENTS: Final = "events"

# Facts of the shell about the account; the others are about the market and stay in the log.
HEALTH_FIRST: Final = events.HEALTH_SUSPECT
HEALTH_LAST: Final = events.HEALTH_STOPPING

# Words that SQL keeps for itself.
RENAMED: Final = {"order": "order_id", "exec": "exec_id", "check": "check_code"}

Cells = Callable[[np.ndarray, Frame], list[Any]]


class MirrorColumn(NamedTuple):
    """One column of a mirror table.

    type : of PostgreSQL; check : SQL that must hold, "" none
    cells : its values from rows; None for a column that the database makes of `source`
    """

    name: str
    type: str
    check: str
    cells: Cells | None
    source: str = ""


# --- which events ------------------------------------------------------------------------------


def is_mirrored(rows: np.ndarray) -> np.ndarray:
    """bool[n]: which EVENT rows have a row in the mirror, commands included."""
    kind = rows["kind"]
    orders = (kind >= events.ORDER_SENT) & (kind <= BALANCE)
    people = (kind == MODE) | (kind == OPERATOR)
    health = (kind == HEALTH) & (rows["id"] >= HEALTH_FIRST) & (rows["id"] <= HEALTH_LAST)
    return np.asarray(orders | people | health)


def n_open_command(rows: np.ndarray) -> int:
    """How many rows at the end belong to a command whose last record has not come yet."""
    n = 0
    while n < len(rows):
        row = rows[len(rows) - 1 - n]
        if row["kind"] != ORDER_COMMAND or row["flags"] & LAST:
            break
        n += 1
    return n


# --- cells -------------------------------------------------------------------------------------


def _integers(name: str) -> Cells:
    return lambda rows, frame: rows[name].tolist()


def _floats(name: str) -> Cells:
    return lambda rows, frame: [None if math.isnan(x) else x for x in rows[name].tolist()]


def _named(name: str, names: Any) -> Cells:
    return lambda rows, frame: [names.get(code) for code in rows[name].tolist()]


def _symbols(rows: np.ndarray, frame: Frame) -> list[Any]:
    symbols = frame.symbols
    return [symbols[i] if 0 <= i < len(symbols) else None for i in rows["sym"].tolist()]


def _money(name: str) -> Cells:
    return lambda rows, frame: [from_money(each) for each in rows[name].tolist()]


def _steps(name: str, unit: str) -> Cells:
    def cells(rows: np.ndarray, frame: Frame) -> list[Any]:
        table = frame.instruments
        if unit == "lots":
            sizes = [each.qty_increment for each in table]
        elif unit == "ticks":
            sizes = [each.price_increment for each in table]
        else:
            sizes = [each.price_increment * Decimal("0.5") for each in table]
        pairs = zip(rows["sym"].tolist(), rows[name].tolist(), strict=True)
        return [n * sizes[i] if 0 <= i < len(sizes) else None for i, n in pairs]

    return cells


def _families(name: str) -> Cells:
    return lambda rows, frame: [frame.families.get(code) for code in rows[name].tolist()]


def _routes(name: str) -> Cells:
    def text(key: int, frame: Frame) -> str | None:
        if key <= 0:
            return None
        key -= 1
        family = frame.families.get(key // 1024 % 256)
        i_horizon = key // 64 % 16
        entry = ENTRY_NAMES.get(key // 4 % 16)
        if family is None or entry is None or i_horizon >= len(HORIZONS_S):
            return None
        return f"{family} {HORIZONS_S[i_horizon]}s {entry}" + (" short" if key // 2 % 2 else "")

    return lambda rows, frame: [text(key, frame) for key in rows[name].tolist()]


def _order_reasons(rows: np.ndarray, frame: Frame) -> list[Any]:
    names: dict[int, Any] = {}
    for causes, some in OrderReasonRule._GROUPS:
        names |= dict.fromkeys(causes, some)
    pairs = zip(rows["cause"].tolist(), rows["reason"].tolist(), strict=True)
    return [names.get(cause, {}).get(reason) for cause, reason in pairs]


def _assets(rows: np.ndarray, frame: Frame) -> list[Any]:
    bases = [each.base for each in frame.instruments]
    quote = frame.instruments[0].quote if bases else None
    return [quote if sym == NO_SYMBOL else bases[sym] for sym in rows["sym"].tolist()]


def _amounts(name: str) -> Cells:
    """Lots of a coin or money of the quote currency, as `sym` says."""

    def cells(rows: np.ndarray, frame: Frame) -> list[Any]:
        sizes = [each.qty_increment for each in frame.instruments]
        pairs = zip(rows["sym"].tolist(), rows[name].tolist(), strict=True)
        return [from_money(n) if sym == NO_SYMBOL else n * sizes[sym] for sym, n in pairs]

    return cells


# NaN stands above every number in PostgreSQL's order, so a bound refuses it, and infinities too.
def _finite(name: str) -> str:
    return f"{name} > -1e30 AND {name} < 1e30"


def _companion(rule: Rule) -> MirrorColumn | None:
    name, source = rule.name, rule.source
    if isinstance(rule, TimeRule):
        return MirrorColumn(name, "timestamp with time zone", "", None, RENAMED.get(source, source))
    if isinstance(rule, SecondsRule):
        return None
    if isinstance(rule, MoneyRule):
        return MirrorColumn(name, "numeric", _finite(name), _money(source))
    if isinstance(rule, StepRule):
        return MirrorColumn(name, "numeric", _finite(name), _steps(source, rule.unit))
    cells: Cells
    if isinstance(rule, SymbolRule):
        cells = _symbols
    elif isinstance(rule, FamilyRule):
        cells = _families(source)
    elif isinstance(rule, NameRule):
        cells = _named(source, rule.names)
    elif isinstance(rule, RouteRule):
        cells = _routes(source)
    elif isinstance(rule, OrderReasonRule):
        cells = _order_reasons
    else:
        raise TypeError(
            f"mirror column {name}: no text for a {type(rule).__name__}; add its cells to this list"
        )
    return MirrorColumn(name, "text", "", cells)


def _recorded(table: str) -> list[MirrorColumn]:
    columns = []
    for each in table_columns(table):
        name = RENAMED.get(each.name, each.name)
        if each.type == "f8":
            check = f"{name} <> 'NaN'"
            columns.append(MirrorColumn(name, "double precision", check, _floats(each.name)))
            continue
        check = ""
        if name == "ts":
            check = "ts > 0 AND ts < 4611686018427387904"
        elif name == "side":
            check = "side IN (-1, 0, 1)"
        columns.append(MirrorColumn(name, "bigint", check, _integers(each.name)))
    made = [_companion(rule) for rule in companions(table)]
    columns += [each for each in made if each is not None]
    if table == "balances":
        columns.append(MirrorColumn("asset", "text", "", _assets))
        for source in ("told", "own", "foreign_part", "difference"):
            name = f"{source}_amount"
            columns.append(MirrorColumn(name, "numeric", _finite(name), _amounts(source)))
    return columns


# --- events ------------------------------------------------------------------------------------

_WITH_PRICE: Final = (
    *(events.ORDER_ACK, events.ORDER_FILL, events.ORDER_AMENDED, events.ORDER_TRIGGERED),
    *(events.ORDER_PENDING, events.ORDER_TRAILED),
)
_WITH_QTY: Final = (
    *(events.ORDER_ACK, events.ORDER_FILL, events.ORDER_AMENDED, events.ORDER_CANCELED),
    *(events.ORDER_EXPIRED, events.ORDER_FILLED),
)
_REJECTS: Final = (events.ORDER_REJECT, events.CANCEL_REJECT, events.AMEND_REJECT)
MODE_NAMES: Final = codes(events, "MODE_")
OPERATOR_NAMES: Final = codes(events, "OPERATOR_")
HEALTH_NAMES: Final = codes(events, "HEALTH_")


# Values of Python, column by column: a field of a numpy record costs ten times as much.


def _of(rows: np.ndarray, *names: str) -> Any:
    return zip(*(rows[name].tolist() for name in names), strict=True)


def _event_price(rows: np.ndarray, frame: Frame) -> list[Any]:
    sizes = [each.price_increment for each in frame.instruments]
    return [
        price * sizes[sym]
        if sym >= 0
        and price != 0
        and (kind in _WITH_PRICE or (kind == HEALTH and key == events.HEALTH_FOREIGN))
        else None
        for kind, sym, price, key in _of(rows, "kind", "sym", "price", "id")
    ]


def _event_qty(rows: np.ndarray, frame: Frame) -> list[Any]:
    sizes = [each.qty_increment for each in frame.instruments]
    return [
        qty * sizes[sym]
        if sym >= 0
        and (
            kind in _WITH_QTY
            or kind == BALANCE
            or (kind == HEALTH and key == events.HEALTH_FOREIGN)
        )
        else None
        for kind, sym, qty, key in _of(rows, "kind", "sym", "qty", "id")
    ]


def _event_money(rows: np.ndarray, frame: Frame) -> list[Any]:
    return [
        from_money(qty)
        if kind == events.ORDER_FEE or (kind == BALANCE and sym == NO_SYMBOL)
        else None
        for kind, sym, qty in _of(rows, "kind", "sym", "qty")
    ]


def _event_asset(rows: np.ndarray, frame: Frame) -> list[Any]:
    bases = [each.base for each in frame.instruments]
    quotes = [each.quote for each in frame.instruments]
    return [
        None if kind != BALANCE else quotes[0] if sym == NO_SYMBOL else bases[sym]
        for kind, sym in _of(rows, "kind", "sym")
    ]


def _event_code(kind: int, key: int, aux: int) -> str | None:
    if kind in _REJECTS:
        return REJECT_NAMES.get(aux)
    if kind == events.ORDER_CANCELED:
        return CANCEL_NAMES.get(aux)
    if kind == events.ORDER_SENT:
        return COMMAND_NAMES.get(aux)
    if kind == MODE:
        return MODE_NAMES.get(aux)
    if kind == OPERATOR:
        return OPERATOR_NAMES.get(key)
    if kind == HEALTH:
        return HEALTH_NAMES.get(key)
    return None


def _event_codes(rows: np.ndarray, frame: Frame) -> list[Any]:
    return [_event_code(*each) for each in _of(rows, "kind", "id", "aux")]


def _event_whys(rows: np.ndarray, frame: Frame) -> list[Any]:
    return [
        events.WHY_NAMES.get(qty) if kind == MODE else None
        for kind, qty in _of(rows, "kind", "qty")
    ]


def _event_columns() -> list[MirrorColumn]:
    def plain(name: str, type_: str, check: str = "") -> MirrorColumn:
        return MirrorColumn(name, type_, check, _integers(name))

    return [
        plain("ts", "bigint", "ts > 0 AND ts < 4611686018427387904"),
        plain("ts_venue", "bigint", "ts_venue >= 0 AND ts_venue < 4611686018427387904"),
        plain("kind", "smallint"),
        plain("sym", "smallint"),
        plain("side", "smallint", "side IN (-1, 0, 1)"),
        *(plain(name, "bigint") for name in ("price", "qty", "id", "aux")),
        plain("flags", "integer"),
        MirrorColumn("time", "timestamp with time zone", "", None, "ts"),
        MirrorColumn("time_venue", "timestamp with time zone", "", None, "ts_venue"),
        MirrorColumn("kind_name", "text", "", _named("kind", KIND_NAMES)),
        MirrorColumn("symbol", "text", "", _symbols),
        MirrorColumn("side_name", "text", "", _named("side", SIDE_NAMES)),
        MirrorColumn("price_quote", "numeric", _finite("price_quote"), _event_price),
        MirrorColumn("qty_base", "numeric", _finite("qty_base"), _event_qty),
        MirrorColumn("money_quote", "numeric", _finite("money_quote"), _event_money),
        MirrorColumn("asset", "text", "", _event_asset),
        MirrorColumn("code_name", "text", "", _event_codes),
        MirrorColumn("why_name", "text", "", _event_whys),
    ]


COLUMNS: Final[dict[str, tuple[MirrorColumn, ...]]] = {
    EVENTS: tuple(_event_columns()),
    COMMANDS: tuple(_recorded(COMMANDS)),
    **{table: tuple(_recorded(table)) for table in RUN_TABLES},
}
# What names a row beside the log: its place in the log, or its number in the run's table.
KEYS: Final[dict[str, tuple[str, ...]]] = {
    EVENTS: ("seq",),
    COMMANDS: ("seq", "seq_last"),
    **{table: ("row_n", "seq") for table in RUN_TABLES},
}


# --- rows to arrays ----------------------------------------------------------------------------


def cells_of(
    table: str, keys: Sequence[list[int]], rows: np.ndarray, frame: Frame
) -> list[list[Any]]:
    """One list per column that is written: keys first, then COLUMNS in order."""
    return [
        *keys,
        *(each.cells(rows, frame) for each in COLUMNS[table] if each.cells is not None),
    ]


def event_cells(rows: np.ndarray, frame: Frame) -> list[list[Any]]:
    """Columns of `events` of mirrored EVENT rows that are no commands."""
    return cells_of(EVENTS, [rows["seq"].tolist()], rows, frame)


def command_cells(rows: np.ndarray, frame: Frame) -> list[list[Any]]:
    """Columns of `commands` of ORDER_COMMAND rows, whole commands only."""
    commands = commands_of(rows)
    seqs = [rows["seq"][::3].tolist(), rows["seq"][2::3].tolist()]
    return cells_of(COMMANDS, seqs, commands, frame)


def led_to_orders(rows: np.ndarray) -> np.ndarray:
    """bool[n]: which rows of `decisions` named an order."""
    return np.asarray(rows["command"] != 0)


# --- statements --------------------------------------------------------------------------------

_ARRAYS: Final = {"timestamp with time zone": "timestamptz"}


def _insert(table: str) -> str:
    written = [(name, "bigint") for name in KEYS[table]]
    written += [(each.name, each.type) for each in COLUMNS[table] if each.cells is not None]
    names = ", ".join(name for name, _ in written)
    arrays = ", ".join(
        f"${i}::{_ARRAYS.get(type_, type_)}[]" for i, (_, type_) in enumerate(written, 2)
    )
    return (
        f"INSERT INTO {table} (log_id, {names}) SELECT $1::text, * FROM unnest({arrays}) "
        f"ON CONFLICT (log_id, {KEYS[table][0]}) DO NOTHING"
    )


def _select(table: str) -> str:
    names = [*KEYS[table], *(each.name for each in COLUMNS[table] if each.cells is not None)]
    key = KEYS[table][0]
    return (
        f"SELECT {', '.join(names)} FROM {table} "
        f"WHERE log_id = $1 AND {key} >= $2 ORDER BY {key} LIMIT $3"
    )


# The only text that becomes SQL here are names of columns and tables of the code above.
INSERTS: Final = {table: _insert(table) for table in COLUMNS}
SELECTS: Final = {table: _select(table) for table in COLUMNS}


def frame_of(instruments: Any, families: Any) -> Frame:
    """What rows are read against."""
    return Frame(instruments, families)


def names_written() -> Iterable[str]:
    """Every identifier that the statements above hold, for the test of their form."""
    for table, columns in COLUMNS.items():
        yield table
        yield from KEYS[table]
        yield from (each.name for each in columns)
