"""Which columns does a person want beside the integers of a run's tables? Said once, for two engines.

Every recorded column keeps its name and its exact value, but an estimate that is NaN reads as null.
Beside it stands what it means: `ts` becomes `time`, `price` in ticks `price_quote`, `qty` in lots `qty_base`, `fee` in money `fee_quote`,
`hold_ns` `hold_s`, a code `<code>_name`, a route key `route_name`. The rules follow the units of
engine/core/records.py, so a new column of a table gets its companion by itself. Each rule renders
as a polars expression and as SQL for DuckDB; a test holds that both say the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Final

from engine import events
from engine.commands import (
    COMMAND,
    COMMAND_NAMES,
    ROLE_NAMES,
    TIF_NAMES,
    TYPE_NAMES,
)
from engine.core.adaptive import MARKET_NAMES
from engine.core.exits import EXIT_NAMES, PATH_NAMES, STYLE_NAMES, URGENCY_NAMES
from engine.core.fillprob import FILL_NAMES
from engine.core.ignition import IGNITION_NAMES
from engine.core.inventory import EVIDENCE_NAMES, QUALITY_NAMES
from engine.core.orderstates import ORDER_STATE_NAMES
from engine.core.positions import POSITION_NAMES
from engine.core.protection import COVER_NAMES
from engine.core.records import OUTCOME_NAMES, REASONS, TABLES, VERDICT_NAMES, Column
from engine.core.recoveries import RECOVERY_NAMES
from engine.core.regime import CHAOS_NAMES, EXPANSION_NAMES, REGIME_NAMES
from engine.core.risk import RISK_NAMES
from engine.core.routes import ENTRY_NAMES, FAMILY_NAMES, HORIZONS_S
from engine.core.routestate import ADVICE_NAMES, VIABILITY_NAMES
from engine.core.shadow import OUTCOME_STATUS_NAMES, TOUCH_NAMES
from engine.core.universe import UNIVERSE_REASONS
from engine.events import KIND_NAMES
from engine.instruments import InstrumentTable
from engine.units import MONEY_PER_UNIT

if TYPE_CHECKING:
    import polars as pl

CAUSE_COMMAND: Final = 100  # `cause` of an order row: a command's kind is counted from here

# Units of the columns of `commands`, whose record is engine.commands.COMMAND.
_COMMAND_UNITS: Final = {
    "ts": "ns",
    "route": "key",
    "price": "ticks",
    "trigger": "ticks",
    "qty": "lots",
    "expire_ts": "ns",
    "sym": "row",
    "kind": "code",
    "type": "code",
    "tif": "code",
    "role": "code",
}


def codes(module: ModuleType, prefix: str) -> dict[int, str]:
    """Names of a module's integer constants with `prefix`, lower case, prefix removed."""
    return {
        value: name.removeprefix(prefix).lower()
        for name, value in vars(module).items()
        if name.startswith(prefix) and type(value) is int
    }


SIDE_NAMES: Final = {events.BUY: "buy", events.SELL: "sell"}
REASON_NAMES: Final = {code: name for code, (name, _) in REASONS.items()}
# Why a command was sent: an exit has its own codes, everything else a reason; 0 says nothing.
COMMAND_REASON_NAMES: Final = {
    code: name for code, name in (REASON_NAMES | EXIT_NAMES).items() if code
}
REJECT_NAMES: Final = codes(events, "REJECT_")
CANCEL_NAMES: Final = {
    code: name for code, name in codes(events, "CANCEL_").items() if code != events.CANCEL_REJECT
}
CAUSE_NAMES: Final = KIND_NAMES | {
    CAUSE_COMMAND + kind: f"we_{name}" for kind, name in COMMAND_NAMES.items()
}

_NAMES: Final[dict[str, Mapping[int, str]]] = {
    "outcome": OUTCOME_NAMES,
    "blocker": REASON_NAMES,
    "code": REASON_NAMES,
    "verdict": VERDICT_NAMES,
    "check": RISK_NAMES,
    "regime": REGIME_NAMES,
    "chaos_kind": CHAOS_NAMES,
    "expansion": EXPANSION_NAMES,
    "ignition": IGNITION_NAMES,
    "ignition_before": IGNITION_NAMES,
    "entry_mode": ENTRY_NAMES,
    "fill_method": FILL_NAMES,
    "role": ROLE_NAMES,
    "type": TYPE_NAMES,
    "tif": TIF_NAMES,
    "kind": COMMAND_NAMES,
    "state_before": ORDER_STATE_NAMES,
    "cause": CAUSE_NAMES,
    "exit_reason": EXIT_NAMES,
    "coverage": COVER_NAMES,
    "epoch_status": codes(events, "EPOCH_"),
    "mode": codes(events, "MODE_"),
    "mode_before": codes(events, "MODE_"),
    "asked": codes(events, "MODE_"),
    "who": codes(events, "WHO_"),
    "why": events.WHY_NAMES,
    "recovery": RECOVERY_NAMES,
    "touch": TOUCH_NAMES,
    "member_reason": UNIVERSE_REASONS,
    "market": MARKET_NAMES,
    "viability": VIABILITY_NAMES,
    "advice": ADVICE_NAMES,
    "urgency": URGENCY_NAMES,
    "path": PATH_NAMES,
    "style": STYLE_NAMES,
    "quality": QUALITY_NAMES,
    "evidence": EVIDENCE_NAMES,
    "status": OUTCOME_STATUS_NAMES,
}
_STATE_NAMES: Final = {
    "orders": ORDER_STATE_NAMES,
    "positions": POSITION_NAMES,
    "recoveries": ORDER_STATE_NAMES,
}


@dataclass(frozen=True)
class Frame:
    """What a run's tables are read against: its symbols, their steps, its families."""

    instruments: InstrumentTable
    families: Mapping[int, str]

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.instruments.symbols

    def price_steps(self) -> tuple[list[int], list[int]]:
        """Per symbol: a price is ticks x the first / the second."""
        rows = self.instruments.rows()
        return rows["tick_num"].tolist(), [10 ** int(each) for each in rows["price_precision"]]

    def qty_steps(self) -> tuple[list[int], list[int]]:
        """Per symbol: a quantity is lots x the first / the second."""
        rows = self.instruments.rows()
        return rows["lot_num"].tolist(), [10 ** int(each) for each in rows["qty_precision"]]


def table_columns(table: str) -> tuple[Column, ...]:
    """Columns of a recorded table with their units, `commands` included."""
    if table != "commands":
        return TABLES[table]
    return tuple(
        Column(name, "i8", _COMMAND_UNITS.get(name, ""), "see engine/commands.py")
        for name in COMMAND.names or ()
    )


class Rule(ABC):
    """One companion column: its name, and how either engine makes it."""

    name: str
    source: str

    @abstractmethod
    def polars(self, frame: Frame) -> pl.Expr:
        """The column as a polars expression, named."""

    @abstractmethod
    def sql(self, frame: Frame) -> str:
        """The column as SQL, without its alias."""


@dataclass(frozen=True)
class TimeRule(Rule):
    """ns since the epoch to a UTC timestamp; 0 is no time."""

    name: str
    source: str

    def polars(self, frame: Frame) -> pl.Expr:
        import polars as pl

        column = pl.col(self.source)
        moment = pl.when(column > 0).then(column)
        return moment.cast(pl.Datetime("ns", "UTC")).alias(self.name)

    def sql(self, frame: Frame) -> str:
        return (
            f"CASE WHEN {quoted(self.source)} > 0 THEN make_timestamp_ns({quoted(self.source)}) END"
        )


@dataclass(frozen=True)
class SecondsRule(Rule):
    """A duration in ns to seconds; -1 is none."""

    name: str
    source: str

    def polars(self, frame: Frame) -> pl.Expr:
        import polars as pl

        column = pl.col(self.source)
        return pl.when(column >= 0).then(column.cast(pl.Float64) / 1e9).alias(self.name)

    def sql(self, frame: Frame) -> str:
        column = quoted(self.source)
        return f"CASE WHEN {column} >= 0 THEN CAST({column} AS DOUBLE) / 1e9 END"


@dataclass(frozen=True)
class MoneyRule(Rule):
    """Money units to quote currency, as the nearest float."""

    name: str
    source: str

    def polars(self, frame: Frame) -> pl.Expr:
        import polars as pl

        return (pl.col(self.source).cast(pl.Float64) / MONEY_PER_UNIT).alias(self.name)

    def sql(self, frame: Frame) -> str:
        return f"CAST({quoted(self.source)} AS DOUBLE) / {MONEY_PER_UNIT}"


@dataclass(frozen=True)
class StepRule(Rule):
    """Ticks, half ticks or lots to units; one division of integers, so 0.1 prints as 0.1."""

    name: str
    source: str
    unit: str  # "ticks", "half ticks" or "lots"

    def _steps(self, frame: Frame) -> tuple[list[int], list[int]]:
        if self.unit == "lots":
            return frame.qty_steps()
        numerators, denominators = frame.price_steps()
        if self.unit == "half ticks":
            denominators = [2 * each for each in denominators]
        return numerators, denominators

    def polars(self, frame: Frame) -> pl.Expr:
        import polars as pl

        numerators, denominators = self._steps(frame)
        rows = list(range(len(numerators)))
        by_row = [
            pl.col("sym").cast(pl.Int64).replace_strict(rows, each, default=None, return_dtype=kind)
            for each, kind in (
                (numerators, pl.Int64),
                ([float(each) for each in denominators], pl.Float64),
            )
        ]
        return ((pl.col(self.source) * by_row[0]).cast(pl.Float64) / by_row[1]).alias(self.name)

    def sql(self, frame: Frame) -> str:
        numerators, denominators = self._steps(frame)
        cases = " ".join(
            f"WHEN {row} THEN CAST({quoted(self.source)} * {numerator} AS DOUBLE) / {denominator}.0"
            for row, (numerator, denominator) in enumerate(
                zip(numerators, denominators, strict=True)
            )
        )
        return f"CASE sym {cases} END"


@dataclass(frozen=True)
class NameRule(Rule):
    """A code to its name; nothing for a code without one."""

    name: str
    source: str
    names: Mapping[int, str]

    def _names(self, frame: Frame) -> Mapping[int, str]:
        return self.names

    def polars(self, frame: Frame) -> pl.Expr:
        import polars as pl

        names = self._names(frame)
        return (
            pl.col(self.source)
            .cast(pl.Int64)
            .replace_strict(list(names), list(names.values()), default=None, return_dtype=pl.String)
            .alias(self.name)
        )

    def sql(self, frame: Frame) -> str:
        return sql_names(quoted(self.source), self._names(frame))


class SymbolRule(NameRule):
    """`sym` to the symbol."""

    def _names(self, frame: Frame) -> Mapping[int, str]:
        return dict(enumerate(frame.symbols))


class FamilyRule(NameRule):
    """A family code to its name in this run, user families included."""

    def _names(self, frame: Frame) -> Mapping[int, str]:
        return frame.families


@dataclass(frozen=True)
class RouteRule(Rule):
    """A route key to `momentum 60s take`; nothing for 0. The symbol is in `symbol`.

    The parts lie as engine.core.routes.route_key puts them.
    """

    name: str
    source: str

    def polars(self, frame: Frame) -> pl.Expr:
        import polars as pl

        key = pl.col(self.source) - 1
        parts = [
            _named(key // 1024 % 256, frame.families),
            pl.lit(" "),
            _named(key // 64 % 16, dict(enumerate(f"{each}s" for each in HORIZONS_S))),
            pl.lit(" "),
            _named(key // 4 % 16, ENTRY_NAMES),
            pl.when(key // 2 % 2 == 1).then(pl.lit(" short")).otherwise(pl.lit("")),
        ]
        return pl.when(pl.col(self.source) > 0).then(pl.concat_str(parts)).alias(self.name)

    def sql(self, frame: Frame) -> str:
        key = f"({quoted(self.source)} - 1)"
        horizons = dict(enumerate(f"{each}s" for each in HORIZONS_S))
        parts = (
            sql_names(f"({key} // 1024 % 256)", frame.families),
            sql_names(f"({key} // 64 % 16)", horizons),
            sql_names(f"({key} // 4 % 16)", ENTRY_NAMES),
        )
        short = f"CASE WHEN {key} // 2 % 2 = 1 THEN ' short' ELSE '' END"
        text = " || ' ' || ".join(parts) + f" || {short}"
        return f"CASE WHEN {quoted(self.source)} > 0 THEN {text} END"


@dataclass(frozen=True)
class OrderReasonRule(Rule):
    """`reason` of an order row: a reject, a cancel, or why we sent a command; `cause` decides."""

    name: str = "reason_name"
    source: str = "reason"

    _GROUPS = (
        (
            (events.ORDER_REJECT, events.CANCEL_REJECT, events.AMEND_REJECT),
            REJECT_NAMES,
        ),
        ((events.ORDER_CANCELED,), CANCEL_NAMES),
        (tuple(CAUSE_COMMAND + kind for kind in COMMAND_NAMES), COMMAND_REASON_NAMES),
    )

    def polars(self, frame: Frame) -> pl.Expr:
        import polars as pl

        expression: pl.Expr = pl.lit(None, pl.String)
        for causes, names in self._GROUPS:
            named = _named(pl.col(self.source), names)
            is_cause = pl.col("cause").is_in(list(causes))
            expression = pl.when(is_cause).then(named).otherwise(expression)
        return expression.alias(self.name)

    def sql(self, frame: Frame) -> str:
        cases = " ".join(
            f"WHEN cause IN ({', '.join(map(str, causes))}) THEN "
            + sql_names(quoted(self.source), names)
            for causes, names in self._GROUPS
        )
        return f"CASE {cases} END"


def _named(expression: pl.Expr, names: Mapping[int, str]) -> pl.Expr:
    import polars as pl

    return expression.replace_strict(
        list(names), list(names.values()), default=None, return_dtype=pl.String
    )


def quoted(name: str) -> str:
    """A column name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def sql_names(expression: str, names: Mapping[int, str]) -> str:
    """SQL that names the codes of `expression`."""
    cases = " ".join(f"WHEN {code} THEN {sql_text(name)}" for code, name in names.items())
    return f"CASE {expression} {cases} END"


def companions(table: str) -> list[Rule]:
    """The companion columns of `table`, in the order of the columns they explain."""
    columns = table_columns(table)
    has_symbol = any(column.name == "sym" for column in columns)
    rules: list[Rule] = []
    for column in columns:
        rules += _companions_of(table, column, has_symbol)
    return rules


def _companions_of(table: str, column: Column, has_symbol: bool) -> list[Rule]:
    name, unit = column.name, column.unit
    if name == "sym":
        return [SymbolRule("symbol", name, {})]
    if name == "side":
        return [NameRule("side_name", name, SIDE_NAMES)]
    if name == "reason" and table == "orders":
        return [OrderReasonRule()]
    if name == "reason":
        return [NameRule("reason_name", name, COMMAND_REASON_NAMES)]
    if name == "family":
        return [FamilyRule("family_name", name, FAMILY_NAMES)]
    if name == "state":
        return [NameRule("state_name", name, _STATE_NAMES[table])]
    if unit == "key":
        return [RouteRule(f"{name}_name", name)]
    if unit == "ns":
        if name.endswith("_ns"):
            return [SecondsRule(f"{name.removesuffix('_ns')}_s", name)]
        return [TimeRule(_time_name(name), name)]
    if unit == "money":
        return [MoneyRule(f"{name}_quote", name)]
    if unit == "code" and name in _NAMES:
        return [NameRule(f"{name}_name", name, _NAMES[name])]
    if has_symbol and unit in ("ticks", "half ticks"):
        return [StepRule(f"{name.removesuffix('_half_ticks')}_quote", name, unit)]
    if has_symbol and unit == "lots":
        return [StepRule(f"{name}_base", name, unit)]
    return []


def _time_name(name: str) -> str:
    """`ts` is `time`, `ts_sent` `time_sent`, `opened_ts` `time_opened`."""
    if name == "ts":
        return "time"
    return "time_" + name.removeprefix("ts_").removesuffix("_ts")
