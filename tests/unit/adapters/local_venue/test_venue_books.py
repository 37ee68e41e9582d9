"""Books of the local venue: the published checksums, and what a window has to be told."""

import zlib

from adapters.local_venue.books import LevelBook, Order3, OrderBook3

# Kraken's published example, BTC/USD, in tenths of a dollar and in 1e-8 coins.
ASKS = [
    (452852, 100000), (452864, 154571953), (452866, 154571109), (452896, 154560911),
    (452902, 15890660), (452918, 154553491), (452947, 4454749), (452961, 35380000),
    (452975, 9945542), (452995, 18772827),
]  # fmt: skip
BIDS = [
    (452835, 10000000), (452834, 154582015), (452821, 10000000), (452810, 10000000),
    (452803, 154592586), (452790, 7990000), (452776, 3310103), (452775, 30000000),
    (452773, 154602737), (452766, 15445238),
]  # fmt: skip


def test_checksum_of_the_published_book() -> None:
    book = LevelBook(1, 1)
    book.change([(1, *each) for each in ASKS] + [(0, *each) for each in BIDS])

    assert 3310070434 == book.checksum()


def test_checksum_covers_ten_levels_whatever_the_book_holds() -> None:
    book = LevelBook(1, 1)
    book.change([(1, *each) for each in ASKS] + [(0, *each) for each in BIDS])
    book.change([(1, 460000, 5), (0, 440000, 5)])

    assert 3310070434 == book.checksum()


def test_checksum_of_a_small_book_and_of_none() -> None:
    book = LevelBook(1, 1)
    assert 0 == book.checksum()

    book.change([(1, 295, 2371715468719), (1, 296, 3731055543978)])
    book.change([(0, 294, 2250050544743), (0, 293, 5100)])

    assert 1355260529 == book.checksum()


def test_level_3_checksum_walks_every_order_in_queue_order() -> None:
    # The first ask level of the published level 3 example: four orders at one price.
    text = "449395452308393449395111261449395100000449395" + "1000000"
    book = OrderBook3(1, 1)
    for i, qty in enumerate((452308393, 111261, 100000, 1000000)):
        book.change([Order3("add", 1, 449395, qty, i, 10 + i)])

    assert zlib.crc32(text.encode()) == book.checksum()


def test_queue_is_by_the_orders_own_time_and_modify_keeps_the_place() -> None:
    book = OrderBook3(1, 1)
    book.change([Order3("add", 0, 10, 5, 1, 300), Order3("add", 0, 10, 6, 2, 100)])
    book.change([Order3("modify", 0, 10, 1, 2, 900)])

    assert [(2, 1), (1, 5)] == [(each.id, each.qty) for each in book.best(0, 10)]


def test_a_level_that_leaves_lets_the_next_one_into_the_window() -> None:
    book = LevelBook(1, 1)
    book.change([(1, 10 + i, 1) for i in range(12)])

    told = book.change([(1, 13, 0)], depths=(10,))[10]

    assert [(1, 13, 0), (1, 20, 1)] == told


def test_a_level_that_is_pushed_out_is_not_mentioned() -> None:
    book = LevelBook(1, 1)
    book.change([(1, 10 + i, 1) for i in range(10)])

    assert [(1, 9, 4)] == book.change([(1, 9, 4)], depths=(10,))[10]


def test_what_happens_behind_the_window_is_not_told() -> None:
    book = LevelBook(1, 1)
    book.change([(0, 100 - i, 1) for i in range(20)])

    assert {10: [], 25: [(0, 85, 0)]} == book.change([(0, 85, 0)], depths=(10, 25))


def test_the_last_entry_of_a_price_wins_and_no_change_is_no_news() -> None:
    book = LevelBook(1, 1)
    book.change([(0, 10, 5)])

    assert [(0, 10, 7)] == book.change([(0, 10, 0), (0, 10, 7)], depths=(10,))[10]
    assert [] == book.change([(0, 10, 3), (0, 10, 7)], depths=(10,))[10]
    assert [] == book.change([(0, 11, 0)], depths=(10,))[10]


def test_a_source_of_few_levels_says_goodbye_to_those_it_stops_maintaining() -> None:
    """Else a deeper subscriber keeps a level of which nothing is ever heard again."""
    book = LevelBook(1, 1, depth=2)
    book.change([(1, 10, 1), (1, 11, 1)])

    assert [(1, 9, 1), (1, 11, 0)] == book.change([(1, 9, 1)], depths=(10,))[10]


def test_a_snapshot_of_the_source_becomes_the_changes_that_lead_to_it() -> None:
    book = LevelBook(1, 1)
    book.change([(0, 10, 5), (0, 9, 1), (1, 12, 2)])

    book.change(book.replacement([(0, 10, 6), (1, 12, 2), (1, 13, 3)]))

    assert [(0, 10, 6)] == book.best(0, 10)
    assert [(1, 12, 2), (1, 13, 3)] == book.best(1, 10)


def test_an_order_that_moves_out_of_a_window_is_deleted_there() -> None:
    book = OrderBook3(1, 1)
    book.change([Order3("add", 1, 10 + i, 1, i, i) for i in range(12)])

    told = book.change([Order3("add", 1, 30, 1, 3, 50)], depths=(10,))[10]

    assert [("delete", 13, 3), ("add", 20, 10)] == [(x.kind, x.price, x.id) for x in told]
