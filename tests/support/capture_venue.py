"""A capture against the local venue over real sockets, and what the venue says it sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np

from adapters.kraken.capture import CaptureConfig
from adapters.kraken.live import Hosts
from adapters.local_venue import LocalVenue, events_of, serve
from adapters.local_venue.text import name
from adapters.record import Recorded, record
from engine.events import (
    BOOK_LEVEL,
    DERIVED,
    EVENT,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    LAST,
    MESSAGE_END,
    SNAPSHOT,
    TICKER,
    TICKER_ASK,
    TICKER_BID,
    TICKER_HIGH,
    TICKER_LAST,
    TICKER_LOW,
    TICKER_VOLUME,
    TICKER_VWAP,
    VERIFIED,
    empty,
)
from engine.instruments import Instrument

# What the receiver decides: its own stamp, place and verdict.
OURS = ("ts", "seq")
ONE_PART = 1 << 62  # a part else ends with the hour, and a test may begin a second before it
EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
TICKER_FIELDS = (
    (TICKER_BID, "bid", "bid_qty"),
    (TICKER_ASK, "ask", "ask_qty"),
    (TICKER_LAST, "last", ""),
    (TICKER_VOLUME, "", "volume"),
    (TICKER_VWAP, "vwap", ""),
    (TICKER_LOW, "low", ""),
    (TICKER_HIGH, "high", ""),
)


@contextmanager
def running_venue(**options: Any) -> Iterator[LocalVenue]:
    """A local venue in a thread of its own, as if it were elsewhere."""
    ready, box = threading.Event(), {}

    async def go() -> None:
        ended = asyncio.Event()
        async with serve(**options) as venue:
            box.update(venue=venue, loop=asyncio.get_running_loop(), ended=ended)
            ready.set()
            await ended.wait()

    def run() -> None:
        try:
            asyncio.run(go())
        except BaseException as error:
            box["error"] = error
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    if "error" in box:
        raise box["error"]
    try:
        yield box["venue"]
    finally:
        box["loop"].call_soon_threadsafe(box["ended"].set)
        thread.join()


def hosts_of(venue: LocalVenue, *, level3: bool = False, measure: Any = None) -> Hosts:
    async def token() -> str:
        return venue.new_token()

    if level3:
        return Hosts(venue.public_url, venue.level3_url, token=token)
    return Hosts(venue.public_url, measure=measure)


def capture_until(
    store: Path,
    venue: LocalVenue,
    config: CaptureConfig,
    enough: Callable[[dict[str, Any]], bool],
    *,
    level3: bool = False,
    measure: Any = None,
    within_s: float = 60.0,
    **options: Any,
) -> Recorded:
    """Capture until `enough` says so of the facts of a live view; no wall-clock figure matters."""
    box: dict[str, Any] = {}

    def stop(ended: asyncio.Event) -> None:
        box["ended"] = ended

    def progress(facts: dict[str, Any]) -> None:
        if enough(facts):
            box["ended"].set()

    return record(
        store,
        config,
        hosts_of(venue, level3=level3, measure=measure),
        stop=stop,
        for_s=within_s,
        progress=progress,
        seed=1,
        disk_free_min=0,
        **options,
    )


def sent_events(venue: LocalVenue, channels: tuple[str, ...]) -> dict[tuple[str, int], np.ndarray]:
    """What a subscriber should have, by channel and pair: one connection after the other.

    A connection that its client gave up may be told more for a while; nobody hears that.
    """
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    for out in sorted(venue.sent, key=lambda each: each.conn):  # stable: in order for each
        if out.said is not None and out.said.topic.channel in channels:
            channel, sym = key = (out.said.topic.channel, out.said.topic.sym)
            if channel == "ticker":
                rows = ticker_rows(out.said.text, venue.core.source.instruments[sym], sym)
            else:
                rows = as_written(events_of(out.said))
            if channel == "level3":
                orders = rows["kind"] != MESSAGE_END
                rows["id"][orders] = [order_number(int(each)) for each in rows["id"][orders]]
            found.setdefault(key, []).append(rows)
    return {key: np.concatenate(parts) for key, parts in found.items()}


def order_number(key: int) -> int:
    """What stands in an event for the id by which the venue calls its order `key`."""
    digest = hashlib.blake2b(name("O", key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def ticker_rows(text: str, instrument: Instrument, sym: int) -> np.ndarray:
    """A ticker message as events, read the slow way."""
    message = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    (item,) = message["data"]
    tick, lot = instrument.price_increment, instrument.qty_increment
    found = []
    for code, price, qty in TICKER_FIELDS:
        if price not in item and qty not in item:
            continue
        nearest = Decimal(item[price] / tick).quantize(Decimal(1), ROUND_HALF_UP) if price else 0
        found.append((code, int(nearest), int(item[qty] / lot) if qty else 0))
    rows = empty(len(found))
    rows["sym"], rows["kind"] = sym, TICKER
    rows["flags"] = SNAPSHOT if message["type"] == "snapshot" else 0
    rows["flags"][-1] |= LAST
    moment = datetime.fromisoformat(item["timestamp"])
    rows["ts_venue"] = (moment - EPOCH_START) // timedelta(microseconds=1) * 1000
    for row, (code, price, qty) in zip(rows, found, strict=True):
        row["id"], row["price"], row["qty"] = code, price, qty
    return rows


def as_written(rows: np.ndarray) -> np.ndarray:
    """A message in the order of its text: the venue thinks in time, the wire in bids, then asks."""
    if not len(rows) or rows["kind"][0] not in (BOOK_LEVEL, L3_ADD, L3_MODIFY, L3_DELETE):
        return rows
    n = len(rows) - (rows["kind"][-1] == MESSAGE_END)
    order = np.argsort(-rows["side"][:n], kind="stable")
    sorted_rows = rows.copy()
    sorted_rows[:n] = rows[:n][order]
    if n == len(rows):  # the last level carries the checksum, whichever it is
        for name in ("aux", "flags"):
            closing = rows[name][-1]
            sorted_rows[name] = rows[name][0] if n > 1 else closing
            sorted_rows[name][-1] = closing
    return sorted_rows


def comparable(rows: np.ndarray, symbols: dict[int, int]) -> list[tuple[int, ...]]:
    """Rows without what the receiver decides; `symbols` maps its pairs to the venue's."""
    assert rows.dtype == EVENT
    names = [name for name in EVENT.names or () if name not in OURS]
    plain = rows[names].copy()
    plain["flags"] = rows["flags"] & ~VERIFIED
    plain["sym"] = [symbols.get(int(each), -1) for each in rows["sym"]]
    # The venue does not always know the taker's side; a feed has no word for that.
    return [tuple(int(value) for value in row) for row in plain.tolist()]


def of_the_venue(rows: np.ndarray) -> np.ndarray:
    """Without what a part of a capture begins with by itself."""
    return rows[(rows["flags"] & DERIVED) == 0]
