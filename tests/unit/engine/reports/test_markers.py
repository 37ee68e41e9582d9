"""Rows and events to log lines with stable names: what is told, at which level, with which alert."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from engine import events as ev
from engine.alerts import ALERTS
from engine.commands import LIMIT, ROLE_ENTRY, ROLE_PROTECTION, STOP_LOSS
from engine.core import orderstates as o
from engine.core.protection import COVER_ARMING, COVER_EXITING, COVER_NONE, COVER_PROTECTED
from engine.core.records import (
    GENERATION_MISMATCH,
    LOST_TO_BETTER,
    OK,
    ROUTE_STALE,
    TABLES,
    table_dtype,
)
from engine.core.recoveries import (
    RECOVERY_CASH,
    RECOVERY_DIFFERS,
    RECOVERY_NAMES,
    RECOVERY_RECONCILED,
    RECOVERY_SHORT,
)
from engine.core.state import SYMBOL
from engine.instruments import (
    STATUS_CANCEL_ONLY,
    STATUS_MAINTENANCE,
    STATUS_ONLINE,
    STATUS_REDUCE_ONLY,
    Instrument,
    InstrumentTable,
)
from engine.reports.markers import _RECOVERIES, LEVELS, NAMES, Markers, mode_alert

PAIR = Instrument(
    symbol="BTC/USD",
    price_increment=Decimal("0.1"),
    qty_increment=Decimal("0.00000001"),
    price_precision=1,
    qty_precision=8,
    qty_min=Decimal("0.0001"),
    cost_min=Decimal("0.5"),
)
S = 1_000_000_000


def markers(debug=False):
    return Markers("run-1", InstrumentTable([PAIR]), debug=debug)


def rows_of(table, *values):
    rows = np.zeros(len(values), table_dtype(table))
    for row, fields in zip(rows, values, strict=True):
        for name, value in fields.items():
            row[name] = value
    return rows


def event(kind, **fields):
    rows = ev.empty(1)
    rows[0]["kind"] = kind
    for name, value in fields.items():
        rows[0][name] = value
    return rows


def told(found):
    return [(each.name, each.level, each.alert) for each in found]


def order(before, after, role=ROLE_ENTRY, cause=ev.ORDER_ACK, reason=0, filled=0):
    return {
        **{"id": 7, "role": role, "side": 1, "type": LIMIT if role == ROLE_ENTRY else STOP_LOSS},
        **{"price": 604_283, "trigger": 600_000, "qty": 1_000_000, "filled": filled},
        **{"state": after, "state_before": before, "cause": cause, "reason": reason},
        "ts_acked": 0,
    }


# --- orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (order(o.ORDER_STATE_JOURNALED, o.ORDER_STATE_SENT), ("ORDER_SENT", "info", "")),
        (order(o.ORDER_STATE_SENT, o.ORDER_STATE_OPEN), ("ORDER_OPEN", "info", "")),
        (
            order(o.ORDER_STATE_SENT, o.ORDER_STATE_OPEN, ROLE_PROTECTION),
            ("PROTECTION_PLACED", "info", ""),
        ),
        (
            order(o.ORDER_STATE_OPEN, o.ORDER_STATE_OPEN, ROLE_PROTECTION, ev.ORDER_AMENDED),
            ("PROTECTION_AMENDED", "info", ""),
        ),
        (
            order(o.ORDER_STATE_OPEN, o.ORDER_STATE_CANCELLED, ROLE_PROTECTION, ev.ORDER_CANCELED),
            ("PROTECTION_LOST", "error", "PROTECTION_LOST"),
        ),
        (
            order(
                *(o.ORDER_STATE_CANCEL_PENDING, o.ORDER_STATE_CANCELLED),
                *(ROLE_PROTECTION, ev.ORDER_CANCELED),
            ),
            ("ORDER_ENDED", "info", ""),
        ),
        (
            order(o.ORDER_STATE_SENT, o.ORDER_STATE_SUSPECT, cause=ev.HEALTH),
            ("ORDER_SUSPECT", "warning", "SUBMIT_UNKNOWN"),
        ),
        (
            order(o.ORDER_STATE_CANCEL_PENDING, o.ORDER_STATE_SUSPECT, cause=ev.HEALTH)
            | {"ts_acked": 5},
            ("ORDER_SUSPECT", "warning", "SUBMIT_UNKNOWN"),
        ),
        (
            order(o.ORDER_STATE_OPEN, o.ORDER_STATE_SUSPECT, cause=ev.HEALTH) | {"ts_acked": 5},
            ("ORDER_SUSPECT", "warning", ""),
        ),
        (
            order(
                *(o.ORDER_STATE_SENT, o.ORDER_STATE_REJECTED, ROLE_ENTRY, ev.ORDER_REJECT),
                ev.REJECT_FUNDS,
            ),
            ("ORDER_REJECTED", "warning", "REJECTED"),
        ),
        (
            order(
                *(o.ORDER_STATE_SENT, o.ORDER_STATE_REJECTED, ROLE_ENTRY, ev.ORDER_REJECT),
                ev.REJECT_POST_ONLY,
            ),
            ("ORDER_REJECTED", "info", ""),
        ),
        (
            order(
                *(o.ORDER_STATE_SENT, o.ORDER_STATE_REJECTED, ROLE_ENTRY, ev.ORDER_REJECT),
                ev.REJECT_PRICE,
            ),
            ("ORDER_REJECTED", "warning", "QUANTISER"),
        ),
        (
            order(
                *(o.ORDER_STATE_SENT, o.ORDER_STATE_REJECTED, ROLE_ENTRY, ev.ORDER_REJECT),
                ev.REJECT_SHADOW,
            ),
            ("ORDER_REJECTED", "info", ""),
        ),
        (order(o.ORDER_STATE_OPEN, o.ORDER_STATE_FILLED), ("ORDER_ENDED", "info", "")),
        (order(0, o.ORDER_STATE_REJECTED, cause=101), ("ORDER_REFUSED", "debug", "")),
    ],
)
def test_a_change_of_an_order_is_one_line(row, expected):
    assert [expected] == told(markers().of_rows("orders", rows_of("orders", row)))


def test_stops_refused_one_after_the_other_are_told_and_one_that_rests_ends_the_row():
    def stop(before, after, reason=0):
        cause = ev.ORDER_REJECT if after == o.ORDER_STATE_REJECTED else ev.ORDER_ACK
        return rows_of("orders", order(before, after, ROLE_PROTECTION, cause, reason))

    sent = stop(o.ORDER_STATE_JOURNALED, o.ORDER_STATE_SENT)
    refused = stop(o.ORDER_STATE_SENT, o.ORDER_STATE_REJECTED, ev.REJECT_FUNDS)
    never_left = stop(o.ORDER_STATE_JOURNALED, o.ORDER_STATE_REJECTED, ev.REJECT_NOT_SENT)
    rests = stop(o.ORDER_STATE_SENT, o.ORDER_STATE_OPEN)

    def alerts(*steps):
        made = markers()
        return [each.alert for rows in steps for each in made.of_rows("orders", rows) if each.alert]

    assert alerts(sent, refused) == ["REJECTED"]
    assert alerts(sent, refused, sent, refused) == ["REJECTED", "REJECTED", "UNPROTECTED"]
    assert alerts(sent, refused, never_left, sent, refused)[-1] == "UNPROTECTED"
    assert alerts(*[sent, refused] * 4).count("UNPROTECTED") == 2
    assert "UNPROTECTED" not in alerts(sent, refused, sent, rests, sent, refused)


def test_a_stop_that_fills_far_below_its_trigger_is_told():
    made = markers()
    rests = order(o.ORDER_STATE_SENT, o.ORDER_STATE_OPEN, ROLE_PROTECTION)
    made.of_rows("orders", rows_of("orders", rests))
    fill = {"order": 7, "role": ROLE_PROTECTION, "side": -1, "qty": 5, "position": 0}
    near = made.of_rows("fills", rows_of("fills", {**fill, "price": 597_600}))
    far = made.of_rows("fills", rows_of("fills", {**fill, "price": 594_000}))
    other = made.of_rows("fills", rows_of("fills", {**fill, "order": 8, "price": 1}))
    assert [each.alert for each in near + other] == ["", ""]
    assert [each.name for each in far] == ["ORDER_FILL", "STOP_SLIPPED"]
    assert far[1].facts["bps"] == 100


def test_cancel_only_is_critical_where_it_comes_unannounced():
    def status(*codes):
        made = markers()
        rows = [event(ev.SYSTEM_STATUS, aux=code) for code in codes]
        return [each.alert for one in rows for each in made.of_events(one)]

    assert status(STATUS_CANCEL_ONLY) == ["VENUE_CANCEL_ONLY"]
    assert status(STATUS_MAINTENANCE, STATUS_CANCEL_ONLY) == ["VENUE_MODE"] * 2
    assert status(STATUS_REDUCE_ONLY, STATUS_CANCEL_ONLY) == ["VENUE_MODE"] * 2
    assert status(STATUS_CANCEL_ONLY, STATUS_ONLINE, STATUS_CANCEL_ONLY)[2] == "VENUE_CANCEL_ONLY"


def test_an_order_is_told_in_units_and_with_words():
    (line,) = markers().of_rows(
        "orders", rows_of("orders", order(o.ORDER_STATE_SENT, o.ORDER_STATE_OPEN))
    )

    assert {
        **{"run": "run-1", "generation": 0, "epoch": 0, "seq": -1, "order": 7},
        **{"symbol": "BTC/USD", "role": "entry", "side": "buy", "type": "limit"},
        **{"price": "60428.3", "qty": "0.01000000", "filled": "0.00000000"},
        **{"state": "open", "cause": "order_ack", "reason": ""},
    } == line.facts


def test_a_fill_is_one_line_with_its_fee():
    row = {"order": 7, "side": -1, "price": 604_283, "qty": 5, "fee": 12_345, "maker": 1}
    (line,) = markers().of_rows("fills", rows_of("fills", row))

    assert ("ORDER_FILL", "info") == (line.name, line.level)
    assert ("sell", "0.00012345", True) == tuple(
        line.facts[name] for name in ("side", "fee_quote", "maker")
    )


# --- cover ----------------------------------------------------------------------------------------


def position(ts, qty, covered, coverage):
    return {"ts": ts, "qty": qty, "covered": covered, "coverage": coverage}


def test_a_position_is_told_as_bare_only_if_it_stays_so_and_once():
    made = markers()
    assert [] == made.of_rows("positions", rows_of("positions", position(S, 5, 0, COVER_ARMING)))
    assert [] == made.uncovered(2 * S)
    late = told(made.uncovered(3 * S))
    assert [("EXIT_COVERAGE_MISSING", "error", "UNPROTECTED")] == late
    assert [] == made.uncovered(4 * S)
    back = made.of_rows("positions", rows_of("positions", position(5 * S, 5, 5, COVER_PROTECTED)))

    assert [("EXIT_COVERAGE_RESTORED", "info", "")] == told(back)
    assert [] == made.uncovered(9 * S)


@pytest.mark.parametrize(
    "row",
    [position(S, 5, 5, COVER_PROTECTED), position(S, 5, 0, COVER_EXITING), position(S, 0, 0, 0)],
)
def test_what_is_covered_leaving_or_flat_is_not_bare(row):
    made = markers()
    made.of_rows("positions", rows_of("positions", row))

    assert [] == made.uncovered(99 * S)


def test_what_a_core_that_is_taken_up_holds_bare_is_told_without_a_row():
    """Killed while it was bare, and bare it stays: nothing changes that could make a row."""
    symbols = np.zeros(3, SYMBOL)
    for sym, since, coverage in ((0, S, COVER_NONE), (1, 0, COVER_PROTECTED)):
        held = symbols[sym]["position"]
        held["qty"], held["uncovered_ts"], held["coverage"] = 5, since, coverage
    made = markers()
    made.taken_up(symbols)

    late = told(made.uncovered(60 * S))
    assert [("EXIT_COVERAGE_MISSING", "error", "UNPROTECTED")] == late


def test_a_stop_that_covers_a_part_leaves_the_rest_bare():
    made = markers()
    made.of_rows("positions", rows_of("positions", position(S, 5, 3, COVER_PROTECTED)))
    made.of_rows("positions", rows_of("positions", position(2 * S, 5, 4, COVER_NONE)))

    (line,) = made.uncovered(3 * S)
    assert 2000 == line.facts["uncovered_ms"]


# --- decisions and evaluations ---------------------------------------------------------------------


def test_freshness_is_told_when_it_changes():
    made = markers()
    codes = [OK, ROUTE_STALE, ROUTE_STALE, LOST_TO_BETTER, OK, ROUTE_STALE]
    rows = rows_of("decisions", *({"blocker": code, "route": 9, "generation": 3} for code in codes))
    names = [name for each in rows for name, *_ in told(made.of_rows("decisions", each.reshape(1)))]

    stale = ["ROUTE_FRESHNESS_STALE", "ROUTE_EXECUTION_BLOCKED_STALE_DATA"]
    assert [*stale, "ROUTE_FRESHNESS_OK", *stale] == names


def test_a_generation_that_does_not_match_is_told():
    rows = rows_of("decisions", {"blocker": GENERATION_MISMATCH, "generation": 3})

    assert [("EXECUTION_BLOCKED_GENERATION_MISMATCH", "warning", "")] == told(
        markers().of_rows("decisions", rows)
    )


def test_evaluations_are_told_at_debug_and_integrity_when_it_changes():
    fine = {"n_ready": 1, "n_symbols": 1, "n_candidates": 3, "epoch_status": ev.EPOCH_VALID}
    rows = rows_of(
        "evaluations",
        {**fine, "generation": 1},
        {**fine, "generation": 2},
        {**fine, "generation": 3, "n_ready": 0, "n_candidates": 0},
    )
    loud = told(markers(debug=True).of_rows("evaluations", rows))
    quiet = [name for name, *_ in told(markers().of_rows("evaluations", rows))]

    assert ["DATA_INTEGRITY_OK", "DATA_INTEGRITY_BLOCKED"] == quiet
    assert 2 == loud.count(("LIVE_EVALUATION_DONE", "debug", ""))
    assert 1 == loud.count(("LIVE_EVALUATION_EMPTY", "debug", ""))
    assert 3 == loud.count(("LIVE_EVALUATION_START", "debug", ""))


def test_every_line_carries_run_generation_epoch_and_sequence():
    made = markers()
    made.of_events(event(ev.EPOCH, id=4, aux=ev.EPOCH_VALID, seq=11))
    made.of_rows("evaluations", rows_of("evaluations", {"generation": 9, "epoch": 4}))
    (line,) = made.of_events(event(ev.CONNECTION_UP, seq=12))

    assert ("run-1", 9, 4, 12) == tuple(
        line.facts[name] for name in ("run", "generation", "epoch", "seq")
    )


# --- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (event(ev.CONNECTION_DOWN), ("CONNECTION_DOWN", "warning", "CONN_SILENT")),
        (event(ev.RESYNC, id=ev.GAP_CHECKSUM, sym=0), ("BOOK_RESYNC", "warning", "BOOK_RESYNC")),
        (event(ev.RESYNC, id=ev.GAP_DISCONNECT, sym=0), ("BOOK_RESYNC", "warning", "")),
        (event(ev.SYSTEM_STATUS, aux=STATUS_ONLINE), ("VENUE_STATUS", "info", "")),
        (
            event(ev.SYSTEM_STATUS, aux=STATUS_CANCEL_ONLY),
            ("VENUE_STATUS", "warning", "VENUE_CANCEL_ONLY"),
        ),
        (event(ev.OPERATOR, id=ev.OPERATOR_FLATTEN), ("OPERATOR_COMMAND", "info", "")),
        (event(ev.HEALTH, id=ev.HEALTH_CLOCK, aux=-10_000_000), ("CLOCK_OFFSET", "debug", "")),
        (
            event(ev.HEALTH, id=ev.HEALTH_CLOCK, aux=-300_000_000),
            ("CLOCK_OFFSET", "warning", "CLOCK_SKEW"),
        ),
        (
            event(ev.HEALTH, id=ev.HEALTH_CLOCK, aux=2 * S),
            ("CLOCK_OFFSET", "warning", "CLOCK_STEP"),
        ),
        (event(ev.HEALTH, id=ev.HEALTH_JOURNAL, qty=1), ("JOURNAL_SYNC", "error", "FSYNC_FAILED")),
        (
            event(ev.HEALTH, id=ev.HEALTH_JOURNAL, aux=S),
            ("JOURNAL_SYNC", "warning", "JOURNAL_SLOW"),
        ),
        (event(ev.HEALTH, id=ev.HEALTH_LAG, aux=S), ("LAG", "warning", "LAG")),
        (event(ev.HEALTH, id=ev.HEALTH_LEASE, aux=0), ("LEASE", "error", "LEASE_LOST")),
        (event(ev.HEALTH, id=ev.HEALTH_LEASE, aux=4), ("LEASE", "info", "")),
        (
            event(ev.HEALTH, id=ev.HEALTH_SWITCH_FIRED, aux=2),
            ("SWITCH_FIRED", "error", "SWITCH_FIRED"),
        ),
        (event(ev.HEALTH, id=ev.HEALTH_SUSPECT), ("ORDER_SUSPECT", "warning", "SUBMIT_UNKNOWN")),
        (event(ev.HEALTH, id=ev.HEALTH_ACCOUNT_LOST), ("ACCOUNT_LOST", "warning", "EXEC_GAP")),
        (event(ev.HEALTH, id=ev.HEALTH_ACCOUNT_SYNCED), ("RECONCILE_START", "info", "")),
        (
            event(ev.HEALTH, id=ev.HEALTH_FOREIGN, sym=0, price=10, qty=5, side=1),
            ("FOREIGN_ORDER", "warning", "FOREIGN_ORDER"),
        ),
        (event(ev.HEALTH, id=ev.HEALTH_STOPPING), ("SESSION_STOPPING", "info", "")),
    ],
)
def test_an_event_is_one_line(rows, expected):
    assert [expected] == told(markers().of_events(rows))


@pytest.mark.parametrize(
    "kind", [ev.BOOK_LEVEL, ev.TRADE, ev.TIMER, ev.ORDER_FILL, ev.HEARTBEAT, ev.BALANCE, ev.MODE]
)
def test_what_the_tables_tell_and_market_data_make_no_line(kind):
    assert [] == markers().of_events(event(kind))


def test_an_epoch_opens_and_falls():
    made = markers()
    names = [
        name
        for status in (ev.EPOCH_VALID, ev.EPOCH_VALID, ev.EPOCH_DEGRADED, ev.EPOCH_CLOSED)
        for name, *_ in told(made.of_events(event(ev.EPOCH, id=1, aux=status)))
    ]

    assert [f"INGEST_EPOCH_{each}" for each in ("OPEN", "VALID", "DEGRADED", "CLOSED")] == names


# --- modes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "why", "alert"),
    [
        (ev.WHO_OPERATOR, ev.WHY_COMMAND, ""),
        (ev.WHO_OPERATOR, ev.WHY_KILL, "KILLED"),
        (ev.WHO_ENGINE, ev.WHY_LOSS, "LOSS_LIMIT"),
        (ev.WHO_ENGINE, ev.WHY_START, ""),
        (ev.WHO_ENGINE, ev.WHY_ALERTS, "ALERTS_NOT_READ"),
        (ev.WHO_ENGINE, ev.WHY_FLAT, "MODE_CHANGE"),
    ],
)
def test_which_change_of_mode_alerts(who, why, alert):
    assert alert == mode_alert(who, why)


def test_a_mode_that_changed_and_one_that_was_refused():
    row = {"mode_before": ev.MODE_NORMAL, "mode": ev.MODE_HALT, "asked": ev.MODE_HALT}
    changed = {**row, "who": ev.WHO_OPERATOR, "why": ev.WHY_KILL, "accepted": 1}
    refused = {"mode_before": 5, "mode": 5, "asked": 1, "why": ev.WHY_LOSS, "accepted": 0}
    first, second = markers().of_rows("modes", rows_of("modes", changed, refused))

    assert ("MODE_CHANGE", "info", "KILLED") == (first.name, first.level, first.alert)
    assert ("HALT", "NORMAL", "operator", "kill") == tuple(
        first.facts[name] for name in ("mode", "before", "who", "why")
    )
    assert ("MODE_REFUSED", "NORMAL") == (second.name, second.facts["asked"])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (RECOVERY_RECONCILED, ("RECONCILE_CLEAN", "info", "")),
        (RECOVERY_SHORT, ("RECONCILE_REPAIRED", "warning", "BALANCE_UNEXPLAINED")),
        (RECOVERY_DIFFERS, ("RECONCILE_STUCK", "warning", "")),
        (RECOVERY_CASH, ("RECONCILE_STUCK", "error", "BALANCE_UNEXPLAINED")),
    ],
)
def test_what_brought_books_and_venue_together(code, expected):
    rows = rows_of("recoveries", {"recovery": code, "sym": -1, "value": 5, "expected": 7})

    assert [expected] == told(markers().of_rows("recoveries", rows))


def test_amounts_of_a_recovery_are_told_in_coins_and_money_and_counts_as_they_are():
    rows = rows_of(
        "recoveries",
        {"recovery": RECOVERY_CASH, "sym": -1, "value": 9_979_387_300_000, "expected": 0},
        {"recovery": RECOVERY_SHORT, "sym": 0, "value": 150_000_000, "expected": 200_000_000},
        {"recovery": RECOVERY_RECONCILED, "sym": -1, "value": 2, "expected": 0},
    )

    facts = [each.facts for each in markers().of_rows("recoveries", rows)]

    assert [each["value"] for each in facts] == ["99793.87300000", "1.50000000", 2]
    assert facts[1]["expected"] == "2.00000000"


# --- the names ------------------------------------------------------------------------------------


def test_every_marker_and_alert_that_can_be_made_is_known():
    """The source is searched, so that a new line cannot be forgotten."""
    import re
    from pathlib import Path

    from engine.reports import markers as module

    text = Path(module.__file__).read_text().partition("class Markers")[2]
    made = set(re.findall(r'"([A-Z]{3,}(?:_[A-Z0-9]+)*)"', text)) | {
        word for entry in _RECOVERIES.values() for word in (entry[0], entry[2]) if word
    }
    suffixes = {"OK", "DEGRADED", "BLOCKED", "INVALID"}
    assert made - suffixes <= set(NAMES) | set(ALERTS)
    assert len(made & set(NAMES)) > 35
    assert len(set(NAMES)) == len(NAMES)


def test_markers_are_made_of_tables_that_exist():
    assert set(markers()._of_table) <= set(TABLES)
    assert set(_RECOVERIES) <= set(RECOVERY_NAMES.values())
    assert LEVELS == ("debug", "info", "warning", "error")
