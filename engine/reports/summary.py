"""What came out of a run, in the words of a trader? Collected while it runs, printed at its end.

Needs no table reader: the recorder shows every row once. Exact figures stay integers until they
are printed.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any, Final

import numpy as np

from engine.clock import utc_text
from engine.commands import ADD, ROLE_NAMES
from engine.core.records import (
    ACCOUNT_STALE,
    ALERTS_OPEN,
    BALANCE_DIFFERS,
    BOOK_UNVERIFIED,
    CLOCK_UNSURE,
    CONNECTION_SILENT,
    DATA_STALE,
    EPOCH_NOT_VALID,
    EXECUTE,
    FEED_LAGGING,
    INPUT_MISSING,
    JOURNAL_SLOW,
    L3_UNRELIABLE,
    LEASE_LOST,
    MODE_BLOCKED,
    NOT_ENOUGH_HISTORY,
    OK,
    REASONS,
    RECONCILE_PENDING,
    ROUTE_STALE,
    STOPPING,
    SWITCH_FIRED,
)
from engine.units import from_money

SUMMARY_VERSION: Final = 1

# A run without fills is named after what stood in its way most often.
TRADED: Final = "traded"
ECONOMICALLY_EMPTY: Final = "economically empty"
DATA_BLOCKED: Final = "data-blocked"
ATTACH_BLOCKED: Final = "attach-blocked"
MODE_BLOCKED_RUN: Final = "mode-blocked"
VERDICTS: Final = {
    TRADED: "there were fills",
    ECONOMICALLY_EMPTY: "everything was evaluated and nothing was worth its costs",
    DATA_BLOCKED: "the data did not allow decisions: too old, unverified, or too little",
    ATTACH_BLOCKED: "nothing was evaluated: no market data reached the core",
    MODE_BLOCKED_RUN: "the mode of the engine allowed no entries",
}
DATA_REASONS: Final = frozenset(
    {
        BOOK_UNVERIFIED,
        DATA_STALE,
        EPOCH_NOT_VALID,
        INPUT_MISSING,
        L3_UNRELIABLE,
        NOT_ENOUGH_HISTORY,
        ROUTE_STALE,
    }
)
MODE_REASONS: Final = frozenset(
    {
        MODE_BLOCKED,
        RECONCILE_PENDING,
        ACCOUNT_STALE,
        ALERTS_OPEN,
        BALANCE_DIFFERS,
        CLOCK_UNSURE,
        CONNECTION_SILENT,
        FEED_LAGGING,
        JOURNAL_SLOW,
        LEASE_LOST,
        STOPPING,
        SWITCH_FIRED,
    }
)


class RunSummary:
    """Counts and sums over a run's rows; `observe` is called by the recorder."""

    def __init__(self, symbols: tuple[str, ...], quote: str) -> None:
        self.symbols = symbols
        self.quote = quote
        self.n: Counter[str] = Counter()
        self.blockers: Counter[int] = Counter()
        self.candidates = 0
        self.executed = 0
        self.fees = 0
        self.volume = 0
        self.maker_fills = 0
        self.fills_by_symbol: Counter[int] = Counter()
        self.fees_by_symbol: Counter[int] = Counter()
        self.trades_by_symbol: Counter[int] = Counter()
        self.net_by_symbol: Counter[int] = Counter()
        self.trades = 0
        self.wins = 0
        self.net = 0
        self.drawdown = 0
        self.drawdown_peak = 0
        self.orders = 0
        self.orders_by_role: Counter[int] = Counter()
        self.positions: dict[int, int] = {}

    def observe(self, table: str, rows: np.ndarray) -> None:
        """Take rows of one table, in order."""
        self.n[table] += len(rows)
        if len(rows) == 0:
            return
        if table == "blockers":
            self._count(self.blockers, rows["code"], rows["n"])
        elif table == "evaluations":
            self.candidates += int(rows["n_candidates"].sum())
        elif table == "decisions":
            self.executed += int(np.count_nonzero(rows["outcome"] == EXECUTE))
        elif table == "fills":
            self.fees += int(rows["fee"].sum())
            self.volume += int(rows["notional"].sum())
            self.maker_fills += int(np.count_nonzero(rows["maker"]))
            self.fills_by_symbol.update(rows["sym"].tolist())
            self._count(self.fees_by_symbol, rows["sym"], rows["fee"])
        elif table == "commands":
            added = rows[rows["kind"] == ADD]
            self.orders += len(added)
            self.orders_by_role.update(added["role"].tolist())
        elif table == "positions":
            for sym, qty in zip(rows["sym"].tolist(), rows["qty"].tolist(), strict=True):
                self.positions[sym] = qty
        elif table == "realized":
            self.trades += len(rows)
            self.wins += int(np.count_nonzero(rows["net"] > 0))
            self.net += int(rows["net"].sum())
            self.trades_by_symbol.update(rows["sym"].tolist())
            self._count(self.net_by_symbol, rows["sym"], rows["net"])
        elif table == "equity":
            self._fall(rows)

    @staticmethod
    def _count(counter: Counter[int], keys: np.ndarray, amounts: np.ndarray) -> None:
        values, index = np.unique(keys, return_inverse=True)
        sums = np.zeros(len(values), np.int64)
        np.add.at(sums, index, amounts)
        counter.update(dict(zip(values.tolist(), sums.tolist(), strict=True)))

    def _fall(self, rows: np.ndarray) -> None:
        worst = rows[int(rows["drawdown"].argmax())]
        if int(worst["drawdown"]) > self.drawdown:
            self.drawdown = int(worst["drawdown"])
            self.drawdown_peak = int(worst["peak"])

    def verdict(self, n_evaluations: int) -> str:
        """One of VERDICTS: a run without fills is named after what stopped most candidates."""
        if self.n["fills"]:
            return TRADED
        if n_evaluations == 0:
            return ATTACH_BLOCKED
        data = sum(self.blockers[code] for code in DATA_REASONS)
        mode = sum(self.blockers[code] for code in MODE_REASONS)
        other = sum(self.blockers.values()) - data - mode
        if data > max(mode, other):
            return DATA_BLOCKED
        return MODE_BLOCKED_RUN if mode > other else ECONOMICALLY_EMPTY

    def facts(
        self, glob: Any, first_ts: int, last_ts: int, n_events: int, cash: int
    ) -> dict[str, Any]:
        """Everything as plain data (money as exact decimal text), for JSON and the manifest.

        glob : GLOB record of the core at the end of the run
        """
        blocked = sum(count for code, count in self.blockers.items() if code != OK)
        equity, peak = int(glob["equity"]), int(glob["peak"])
        drawdown, drawdown_peak = self.drawdown, self.drawdown_peak
        if peak - equity > drawdown:
            drawdown, drawdown_peak = peak - equity, peak
        n_evaluations = int(glob["n_evaluations"])
        return {
            "version": SUMMARY_VERSION,
            "verdict": self.verdict(n_evaluations),
            "quote": self.quote,
            "first": utc_text(first_ts),
            "last": utc_text(last_ts),
            "span_s": (last_ts - first_ts) / 1e9,
            "symbols": list(self.symbols),
            "events": n_events,
            "evaluations": n_evaluations,
            "candidates": self.candidates,
            "entries": self.executed,
            "orders": self.orders,
            "orders_by_role": {
                name: self.orders_by_role[role]
                for role, name in ROLE_NAMES.items()
                if self.orders_by_role[role]
            },
            "commands": int(glob["n_commands_total"]),
            "fills": self.n["fills"],
            "maker_fills": self.maker_fills,
            "volume": money_text(self.volume),
            "fees": money_text(self.fees),
            "round_trips": self.trades,
            "wins": self.wins,
            "open_positions": sum(1 for qty in self.positions.values() if qty),
            "realized": money_text(int(glob["realized"])),
            "start_equity": money_text(cash),
            "end_equity": money_text(equity),
            "profit": money_text(equity - cash),
            "drawdown": money_text(drawdown),
            "drawdown_share": drawdown / drawdown_peak if drawdown_peak else 0.0,
            "by_symbol": {
                symbol: {
                    "fills": self.fills_by_symbol[sym],
                    "round_trips": self.trades_by_symbol[sym],
                    "fees": money_text(self.fees_by_symbol[sym]),
                    "net": money_text(self.net_by_symbol[sym]),
                }
                for sym, symbol in enumerate(self.symbols)
            },
            "blockers": {
                REASONS[code][0]: {"n": count, "share": count / blocked if blocked else 0.0}
                for code, count in sorted(
                    self.blockers.items(), key=lambda item: (-item[1], item[0])
                )
                if code != OK
            },
        }


# --- for people ----------------------------------------------------------------------------------


def money_text(money: int) -> str:
    """Money units as exact decimal text, never in scientific notation."""
    return f"{from_money(money):f}"


def amount(text: str, quote: str) -> str:
    """Exact money text to cents, with separators: `1,234.50 USD`; small amounts keep digits."""
    value = Decimal(text)
    places = 2 if value == 0 or abs(value) >= 1 else 4
    return f"{value:,.{places}f} {quote}"


def span_text(seconds: float) -> str:
    """`2 h 5 min`, `45 s`, `3 d 1 h`."""
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{seconds:.3g} s" if whole < 10 else f"{whole} s"


def share_text(part: float) -> str:
    """`12.3 %`"""
    return f"{100 * part:.1f} %"


def summary_rows(facts: dict[str, Any], seconds: float | None = None) -> list[tuple[str, str]]:
    """The summary of a run as (name, text) in the words of a trader.

    facts : as RunSummary.facts gives; seconds : wall time of the replay, for its speed
    """
    quote = facts["quote"]
    fills, maker = facts["fills"], facts["maker_fills"]
    trips = facts["round_trips"]
    speed = f" ({facts['events'] / seconds:,.0f} per second)" if seconds else ""
    roles = ", ".join(f"{n:,} {name}" for name, n in facts["orders_by_role"].items())
    start = Decimal(facts["start_equity"])
    gain = f" ({100 * Decimal(facts['profit']) / start:+.3f} %)" if start else ""
    rows = [
        ("span", f"{facts['first']} to {facts['last']} ({span_text(facts['span_s'])})"),
        ("symbols", ", ".join(facts["symbols"])),
        ("events", f"{facts['events']:,}{speed}"),
        ("evaluations", f"{facts['evaluations']:,}, {facts['candidates']:,} candidates"),
        ("orders", f"{facts['orders']:,}" + (f" ({roles})" if roles else "")),
        ("fills", f"{fills:,} ({maker:,} maker, {fills - maker:,} taker)"),
        ("volume", amount(facts["volume"], quote)),
        ("fees", amount(facts["fees"], quote)),
        (
            "round trips",
            f"{trips:,}" + (f", {share_text(facts['wins'] / trips)} won" if trips else ""),
        ),
        ("open at the end", f"{facts['open_positions']} positions"),
        (
            "profit",
            f"{amount(facts['profit'], quote)}{gain} after fees, "
            f"{amount(facts['realized'], quote)} of it realised",
        ),
        (
            "drawdown",
            f"{amount(facts['drawdown'], quote)} ({share_text(facts['drawdown_share'])} of the peak)",
        ),
    ]
    if facts["verdict"] != TRADED:
        rows.append(("verdict", f"{facts['verdict']}: {VERDICTS[facts['verdict']]}"))
    return rows


def blocker_rows(facts: dict[str, Any], n_most: int | None = None) -> list[tuple[str, str, str]]:
    """Why candidates were blocked, most frequent first: (share, code, sentence)."""
    sentences = dict(REASONS.values())
    # A manifest that was read back has its keys by name.
    most_first = sorted(facts["blockers"].items(), key=lambda each: (-each[1]["n"], each[0]))
    return [
        (share_text(each["share"]), code, sentences[code]) for code, each in most_first[:n_most]
    ]


def symbol_rows(facts: dict[str, Any]) -> list[tuple[str, int, int, str, str]]:
    """Per symbol: fills, round trips, fees, realised profit."""
    return [
        (
            symbol,
            each["fills"],
            each["round_trips"],
            amount(each["fees"], facts["quote"]),
            amount(each["net"], facts["quote"]),
        )
        for symbol, each in facts["by_symbol"].items()
    ]
