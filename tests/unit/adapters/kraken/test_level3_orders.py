"""Queue order, returns and cuts of a level 3 book, and its checksum."""

import zlib

import pytest

from adapters.kraken.checksum import crc32_tokens, order_token
from adapters.kraken.orders import ASKS, BIDS, OrderBook, order_key


@pytest.fixture
def book():
    return OrderBook(depth=2, tick_num=1, lot_num=1)


def test_a_queue_is_ordered_by_the_orders_own_time(book):
    for name, time in (("young", 30), ("old", 10), ("middle", 20)):
        book.add(name, BIDS, 100, 5, time)

    assert book.queue(BIDS) == [(100, [("old", 5), ("middle", 5), ("young", 5)])]


def test_orders_of_one_time_stand_as_they_came(book):
    for name in ("first", "second"):
        book.add(name, ASKS, 100, 5, 10)

    assert [name for name, _ in book.queue(ASKS)[0][1]] == ["first", "second"]


def test_a_modify_keeps_the_place(book):
    book.add("a", ASKS, 100, 5, 10)
    book.add("b", ASKS, 100, 5, 20)
    book.modify("a", 3)

    assert book.queue(ASKS) == [(100, [("a", 3), ("b", 5)])]


def test_an_add_of_a_known_id_replaces_it_at_any_price(book):
    book.add("a", BIDS, 100, 5, 10)
    book.add("a", BIDS, 99, 7, 20)

    assert len(book) == 1
    assert book.queue(BIDS) == [(99, [("a", 7)])]


def test_levels_beyond_the_depth_are_forgotten(book):
    for price in (101, 102, 103):
        book.add(f"ask {price}", ASKS, price, 1, 10)
        book.add(f"bid {price - 10}", BIDS, price - 10, 1, 10)
    book.cut()

    assert [price for price, _ in book.queue(ASKS)] == [101, 102]
    assert [price for price, _ in book.queue(BIDS)] == [93, 92]
    assert book.get("ask 103") is None
    assert len(book) == 4


def test_changes_of_unknown_orders_are_counted(book):
    book.delete("nobody")
    book.modify("nobody", 1)

    assert book.n_unknown == 2


def test_crossed_means_best_bid_at_or_above_best_ask(book):
    book.add("bid", BIDS, 100, 1, 10)
    assert not book.crossed()
    book.add("ask", ASKS, 101, 1, 10)
    assert not book.crossed()
    book.add("other", ASKS, 100, 1, 10)
    assert book.crossed()


def test_the_checksum_hashes_every_order_asks_first(book):
    """By hand: asks 101 x (5, then 3), bids 100 x 7."""
    book.add("b", ASKS, 101, 3, 20)
    book.add("a", ASKS, 101, 5, 10)
    book.add("c", BIDS, 100, 7, 10)

    assert book.checksum() == zlib.crc32(b"1015" + b"1013" + b"1007")
    assert book.checksum() == crc32_tokens([b"1015", b"1013"], [b"1007"])


def test_an_empty_book_hashes_to_zero(book):
    assert book.checksum() == 0


def test_a_token_is_in_units_of_the_last_decimal():
    """A tick of 0.5 with one decimal: 7 ticks are 3.5, `35`; a lot of 0.002 with three: 8."""
    assert order_token(7, 4, tick_num=5, lot_num=2) == b"358"


def test_order_keys_are_stable_and_fit_an_event():
    keys = {order_key(f"O{i:05d}-ABCDE-FGHIJK") for i in range(10_000)}

    assert len(keys) == 10_000
    assert all(0 <= key < 1 << 63 for key in keys)
    # From `b2sum -l 64`, halved. A key that changed would cut every order's history in two.
    assert order_key("OAAAAA-BBBBB-CCCCCC") == 650925783973464377
