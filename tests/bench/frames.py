"""How fast are Kraken's frames understood? Ours beside json + Decimal and python-kraken-sdk.

All three take the same text, keep the book of the subscribed depth and compute the checksum of
each update; one run, in alternation. The SDK's client is the real one: only its look-up of the
pair's decimals, a REST call, is answered here. Then: how much of a core fifty symbols take.
`python -m tests.bench frames [FRAMES] [ROUNDS]` prints this table alone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable
from decimal import Decimal

from kraken.spot import SpotOrderBookClient

from adapters.kraken.feed import MarketFeed
from adapters.kraken.wire import decode
from engine.instruments import Instrument, InstrumentTable
from tests.naive.checksum import crc32_levels
from tests.support.frames import BookSource, OrderSource, Scale, envelope, stamp

SYMBOL = "BTC/USD"
DEPTHS = (10, 100)
N_SYMBOLS = 50
RATE = 5000  # messages per second


def book_frames(n: int, depth: int, symbol: str = SYMBOL) -> list[bytes]:
    """A snapshot and `n` updates of at least one level."""
    source = BookSource(Scale(symbol), depth, seed=1)
    updates = (frame for frame in iter(source.update, b"") if b"price" in frame)
    return [source.snapshot(), *itertools.islice(updates, n)]


def table(symbols: list[str]) -> InstrumentTable:
    steps = Decimal("0.1"), Decimal("0.00000001")
    return InstrumentTable([Instrument(symbol, *steps, 1, 8) for symbol in symbols])


def ours(frames: list[bytes], depth: int) -> float:
    feed = MarketFeed(table([SYMBOL]), {SYMBOL: depth})
    start = time.perf_counter()
    for i, frame in enumerate(frames):
        if feed.take_frame(frame, i) is None:
            feed.take(decode(frame), i)
    seconds = time.perf_counter() - start
    assert feed.counts(SYMBOL) == (len(frames), 0, 0)
    return seconds


def ours_by_message(frames: list[bytes], depth: int) -> float:
    """The same by way of typed messages, as every frame goes that is not a plain book update."""
    feed = MarketFeed(table([SYMBOL]), {SYMBOL: depth})
    start = time.perf_counter()
    for i, frame in enumerate(frames):
        feed.take(decode(frame), i)
    seconds = time.perf_counter() - start
    assert feed.counts(SYMBOL) == (len(frames), 0, 0)
    return seconds


def json_and_decimal(frames: list[bytes], depth: int) -> float:
    """What one writes first: the standard library's parser, dictionaries, zlib."""
    sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    start = time.perf_counter()
    for frame in frames:
        message = json.loads(frame, parse_float=Decimal)
        item = message["data"][0]
        if message["type"] == "snapshot":
            sides["bids"].clear()
            sides["asks"].clear()
        for name, side in sides.items():
            for level in item[name]:
                if level["qty"]:
                    side[level["price"]] = level["qty"]
                else:
                    side.pop(level["price"], None)
        best = {
            "bids": sorted(sides["bids"], reverse=True),
            "asks": sorted(sides["asks"]),
        }
        texts = {}
        for name, side in sides.items():
            for price in best[name][depth:]:
                del side[price]
            texts[name] = [(str(p), f"{side[p]:f}") for p in best[name][:10]]
        assert crc32_levels(texts["asks"], texts["bids"]) == item["checksum"]
    return time.perf_counter() - start


class _Market:
    """What the SDK's client asks REST for, once per pair."""

    def get_asset_pairs(self, pair: str) -> dict[str, dict[str, int]]:
        return {pair: {"pair_decimals": 1, "lot_decimals": 8}}


def sdk(frames: list[bytes], depth: int) -> float:
    """json.loads and the order book client's own handler, as its socket loop calls them."""

    async def run() -> float:
        client = SpotOrderBookClient(depth=depth, callback=lambda pair, message: None)
        client._SpotOrderBookClient__market = _Market()
        start = time.perf_counter()
        for frame in frames:
            await client.on_message(json.loads(frame))
        seconds = time.perf_counter() - start
        assert client.get(SYMBOL)["valid"]
        await client.close()
        return seconds

    return asyncio.run(run())


def mixed_frames(n: int, depth: int, level3: bool) -> tuple[list[str], list[bytes]]:
    """Fifty symbols in turn: four fifths book updates (half of them level 3), trades, tickers."""
    draw = random.Random(5)
    symbols = [f"C{i:02d}/USD" for i in range(N_SYMBOLS)]
    books = [BookSource(Scale(symbol), depth, seed=1) for symbol in symbols]
    orders = [OrderSource(Scale(symbol), 10, seed=1) for symbol in symbols] if level3 else []
    frames = [source.snapshot() for source in [*books, *orders]]
    trade_ids = itertools.count(1)
    for i in range(n):
        at = draw.randrange(N_SYMBOLS)
        what = draw.random()
        now = stamp(books[at].ts)
        if what < 0.1:
            frames.append(
                envelope(
                    "trade",
                    "update",
                    f'{{"symbol":"{symbols[at]}","side":"buy","price":60000.1,"qty":0.09482500,'
                    f'"ord_type":"limit","trade_id":{next(trade_ids)},"timestamp":"{now}"}}',
                )
            )
        elif what < 0.2:
            frames.append(
                envelope(
                    "ticker",
                    "update",
                    f'{{"symbol":"{symbols[at]}","bid":60000.1,"bid_qty":0.31232000,'
                    f'"ask":60000.2,"ask_qty":12.31628629,"last":60000.1,'
                    f'"volume":{4182 + i}.59447976,"vwap":59100.4,"low":58000.0,"high":61000.0,'
                    f'"change":4213.8,"change_pct":6.84,"timestamp":"{now}"}}',
                )
            )
        elif level3 and what < 0.6:
            frames.append(orders[at].update())
        else:
            frames.append(books[at].update())
    return symbols, frames


def core_share(n: int, depth: int, level3: bool) -> float:
    """Share of one core that decoding, books and checksums take at RATE messages per second."""
    symbols, frames = mixed_frames(n, depth, level3)
    level3_depths = dict.fromkeys(symbols, 10) if level3 else None
    feed = MarketFeed(table(symbols), dict.fromkeys(symbols, depth), level3_depths=level3_depths)
    first = len(frames) - n
    for i, frame in enumerate(frames[:first]):
        feed.take(decode(frame), i)
    start = time.process_time()
    for i, frame in enumerate(frames[first:]):
        if feed.take_frame(frame, i) is None:
            feed.take(decode(frame), i)
    return (time.process_time() - start) / n * RATE


def frames_table(n: int = 20_000, rounds: int = 5) -> None:
    """Print frames per second of the three ways, and the share of a core of a busy capture."""
    ways: dict[str, Callable[[list[bytes], int], float]] = {
        "python-kraken-sdk, its own handler": sdk,
        "json + Decimal, dictionaries, zlib": json_and_decimal,
        "ours, every frame as a typed message": ours_by_message,
        "ours: decode, book, checksum, events": ours,
    }
    print(f"\nbook updates of one symbol, {n:,} frames, median of {rounds} rounds in alternation")
    for depth in DEPTHS:
        frames = book_frames(n, depth)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(rounds + 1):
            for name, way in ways.items():
                taken = way(frames, depth)
                if round_:
                    seconds[name].append(taken)
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        peer = medians["python-kraken-sdk, its own handler"]
        print(f"\n{f'depth {depth}':42}{'frames/s':>12}{'us/frame':>10}{'ratio':>8}")
        for name, median in medians.items():
            rate = len(frames) / median
            print(f"{name:42}{rate:12,.0f}{1e6 / rate:10.2f}{peer / median:8.1f}")
    print(f"\nshare of one core at {RATE:,} messages per second, {N_SYMBOLS} symbols, no disk")
    for name, level3 in (("book:100, trade, ticker", False), ("and level3:10, half of it", True)):
        shares = [core_share(n, 100, level3) for _ in range(3)]
        print(f"  {name:40}{statistics.median(shares):8.1%}")
