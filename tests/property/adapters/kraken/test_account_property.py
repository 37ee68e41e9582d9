"""No report, in whatever order and form, breaks the account: it ends in events, a wait or a doubt."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.kraken.account import AccountFeed
from adapters.kraken.order_state import SUSPECT_OVERDUE, cl_ord_id_of
from adapters.kraken.wire import Balances, Executions, decode
from engine.events import (
    BALANCE,
    HEALTH,
    LAST,
    NO_SYMBOL,
    ORDER_FEE,
    ORDER_FILL,
    SNAPSHOT,
)
from tests.support.private_words import PAIRS, STAMP, balances

NOW = 1_767_607_200_000_000_000
KINDS = (
    *("pending_new", "new", "trade", "filled", "iceberg_refill", "canceled", "expired"),
    *("amended", "restated", "status", "something_new", ""),
)
numbers = st.one_of(
    st.integers(-3, 100_000),
    st.sampled_from([0.0, 1e-8, 1e-9, 8000.0, 8000.05, 1e8, 1e15, 1e39, 1e-30, -1.5]),
)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


reports = st.fixed_dictionaries(
    {"order_id": st.sampled_from(["OA", "OB", "OC"]), "exec_type": st.sampled_from(KINDS)},
    optional={
        "order_status": st.sampled_from(
            ["pending_new", "new", "partially_filled", "filled", "canceled", "expired", "x"]
        ),
        "symbol": maybe(st.sampled_from(["BTC/USD", "ETH/USD", "ADA/EUR", "nonsense"])),
        "side": maybe(st.sampled_from(["buy", "sell"])),
        "order_type": maybe(st.sampled_from(["limit", "market", "stop-loss", "iceberg", "x"])),
        "order_qty": maybe(numbers),
        "limit_price": maybe(numbers),
        "limit_price_type": maybe(st.sampled_from(["static", "pct"])),
        "cl_ord_id": maybe(st.sampled_from([cl_ord_id_of(7), cl_ord_id_of(8), "other"])),
        "cum_qty": maybe(numbers),
        "last_qty": maybe(numbers),
        "last_price": maybe(numbers),
        "exec_id": maybe(st.sampled_from(["T1", "T2", "T3", "T4"])),
        "liquidity_ind": maybe(st.sampled_from(["m", "t", "?"])),
        "fees": st.lists(
            st.fixed_dictionaries(
                {"asset": st.sampled_from(["USD", "BTC", "KFEE", ""]), "qty": numbers}
            ),
            max_size=2,
        ),
        "reason": maybe(st.text(max_size=8)),
        "time_in_force": maybe(st.sampled_from(["GTC", "IOC", ""])),
        "triggers": maybe(
            st.fixed_dictionaries(
                {},
                optional={
                    "price": numbers,
                    "actual_price": numbers,
                    "last_price": numbers,
                    "price_type": st.sampled_from(["static", "pct", "quote"]),
                    "status": st.sampled_from(["triggered", "untriggered"]),
                },
            )
        ),
        "timestamp": st.sampled_from([STAMP, "2026-01-05T10:00:00Z"]),
        "ratecount": numbers,
    },
)
messages = st.lists(
    st.tuples(st.booleans(), st.integers(0, 9), st.lists(reports, max_size=4)), max_size=12
)


@given(messages)
def test_any_reports_end_in_rows_that_make_sense(
    given_messages: list[tuple[bool, int, list[dict[str, Any]]]],
) -> None:
    feed = AccountFeed(PAIRS)
    feed.take(decode_balances(balances(1, kind="snapshot")), NOW)
    number = 0
    fills: set[int] = set()
    for is_snapshot, skip, told in given_messages:
        number = 1 if is_snapshot else number + (2 if skip == 9 else 1)
        kind = "snapshot" if is_snapshot else "update"
        data = [{key: value for key, value in each.items() if value is not None} for each in told]
        frame = {"channel": "executions", "type": kind, "data": data, "sequence": number}
        message = decode(json.dumps(frame).encode())
        assert isinstance(message, Executions), message
        read = feed.take(message, NOW + number)
        rows = read.events()

        assert (rows["ts"] == NOW + number).all()
        assert np.isin(rows["sym"][rows["kind"] != HEALTH], (0, 1)).all()
        assert (rows["flags"][rows["kind"] != ORDER_FILL] & LAST).all()
        if is_snapshot:
            assert (rows["flags"][rows["kind"] != HEALTH] & SNAPSHOT).all()
        at = np.flatnonzero(rows["kind"] == ORDER_FILL)
        assert (rows["kind"][at + 1] == ORDER_FEE).all()  # a fill is never without its fee
        assert (rows["aux"][at + 1] == rows["aux"][at]).all()
        assert (rows["qty"][at] > 0).all()
        assert (rows["price"][at] > 0).all()
        new = set(rows["aux"][at].tolist())
        assert len(new) == len(at)
        assert not new & fills  # once per execution id, whatever happened
        fills |= new
        for each in feed.open_orders():
            assert each.leaves >= 0
        # They are followed by themselves, so that nobody walks past thousands that have ended.
        assert {id(each) for each in feed.open_orders()} == {
            id(each) for each in feed.orders.values() if each.is_open
        }
        feed.tick(NOW + number)
    assert feed.free("USD") >= 0


def decode_balances(frame: bytes) -> Balances:
    message = decode(frame)
    assert isinstance(message, Balances), message
    return message


entries = st.fixed_dictionaries(
    {"asset": st.sampled_from(["USD", "BTC", "ETH", "ADA"]), "balance": numbers},
    optional={
        "ledger_id": st.sampled_from(["L1", "L2", "L3"]),
        "wallet_type": st.sampled_from(["spot", "earn"]),
        "wallet_id": st.sampled_from(["main", "flex"]),
        "wallets": st.lists(
            st.fixed_dictionaries(
                {"type": st.just("spot"), "id": st.just("main"), "balance": numbers}
            ),
            max_size=2,
        ),
    },
)


@given(st.lists(st.tuples(st.booleans(), st.lists(entries, max_size=4)), max_size=8))
def test_any_balances_end_in_one_closed_message(
    given_messages: list[tuple[bool, list[dict[str, Any]]]],
) -> None:
    feed = AccountFeed(PAIRS)
    number = 0
    for is_snapshot, told in given_messages:
        number = 1 if is_snapshot else number + 1
        kind = "snapshot" if is_snapshot else "update"
        read = feed.take(decode_balances(balances(number, *told, kind=kind)), NOW)
        rows = read.events()
        rows = rows[rows["kind"] == BALANCE]

        assert np.isin(rows["sym"], (NO_SYMBOL, 0, 1)).all()
        assert (np.abs(rows["qty"]) < 1 << 62).all()
        if len(rows):
            assert (rows["flags"] & LAST).tolist() == [0] * (len(rows) - 1) + [LAST]
            # The newest of each is what is kept: the quote's money in 1e-8, lots of 1e-8.
            for row in rows:
                asset = {NO_SYMBOL: "USD", 0: "BTC", 1: "ETH"}[int(row["sym"])]
                assert row["qty"] == feed.total(asset) // 100


def test_a_doubt_about_an_order_is_an_event_and_a_sentence() -> None:
    from adapters.kraken.order_state import OrderState, Read

    feed, read = AccountFeed(PAIRS), Read()
    order = OrderState("OA", 7, 0, 1, "limit")
    feed.suspect(read, order, SUSPECT_OVERDUE, "no reply", NOW)

    assert order.suspect
    assert [each.text for each in read.doubts] == ["no reply"]
    assert read.events()["kind"].tolist() == [HEALTH]
