"""Any bytes are a message or a named refusal, and no feed stumbles over what was decoded."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from adapters.kraken.feed import MarketFeed
from adapters.kraken.stamps import ns_of
from adapters.kraken.wire import Book, Message, Refused, decode
from engine.events import LAST
from engine.instruments import Instrument, InstrumentTable
from tests.support.frames import OrderSource, Scale
from tests.support.kraken_frames import EVERY_FRAME

KINDS = Message.__args__
TABLE = InstrumentTable(
    [Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8)],
)


def check(frame):
    message = decode(frame)
    assert isinstance(message, KINDS)
    if isinstance(message, Refused):
        assert message.what
        assert message.raw == frame
    if isinstance(message, Book):
        assert isinstance(message.bids, tuple)
        assert isinstance(message.asks, tuple)
    feed = MarketFeed(TABLE, {"BTC/USD": 10}, level3_depths={"BTC/USD": 10})
    taken = feed.take(message, 10**18)
    assert len(taken.events) == 0 or taken.events[-1]["flags"] & LAST
    return message


@given(frame=st.binary(max_size=300))
def test_any_bytes(frame):
    check(frame)


@given(text=st.text(max_size=200))
def test_any_text(text):
    check(text.encode("utf-8", "surrogatepass"))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["snapshot", "update", "BTC/USD", "buy", "2026-01-01T00:00:00Z", 0.1, "1e5"])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)


@st.composite
def changed_frames(draw):
    """A sound frame in which one value, anywhere, is something else."""
    whole = json.loads(draw(st.sampled_from(EVERY_FRAME)))
    places = []

    def walk(node):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(whole)
    node, key = draw(st.sampled_from(places))
    node[key] = draw(anything)
    return json.dumps(whole).encode()


@given(frame=changed_frames())
def test_any_value_in_any_place(frame):
    check(frame)


@given(ns=st.integers(0, (1 << 63) - 2_000_000_000))
def test_stamps_are_exact(ns):
    from datetime import UTC, datetime

    second = datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert ns_of(f"{second}.{ns % 10**9:09d}Z") == ns


@given(seed=st.integers(0, 10**6), depth=st.sampled_from([10, 100]))
def test_level3_stands_in_the_venues_queue_order(seed, depth):
    """Against a source that keeps whole queues and hashes their text."""
    source = OrderSource(Scale(), depth, seed)
    feed = MarketFeed(TABLE, {}, level3_depths={"BTC/USD": depth})
    frames = [source.snapshot(), *(source.update() for _ in range(60))]

    assert [feed.take(decode(frame), i).troubles for i, frame in enumerate(frames)] == [()] * 61
    orders = feed.orders("BTC/USD")
    for i_side in (0, 1):
        assert orders.queue(i_side) == [
            (price, [(order_id, lots) for order_id, lots, _ in queue])
            for price, queue in source.window(i_side)
        ]
