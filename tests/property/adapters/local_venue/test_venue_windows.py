"""Any market, any depth: who follows the rules of the protocol holds the venue's book.

The client here is written from the protocol alone: apply all entries in order, last wins, cut to
the depth, check. It shares nothing with the venue but the numbers that it is told.
"""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from adapters.local_venue.books import Level, LevelBook, Order3, OrderBook3

PRICES = st.integers(1, 30)
LEVELS = st.lists(
    st.lists(st.tuples(st.sampled_from([0, 1]), PRICES, st.integers(0, 5)), min_size=1, max_size=8),
    max_size=40,
)


class Client:
    """A subscriber of one window of levels."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: list[dict[int, int]] = [{}, {}]

    def take(self, levels: list[Level]) -> None:
        for i_side, price, qty in levels:
            if qty:
                self.sides[i_side][price] = qty
            else:
                self.sides[i_side].pop(price, None)
        self.sides = [
            dict(sorted(side.items(), reverse=i_side == 0)[: self.depth])
            for i_side, side in enumerate(self.sides)
        ]

    def checksum(self) -> int:
        text = ""
        for side in (self.sides[1], self.sides[0]):
            text += "".join(f"{price}{qty}" for price, qty in list(side.items())[:10])
        return zlib.crc32(text.encode())


@given(messages=LEVELS, source_depth=st.sampled_from([0, 12]), late=st.integers(0, 10))
def test_every_window_follows_the_book(
    messages: list[list[Level]], source_depth: int, late: int
) -> None:
    book = LevelBook(1, 1, source_depth)
    clients = {depth: Client(depth) for depth in (10, 25)}
    for i, message in enumerate(messages):
        if i < late:
            book.change(message)
            continue
        if i == late:  # the snapshot of one who comes later
            for depth, client in clients.items():
                client.take(book.best(0, depth) + book.best(1, depth))
        told = book.change(message, clients)
        for depth, client in clients.items():
            client.take(told[depth])
            for i_side in (0, 1):
                best = {price: qty for _, price, qty in book.best(i_side, depth)}
                assert best == client.sides[i_side]
            assert book.checksum() == client.checksum()


EVENTS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "modify", "delete"]),
            st.sampled_from([0, 1]),
            PRICES,
            st.integers(1, 5),
            st.integers(0, 40),  # id
        ),
        min_size=1,
        max_size=6,
    ),
    max_size=40,
)


class QueueClient:
    """A subscriber of one window of single orders: an index of ids, queues by timestamp."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.orders: dict[int, list[int]] = {}  # id: side, price, timestamp, arrival, qty
        self.n = 0

    def take(self, events: list[Order3]) -> None:
        for event in events:
            self.n += 1
            known = self.orders.get(event.id)
            if event.kind == "modify" and known is not None:
                known[4] = event.qty
                continue
            self.orders.pop(event.id, None)
            if event.kind == "add":
                self.orders[event.id] = [event.i_side, event.price, event.ts, self.n, event.qty]
        for i_side in (0, 1):
            keep = self.prices(i_side)[: self.depth]
            gone = [i for i, o in self.orders.items() if o[0] == i_side and o[1] not in keep]
            for order_id in gone:
                del self.orders[order_id]

    def prices(self, i_side: int) -> list[int]:
        return sorted({o[1] for o in self.orders.values() if o[0] == i_side}, reverse=i_side == 0)

    def queue(self, i_side: int, depth: int) -> list[tuple[int, int, int]]:
        """(price, id, qty), best level first, in queue order."""
        found = []
        for price in self.prices(i_side)[:depth]:
            level = [
                (o[2], o[3], i, o[4]) for i, o in self.orders.items() if o[:2] == [i_side, price]
            ]
            found += [(price, order_id, qty) for _, _, order_id, qty in sorted(level)]
        return found


@given(messages=EVENTS, late=st.integers(0, 10))
def test_every_window_of_orders_follows_the_queues(
    messages: list[list[tuple[str, int, int, int, int]]], late: int
) -> None:
    book, client = OrderBook3(1, 1), QueueClient(10)
    ts = 0
    for i, message in enumerate(messages):
        events = []
        for kind, i_side, price, qty, order_id in message:
            ts += 1
            held = book.orders.get(order_id)
            if kind != "add":  # of the order as it rests; one that does not exist is not heard of
                if held is None or any(e.id == order_id for e in events):
                    continue
                i_side, price = held[0], abs(held[1])
            events.append(Order3(kind, i_side, price, qty, order_id, ts))
        if i < late:
            book.change(events)
            continue
        if i == late:
            client.take(book.best(0, 10) + book.best(1, 10))
        client.take(book.change(events, (10,))[10])
        for i_side in (0, 1):
            best = [(each.price, each.id, each.qty) for each in book.best(i_side, 10)]
            assert best == client.queue(i_side, 10)
