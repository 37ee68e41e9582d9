"""A frame says exactly the command, and our counters never read less than the venue's."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.kraken.order_state import cl_ord_id_of
from adapters.local_venue import public
from adapters.local_venue.wire_orders import FIELDS, Fields, wish_of
from engine import commands as c
from engine.events import AMEND_REJECT, BUY, CANCEL_REJECT, ORDER_REJECT, REJECT_RATE, SELL
from tests.support.gateway_desk import MS, Link, S, command, lots, stop, ticks

TYPES = {
    c.LIMIT: "limit", c.MARKET: "market", c.STOP_LOSS: "stop-loss",
    c.STOP_LOSS_LIMIT: "stop-loss-limit", c.TAKE_PROFIT: "take-profit",
    c.TAKE_PROFIT_LIMIT: "take-profit-limit", c.TRAILING_STOP: "trailing-stop",
}  # fmt: skip
TIFS = {c.GTC: "gtc", c.GTD: "gtd", c.IOC: "ioc"}
STEPS = {0: ("BTC/USD", Decimal("0.1")), 1: ("ETH/USD", Decimal("0.01"))}
LOT = Decimal("0.00000001")


@st.composite
def adds(draw: Any) -> dict[str, int]:
    type_, tif = draw(st.sampled_from(sorted(TYPES))), draw(st.sampled_from(sorted(TIFS)))
    price = st.integers(1, (1 << 40) - 1)
    limited = type_ in (c.LIMIT, c.STOP_LOSS_LIMIT, c.TAKE_PROFIT_LIMIT, c.TRAILING_STOP)
    return {
        "id": draw(st.integers(1, (1 << 63) - 1)),
        "sym": draw(st.sampled_from([0, 1])),
        "side": draw(st.sampled_from([BUY, SELL])),
        "type": type_,
        "tif": tif,
        "price": draw(price) if limited else 0,
        "trigger": 0 if type_ in (c.LIMIT, c.MARKET) else draw(price),
        "qty": draw(st.integers(1, (1 << 50) - 1)),
        "expire_ts": draw(st.integers(1, 4_000_000_000)) * S if tif == c.GTD else 0,
        "post_only": draw(st.integers(0, 1)) if type_ == c.LIMIT else 0,
        "role": draw(st.sampled_from([1, 2, 3, 4])),
    }


LINK = None


def link() -> Link:
    """One for all examples; what it asks never reaches the venue."""
    global LINK
    if LINK is None:
        LINK = Link(tier="pro")
        LINK.connect()
        LINK.held_back = True
    LINK.session._pending.clear()
    LINK.gateway._counters.clear()
    LINK.gateway._used.clear()
    return LINK


def params_of(frame: bytes, method: str) -> dict[str, Any]:
    request = public.parse(frame)
    assert request is not None
    assert request.method == method
    assert set(request.params) <= FIELDS[method]
    return request.params


@given(wanted=adds(), offset=st.integers(-400 * MS, 400 * MS))
@settings(deadline=None, max_examples=300)
def test_the_venue_reads_the_order_that_the_core_wrote(wanted: dict[str, int], offset: int) -> None:
    desk = link()
    desk.session._session.clock_offset = offset
    [frame] = desk.carry(command(c.ADD, **wanted)).frames
    params = params_of(frame, "add_order")
    assert params["token"] == desk.session._token.reveal()  # type: ignore[union-attr]
    fields = Fields(params, ("order_qty", "limit_price", "price"))  # numbers need a point
    deadline = fields.moment("deadline")
    wish = wish_of(fields, params["symbol"], deadline)

    symbol, tick = STEPS[wanted["sym"]]
    assert wish.symbol == symbol
    assert wish.cl_ord_id == cl_ord_id_of(wanted["id"])
    assert wish.side == ("buy" if wanted["side"] > 0 else "sell")
    assert wish.order_type == TYPES[wanted["type"]]
    assert wish.order_qty == wanted["qty"] * LOT
    if wanted["type"] == c.TRAILING_STOP:  # its distance is all that it says
        assert (wish.limit_price, wish.trigger_price) == (None, wanted["price"] * tick)
        assert (wish.trigger_type, wish.reference) == ("quote", "last")
    else:
        assert wish.limit_price == (wanted["price"] * tick if wanted["price"] else None)
        assert wish.trigger_price == (wanted["trigger"] * tick if wanted["trigger"] else None)
        assert (wish.trigger_type, wish.reference) == ("static", "last")
    assert wish.time_in_force == TIFS[wanted["tif"]]
    assert wish.expire_ns == wanted["expire_ts"]
    assert wish.post_only == bool(wanted["post_only"])
    assert (wish.stp_type, wish.fee_pref) == ("cancel_newest", "fciq")
    assert 0 <= desk.now + offset + 5 * S - deadline < MS
    assert wish.conditional is None
    assert wish.display_qty is wish.cash_order_qty is None


@given(
    id=st.integers(1, (1 << 63) - 1),
    price=st.integers(0, (1 << 40) - 1),
    trigger=st.integers(0, (1 << 40) - 1),
    qty=st.integers(1, (1 << 50) - 1),
    post_only=st.integers(0, 1),
)
@settings(deadline=None, max_examples=200)
def test_the_venue_reads_the_change_that_the_core_wrote(
    id: int, price: int, trigger: int, qty: int, post_only: int
) -> None:
    desk = link()
    [frame] = desk.carry(
        command(c.AMEND, id, price=price, trigger=trigger, qty=qty, post_only=post_only)
    ).frames
    fields = Fields(params_of(frame, "amend_order"), ("order_qty", "limit_price", "trigger_price"))

    assert fields.text("cl_ord_id") == cl_ord_id_of(id)
    assert fields.number("order_qty") == qty * LOT
    assert fields.number("limit_price") == (price * Decimal("0.1") if price else None)
    assert fields.number("trigger_price") == (trigger * Decimal("0.1") if trigger else None)
    assert fields.flag("post_only") == bool(post_only)
    [frame] = desk.carry(command(c.CANCEL, id)).frames
    assert params_of(frame, "cancel_order")["cl_ord_id"] == [cl_ord_id_of(id)]


STEPS_OF_A_LIFE = st.lists(
    st.tuples(
        st.sampled_from(["entry", "entry", "stop", "amend", "cancel"]),
        st.integers(0, 1 << 20),
        st.sampled_from([0.002, 0.01, 0.05, 0.4, 3.0]),
    ),
    min_size=10,
    max_size=60,
)


@given(life=STEPS_OF_A_LIFE, tier=st.sampled_from(["starter", "intermediate", "pro"]))
@settings(deadline=None, max_examples=25)
def test_our_counter_never_reads_less_than_the_venues_and_no_entry_is_refused_for_its_rate(
    life: list[tuple[str, int, float]], tier: str
) -> None:
    made = Link(tier=tier, engine_ms=(1.0, 60.0), report_ms=(0.1, 20.0), balances={
        "USD": Decimal(10_000_000), "BTC": Decimal(1_000), "ETH": Decimal(0)})  # fmt: skip
    made.connect()
    entries: set[int] = set()
    alive: list[int] = []
    for id, (what, pick, pause) in enumerate(life, 1):
        if what == "entry":
            if made.carry(command(c.ADD, id, price=ticks("49000.0") - pick % 1000)).sent[0]:
                entries.add(id)
                alive.append(id)
        elif what == "stop":
            made.carry(stop(id, "40000.0"))
            alive.append(id)
        elif alive:
            target = alive[pick % len(alive)]
            if what == "amend" and target in entries:
                made.carry(
                    command(c.AMEND, target, price=ticks("48000.0") + pick % 999, qty=lots("0.01"))
                )
            elif what == "cancel":
                made.carry(command(c.CANCEL, target))
                alive.remove(target)
        made.go(pause, step=pause if pause < 0.02 else pause / 8)
        slack = 0.25 * TIER_DECAY[tier]  # what decays on the way: the margin that ours keeps
        theirs = made.venue.counter(0).at(made.now) / 1e11
        assert made.gateway.counter(0).points(made.now) + slack >= theirs
    made.go(0.2)
    told = made.rows(ORDER_REJECT, AMEND_REJECT, CANCEL_REJECT)
    refused = told[told["aux"] == REJECT_RATE]
    assert not entries & set(refused["id"][refused["kind"] == ORDER_REJECT].tolist())
    # Every command was answered, and the venue has what we believe it has.
    assert made.session.n_pending == 0
    believed = {each.order_id for each in made.session.account.open_orders()}
    assert believed == set(made.account.open)


TIER_DECAY = {"starter": 1.0, "intermediate": 2.34, "pro": 3.75}
