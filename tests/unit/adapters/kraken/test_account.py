"""Executions and balances to events: sparse reports, quirks of the wire, gaps and reconnects."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kraken.account import HELD_NS, AccountFeed
from adapters.kraken.order_state import (
    SUSPECT_FILLS,
    SUSPECT_UNCLEAR,
    SUSPECT_VANISHED,
    OrderState,
    Read,
    cl_ord_id_of,
    id_of_cl_ord_id,
)
from adapters.kraken.orders import order_key
from adapters.kraken.wire import Balances, Executions, decode
from engine.events import (
    BALANCE,
    BUY,
    CANCEL_IOC,
    CANCEL_POST_ONLY,
    CANCEL_SELF_TRADE,
    CANCEL_USER,
    HEALTH,
    HEALTH_ACCOUNT_LOST,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_SUSPECT,
    LAST,
    MAKER,
    NO_SYMBOL,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_PENDING,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    SNAPSHOT,
    TAKER,
)
from tests.support.private_words import (
    PAIRS,
    STAMP_NS,
    as_balances,
    as_executions,
    balances,
    canceled,
    executions,
    filled,
    new,
    pending_new,
    trade,
)

NOW = STAMP_NS + 5_000_000
A, B = "OAAAAA-BBBBB-CCCCCC", "OBBBBB-BBBBB-CCCCCC"
OURS = cl_ord_id_of(7)


def started(*reports: dict[str, Any]) -> AccountFeed:
    """An account after empty snapshots and these reports as snapshot of the executions."""
    feed = AccountFeed(PAIRS)
    feed.take(as_executions(executions(1, *reports, kind="snapshot")), NOW)
    feed.take(as_balances(balances(1, kind="snapshot")), NOW)
    return feed


def tell(feed: AccountFeed, *reports: dict[str, Any]) -> Read:
    """The reports as one update, next in sequence."""
    return feed.take(as_executions(executions(feed.executions.last + 1, *reports)), NOW)


def kinds(read: Read) -> list[int]:
    return [int(each) for each in read.events()["kind"]]


# ---- client ids ----


@given(st.integers(1, (1 << 63) - 1))
def test_a_client_id_survives_the_wire_and_a_change_of_case(id: int) -> None:
    text = cl_ord_id_of(id)

    assert len(text) == 18  # the most that Kraken takes as free text
    assert id_of_cl_ord_id(text) == id_of_cl_ord_id(text.upper()) == id


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "kb",
        "arb-20260105-00001",
        "kb00000000000000zz",
        "kbffffffffffffffff",
        "82909e914d000200",
    ],
)
def test_ids_of_others_are_none_of_ours(text: str | None) -> None:
    assert id_of_cl_ord_id(text) == 0


# ---- the life of an order ----


def test_an_order_that_rests_is_pending_and_then_open() -> None:
    """`new` repeats neither symbol nor side nor client id: they come from pending_new."""
    feed = started()
    pending = tell(feed, pending_new(A, OURS)).events()
    opened = tell(feed, new(A)).events()

    assert [int(pending["kind"][0]), int(opened["kind"][0])] == [ORDER_PENDING, ORDER_ACK]
    row = opened[0]
    assert (row["id"], row["sym"], row["side"]) == (7, 0, BUY)
    assert (row["price"], row["qty"]) == (80_000, 10_000)  # 0.1 USD and 1e-8 BTC a step
    assert row["aux"] == order_key(A)
    assert (row["ts"], row["ts_venue"], row["flags"]) == (NOW, STAMP_NS, LAST)


def test_a_fill_and_its_fee_are_one_message_and_filled_is_not_another_fill() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    first = tell(feed, trade(A, "T1", 0.00004, 8000.0, cum_qty=0.00004))
    rest = tell(feed, trade(A, "T2", 0.00006, 7999.9, cum_qty=0.0001, liquidity_ind="t"))
    done = tell(feed, filled(A, 0.0001))

    assert kinds(first) == [ORDER_FILL, ORDER_FEE]
    fill, fee = first.events()
    assert (fill["price"], fill["qty"], fill["side"], fill["flags"]) == (80_000, 4_000, BUY, MAKER)
    assert (fee["qty"], fee["flags"]) == (200_000, LAST)  # 0.002 USD in 1e-8
    assert fill["aux"] == fee["aux"] == order_key("T1")
    assert rest.events()[0]["flags"] == TAKER
    assert kinds(done) == [ORDER_FILLED]
    assert done.events()[0]["qty"] == 10_000
    assert feed.open_orders() == []
    assert not done.doubts


def test_several_reports_of_one_message_keep_their_order() -> None:
    feed = started()
    read = tell(
        feed, pending_new(A, OURS), new(A), trade(A, "T1", 0.0001, 8000.0), filled(A, 0.0001)
    )

    assert kinds(read) == [ORDER_PENDING, ORDER_ACK, ORDER_FILL, ORDER_FEE, ORDER_FILLED]


def test_a_fill_that_comes_again_counts_once() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A), trade(A, "T1", 0.00004, 8000.0))
    again = tell(feed, trade(A, "T1", 0.00004, 8000.0))

    assert kinds(again) == []
    assert feed.counts["fills seen before"] == 1


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("User requested", CANCEL_USER),
        ("Post only order", CANCEL_POST_ONLY),
        ("Cannot trade with self", CANCEL_SELF_TRADE),
    ],
)
def test_a_cancel_says_what_was_still_open_and_why(reason: str, code: int) -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A), trade(A, "T1", 0.00004, 8000.0))
    read = tell(feed, canceled(A, 0.00004, reason))

    assert kinds(read) == [ORDER_CANCELED]
    row = read.events()[0]
    assert (row["qty"], row["aux"], row["id"]) == (6_000, code, 7)


def test_the_rest_of_an_ioc_order_is_named_by_its_time_in_force() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS, time_in_force="IOC"), new(A))

    assert tell(feed, canceled(A, 0.0, "some new words")).events()[0]["aux"] == CANCEL_IOC


def test_an_unknown_reason_is_kept_whole_as_a_doubt() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    read = tell(feed, canceled(A, 0.0, "Never seen before"))

    assert read.events()[0]["aux"] == 0
    assert [each.text for each in read.doubts] == ["canceled: Never seen before"]


def test_an_expired_order_says_what_was_open() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    report = new(A) | {"exec_type": "expired", "order_status": "expired", "cum_qty": 0.0}

    assert kinds(tell(feed, report)) == [ORDER_EXPIRED]


def test_an_amend_carries_the_new_price_and_total() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    amended = {
        "exec_type": "amended", "order_status": "new", "order_qty": 0.0002, "limit_price": 8001.5,
        "limit_price_type": "static", "amended": True, "cum_qty": 0.0, "reason": "User requested",
    }  # fmt: skip
    row = tell(feed, new(A) | amended).events()[0]

    assert (row["kind"], row["price"], row["qty"], row["aux"]) == (ORDER_AMENDED, 80_015, 20_000, 0)
    assert feed.open_orders()[0].price == 80_015


def test_a_stop_is_open_and_fires_once() -> None:
    feed = started()
    triggers = {
        "reference": "last",
        "price": 7000.0,
        "price_type": "static",
        "status": "untriggered",
    }
    stop = {"order_type": "stop-loss", "side": "sell", "limit_price": 0.0, "triggers": triggers}
    opened = tell(feed, pending_new(A, OURS, **stop), new(A))
    fired = new(A) | {
        "exec_type": "status",
        "triggers": triggers | {"status": "triggered", "last_price": 6999.9},
    }

    assert opened.events()[1]["price"] == 70_000  # the trigger, for stops
    assert kinds(tell(feed, fired)) == [ORDER_TRIGGERED]
    assert kinds(tell(feed, fired)) == []


TRAIL = {"reference": "last", "price": 100.0, "price_type": "quote", "status": "untriggered"}
TRAILING = {"order_type": "trailing-stop", "side": "sell", "limit_price": 0.0}


def trailing(feed: AccountFeed, **triggers: Any) -> np.ndarray:
    """Rows of a trailing stop that opens at these triggers."""
    told = {"triggers": TRAIL | triggers}
    return tell(feed, pending_new(A, OURS, **TRAILING, **told), new(A)).events()


def test_a_trailing_stop_is_open_at_its_distance_and_says_where_it_stands() -> None:
    rows = trailing(started(), actual_price=6900.0, peak_price=7000.0)
    assert rows["kind"].tolist() == [ORDER_PENDING, ORDER_TRAILED, ORDER_ACK, ORDER_TRAILED]
    assert rows["price"].tolist() == [1_000, 69_000, 1_000, 69_000]
    assert rows["aux"].tolist()[1::2] == [1_000, 1_000]


def test_a_moving_peak_is_told_and_a_trigger_between_two_ticks_stands_further_off() -> None:
    feed = started()
    trailing(feed, actual_price=6900.0)
    moved = new(A) | {"exec_type": "status", "triggers": TRAIL | {"peak_price": 7010.0}}
    assert tell(feed, moved).events()[["kind", "price", "aux"]].tolist() == [
        (ORDER_TRAILED, 69_100, 1_000)
    ]
    moved = new(A) | {"exec_type": "status", "triggers": TRAIL | {"actual_price": 6915.07}}
    assert tell(feed, moved).events()["price"].tolist() == [69_150]
    fired = new(A) | {
        "exec_type": "status",
        "triggers": TRAIL | {"status": "triggered", "last_price": 6915.0},
    }
    assert kinds(tell(feed, fired)) == [ORDER_TRIGGERED]


@pytest.mark.parametrize("repeats", [True, False])
def test_an_amended_distance_counts_whether_the_report_repeats_it_or_not(repeats: bool) -> None:
    feed = started()
    trailing(feed, actual_price=6900.0)
    order = feed.open_orders()[0]
    order.distance_asked = 400  # as the gateway notes it
    amended = new(A) | {"exec_type": "amended", "order_qty": 0.0002, "amended": True}
    if repeats:
        amended["triggers"] = TRAIL | {"price": 40.0, "actual_price": 6960.0}
    rows = tell(feed, amended).events()
    assert rows["kind"].tolist() == [ORDER_AMENDED, ORDER_TRAILED][: 2 if repeats else 1]
    assert rows["price"].tolist() == [400, 69_600][: 2 if repeats else 1]
    assert order.distance == 400


@pytest.mark.parametrize(
    ("price", "vol", "same"),
    [("+100.0", "0.0001", True), ("100.0", "0.0001", True), ("+90.0", "0.0001", False),
     ("+1.5%", "0.0001", False), ("+100.0", "0.0002", False)],
)  # fmt: skip
def test_rest_agrees_about_a_trailing_stop(price: str, vol: str, same: bool) -> None:
    feed = started()
    trailing(feed, actual_price=6900.0)
    row = {"descr": {"price": price, "price2": "0"}, "vol": vol}
    assert feed.agrees(feed.open_orders()[0], row) is same


def test_reports_before_the_reply_and_before_pending_new_wait_for_their_order() -> None:
    feed = started()
    early = tell(feed, new(A), trade(A, "T1", 0.0001, 8000.0, symbol=None, side=None))
    late = tell(feed, pending_new(A, OURS))

    assert kinds(early) == []
    assert kinds(late) == [ORDER_PENDING, ORDER_ACK, ORDER_FILL, ORDER_FEE]
    assert late.events()["id"].tolist() == [7, 7, 7, 7]


def test_the_reply_explains_an_order_that_only_new_was_told_of() -> None:
    feed = started()
    feed.sent(OrderState("", 7, 0, BUY, "limit", qty=10_000, price=80_000), OURS)
    assert kinds(tell(feed, new(A))) == []

    read = feed.bind(A, OURS, NOW)

    assert kinds(read) == [ORDER_ACK]
    assert read.events()[0]["id"] == 7
    assert read.events()[0]["qty"] == 10_000


def test_a_report_that_names_the_client_id_needs_no_reply() -> None:
    feed = started()
    feed.sent(OrderState("", 7, 0, BUY, "limit", qty=10_000, price=80_000), OURS)

    assert kinds(tell(feed, new(A, cl_ord_id=OURS))) == [ORDER_ACK]
    assert kinds(feed.bind(A, OURS, NOW)) == []


def test_a_report_that_nobody_explains_becomes_a_doubt() -> None:
    feed = started()
    tell(feed, new(A))

    assert feed.tick(NOW + HELD_NS).doubts == []
    assert [each.cause for each in feed.tick(NOW + HELD_NS + 1).doubts] == ["unknown order"]
    assert kinds(tell(feed, pending_new(A, OURS))) == [ORDER_PENDING]


def test_orders_of_other_programs_are_told_apart() -> None:
    feed = started()
    read = tell(feed, pending_new(A), new(A), trade(A, "T1", 0.0001, 8000.0), filled(A, 0.0001))

    assert set(read.events()["id"].tolist()) == {-order_key(A)}
    assert -order_key(A) < 0


def test_orders_of_pairs_outside_the_table_make_no_events() -> None:
    feed = started()
    read = tell(
        feed, pending_new(A, OURS, symbol="ADA/EUR"), new(A), canceled(A, 0.0, "User requested")
    )

    assert kinds(read) == []
    assert feed.counts["orders of other pairs"] == 1


# ---- totals ----


@pytest.mark.parametrize("report", [filled(A, 0.0001), canceled(A, 0.00009, "User requested")])
def test_a_total_beyond_the_known_fills_makes_the_order_suspect(report: dict[str, Any]) -> None:
    """The event carries the venue's number, so that the core sees the same contradiction."""
    feed = started()
    tell(feed, pending_new(A, OURS), new(A), trade(A, "T1", 0.00004, 8000.0))
    events = tell(feed, report).events()

    assert (events[0]["kind"], events[0]["id"], events[0]["aux"]) == (HEALTH, HEALTH_SUSPECT, 7)
    assert events[0]["qty"] == SUSPECT_FILLS
    assert events[1]["qty"] == (10_000 if report["exec_type"] == "filled" else 1_000)


def test_a_price_off_the_tick_makes_the_order_suspect_and_no_event() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    events = tell(feed, trade(A, "T1", 0.00004, 8000.05)).events()

    assert [events[0]["kind"], events[0]["qty"], len(events)] == [HEALTH, SUSPECT_UNCLEAR, 1]


# ---- fees ----


def fee_of(fees: list[dict[str, Any]]) -> tuple[int, Read]:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    read = tell(feed, trade(A, "T1", 0.00004, 8000.0, fees=fees))
    return int(read.events()[1]["qty"]), read


def test_all_parts_of_a_fee_are_added_and_rounded_against_us() -> None:
    assert fee_of([{"asset": "USD", "qty": 0.002}, {"asset": "USD", "qty": 0.001}])[0] == 300_000
    assert fee_of([{"asset": "USD", "qty": 0.014460799}])[0] == 1_446_080
    assert fee_of([])[0] == 0


def test_a_fee_in_base_is_valued_at_the_fill_and_one_in_another_asset_is_a_doubt() -> None:
    assert fee_of([{"asset": "BTC", "qty": 0.00000001}])[0] == 8_000
    money, read = fee_of([{"asset": "KFEE", "qty": 3}])
    assert money == 0
    assert [each.cause for each in read.doubts] == ["fee"]


# ---- sequence, snapshot, reconnect ----


def test_a_jump_in_the_sequence_stops_everything_until_a_snapshot() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    lost = feed.take(as_executions(executions(4, trade(A, "T9", 0.0001, 8000.0))), NOW)
    ignored = feed.take(as_executions(executions(5, canceled(A, 0.0, "User requested"))), NOW)

    assert lost.resync
    assert lost.events()[["kind", "id", "aux"]].tolist() == [(HEALTH, HEALTH_ACCOUNT_LOST, NOW)]
    assert kinds(ignored) == []
    assert not feed.synced
    again = feed.take(as_executions(executions(1, kind="snapshot")), NOW)
    assert (HEALTH, HEALTH_ACCOUNT_SYNCED) in again.events()[["kind", "id"]].tolist()


def test_a_message_that_comes_again_is_passed_over() -> None:
    feed = started()
    frame = executions(2, pending_new(A, OURS))
    feed.take(as_executions(frame), NOW)

    read = feed.take(as_executions(frame), NOW)
    assert (kinds(read), read.resync) == ([], False)


def test_nothing_counts_before_the_snapshot() -> None:
    feed = AccountFeed(PAIRS)

    assert kinds(feed.take(as_executions(executions(2, pending_new(A, OURS))), NOW)) == []


def test_the_two_channels_count_apart() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS))
    entry = {"asset": "USD", "ledger_id": "L1", "balance": 5.0, "amount": 5.0, "fee": 0.0}

    assert not feed.take(as_balances(balances(2, entry)), NOW).resync


def snapshot(feed: AccountFeed, *reports: dict[str, Any]) -> Read:
    feed.lost(NOW)
    return feed.take(as_executions(executions(1, *reports, kind="snapshot")), NOW)


def test_after_a_reconnect_open_orders_are_said_again_and_news_is_told_once() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A), trade(A, "T1", 0.00004, 8000.0))
    history = {"order_status": "filled", "timestamp": "2026-01-05T10:00:01.000000Z"}
    read = snapshot(
        feed,
        trade(A, "T2", 0.00001, 8000.0, **history),
        trade(A, "T1", 0.00004, 8000.0, order_status="filled"),
        pending_new(A, OURS)
        | {"exec_type": "new", "order_status": "partially_filled", "cum_qty": 0.00005},
    )

    assert kinds(read) == [ORDER_FILL, ORDER_FEE, ORDER_ACK]
    assert all(read.events()["flags"] & SNAPSHOT)
    assert read.events()[0]["aux"] == order_key("T2")
    assert read.doubts == []
    assert feed.open_orders()[0].filled == 5_000


def test_a_fill_that_the_snapshot_lacks_makes_the_order_suspect() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A))
    read = snapshot(
        feed,
        pending_new(A, OURS) | {"exec_type": "new", "order_status": "new", "cum_qty": 0.00005},
    )

    assert kinds(read) == [ORDER_ACK, HEALTH]
    assert read.events()[1]["qty"] == SUSPECT_FILLS


def test_an_order_that_is_not_in_the_snapshot_is_suspect_and_not_taken_for_canceled() -> None:
    feed = started()
    tell(feed, pending_new(A, OURS), new(A), pending_new(B, cl_ord_id_of(8)), new(B))
    read = snapshot(
        feed, pending_new(B, cl_ord_id_of(8)) | {"exec_type": "new", "order_status": "new"}
    )

    suspects = [each for each in read.events() if each["kind"] == HEALTH]
    assert [(each["aux"], each["qty"]) for each in suspects] == [(7, SUSPECT_VANISHED)]
    assert [each.id for each in feed.open_orders()] == [8]


def test_old_fills_of_a_snapshot_are_history_oldest_first() -> None:
    feed = AccountFeed(PAIRS)
    reports = [
        trade(
            B, f"T{i}", 0.0001, 8000.0, order_status="filled", timestamp=f"2026-01-05T10:00:0{i}Z"
        )
        for i in (3, 1, 2)
    ]
    read = feed.take(as_executions(executions(1, *reports, kind="snapshot")), NOW)

    assert kinds(read) == [ORDER_FILL, ORDER_FEE] * 3
    assert read.events()["aux"][::2].tolist() == [order_key(f"T{i}") for i in (1, 2, 3)]
    assert feed.open_orders() == []


def test_recorded_private_messages_are_understood(shared_kraken: Path) -> None:
    """Pairs of the recordings, with steps of one in the last decimal."""
    samples = shared_kraken / "samples"
    messages = []
    for name in ("ws_executions_2024.json", "ws_balances_2024.json", "ws_private_2026-01.json"):
        messages += [
            decode(json.dumps(each).encode()) for each in json.loads((samples / name).read_text())
        ]
    feed = AccountFeed(PAIRS)
    n_reports = 0
    for message in messages:
        if isinstance(message, Executions | Balances):
            feed.executions.last = feed.balances.last = message.sequence - 1  # cut out of a session
            feed.take(message, NOW)
            n_reports += 1

    assert n_reports == 8
    assert feed.counts["unknown reports"] == 0


# ---- balances ----


def test_balances_of_a_snapshot_are_whole_numbers_of_their_steps() -> None:
    feed = AccountFeed(PAIRS)
    main = [
        {"type": "spot", "id": "main", "balance": 1.34},
        {"type": "earn", "id": "flex", "balance": 9},
    ]
    read = feed.take(
        as_balances(
            balances(
                1,
                {"asset": "USD", "balance": 10.34, "wallets": main},
                {"asset": "BTC", "balance": 0.1234567891, "wallets": []},
                {"asset": "ADA", "balance": 5, "wallets": []},
                kind="snapshot",
            )
        ),
        NOW,
    )
    rows = read.events()[read.events()["kind"] == BALANCE]

    assert rows[["sym", "qty"]].tolist() == [(NO_SYMBOL, 134_000_000), (0, 12_345_678)]
    assert rows["flags"].tolist() == [SNAPSHOT, SNAPSHOT | LAST]
    assert feed.total("BTC") == 1_234_567_891
    assert feed.total("ADA") == 5 * 10**10


def entry(
    ledger_id: str, asset: str, amount: float, balance: float, **other: Any
) -> dict[str, Any]:
    return {
        "ledger_id": ledger_id, "ref_id": "T1", "timestamp": "2026-01-05T10:00:02.526524Z",
        "type": "trade", "asset": asset, "asset_class": "currency", "category": "trade",
        "wallet_type": "spot", "wallet_id": "main", "amount": amount, "fee": 0.0, "balance": balance,
    } | other  # fmt: skip


def test_an_update_tells_its_asset_once() -> None:
    feed = started()
    first = feed.take(as_balances(balances(2, entry("L1", "USD", -20.0, 118.0677))), NOW)
    again = feed.take(as_balances(balances(3, entry("L1", "USD", -20.0, 118.0677))), NOW)

    assert first.events()[["kind", "sym", "qty"]].tolist() == [(BALANCE, -1, 11_806_770_000)]
    assert kinds(again) == []


def test_a_wallet_of_another_kind_is_not_money_to_trade_with() -> None:
    feed = started()
    feed.take(as_balances(balances(2, entry("L1", "BTC", 1, 2.0))), NOW)
    feed.take(as_balances(balances(3, entry("L2", "BTC", 1, 7.0, wallet_type="earn"))), NOW)

    assert feed.total("BTC") == 2 * 10**10


def test_an_asset_that_a_later_snapshot_does_not_name_is_nothing() -> None:
    feed = started()
    feed.take(as_balances(balances(2, entry("L1", "BTC", 1, 2.0))), NOW)
    read = feed.take(as_balances(balances(1, kind="snapshot")), NOW)

    assert read.events()[["kind", "sym", "qty"]].tolist() == [(BALANCE, 0, 0)]


def test_what_open_orders_hold_is_not_free() -> None:
    feed = started()
    feed.take(
        as_balances(balances(2, entry("L1", "USD", 1, 100.0), entry("L2", "BTC", 1, 1.0))), NOW
    )
    tell(feed, pending_new(A, OURS), new(A))  # buys 0.0001 at 8000
    sell = {"side": "sell", "order_qty": 0.25}
    tell(feed, pending_new(B, cl_ord_id_of(8), **sell), new(B))

    assert feed.free("USD") == Decimal("99.2") * 10**10
    assert feed.free("BTC") == Decimal("0.75") * 10**10
    tell(feed, canceled(A, 0.0, "User requested"))
    assert feed.free("USD") == feed.total("USD")


# ---- any order of events ----


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=12), st.data())
def test_fills_add_up_however_often_they_are_told(lots: list[int], data: st.DataObject) -> None:
    """Repeats within the stream and in a snapshot after a reconnect change nothing."""
    total = sum(lots)
    step = Decimal("0.00000001")
    feed = started()
    qty = float(total * step)
    tell(feed, pending_new(A, OURS, order_qty=qty), new(A))
    told: list[dict[str, Any]] = []
    seen = 0
    for i, each in enumerate(lots):
        told.append(trade(A, f"T{i}", float(each * step), 8000.0))
        copies = data.draw(st.integers(0, 2))
        for report in [told[-1], *data.draw(st.permutations(told))[:copies]]:
            events = tell(feed, report).events()
            seen += int(events["qty"][events["kind"] == ORDER_FILL].sum())
        if data.draw(st.booleans()):
            done = float(sum(lots[: i + 1]) * step)
            state = {"exec_type": "new", "order_status": "partially_filled", "cum_qty": done}
            past = [each | {"order_status": "filled"} for each in told]
            read = snapshot(feed, *past, pending_new(A, OURS, order_qty=qty) | state)
            assert kinds(read) in ([ORDER_ACK], [ORDER_ACK, HEALTH])
            assert read.doubts == []
    end = tell(feed, filled(A, qty))

    assert seen == total
    assert kinds(end) == [ORDER_FILLED]
    assert np.all(end.events()["qty"] == total)
