"""Does any sequence of bytes give events or a named refusal? Seeded damage to frames of every kind.

`python -m tests.wire.fuzz [--seed N] [--seconds S | --frames N]` prints how far it came; a failure
prints its seed and the frame. After every frame it holds that

- nothing raised, and a refusal has a name and the bytes;
- the events obey the rules of the cold store, and only whole messages came;
- a book that had trouble gives nothing before its next snapshot;
- the quick road (`take_frame`) and the usual one gave the same events and the same trouble.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np

from adapters.kraken.feed import MarketFeed, Taken
from adapters.kraken.wire import Book, Refused, decode
from engine.events import BOOK_LEVEL, GAP, LAST, SNAPSHOT
from engine.flow.rules import RULE_OK, first_broken_rule
from engine.instruments import Instrument, InstrumentTable
from tests.support.frames import BookSource, OrderSource, Scale
from tests.support.kraken_frames import EVERY_FRAME

SYMBOLS = ("BTC/USD", "ETH/USD")
DEPTH = 10
TS = 1_800_000_000_000_000_000
ODD = (
    *(b"", b"null", b"true", b"[]", b"{}", b'""', b"0", b"-0", b"-1", b"1e5", b"1e-8", b"1e999"),
    *(b"1e99999999999999999999", b"NaN", b"Infinity", b'"NaN"', b'"1.5"', b"0.00000000000000001"),
    *(b"9" * 18, b"9" * 19, b"9" * 40, b"1" + b"0" * 400, b"00.1", b"1.", b".5", b"+1", b"\\u0041"),
    *(b'"\\ud800"', b"\xff", b"\x00", b'"2026-02-30T00:00:00.1Z"', b'"9999-12-31T23:59:59Z"'),
    *(b"[" * 2000, b'{"a":' * 2000, b'"BTC/USD"', b'"XBT/USD"', b'"/"', b'"snapshot"', b'"update"'),
)


def table() -> InstrumentTable:
    """Two pairs, of which one has an increment coarser than its precision."""
    return InstrumentTable(
        [
            Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8),
            Instrument("ETH/USD", Decimal("0.05"), Decimal("0.00000001"), 2, 8),
        ]
    )


def new_feed() -> MarketFeed:
    depths = dict.fromkeys(SYMBOLS, DEPTH)
    return MarketFeed(table(), depths, level3_depths=depths)


class Fuzzer:
    """One run. `step` makes a frame, takes it both ways and holds what must be so."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.usual, self.quick = new_feed(), new_feed()
        self.books = {s: BookSource(Scale(s, p), DEPTH, seed) for s, p in (("BTC/USD", 1),)}
        self.books["ETH/USD"] = BookSource(Scale("ETH/USD", 2), DEPTH, seed, mid=600_000)
        self.orders = {"BTC/USD": OrderSource(Scale("BTC/USD", 1), DEPTH, seed)}
        self.waiting = {s: True for s in SYMBOLS}
        self.ts = TS
        self.counts: Counter[str] = Counter()
        self.frame = b""

    def step(self) -> None:
        self.frame = self._frame()
        self.ts += self.draw.randrange(1000)
        message = decode(self.frame)
        self.counts[type(message).__name__] += 1
        if isinstance(message, Refused):
            assert message.what
            assert message.raw == self.frame
        usual = self.usual.take(message, self.ts)
        quick = self.quick.take_frame(self.frame, self.ts)
        if quick is None:
            quick = self.quick.take(message, self.ts)
        else:
            self.counts["quick"] += 1
            assert isinstance(message, Book)
        assert usual.troubles == quick.troubles
        assert np.array_equal(usual.events, quick.events)
        self._hold(usual)

    def _hold(self, taken: Taken) -> None:
        events = taken.events.copy()
        events["seq"] = np.arange(len(events))
        n = len(self.usual.instruments)
        row, rule = first_broken_rule(events, n, 0, -1, TS - 1, TS * 2)
        assert rule == RULE_OK, (row, rule, events[row])
        if len(events):
            assert events[-1]["flags"] & LAST, "a message that is not closed"
        symbols = self.usual.instruments.symbols
        for event in events:
            kind, sym = int(event["kind"]), int(event["sym"])
            if kind == BOOK_LEVEL:
                waits = self.waiting[symbols[sym]] and not event["flags"] & SNAPSHOT
                assert not waits, "an update without its snapshot"
                self.waiting[symbols[sym]] = False
            elif kind == GAP and sym >= 0:
                self.waiting[symbols[sym]] = True
        self.counts["events"] += len(events)
        for trouble in taken.troubles:
            self.counts[f"trouble: {trouble.cause}"] += 1
            assert trouble.text
            if trouble.resubscribe and trouble.cause != "steps":
                assert not self.usual.synced(trouble.symbol, trouble.channel)

    def _frame(self) -> bytes:
        what = self.draw.random()
        if what < 0.45:
            frame = self._sound()
        elif what < 0.6:
            frame = self.draw.choice(EVERY_FRAME)
        else:
            frame = self._sound() if self.draw.random() < 0.5 else self.draw.choice(EVERY_FRAME)
            for _ in range(self.draw.choice((1, 1, 1, 2, 5))):
                frame = self._damaged(frame)
        return frame

    def _sound(self) -> bytes:
        """What the venue would send now; a snapshot where one is waited for."""
        sources: list[Any] = [*self.books.values(), *self.orders.values()]
        source = self.draw.choice(sources)
        channel = "level3" if isinstance(source, OrderSource) else "book"
        synced = self.usual.synced(source.scale.symbol, channel)
        if self.draw.random() < (0.02 if synced else 0.5):
            frame: bytes = source.snapshot()
            return frame
        updated: bytes = source.update()
        return updated

    def _damaged(self, frame: bytes) -> bytes:
        draw = self.draw
        i = draw.randrange(len(frame) + 1)
        j = min(i + int(draw.expovariate(0.1)), len(frame))
        way = draw.randrange(8)
        if way == 0:
            return frame[:i]
        if way == 1:
            return frame[:i] + frame[j:]
        if way == 2:
            return frame[:i] + bytes([draw.randrange(256)]) + frame[i + 1 :]
        if way == 3:
            return frame[:j] + frame[i:]
        if way == 4:
            other = draw.choice(EVERY_FRAME)
            return frame[:i] + other[draw.randrange(len(other)) :]
        return self._with_odd_value(frame)

    def _with_odd_value(self, frame: bytes) -> bytes:
        """Put something odd where a value stands."""
        places = [i + 1 for i, byte in enumerate(frame) if byte in b":[,"]
        if not places:
            return frame + self.draw.choice(ODD)
        i = self.draw.choice(places)
        j = i
        while j < len(frame) and frame[j] not in b",]}":
            j += 1
        return frame[:i] + self.draw.choice(ODD) + frame[j:]


def run(seed: int, n_frames: int | None = None, seconds: float = 0.0) -> Counter[str]:
    """Fuzz for so many frames, or for so long; raises AssertionError with the seed and the frame."""
    fuzzer = Fuzzer(seed)
    end = time.monotonic() + seconds
    n = 0
    while n < n_frames if n_frames is not None else time.monotonic() < end:
        try:
            fuzzer.step()
        except BaseException as error:
            error.add_note(f"seed {seed}, frame {n}: {fuzzer.frame[:2000]!r}")
            raise
        n += 1
    fuzzer.counts["frames"] = n
    return fuzzer.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--frames", type=int, default=None)
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    for name, count in sorted(run(seed, given.frames, given.seconds).items()):
        print(f"{count:10,} {name}")


if __name__ == "__main__":
    sys.exit(main())
