"""Commands on their way out: one frame each, or a row that says why not. The venue's books judge."""

import json
from collections import Counter

import numpy as np
import pytest

from adapters.kraken.gateway import KEEP_FREE, Gateway, stamp_text
from adapters.kraken.limits import TIERS
from adapters.kraken.order_state import OrderState, cl_ord_id_of
from adapters.kraken.private import PENDING_MAX
from engine import commands as c
from engine.errors import ConfigError, InvariantError
from engine.events import (
    AMEND_REJECT,
    BUY,
    CANCEL_REJECT,
    CANCEL_USER,
    LAST,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_REJECT,
    ORDER_TRAILED,
    ORDER_TRIGGERED,
    REJECT_NOT_SENT,
    REJECT_RATE,
    REJECT_UNSUPPORTED,
    SELL,
    SNAPSHOT,
)
from tests.support.gateway_desk import MS, Link, S, command, lots, stop, ticks
from tests.support.venue_desk import trade


def linked(*market: np.ndarray, **options: object) -> Link:
    link = Link(*market, **options)  # type: ignore[arg-type]
    link.connect()
    return link


def test_an_order_is_placed_changed_and_canceled_as_the_core_said() -> None:
    link = linked()
    link.carry(command(c.ADD, 7, post_only=1))
    link.go(0.02)
    [order] = link.account.open.values()
    assert (order.price, order.qty, order.side, order.post_only) == (490_000, lots("0.01"), 1, True)
    assert link.rows(ORDER_ACK)[["id", "price", "qty"]].tolist() == [(7, 490_000, lots("0.01"))]

    link.carry(command(c.AMEND, 7, price=ticks("49000.5"), qty=lots("0.01"), post_only=1))
    link.go(0.02)
    assert (order.price, order.qty) == (490_005, lots("0.01"))
    assert link.rows(ORDER_AMENDED)[["id", "price"]].tolist() == [(7, 490_005)]

    link.carry(command(c.CANCEL, 7))
    link.go(0.02)
    assert link.open_at_venue() == []
    assert link.rows(ORDER_CANCELED)[["id", "aux"]].tolist() == [(7, CANCEL_USER)]
    assert link.gateway.order(7) is None


def test_an_amend_without_a_quantity_says_the_total_that_stands() -> None:
    link = linked()
    link.carry(stop(7, "48000.0", "0.5"))
    link.go(0.02)
    link.carry(command(c.AMEND, 7, trigger=0, qty=lots("0.75"), role=c.ROLE_PROTECTION))
    link.go(0.02)
    link.carry(command(c.AMEND, 7, trigger=ticks("48500.0"), qty=0, role=c.ROLE_PROTECTION))
    link.go(0.02)

    assert [each["params"].get("order_qty") for each in link.written[1:]] == ["0.75000000"] * 2
    [order] = link.account.open.values()
    assert (order.trigger, order.qty) == (485_000, lots("0.75"))


def test_a_client_id_that_was_sent_is_never_sent_again() -> None:
    link = linked()
    link.carry(command(c.ADD, 7))
    link.go(0.02)
    link.carry(command(c.CANCEL, 7))
    link.go(0.02)
    # Kraken would take it: the order of that id has ended.
    with pytest.raises(InvariantError, match="second time"):
        link.carry(command(c.ADD, 8), command(c.ADD, 7))

    written = Counter(
        each["params"].get("cl_ord_id") for each in link.written if "add" in each["method"]
    )
    assert written == {cl_ord_id_of(7): 1}


def test_ids_of_the_lineage_are_refused_without_having_passed_here() -> None:
    link = linked()
    gateway = Gateway(
        link.gateway._instruments, link.session, TIERS["pro"], used=lambda id: id <= 100
    )
    with pytest.raises(InvariantError, match="100"):
        gateway.carry(np.array([command(c.ADD, 100)]), link.now)
    assert len(gateway.carry(np.array([command(c.ADD, 101)]), link.now).frames) == 1


def test_what_cannot_leave_is_answered_with_a_row_each() -> None:
    link = Link()
    done = link.carry(command(c.ADD, 7), command(c.AMEND, 8, price=490_000), command(c.CANCEL, 9))

    assert done.frames == []
    assert done.sent.tolist() == [False] * 3
    assert done.rows["kind"].tolist() == [ORDER_REJECT, AMEND_REJECT, CANCEL_REJECT]
    assert done.rows["id"].tolist() == [7, 8, 9]
    assert set(done.rows["aux"].tolist()) == {REJECT_NOT_SENT}
    assert all("connection" in each for each in done.reasons)


def test_without_a_whole_view_nothing_is_added_and_cancels_still_go() -> None:
    link = linked()
    link.carry(command(c.ADD, 7))
    link.go(0.02)
    link.session.account.lost(link.now)
    done = link.carry(stop(8, "48000.0"), command(c.CANCEL, 7))

    assert done.sent.tolist() == [False, True]
    link.go(0.02)
    assert link.open_at_venue() == []


def test_entries_leave_places_among_the_replies_to_what_takes_risk_away() -> None:
    link = linked(tier="pro")
    link.held_back = True
    n_entries = 0
    for id in range(1, PENDING_MAX + 1):
        sym = 0 if id % 2 else 1
        n_entries += int(link.carry(command(c.ADD, id, sym=sym)).sent[0])
    # The counters of two pairs let fewer through than there are places.
    for id in range(1000, 1000 + PENDING_MAX - KEEP_FREE - n_entries):
        assert link.carry(command(c.CANCEL, id)).sent.all()
    assert not link.carry(command(c.ADD, 5000, sym=1)).sent[0]
    assert link.carry(stop(5001, "48000.0"), command(c.CANCEL, 5002)).sent.all()


def test_an_entry_waits_for_the_counter_and_a_stop_does_not() -> None:
    link = linked(tier="starter")
    id = 1
    while link.carry(command(c.ADD, id)).sent[0]:
        link.carry(command(c.CANCEL, id))
        link.go(0.02)
        id += 1
    assert id > 3
    assert link.rows(CANCEL_REJECT).tolist() == []
    done = link.carry(stop(1_000, "48000.0"))
    link.go(0.02)
    assert done.sent.all()
    assert cl_ord_id_of(1_000) in link.open_at_venue()


def test_a_refusal_for_the_rate_is_believed() -> None:
    """Another program of the account has used the counter up."""
    link = linked(tier="starter")
    link.venue.counter(0).add(link.now, 2 * 61)
    link.carry(stop(7, "48000.0"))
    link.go(0.02)

    assert link.rows(ORDER_REJECT)[["id", "aux"]].tolist() == [(7, REJECT_RATE)]
    assert not link.carry(command(c.ADD, 8)).sent[0]


def test_what_the_venue_counts_is_believed_where_it_is_more() -> None:
    link = linked(tier="starter")
    link.venue.counter(0).add(link.now, 2 * 40)
    link.carry(stop(7, "48000.0"))
    link.go(0.02)

    theirs = link.venue.counter(0).at(link.now) / 1e11
    assert theirs > 40
    assert theirs <= link.gateway.counter(0).points(link.now) <= theirs + 1.1


def test_orders_of_an_earlier_session_are_changed_by_the_quantity_that_is_remembered() -> None:
    link = linked()
    known = OrderState("OAAAAA-BBBBB-CCCCCC", 7, 0, BUY, "limit", qty=lots("0.3"), price=490_000)
    link.gateway.remember([known], link.now)
    link.carry(command(c.AMEND, 7, price=490_001))

    assert link.written[0]["params"]["order_qty"] == "0.30000000"
    with pytest.raises(InvariantError):
        link.carry(command(c.ADD, 7))


def test_a_deadline_is_by_the_venues_clock_and_the_late_are_not_executed() -> None:
    link = linked()
    link.held_back = True
    [frame] = link.carry(command(c.ADD, 7)).frames
    text = json.loads(frame)["params"]["deadline"]
    assert text == stamp_text(link.now + link.gateway.deadline_ns, 3)
    link.go(5.1, step=0.1)
    link.desk.send(frame.decode(), link.conn)
    link.go(0.1)

    assert link.open_at_venue() == []
    with pytest.raises(ConfigError, match="deadline"):
        Gateway(link.gateway._instruments, link.session, TIERS["pro"], deadline_ns=100 * MS)


def test_a_venue_whose_clock_is_hours_away_gets_its_own_times() -> None:
    link = linked()
    link.session._session.clock_offset = 7_200 * S + 30 * MS
    link.held_back = True
    expire_ts = link.now // S * S + 60 * S
    [frame] = link.carry(command(c.ADD, 7, tif=c.GTD, expire_ts=expire_ts)).frames
    said = json.loads(frame)["params"]

    assert said["expire_time"] == stamp_text(expire_ts + 7_200 * S, 0)
    assert said["deadline"] == stamp_text(link.now + 7_205 * S + 30 * MS, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"qty": 0}, {"price": 0}, {"price": -1}, {"qty": -5}, {"sym": 9}, {"type": 9}, {"tif": 9},
        {"side": 0}, {"trigger": 5}, {"tif": c.GTD}, {"expire_ts": 5}, {"price": 1 << 41},
    ],
)  # fmt: skip
def test_a_command_that_no_venue_could_take_ends_it_before_anything_is_sent(
    wrong: dict[str, int],
) -> None:
    link = linked()
    with pytest.raises(InvariantError, match="none that a venue"):
        link.carry(command(c.ADD, 7), command(c.ADD, 8, **wrong))
    link.go(0.02)
    assert link.open_at_venue() == []
    assert link.session.n_pending == 0


# ---- trailing stops ----


def trailing(id: int, distance: str, qty: str = "0.01") -> np.void:
    return command(
        c.ADD, id, side=SELL, type=c.TRAILING_STOP, price=ticks(distance),
        trigger=ticks("49500.0"), qty=lots(qty), role=c.ROLE_PROTECTION,
    )  # fmt: skip


def further(id: int, distance: str = "", qty: str = "0.01") -> np.void:
    return command(
        c.AMEND, id, side=SELL, type=c.TRAILING_STOP, role=c.ROLE_PROTECTION, qty=lots(qty),
        price=ticks(distance) if distance else 0, trigger=ticks("49700.0") if distance else 0,
    )  # fmt: skip


def test_a_trailing_stop_is_written_as_the_documentation_has_it() -> None:
    """Kraken's own example, with a distance in quote currency in place of percent."""
    link = linked()
    link.carry(trailing(7, "500.0"))
    link.carry(further(7, "300.0"))
    add, amend = (each["params"] for each in link.written)
    assert (add["order_type"], add["side"], add["symbol"]) == ("trailing-stop", "sell", "BTC/USD")
    assert add["triggers"] == {"reference": "last", "price": "500.0", "price_type": "quote"}
    assert "limit_price" not in add
    assert (amend["trigger_price"], amend["trigger_price_type"]) == ("300.0", "quote")
    assert amend["order_qty"] == "0.01000000"
    assert "limit_price" not in amend


def test_a_trailing_stop_is_placed_grown_followed_tightened_and_fired() -> None:
    link = linked(
        trade(1, 1, "50000.0", "0.01", 101),
        trade(3, 1, "50400.0", "0.01", 102),
        trade(5, -1, "50200.0", "0.01", 103),
        trade(7, -1, "50099.0", "0.01", 104),
    )
    link.go(2)
    link.carry(trailing(7, "500.0", "0.01"))
    link.go(0.02)
    assert link.rows(ORDER_ACK)[["price", "qty"]].tolist() == [(ticks("500.0"), lots("0.01"))]
    where = [(ticks("49500.0"), ticks("500.0"))]
    assert link.rows(ORDER_TRAILED)[["price", "aux"]].tolist()[-1:] == where
    link.carry(further(7, qty="0.02"))
    link.go(2)
    [order] = link.account.open.values()
    assert (order.qty, order.trigger, order.peak) == (
        lots("0.02"), ticks("49900.0"), ticks("50400.0"),
    )  # fmt: skip
    where = [(ticks("49900.0"), ticks("500.0"))]
    assert link.rows(ORDER_TRAILED)[["price", "aux"]].tolist()[-1:] == where
    link.carry(further(7, "300.0", "0.02"))
    link.go(0.02)
    assert link.rows(ORDER_AMENDED)[["price", "qty"]].tolist()[-1] == (
        ticks("300.0"), lots("0.02"),
    )  # fmt: skip
    where = [(ticks("50100.0"), ticks("300.0"))]
    assert link.rows(ORDER_TRAILED)[["price", "aux"]].tolist()[-1:] == where
    assert link.rows(ORDER_TRIGGERED).tolist() == []
    link.go(5)
    assert link.rows(ORDER_TRIGGERED)["price"].tolist() == [ticks("50099.0")]
    assert link.open_at_venue() == []


def test_a_trailing_stop_read_back_after_a_gap_says_its_distance_and_where_it_stands() -> None:
    link = linked(
        trade(1, 1, "50000.0", "0.01", 101),
        trade(3, 1, "50400.0", "0.01", 102),
    )
    link.go(2)
    link.carry(trailing(7, "500.0"))
    link.go(0.02)
    link.cut()
    link.go(2)
    before = len(link.rows(ORDER_TRAILED))
    link.connect()
    acks, moved = link.rows(ORDER_ACK), link.rows(ORDER_TRAILED)[before:]
    assert acks[["price", "flags"]].tolist()[-1] == (ticks("500.0"), LAST | SNAPSHOT)
    assert moved[["price", "aux", "flags"]].tolist() == [
        (ticks("49900.0"), ticks("500.0"), LAST | SNAPSHOT)
    ]
    [order] = [each for each in link.session.account.open_orders() if each.id == 7]
    assert (order.distance, order.trigger) == (ticks("500.0"), ticks("49900.0"))


def test_the_dead_mans_switch_takes_a_trailing_stop_as_any_other_order() -> None:
    link = linked(trade(1, 1, "50000.0", "0.01", 101), trade(9, 1, "50100.0", "0.01", 102))
    link.go(2)
    link.carry(trailing(7, "500.0"))
    link.go(0.02)
    link.venue.cancel_after(3, link.now)
    link.go(5)
    assert link.open_at_venue() == []
    assert link.rows(ORDER_CANCELED)[["id", "qty"]].tolist() == [(7, lots("0.01"))]
    assert len(link.account.fills) == 0


def test_what_a_venue_without_trailing_stops_answers() -> None:
    link = linked(trade(1, 1, "50000.0", "0.01", 101), trailing_stops=False)
    link.go(2)
    link.carry(trailing(7, "500.0"))
    link.go(0.02)
    assert link.rows(ORDER_REJECT)[["id", "aux"]].tolist() == [(7, REJECT_UNSUPPORTED)]


def test_what_a_venue_that_amends_no_distance_answers() -> None:
    link = linked(trade(1, 1, "50000.0", "0.01", 101), trailing_amends=False)
    link.go(2)
    link.carry(trailing(7, "500.0"))
    link.go(0.02)
    link.carry(further(7, "300.0"))
    link.go(0.02)
    assert link.rows(AMEND_REJECT)[["id", "aux"]].tolist() == [(7, REJECT_UNSUPPORTED)]
    [order] = link.account.open.values()
    assert order.trailing == ticks("500.0")
    link.carry(further(7, qty="0.02"))  # more lots it takes
    link.go(0.02)
    assert link.rows(ORDER_AMENDED)[["price", "qty"]].tolist() == [(ticks("500.0"), lots("0.02"))]
