"""The compiled reader of book text against decimals, dictionaries and zlib."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.kraken.stamps import ns_of
from engine.events import BOOK_LEVEL, CHECKSUM, EVENT, LAST, SNAPSHOT, VERIFIED
from engine.feedbook import (
    FEED_BOOK,
    FEED_CROSSED,
    FEED_NEGATIVE,
    FEED_OFF_GRID,
    FEED_OK,
    FEED_REASONS,
    FEED_SHAPE,
    FEED_TOO_LARGE,
    FEED_WAITING,
    MODE_SNAPSHOT,
    MODE_VERIFY,
    feed_frame,
    feed_message,
    read_steps,
    read_time,
)
from tests.naive.kraken_text import TextBook

STAMP = "2026-01-05T10:00:00.637700Z"
ROWS = np.zeros(64, EVENT)


def state_of(depth=10, precisions=(1, 8), steps=(1, 1)):
    states = np.zeros(1, FEED_BOOK)
    states["depth"] = depth
    states["price_precision"], states["qty_precision"] = precisions
    states["tick_num"], states["lot_num"] = steps
    return states


# ---- numbers ----

plain_numbers = st.from_regex(r"\A(0|[1-9][0-9]{0,19})(\.[0-9]{1,12})?\Z")


@given(text=plain_numbers, precision=st.integers(0, 10), step=st.sampled_from([1, 5, 25, 1000]))
def test_a_number_is_whole_steps_or_says_why_not(text, precision, step):
    got, end, reason = read_steps(f"{text},".encode(), 0, precision, step)
    units = Decimal(text).scaleb(precision)

    if reason == FEED_OK:
        assert got * step == units
        assert end == len(text)
    elif reason == FEED_OFF_GRID:
        assert units % step != 0
    else:
        assert reason == FEED_TOO_LARGE
        assert units >= Decimal(10) ** 17


@given(text=st.text(alphabet='0123456789.-+eE ",}', max_size=24))
def test_any_text_gives_a_number_that_json_knows_or_a_reason(text):
    _, end, reason = read_steps(text.encode(), 0, 8, 1)

    if reason == FEED_OK:
        read = text[:end]
        assert Decimal(read) >= 0
        assert read.split(".")[0] == "0" or not read.startswith("0")
    else:
        assert reason in (FEED_SHAPE, FEED_NEGATIVE, FEED_OFF_GRID, FEED_TOO_LARGE)


# ---- times ----


@given(
    moment=st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31, 23, 59, 59)),
    digits=st.integers(1, 9),
    fraction=st.integers(0, 999_999_999),
)
def test_a_time_is_the_same_as_the_calendars(moment, digits, fraction):
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}"[: 20 + digits] + "Z"
    seconds = int(moment.replace(microsecond=0, tzinfo=UTC).timestamp())
    expected = seconds * 10**9 + int(f"{fraction:09d}"[:digits].ljust(9, "0"))

    assert read_time(text.encode(), 0) == (expected, len(text))
    assert ns_of(text) == expected


@given(text=st.text(alphabet="0123456789-T:.Z", max_size=32))
def test_what_is_a_time_for_the_kernel_is_one_for_the_calendar(text):
    ns, end = read_time(text.encode(), 0)

    if ns >= 0:
        assert ns_of(text[:end]) == ns


# ---- messages ----

levels = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([0, 0, 1, 5100, 10**8, 123_456_789_012])),
    max_size=12,
)


def text_of(side):
    return [
        (f"{price // 10}.{price % 10}", f"{qty // 10**8}.{qty % 10**8:08d}") for price, qty in side
    ]


def array_of(side):
    return "[" + ",".join(f'{{"price":{p},"qty":{q}}}' for p, q in text_of(side)) + "]"


@settings(max_examples=60)
@given(
    depth=st.sampled_from([1, 3, 10, 25]),
    messages=st.lists(st.tuples(st.booleans(), levels, levels), min_size=1, max_size=12),
)
def test_books_events_and_checksums_are_those_of_the_naive_twin(depth, messages):
    """Bids below 4.1, asks above 4.0, so that only what the feed calls crossed is crossed."""
    by_message, by_frame = state_of(depth), state_of(depth)
    naive = TextBook(depth)
    synced = False
    for i, (snapshot, bids, above) in enumerate(messages):
        asks = [(price + 40, qty) for price, qty in above]
        if snapshot:
            naive.clear()
            bids = [(price, qty) for price, qty in bids if qty]
            asks = [(price, qty) for price, qty in asks if qty]
        naive.message(text_of(bids), text_of(asks))
        crc = naive.checksum()
        texts = array_of(bids).encode(), array_of(asks).encode()
        mode = MODE_VERIFY | (MODE_SNAPSHOT if snapshot else 0)
        result = feed_message(by_message, *texts, mode, crc, 7, ns_of(STAMP), ROWS, 3)
        rows = ROWS[3 : 3 + result // FEED_REASONS].copy()
        if snapshot:
            feed_message(by_frame, *texts, mode, crc, 7, ns_of(STAMP), ROWS, 3)
        else:
            head = '{"channel":"book","type":"update","data":[{"symbol":"A/B'
            frame = (
                f'{head}","bids":{array_of(bids)},"asks":{array_of(asks)},"checksum":{crc},'
                f'"timestamp":"{STAMP}"}}]}}'
            ).encode()
            assert feed_frame(by_frame, frame, len(head), MODE_VERIFY, 7, ROWS, 3) == result
            assert ROWS[3 : 3 + len(rows)].tolist() == rows.tolist()
            if i < 2:  # and no other text of it is taken
                for at in (len(frame) - 1, len(head) + 5, 0):
                    cut = frame[:at] + frame[at + 1 :]
                    assert feed_frame(by_frame, cut, len(head), 2, 7, ROWS, 3) == FEED_SHAPE
        synced |= snapshot
        if not synced:
            assert result == FEED_WAITING
            naive.clear()
            continue
        assert result % FEED_REASONS == FEED_OK
        flags = LAST | CHECKSUM | VERIFIED | (SNAPSHOT if snapshot else 0)
        assert rows["flags"][-1] == flags
        if bids or asks:
            assert (rows["kind"] == BOOK_LEVEL).all()
            told = [(int(row["price"]), int(row["qty"])) for row in rows]
            assert told == bids + asks


@given(bids=levels, asks=levels)
def test_a_crossed_book_is_found_whatever_the_order(bids, asks):
    naive = TextBook(10)
    bids = [(price, qty) for price, qty in bids if qty]
    asks = [(price, qty) for price, qty in asks if qty]
    naive.message(text_of(bids), text_of(asks))
    crossed = bool(naive.bids and naive.asks) and max(naive.bids) >= min(naive.asks)
    states = state_of()
    result = feed_message(
        states, array_of(bids).encode(), array_of(asks).encode(), MODE_SNAPSHOT, -1, 1, 1, ROWS, 0
    )

    assert (result % FEED_REASONS == FEED_CROSSED) == crossed
    assert states["synced"][0] == (not crossed)
