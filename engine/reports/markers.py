"""Which log lines does a run make? Rows of its tables and events, to markers with stable names.

A marker is a name that people and tools search for, a level, facts with units in their keys, and the
code of the alert that it raises, if any. Every marker carries run, generation, epoch and the
sequence number of the newest event. The core never logs: these are made beside it from what it
recorded, so a log can be made again from a finished run. Pure: no clock, no file.
Left out: how a line is written (adapters/logs.py), who is told (adapters/alerts.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from engine import events
from engine.commands import ROLE_EXIT, ROLE_NAMES, ROLE_PROTECTION, TRAILING_STOP, TYPE_NAMES
from engine.core.exits import EXIT_NAMES
from engine.core.orderstates import (
    ORDER_STATE_AMEND_PENDING,
    ORDER_STATE_CANCEL_PENDING,
    ORDER_STATE_CANCELLED,
    ORDER_STATE_EXPIRED,
    ORDER_STATE_FILLED,
    ORDER_STATE_JOURNALED,
    ORDER_STATE_NAMES,
    ORDER_STATE_OPEN,
    ORDER_STATE_PLANNED,
    ORDER_STATE_REJECTED,
    ORDER_STATE_SENT,
    ORDER_STATE_SUSPECT,
)
from engine.core.protection import COVER_EXITING
from engine.core.records import (
    EPOCH_NOT_VALID,
    GENERATION_MISMATCH,
    REASONS,
    ROUTE_STALE,
    ROUTE_STALE_WINNER,
)
from engine.core.recoveries import RECOVERY_NAMES
from engine.events import (
    CONNECTION_DOWN,
    CONNECTION_UP,
    EPOCH,
    GAP,
    HEALTH,
    MODE,
    OPERATOR,
    ORDER_AMENDED,
    ORDER_CANCELED,
    RESYNC,
    SYSTEM_STATUS,
    WHO_OPERATOR,
    WHY_KILL,
    WHY_NAMES,
)
from engine.instruments import (
    STATUS_CANCEL_ONLY,
    STATUS_DELISTED,
    STATUS_NAMES,
    STATUS_ONLINE,
    STATUS_WORK_IN_PROGRESS,
    InstrumentTable,
)
from engine.reports.columns import CANCEL_NAMES, CAUSE_NAMES, REJECT_NAMES, SIDE_NAMES, codes
from engine.units import from_money

_STALE: Final = (ROUTE_STALE, ROUTE_STALE_WINNER)
DEBUG: Final = "debug"
INFO: Final = "info"
WARNING: Final = "warning"
ERROR: Final = "error"
LEVELS: Final = (DEBUG, INFO, WARNING, ERROR)

MODE_NAMES: Final = {code: name.upper() for code, name in codes(events, "MODE_").items()}
EPOCH_NAMES: Final = {code: name.upper() for code, name in codes(events, "EPOCH_").items()}
GAP_NAMES: Final = codes(events, "GAP_")
OPERATOR_NAMES: Final = codes(events, "OPERATOR_")

CLOCK_SHOWN_NS: Final = 250_000_000
CLOCK_MAX_NS: Final = 1_000_000_000
LAG_SHOWN_NS: Final = 500_000_000
JOURNAL_SHOWN_NS: Final = 250_000_000
# After so many stops refused in a row a position is left; after so many more nobody will take it.
# A stop is a market order once it triggers; filled so much worse than its trigger, it is told.
SLIPPED_BPS: Final = 50
TRIGGERS_KEPT: Final = 256
STOPS_REFUSED_MAX: Final = 2
REFUSALS_MAX: Final = 4
# A book that begins anew so often within so long is wrong at the venue, not on the way.
RESYNCS_MAX: Final = 5
RESYNCS_NS: Final = 60_000_000_000
# From a fill to the venue's acknowledgement of its stop; longer is told.
UNCOVERED_MAX_NS: Final = 1_500_000_000

# Every name there is; a counter of the same name counts each (adapters/metrics.py).
NAMES: Final = (
    *("EXECUTION_ENGINE_START", "EXECUTION_ENGINE_STOP"),
    *("LIVE_EVALUATION_START", "LIVE_EVALUATION_DONE", "LIVE_EVALUATION_EMPTY"),
    *("DATA_INTEGRITY_OK", "DATA_INTEGRITY_DEGRADED", "DATA_INTEGRITY_BLOCKED"),
    *("INGEST_EPOCH_OPEN", "INGEST_EPOCH_VALID", "INGEST_EPOCH_DEGRADED"),
    *("INGEST_EPOCH_INVALID", "INGEST_EPOCH_CLOSED", "RUN_SYMBOL_STATE_REFRESH"),
    *("ROUTE_FRESHNESS_OK", "ROUTE_FRESHNESS_STALE", "ROUTE_EXECUTION_BLOCKED_STALE_DATA"),
    *("EXECUTION_BLOCKED_GENERATION_MISMATCH", "EXECUTION_BLOCKED_EPOCH"),
    *("TIMING_METRICS_SNAPSHOT", "EXIT_COVERAGE_MISSING", "EXIT_COVERAGE_RESTORED"),
    *("RECONCILE_START", "RECONCILE_CLEAN", "RECONCILE_REPAIRED", "RECONCILE_STUCK"),
    *("MODE_CHANGE", "MODE_REFUSED", "OPERATOR_COMMAND"),
    *("PROTECTION_PLACED", "PROTECTION_AMENDED", "PROTECTION_LOST", "TRAIL_REFUSED"),
    *("ORDER_SENT", "ORDER_OPEN", "ORDER_ENDED", "ORDER_REFUSED", "ORDER_REJECTED"),
    *("ORDER_SUSPECT", "ORDER_FILL", "POSITION_CLOSED"),
    *("CONNECTION_UP", "CONNECTION_DOWN", "BOOK_GAP", "BOOK_RESYNC", "VENUE_STATUS"),
    *("ACCOUNT_LOST", "CLOCK_OFFSET", "LAG", "JOURNAL_SYNC", "LEASE", "SWITCH", "SWITCH_FIRED"),
    *("FOREIGN_ORDER", "SESSION_STOPPING", "RECOVERY", "FILLS_BACKFILL", "ORDER_RESOLVED"),
    *("LATE_FILL", "PAIR_STATUS", "PAIR_GONE", "PAIR_QUARANTINED", "RECOVERED", "TAIL_CUT"),
    *("LOOP_STALL", "STALLED", "CLOCK_STEP", "VENUE_UNREACHABLE", "STORAGE_LOW", "SESSION_FAILED"),
    "STORAGE_SLOW",
    *("INTENT_REFUSED", "CONFIG_CHANGED_ON_DISK", "STOP_SLIPPED"),
    "NOTE",
)


class Marker(NamedTuple):
    """One line. component : who speaks; alert : code of engine/alerts.py, empty for none."""

    name: str
    level: str
    component: str
    facts: dict[str, Any]
    alert: str = ""


# What the core did to bring its books and the venue together: code of `recoveries` to marker.
_RECOVERIES: Final[dict[str, tuple[str, str, str]]] = {
    "lost": ("ACCOUNT_LOST", WARNING, ""),  # told from the HEALTH event already
    "started": ("RECONCILE_START", INFO, ""),
    "synced": ("RECONCILE_START", INFO, ""),
    "suspect": ("ORDER_SUSPECT", WARNING, ""),
    "absent": ("RECONCILE_REPAIRED", INFO, "SUBMIT_RESOLVED"),
    "reconciled": ("RECONCILE_CLEAN", INFO, ""),
    "open_doubt": ("RECONCILE_STUCK", WARNING, ""),
    "differs": ("RECONCILE_STUCK", WARNING, ""),
    "not_synced": ("RECONCILE_STUCK", WARNING, ""),
    "adopted": ("RECONCILE_REPAIRED", INFO, ""),
    "foreign": ("RECONCILE_REPAIRED", WARNING, "RECONCILE_REPAIRED"),
    "short": ("RECONCILE_REPAIRED", WARNING, "BALANCE_UNEXPLAINED"),
    "written_off": ("RECONCILE_REPAIRED", WARNING, "RECONCILE_REPAIRED"),
    "cash": ("RECONCILE_STUCK", ERROR, "BALANCE_UNEXPLAINED"),
    "trail_off": ("TRAIL_REFUSED", WARNING, "TRAIL_REFUSED"),
    "trail_fixed": ("TRAIL_REFUSED", WARNING, "TRAIL_REFUSED"),
    "history": ("RECONCILE_REPAIRED", WARNING, "LATE_FILL"),
}
# Recoveries whose value is an amount: coins of a pair, or money of the account.
_AMOUNTS: Final = frozenset(
    {
        *("differs", "adopted", "foreign", "short", "written_off", "cash", "cash_accepted"),
        *("history", "foreign_order", "flatten", "open_again", "not_absent"),
    }
)


class Markers:
    """Makes the markers of one run, in the order in which it is shown rows and events.

    run : its id; instruments : prices and quantities are shown in units, not in ticks and lots
    recovery_names : code to name of the table `recoveries`
    debug : also make what stands in a log at DEBUG only, one or more per evaluation
    """

    def __init__(
        self,
        run: str,
        instruments: InstrumentTable,
        recovery_names: Mapping[int, str] = RECOVERY_NAMES,
        debug: bool = False,
    ) -> None:
        self._run = run
        self._recovery_names = recovery_names
        self._instruments = instruments
        self._debug = debug
        self._generation = 0
        self._epoch = 0
        self._epoch_status = 0
        self._seq = -1
        self._mode = 0
        self._stopping = False
        self._system = STATUS_ONLINE
        self._refused: dict[int, int] = {}  # row: stops and sales refused one after the other
        self._triggers: dict[int, int] = {}  # stop: trigger in ticks
        self._held: set[int] = set()
        self._distrusted: dict[int, deque[int]] = {}  # row: when its book had to begin anew
        self._uncovered: dict[int, tuple[int, int, int]] = {}  # row: since, lots, lots covered
        self._told_uncovered: set[int] = set()
        self._integrity = ""
        self._stale: set[int] = set()
        self._of_table: dict[str, Callable[[np.ndarray], list[Marker]]] = {
            "evaluations": self._evaluations,
            "decisions": self._decisions,
            "orders": self._orders,
            "fills": self._fills,
            "positions": self._positions,
            "realized": self._realized,
            "modes": self._modes,
            "recoveries": self._recoveries,
        }

    # ---- what the session calls ----

    def start(self, **facts: Any) -> Marker:
        """EXECUTION_ENGINE_START: software, configuration, mode, stores, account."""
        return self._make("EXECUTION_ENGINE_START", INFO, "session", facts, "SESSION_START")

    def taken_up(self, symbols: np.ndarray) -> None:
        """The core of a session before: what it holds, and what of it is bare. No row tells of it."""
        for sym, position in enumerate(symbols["position"]):
            if not position["qty"]:
                continue
            self._held.add(sym)
            if position["uncovered_ts"] > 0 and position["coverage"] != COVER_EXITING:
                since = int(position["uncovered_ts"])
                self._uncovered[sym] = since, int(position["qty"]), int(position["covered"])

    def stop(self, **facts: Any) -> Marker:
        """The end: what is left at the venue and why."""
        return self._make("EXECUTION_ENGINE_STOP", INFO, "session", facts, "SESSION_STOP")

    def timing(self, **facts: Any) -> Marker:
        """TIMING_METRICS_SNAPSHOT: what the loop took, once a minute."""
        return self._make("TIMING_METRICS_SNAPSHOT", INFO, "loop", facts)

    def of_rows(self, table: str, rows: np.ndarray) -> list[Marker]:
        """Markers of rows of a run table, in their order."""
        make = self._of_table.get(table)
        return [] if make is None or not len(rows) else make(rows)

    def of_events(self, rows: np.ndarray) -> list[Marker]:
        """Markers of EVENT rows; market data makes none, so this looks at few of them."""
        if not len(rows):
            return []
        self._seq = max(self._seq, int(rows["seq"][-1]))
        found: list[Marker] = []
        for i in np.flatnonzero(_RARE[rows["kind"]]):
            row = rows[i]
            found += self._event(int(row["kind"]), row)
        return found

    # ---- shared ----

    def _make(
        self, name: str, level: str, component: str, facts: Mapping[str, Any], alert: str = ""
    ) -> Marker:
        common = {
            "run": self._run,
            "generation": self._generation,
            "epoch": self._epoch,
            "seq": self._seq,
        }
        return Marker(name, level, component, {**common, **facts}, alert)

    def _symbol(self, row: Any) -> str:
        i = int(row["sym"])
        return self._instruments.symbols[i] if 0 <= i < len(self._instruments) else ""

    def _price(self, row: Any, ticks: int) -> str:
        i = int(row["sym"])
        return format(self._instruments[i].price(ticks), "f") if i >= 0 and ticks else ""

    def _qty(self, row: Any, lots: int) -> str:
        i = int(row["sym"])
        return format(self._instruments[i].qty(lots), "f") if i >= 0 else str(lots)

    # ---- tables ----

    def _evaluations(self, rows: np.ndarray) -> list[Marker]:
        found = []
        for row in rows:
            self._generation, self._epoch = int(row["generation"]), int(row["epoch"])
            found += self._integrity_of(row)
            if not self._debug:
                continue
            facts = {name: int(row[name]) for name in ("n_symbols", "n_ready", "n_candidates")}
            found.append(self._make("LIVE_EVALUATION_START", DEBUG, "evaluation", {}))
            name = "LIVE_EVALUATION_DONE" if row["n_candidates"] else "LIVE_EVALUATION_EMPTY"
            facts["n_commands"] = int(row["n_commands"])
            blocker = REASONS.get(int(row["blocker"]), ("", ""))[0]
            found.append(self._make(name, DEBUG, "evaluation", {**facts, "blocker": blocker}))
            found.append(
                self._make(
                    "RUN_SYMBOL_STATE_REFRESH", DEBUG, "evaluation", {"n": facts["n_symbols"]}
                )
            )
        return found

    def _integrity_of(self, row: Any) -> list[Marker]:
        ready, symbols = int(row["n_ready"]), int(row["n_symbols"])
        valid = int(row["epoch_status"]) == events.EPOCH_VALID
        if ready == 0 or not valid:
            now = "BLOCKED"
        else:
            now = "OK" if ready == symbols else "DEGRADED"
        if now == self._integrity:
            return []
        self._integrity = now
        facts = {"ready": ready, "symbols": symbols, "epoch_valid": valid}
        level = INFO if now == "OK" else WARNING
        return [self._make(f"DATA_INTEGRITY_{now}", level, "data", facts)]

    def _decisions(self, rows: np.ndarray) -> list[Marker]:
        found = []
        blockers = rows["blocker"]
        rare = np.isin(blockers, (*_STALE, GENERATION_MISMATCH))
        rare |= blockers == EPOCH_NOT_VALID
        rare |= np.isin(rows["sym"], list(self._stale))
        for row in rows[rare]:
            self._generation = int(row["generation"])
            blocker, symbol = int(row["blocker"]), self._symbol(row)
            facts = {"symbol": symbol, "route": int(row["route"])}
            if blocker == GENERATION_MISMATCH:
                name = "EXECUTION_BLOCKED_GENERATION_MISMATCH"
                found.append(self._make(name, WARNING, "safety", facts))
            elif blocker == EPOCH_NOT_VALID and int(row["route"]):
                found.append(self._make("EXECUTION_BLOCKED_EPOCH", DEBUG, "safety", facts))
            found += self._freshness(int(row["sym"]), blocker, facts)
        return found

    def _freshness(self, sym: int, blocker: int, facts: dict[str, Any]) -> list[Marker]:
        """Told when it changes, not with each evaluation."""
        if blocker in _STALE and sym not in self._stale:
            self._stale.add(sym)
            found = [self._make("ROUTE_FRESHNESS_STALE", INFO, "data", facts)]
            if facts["route"] or blocker == ROUTE_STALE_WINNER:
                name = "ROUTE_EXECUTION_BLOCKED_STALE_DATA"
                found.append(self._make(name, INFO, "safety", facts))
            return found
        if blocker not in _STALE and sym in self._stale:
            self._stale.discard(sym)
            return [self._make("ROUTE_FRESHNESS_OK", INFO, "data", facts)]
        return []

    def _orders(self, rows: np.ndarray) -> list[Marker]:
        found = []
        for row in rows:
            before, after = int(row["state_before"]), int(row["state"])
            if int(row["role"]) == ROLE_PROTECTION and row["trigger"]:
                self._triggers[int(row["id"])] = int(row["trigger"])
            name, level, alert = self._order_name(row, before, after)
            if not name:
                continue
            facts = {
                "order": int(row["id"]),
                "symbol": self._symbol(row),
                "role": ROLE_NAMES.get(int(row["role"]), ""),
                "side": SIDE_NAMES.get(int(row["side"]), ""),
                "type": TYPE_NAMES.get(int(row["type"]), ""),
                "price": self._price(row, _shown_price(row)),
                "qty": self._qty(row, int(row["qty"])),
                "filled": self._qty(row, int(row["filled"])),
                "state": ORDER_STATE_NAMES.get(after, ""),
                "cause": CAUSE_NAMES.get(int(row["cause"]), ""),
                "reason": self._reason(row),
            }
            found.append(self._make(name, level, "orders", facts, alert))
            found += self._refused_again(row, after, alert)
        return found

    def _refused_again(self, row: Any, after: int, alert: str) -> list[Marker]:
        """Stop or sale refused one after the other: on its way out, and yet nothing covers it.

        Told when it begins, and once more when leaving is refused as well.
        """
        sym = int(row["sym"])
        if int(row["role"]) not in (ROLE_PROTECTION, ROLE_EXIT):
            return []
        if after != ORDER_STATE_REJECTED:
            if after in (ORDER_STATE_OPEN, ORDER_STATE_FILLED):
                self._refused.pop(sym, None)  # the venue took one
            return []
        if not alert:
            return []  # it never left
        n = self._refused[sym] = self._refused.get(sym, 0) + 1
        if n not in (STOPS_REFUSED_MAX, REFUSALS_MAX):
            return []
        facts = {"symbol": self._symbol(row), "qty": self._qty(row, int(row["qty"])), "refused": n}
        return [self._make("EXIT_COVERAGE_MISSING", ERROR, "protection", facts, "UNPROTECTED")]

    def _reason(self, row: Any) -> str:
        reason, cause = int(row["reason"]), int(row["cause"])
        if not reason:
            return ""
        if cause == events.ORDER_REJECT:
            return REJECT_NAMES.get(reason, str(reason))
        if cause == events.ORDER_CANCELED:
            return CANCEL_NAMES.get(reason, str(reason))
        return EXIT_NAMES.get(reason) or REASONS.get(reason, (str(reason), ""))[0]

    def _order_name(self, row: Any, before: int, after: int) -> tuple[str, str, str]:
        protects = int(row["role"]) == ROLE_PROTECTION
        cause = int(row["cause"])
        if protects and cause == ORDER_AMENDED:
            return "PROTECTION_AMENDED", INFO, ""
        if before == after:
            late = after in _ENDED and cause == events.ORDER_FILL
            return ("LATE_FILL", WARNING, "LATE_FILL") if late else ("", "", "")
        if before == ORDER_STATE_SUSPECT and cause != HEALTH:
            return "ORDER_RESOLVED", INFO, "SUBMIT_RESOLVED"
        if after == ORDER_STATE_REJECTED and before in (0, ORDER_STATE_PLANNED) and cause >= 100:
            # The choke of our own: nothing left.
            return "ORDER_REFUSED", DEBUG, ""
        if after in (ORDER_STATE_JOURNALED, ORDER_STATE_SENT):
            return ("ORDER_SENT", INFO, "") if after == ORDER_STATE_SENT else ("", "", "")
        if after == ORDER_STATE_OPEN and before not in (
            ORDER_STATE_AMEND_PENDING,
            ORDER_STATE_CANCEL_PENDING,
        ):
            return ("PROTECTION_PLACED" if protects else "ORDER_OPEN"), INFO, ""
        if after == ORDER_STATE_SUSPECT:
            if before == ORDER_STATE_OPEN and int(row["ts_acked"]) > 0:
                # It rests, and nothing was asked of it: that the account is not heard is told apart.
                return "ORDER_SUSPECT", INFO if self._stopping else WARNING, ""
            return "ORDER_SUSPECT", WARNING, "SUBMIT_UNKNOWN"
        if after == ORDER_STATE_REJECTED:
            alert = _reject_alert(row)
            return "ORDER_REJECTED", WARNING if alert else INFO, alert
        if after in (ORDER_STATE_CANCELLED, ORDER_STATE_EXPIRED):
            gone = protects and before != ORDER_STATE_CANCEL_PENDING and cause == ORDER_CANCELED
            if gone and int(row["filled"]) < int(row["qty"]):
                return "PROTECTION_LOST", ERROR, "PROTECTION_LOST"
            return "ORDER_ENDED", INFO, ""
        if after == ORDER_STATE_FILLED:
            return "ORDER_ENDED", INFO, ""
        return "", "", ""

    def _fills(self, rows: np.ndarray) -> list[Marker]:
        found = []
        for row in rows:
            found.append(
                self._make(
                    "ORDER_FILL",
                    INFO,
                    "fills",
                    {
                        "order": int(row["order"]),
                        "symbol": self._symbol(row),
                        "role": ROLE_NAMES.get(int(row["role"]), ""),
                        "side": SIDE_NAMES.get(int(row["side"]), ""),
                        "price": self._price(row, int(row["price"])),
                        "qty": self._qty(row, int(row["qty"])),
                        "fee_quote": format(from_money(int(row["fee"])), "f"),
                        "maker": bool(row["maker"]),
                        "position": self._qty(row, int(row["position"])),
                    },
                )
            )
            found += self._slipped(row)
        while len(self._triggers) > TRIGGERS_KEPT:
            del self._triggers[next(iter(self._triggers))]
        return found

    def _slipped(self, row: Any) -> list[Marker]:
        """A stop that sold far below its trigger."""
        trigger = self._triggers.get(int(row["order"]), 0)
        bps = (trigger - int(row["price"])) * 10_000 // trigger if trigger else 0
        if bps < SLIPPED_BPS:
            return []
        facts = {
            "order": int(row["order"]),
            "symbol": self._symbol(row),
            "trigger": self._price(row, trigger),
            "price": self._price(row, int(row["price"])),
            "bps": bps,
        }
        return [self._make("STOP_SLIPPED", WARNING, "fills", facts, "STOP_SLIPPED")]

    def _positions(self, rows: np.ndarray) -> list[Marker]:
        found = []
        for row in rows:
            sym, held, covered = int(row["sym"]), int(row["qty"]), int(row["covered"])
            (self._held.add if held else self._held.discard)(sym)
            bare = held > covered and int(row["coverage"]) != COVER_EXITING
            if bare:
                since = self._uncovered.get(sym, (int(row["ts"]), 0, 0))[0]
                self._uncovered[sym] = (since, held, covered)
                continue
            if sym in self._uncovered:
                del self._uncovered[sym]
            if sym in self._told_uncovered:
                self._told_uncovered.discard(sym)
                facts = {"symbol": self._symbol(row), "qty": self._qty(row, held)}
                found.append(self._make("EXIT_COVERAGE_RESTORED", INFO, "protection", facts))
        return found

    def uncovered(self, now: int) -> list[Marker]:
        """EXIT_COVERAGE_MISSING for each position that is bare for too long; ask every second."""
        found = []
        for sym, (since, held, covered) in self._uncovered.items():
            if sym in self._told_uncovered or now - since < UNCOVERED_MAX_NS:
                continue
            self._told_uncovered.add(sym)
            row = {"sym": sym}
            facts = {
                "symbol": self._symbol(row),
                "qty": self._qty(row, held),
                "covered": self._qty(row, covered),
                "uncovered_ms": (now - since) // 1_000_000,
            }
            found.append(
                self._make("EXIT_COVERAGE_MISSING", ERROR, "protection", facts, "UNPROTECTED")
            )
        return found

    def _realized(self, rows: np.ndarray) -> list[Marker]:
        return [
            self._make(
                "POSITION_CLOSED",
                INFO,
                "positions",
                {
                    "symbol": self._symbol(row),
                    "net_quote": format(from_money(int(row["net"])), "f"),
                    "realized_bps": round(float(row["realized_bps"]), 2),
                    "hold_s": int(row["hold_ns"]) // 1_000_000_000,
                    "reason": EXIT_NAMES.get(int(row["exit_reason"]), ""),
                },
            )
            for row in rows
        ]

    def _modes(self, rows: np.ndarray) -> list[Marker]:
        found = []
        for row in rows:
            before, after = int(row["mode_before"]), int(row["mode"])
            who, why = int(row["who"]), int(row["why"])
            facts = {
                "mode": MODE_NAMES.get(after, str(after)),
                "before": MODE_NAMES.get(before, str(before)),
                "who": "operator" if who == WHO_OPERATOR else "engine",
                "why": WHY_NAMES.get(why, str(why)),
            }
            if not row["accepted"]:
                asked = MODE_NAMES.get(int(row["asked"]), "")
                found.append(
                    self._make("MODE_REFUSED", WARNING, "safety", {**facts, "asked": asked})
                )
            elif before != after:
                self._mode = after
                level = INFO if after < before or who == WHO_OPERATOR else WARNING
                found.append(
                    self._make("MODE_CHANGE", level, "safety", facts, mode_alert(who, why))
                )
        return found

    def _recoveries(self, rows: np.ndarray) -> list[Marker]:
        found = []
        for row in rows:
            code = self._recovery_names.get(int(row["recovery"]), str(int(row["recovery"])))
            name, level, alert = _RECOVERIES.get(code, ("RECOVERY", INFO, ""))
            facts = {
                "recovery": code,
                "symbol": self._symbol(row),
                "order": int(row["order"]),
                **{key: self._recovered(code, row, key) for key in ("value", "expected")},
            }
            found.append(self._make(name, level, "reconcile", facts, alert))
        return found

    def _recovered(self, code: str, row: Any, key: str) -> str | int:
        """What a recovery's number says: coins or money as a person knows them, else as it is."""
        number = int(row[key])
        if code not in _AMOUNTS:
            return number
        return self._qty(row, number) if int(row["sym"]) >= 0 else format(from_money(number), "f")

    # ---- events ----

    def _event(self, kind: int, row: Any) -> list[Marker]:
        facts: dict[str, Any]
        if kind == EPOCH:
            return self._epoch_event(row)
        if kind == HEALTH:
            return self._health(int(row["id"]), row)
        if kind == events.ORDER_FILL:
            # Told by a snapshot or over REST, not by the stream as it happened.
            if not int(row["flags"]) & events.SNAPSHOT or int(row["id"]) <= 0:
                return []
            facts = {
                "order": int(row["id"]),
                "symbol": self._symbol(row),
                "qty": self._qty(row, int(row["qty"])),
                "late_ms": (int(row["ts"]) - int(row["ts_venue"])) // 1_000_000,
            }
            return [self._make("FILLS_BACKFILL", WARNING, "account", facts, "FILLS_BACKFILL")]
        if kind == events.INSTRUMENT:
            return self._pair_status(row)
        if kind == CONNECTION_UP:
            return [self._make("CONNECTION_UP", INFO, "feed", {})]
        if kind == CONNECTION_DOWN:
            return [self._lost("CONNECTION_DOWN", "feed", "CONN_SILENT")]
        if kind in (GAP, RESYNC):
            cause = GAP_NAMES.get(int(row["id"]), "")
            facts = {"symbol": self._symbol(row), "cause": cause}
            name = "BOOK_GAP" if kind == GAP else "BOOK_RESYNC"
            # A book that could not be believed is told; the rest follows from the lost connection.
            alert = "BOOK_RESYNC" if cause in ("checksum", "crossed") else ""
            found = [self._make(name, WARNING, "feed", facts, alert)]
            return found + (self._again_and_again(row) if alert else [])
        if kind == SYSTEM_STATUS:
            status = int(row["aux"])
            fine = status == STATUS_ONLINE
            facts = {"status": STATUS_NAMES.get(status, str(status))}
            alert = "" if fine else "VENUE_MODE"
            if status == STATUS_CANCEL_ONLY and self._system == STATUS_ONLINE:
                alert = "VENUE_CANCEL_ONLY"  # around maintenance it is one of its stages
            self._system = status
            return [self._make("VENUE_STATUS", INFO if fine else WARNING, "feed", facts, alert)]
        if kind == OPERATOR:
            what = OPERATOR_NAMES.get(int(row["id"]), str(int(row["id"])))
            facts = {"what": what, "symbol": self._symbol(row), "aux": int(row["aux"])}
            return [self._make("OPERATOR_COMMAND", INFO, "operator", facts)]
        # MODE: what came of it is a row of `modes`.
        return []

    def _lost(self, name: str, component: str, alert: str) -> Marker:
        """A line ended; of our own doing when the session ends."""
        if self._stopping:
            return self._make(name, INFO, component, {})
        return self._make(name, WARNING, component, {}, alert)

    def _again_and_again(self, row: Any) -> list[Marker]:
        """A book that cannot be believed for the fifth time in a minute; told once a minute."""
        sym, ts = int(row["sym"]), int(row["ts"])
        times = self._distrusted.setdefault(sym, deque())
        times.append(ts)
        while ts - times[0] > RESYNCS_NS:
            times.popleft()
        if len(times) < RESYNCS_MAX:
            return []
        facts = {"symbol": self._symbol(row), "resyncs": len(times)}
        times.clear()
        return [self._make("PAIR_QUARANTINED", ERROR, "feed", facts, "PAIR_QUARANTINED")]

    def _pair_status(self, row: Any) -> list[Marker]:
        status = int(row["aux"])
        facts = {"symbol": self._symbol(row), "status": STATUS_NAMES.get(status, str(status))}
        if status == STATUS_ONLINE:
            return [self._make("PAIR_STATUS", INFO, "feed", facts)]
        if status in _CLOSED and int(row["sym"]) in self._held:
            return [self._make("PAIR_GONE", ERROR, "feed", facts, "PAIR_GONE")]
        return [self._make("PAIR_STATUS", WARNING, "feed", facts, "PAIR_MODE")]

    def beside(self, name: str, level: str, component: str, alert: str, **facts: Any) -> Marker:
        """Something that no event tells: of the process, its disk, its clock, its lines."""
        return self._make(name, level, component, facts, alert)

    def _epoch_event(self, row: Any) -> list[Marker]:
        number, status = int(row["id"]), int(row["aux"])
        found = []
        if number != self._epoch:
            self._epoch, self._epoch_status = number, 0
            found.append(self._make("INGEST_EPOCH_OPEN", INFO, "data", {}))
        if status != self._epoch_status:
            self._epoch_status = status
            name = EPOCH_NAMES.get(status, "INVALID")
            alert = {"DEGRADED": "EPOCH_DEGRADED", "INVALID": "EPOCH_INVALID"}.get(name, "")
            level = WARNING if alert else INFO
            found.append(self._make(f"INGEST_EPOCH_{name}", level, "data", {}, alert))
        return found

    def _health(self, code: int, row: Any) -> list[Marker]:
        aux, qty = int(row["aux"]), int(row["qty"])
        facts: dict[str, Any]
        if code == events.HEALTH_CLOCK:
            off = abs(aux)
            alert = "CLOCK_STEP" if off > CLOCK_MAX_NS else "CLOCK_SKEW"
            shown = off > CLOCK_SHOWN_NS
            facts = {"offset_ms": aux / 1e6, "round_trip_ms": qty / 1e6}
            level = WARNING if shown else DEBUG
            return [self._make("CLOCK_OFFSET", level, "clock", facts, alert if shown else "")]
        if code == events.HEALTH_LAG:
            late = max(aux, qty) > LAG_SHOWN_NS
            facts = {"writer_ms": aux / 1e6, "decoder_ms": qty / 1e6}
            level = WARNING if late else DEBUG
            return [self._make("LAG", level, "feed", facts, "LAG" if late else "")]
        if code == events.HEALTH_JOURNAL:
            slow = aux > JOURNAL_SHOWN_NS
            alert = "FSYNC_FAILED" if qty else "JOURNAL_SLOW" if slow else ""
            level = ERROR if qty else WARNING if slow else DEBUG
            facts = {"sync_ms": aux / 1e6, "failed": bool(qty)}
            return [self._make("JOURNAL_SYNC", level, "log", facts, alert)]
        if code == events.HEALTH_SUSPECT:
            facts = {"order": aux, "why": qty}
            return [self._make("ORDER_SUSPECT", WARNING, "account", facts, "SUBMIT_UNKNOWN")]
        if code == events.HEALTH_ACCOUNT_LOST:
            return [self._lost("ACCOUNT_LOST", "account", "EXEC_GAP")]
        if code == events.HEALTH_ACCOUNT_SYNCED:
            return [self._make("RECONCILE_START", INFO, "reconcile", {})]
        if code == events.HEALTH_FOREIGN:
            facts = {
                "symbol": self._symbol(row),
                "side": SIDE_NAMES.get(int(row["side"]), ""),
                "price": self._price(row, int(row["price"])),
                "qty": self._qty(row, qty),
                "key": aux,
            }
            return [self._make("FOREIGN_ORDER", WARNING, "account", facts, "FOREIGN_ORDER")]
        if code == events.HEALTH_LEASE:
            lost = aux == 0
            alert = "LEASE_LOST" if lost else ""
            return [self._make("LEASE", ERROR if lost else INFO, "lease", {"number": aux}, alert)]
        if code == events.HEALTH_SWITCH:
            return [self._make("SWITCH", INFO, "account", {"fires_at": aux})]
        if code == events.HEALTH_SWITCH_FIRED:
            facts = {"cancelled": aux}
            return [self._make("SWITCH_FIRED", ERROR, "account", facts, "SWITCH_FIRED")]
        if code == events.HEALTH_STOPPING:
            self._stopping = True
            return [self._make("SESSION_STOPPING", INFO, "session", {})]
        # Ages, counts of alerts, what the tables tell better.
        return []


_RARE: Final = np.zeros(128, np.bool_)
_RARE[[EPOCH, HEALTH, CONNECTION_UP, CONNECTION_DOWN, GAP, RESYNC, SYSTEM_STATUS, OPERATOR]] = True
_RARE[[MODE, events.ORDER_FILL, events.INSTRUMENT]] = True
_ENDED: Final = (
    ORDER_STATE_CANCELLED, ORDER_STATE_EXPIRED, ORDER_STATE_FILLED, ORDER_STATE_REJECTED,
)  # fmt: skip
_CLOSED: Final = (STATUS_WORK_IN_PROGRESS, STATUS_DELISTED)


def mode_alert(who: int, why: int) -> str:
    """Which alert a change of mode raises: what a person asked for needs none, but the kill switch."""
    if why == WHY_KILL:
        return "KILLED"
    if who == WHO_OPERATOR:
        return ""
    return {
        events.WHY_LOSS: "LOSS_LIMIT",
        events.WHY_OVERFILL: "OVERFILL",
        events.WHY_JOURNAL: "FSYNC_FAILED",
        events.WHY_ALERTS: "ALERTS_NOT_READ",
        events.WHY_INVARIANT: "CORE_HALT",
        events.WHY_SECOND_WRITER: "SECOND_WRITER",
        events.WHY_START: "",
        events.WHY_RECONCILED: "",
    }.get(why, "MODE_CHANGE")


def _shown_price(row: Any) -> int:
    """Limit, or where a stop stands; the price of a trailing stop is only its distance."""
    price, trigger = int(row["price"]), int(row["trigger"])
    return trigger if int(row["type"]) == TRAILING_STOP else price or trigger


def _reject_alert(row: Any) -> str:
    """A refusal by the market is routine; one of our form, funds or doubles is not."""
    if int(row["cause"]) != events.ORDER_REJECT:
        return ""
    reason = int(row["reason"])
    if reason in (events.REJECT_PRICE, events.REJECT_QTY, events.REJECT_DUPLICATE):
        return "QUANTISER"
    if reason == events.REJECT_RATE:
        return "RATE_PAIR"
    # What never left, the venue did not refuse.
    quiet = (
        events.REJECT_SHADOW, events.REJECT_POST_ONLY, events.REJECT_ABSENT, events.REJECT_NOT_SENT,
    )  # fmt: skip
    return "" if reason in quiet else "REJECTED"
