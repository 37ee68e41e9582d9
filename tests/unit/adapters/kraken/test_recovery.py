"""Orders that vanished in a gap are settled by what REST says, or stay in doubt."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.kraken.account import AccountFeed
from adapters.kraken.names import Names
from adapters.kraken.order_state import cl_ord_id_of
from adapters.kraken.orders import order_key
from adapters.kraken.recovery import ends_of, fills_of
from engine.errors import DataError
from engine.events import (
    CANCEL_USER,
    HEALTH,
    LAST,
    MAKER,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    SNAPSHOT,
)
from tests.support.private_words import (
    PAIRS,
    STAMP_NS,
    as_balances,
    as_executions,
    balances,
    executions,
    new,
    pending_new,
    trade,
)

NOW = STAMP_NS
A = "OAAAAA-BBBBB-CCCCCC"
NAMES = Names({"XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD"}})


def vanished() -> AccountFeed:
    """Our order of 0.0001 BTC, 0.00004 of it filled, is gone after a reconnect."""
    feed = AccountFeed(PAIRS)
    feed.take(as_executions(executions(1, kind="snapshot")), NOW)
    feed.take(as_balances(balances(1, kind="snapshot")), NOW)
    reports = pending_new(A, cl_ord_id_of(7)), new(A), trade(A, "T1", 0.00004, 8000.0)
    feed.take(as_executions(executions(2, *reports)), NOW)
    feed.lost(NOW)
    feed.take(as_executions(executions(1, kind="snapshot")), NOW)
    assert [each.id for each in feed.vanished()] == [7]
    return feed


def row(**other: Any) -> dict[str, Any]:
    """A trade as REST writes it: numbers in strings, a bare decimal time."""
    return {
        "ordertxid": A, "pair": "XXBTZUSD", "time": Decimal("1767607201.123456789"), "type": "buy",
        "ordertype": "limit", "price": "8000.00000", "cost": "0.480000", "fee": "0.001200",
        "vol": "0.00006000", "trade_id": 9, "maker": True,
    } | other  # fmt: skip


def order(status: str, vol_exec: str, reason: str | None = None) -> dict[str, Any]:
    return {
        "status": status,
        "vol_exec": vol_exec,
        "reason": reason,
        "closetm": Decimal("1767607202.5"),
    }


def test_a_missed_fill_and_the_end_are_told_as_the_stream_would_have() -> None:
    feed = vanished()
    read = feed.settle(
        fills_of({"T1": row(vol="0.00004"), "T2": row()}, NAMES),
        ends_of({A: order("closed", "0.00010000")}),
        NOW,
    )
    rows = read.events()

    assert rows["kind"].tolist() == [ORDER_FILL, ORDER_FEE, ORDER_FILLED]
    assert (rows["id"] == 7).all()
    assert (rows["flags"] & SNAPSHOT).all()
    assert (rows[0]["price"], rows[0]["qty"], rows[0]["aux"]) == (80_000, 6_000, order_key("T2"))
    assert rows[0]["flags"] & MAKER
    assert rows[0]["ts_venue"] == 1_767_607_201_123_456_789
    assert rows[1]["qty"] == 120_000
    assert rows[2]["qty"] == 10_000
    assert feed.vanished() == []
    assert feed.open_orders() == []


def test_a_cancel_says_what_was_open_and_why() -> None:
    feed = vanished()
    rows = feed.settle(
        [], ends_of({A: order("canceled", "0.00004", "User requested")}), NOW
    ).events()

    assert rows[["kind", "qty", "aux"]].tolist() == [(ORDER_CANCELED, 6_000, CANCEL_USER)]
    assert rows["flags"].tolist() == [SNAPSHOT | LAST]


def test_an_expiry_is_told() -> None:
    feed = vanished()

    assert feed.settle([], ends_of({A: order("expired", "0.00004")}), NOW).events()[
        "kind"
    ].tolist() == [ORDER_EXPIRED]


def test_an_end_whose_fills_are_not_there_yet_leaves_the_order_in_doubt() -> None:
    """REST may know the order before its last trade."""
    feed = vanished()
    first = feed.settle([], ends_of({A: order("closed", "0.0001")}), NOW)
    then = feed.settle(fills_of({"T2": row()}, NAMES), ends_of({A: order("closed", "0.0001")}), NOW)

    assert first.events()["kind"].tolist() == [HEALTH]
    assert then.events()["kind"].tolist() == [ORDER_FILL, ORDER_FEE, ORDER_FILLED]


def test_what_rest_calls_open_or_does_not_know_is_not_settled() -> None:
    feed = vanished()

    assert ends_of({A: order("open", "0"), "OB": order("pending", "0")}) == []
    assert len(feed.settle([], ends_of({"OC": order("canceled", "0")}), NOW).rows) == 0
    assert [each.id for each in feed.vanished()] == [7]


def test_settling_twice_tells_it_once() -> None:
    feed = vanished()
    told = fills_of({"T2": row()}, NAMES), ends_of({A: order("closed", "0.0001")})
    feed.settle(*told, NOW)

    assert feed.settle(*told, NOW).rows == []


@pytest.mark.parametrize(
    "other",
    [
        {"pair": "NOPE"}, {"type": "hold"}, {"price": "x"}, {"vol": None}, {"fee": "1e999999"},
        {"time": True},
    ],
)  # fmt: skip
def test_a_trade_that_makes_no_sense_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"T9|no number"):
        fills_of({"T9": row(**other)}, NAMES)


def test_an_order_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(DataError, match="no number"):
        ends_of({A: {"status": "closed"}})
    with pytest.raises(DataError, match="not an object"):
        ends_of({A: 5})
