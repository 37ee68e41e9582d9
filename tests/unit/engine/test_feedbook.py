"""What the compiled reader of book frames takes, and what it leaves to the slow road."""

import numpy as np
import pytest

from engine.events import EVENT
from engine.feedbook import (
    FEED_BOOK,
    FEED_FULL,
    FEED_OK,
    FEED_REASONS,
    FEED_SHAPE,
    FEED_WAITING,
    MODE_SNAPSHOT,
    feed_frame,
    feed_message,
    read_time,
)

HEAD = b'{"channel":"book","type":"update","data":[{"symbol":"A/B'
SOUND = (
    HEAD + b'","bids":[{"price":1.0,"qty":2}],"asks":[{"price":1.5,"qty":2.25}],"checksum":7,'
    b'"timestamp":"2026-01-05T10:00:00.5Z"}]}'
)


def new_states():
    states = np.zeros(1, FEED_BOOK)
    states["depth"], states["price_precision"], states["qty_precision"] = 10, 1, 2
    states["tick_num"] = states["lot_num"] = 1
    return states


def frame_result(frame, synced=True):
    states, rows = new_states(), np.zeros(8, EVENT)
    if synced:
        feed_message(states, b"[]", b"[]", MODE_SNAPSHOT, -1, 1, 1, rows, 0)
    before = states.tobytes()
    result = feed_frame(states, frame, len(HEAD), 0, 9, rows, 2)
    if result % FEED_REASONS != FEED_OK:
        assert states.tobytes() == before  # nothing was changed
    return result, rows


def test_a_plain_update_is_taken_whole():
    result, rows = frame_result(SOUND)

    assert result == 2 * FEED_REASONS + FEED_OK
    assert rows["price"][2:4].tolist() == [10, 15]
    assert rows["qty"][2:4].tolist() == [200, 225]
    assert rows["ts_venue"][2:4].tolist() == [1_767_607_200_500_000_000] * 2
    assert rows["aux"][2:4].tolist() == [0, 7]


def test_an_update_that_waits_for_a_snapshot_says_so():
    assert frame_result(SOUND, synced=False)[0] == FEED_WAITING


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *((b'"update"', b'"UPDATE"'), (b'"bids":', b'"bids": '), (b'"asks"', b'"asksx"')),
        *((b"1.0", b"01.0"), (b"1.0", b"1."), (b"1.0", b"-1.0"), (b"1.0", b"1.05")),
        *((b"1.0", b"1e0"), (b"1.0", b"0.0"), (b":7,", b":4294967296,"), (b":7,", b":7.5,")),
        *((b"05T10", b"05 10"), (b"05T10", b"32T10"), (b"T10:", b"T24:"), (b"0.5Z", b"0.5")),
        *(
            (b'"}]}', b'"}]} '),
            (b'"}]}', b'"}]'),
            (b'"}]}', b'","new":1}]}'),
            (b'5}],"', b'5},],"'),
        ),
    ],
)
def test_anything_else_is_left_to_the_slow_road(old, new):
    assert old in SOUND
    assert frame_result(SOUND.replace(old, new, 1))[0] == FEED_SHAPE


@pytest.mark.parametrize("cut", range(len(SOUND)))
def test_a_frame_cut_anywhere_is_not_read_past_its_end(cut):
    assert frame_result(SOUND[:cut])[0] == FEED_SHAPE


def test_more_levels_than_rows_change_nothing():
    states, rows = new_states(), np.zeros(3, EVENT)
    bids = b'[{"price":1.0,"qty":2},{"price":0.9,"qty":2}]'
    before = states["synced"].copy(), states["book"].tobytes()
    result = feed_message(states, bids, b"[]", MODE_SNAPSHOT, -1, 1, 1, rows, 2)

    assert result % FEED_REASONS == FEED_FULL
    assert (states["synced"], states["book"].tobytes()) == before


@pytest.mark.parametrize(
    "text",
    [
        *("2026-02-29T00:00:00.1Z", "2026-04-31T00:00:00.1Z", "2026-06-31T00:00:00.1Z"),
        *("2026-01-32T00:00:00.1Z", "2026-00-01T00:00:00.1Z", "2026-13-01T00:00:00.1Z"),
        *("2026-01-00T00:00:00.1Z", "2026-01-01T24:00:00.1Z", "2026-01-01T00:60:00.1Z"),
        *("2026-01-01T00:00:60.1Z", "1969-12-31T00:00:00.1Z", "2100-01-01T00:00:00.1Z"),
        *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z"),
        *("2026-01-01T00:00:00.1", "2026_01-01T00:00:00.1Z", "2026-01-01 00:00:00.1Z", ""),
    ],
)
def test_a_day_or_an_hour_that_is_none_is_refused(text):
    assert read_time(text.encode(), 0)[0] == -1


def test_leap_days_and_the_last_days_of_months_are_times():
    days = [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31), (6, 30)]
    days += [(7, 31), (8, 31), (9, 30), (10, 31), (11, 30), (12, 31)]
    texts = [f"2026-{month:02d}-{day}T23:59:59.9Z" for month, day in days]
    texts += ["2000-02-29T00:00:00.1Z", "2024-02-29T00:00:00.1Z"]

    assert all(read_time(text.encode(), 0)[0] > 0 for text in texts)
