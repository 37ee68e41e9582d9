"""What was the market of each pair like over some stretch of data, whatever its length?

A core that trades nothing walks over the events and its feature vectors are sampled at a cadence: spread, depth,
volatility and the rest are the core's own features, from minutes of data or from days. Trades and turnover are
counted from the events themselves, exactly. One row per pair, or per pair and day or hour. Left out: which data
(adapters/pairs.py), what a run did there (engine/reports/pairs.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.routes import BUILT_FAMILIES, FAMILY_NAMES
from engine.events import SNAPSHOT, TRADE
from engine.flow.driver import World, drive
from engine.instruments import InstrumentTable
from engine.research.snapshots import Plan, Snapshots, Watching

DAY: Final = 86_400_000_000_000
HOUR: Final = 3_600_000_000_000
PERIODS: Final = {"day": DAY, "hour": HOUR}
MINUTE: Final = 60_000_000_000
HOUR_S: Final = 3600.0
PARTIAL_BELOW: Final = 0.99

# What is kept of each sample.
_KEPT: Final = (
    *("mid", "spread_bps", "microprice_bps", "update_rate", "refill_1s_bid", "refill_1s_ask"),
    *("edge_score", "tick_bps"),
    *(f"depth_{side}_{bps}" for bps in (5, 10, 25) for side in ("bid", "ask")),
)
_PLACES: Final = np.array([FEATURE_INDEX[name] for name in _KEPT])
_AT: Final = {name: i for i, name in enumerate(_KEPT)}


class Traded(NamedTuple):
    """Trades of one pair in one hour: how many, sum of ticks x lots."""

    n: int
    value: int


def observer(every: str) -> dict[str, Any]:
    """What a profile must say so that a core only looks: nothing may enter, and it looks that often."""
    return {
        "evaluation": {"interval": every},
        "families": {FAMILY_NAMES[code]: {"enabled": False} for code in BUILT_FAMILIES},
        "features": {"refill": True},
        "records": {"candidates_top": 1, "shadow": False},
        "plugins": [],
    }


class MarketSampler:
    """Samples and trades of every pair.

    every_ns : cadence of the samples, the evaluation interval of the core that looks
    start : ns; what comes before it only brings books and windows up to then, and does not count
    """

    def __init__(self, instruments: InstrumentTable, every_ns: int, start: int = 0) -> None:
        self._instruments, self._every_ns, self._start = instruments, every_ns, start
        self._samples: list[np.ndarray] = []
        self._stamps: list[np.ndarray] = []
        self._syms: list[np.ndarray] = []
        self._traded: dict[tuple[int, int], Traded] = {}
        self.ts_first = 0
        self.ts_last = 0

    def take(self, rows: np.ndarray) -> None:
        """VECTOR_ROW[n] of the snapshots."""
        rows = rows[rows["ts"] >= self._start]
        self._samples.append(rows["values"][:, _PLACES])
        self._stamps.append(rows["ts"].copy())
        self._syms.append(rows["sym"].copy())

    def count(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The batches, their trades counted on the way; a subscription's history does not count."""
        for batch in batches:
            yield batch
            batch = batch[batch["ts"] >= self._start] if self._start else batch
            if not len(batch):
                continue
            self.ts_first = self.ts_first or int(batch["ts"][0])
            self.ts_last = int(batch["ts"][-1])
            rows = batch[(batch["kind"] == TRADE) & (batch["flags"] & SNAPSHOT == 0)]
            hours = rows["ts"] // HOUR
            for hour, sym in {*zip(hours.tolist(), rows["sym"].tolist(), strict=True)}:
                mine = rows[(hours == hour) & (rows["sym"] == sym)]
                # Python's integers: a day of ticks x lots does not fit 64 bits.
                value = sum(
                    price * qty
                    for price, qty in zip(mine["price"].tolist(), mine["qty"].tolist(), strict=True)
                )
                before = self._traded.get((hour, sym), Traded(0, 0))
                self._traded[hour, sym] = Traded(before.n + len(mine), before.value + value)

    def watch(
        self,
        world: World,
        batches: Iterable[np.ndarray],
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Walk a core over all events; `world` was made with `observer`."""
        snapshots = Snapshots(world.core, Plan(broad_ns=self._every_ns), self.take)
        recorder = Watching(world.core, snapshots.look)
        drive(self.count(batches), world, recorder, progress)
        snapshots.finish()

    def rows(
        self, start: int | None = None, end: int | None = None, by: str | None = None
    ) -> list[dict[str, Any]]:
        """One row per pair, or per "day" or "hour" and pair.

        start, end : ns, the time that was asked for; by default from the first event to the last. Coverage is
        the quoted part of it, or of each whole day or hour
        """
        stamps = np.concatenate(self._stamps) if self._stamps else np.zeros(0, np.int64)
        syms = np.concatenate(self._syms) if self._syms else np.zeros(0, np.int64)
        samples = np.concatenate(self._samples) if self._samples else np.zeros((0, len(_KEPT)))
        first = self.ts_first if start is None else start
        last = self.ts_last if end is None else end
        if by is None:
            return self._rows(stamps, syms, samples, {}, (last - first) / 1e9, None, 0)
        length = PERIODS[by]
        found = []
        for number in range(first // length, (max(last, first + 1) - 1) // length + 1):
            moment = datetime.fromtimestamp(number * length // 1_000_000_000, UTC)
            head = {by: moment.date().isoformat() if by == "day" else f"{moment:%Y-%m-%dT%H:00}"}
            inside = stamps // length == number
            found += self._rows(
                stamps[inside], syms[inside], samples[inside], head, length / 1e9, length, number
            )
        return found

    def _rows(
        self,
        stamps: np.ndarray,
        syms: np.ndarray,
        samples: np.ndarray,
        head: dict[str, Any],
        span_s: float,
        length: int | None,
        number: int,
    ) -> list[dict[str, Any]]:
        found = []
        for sym, symbol in enumerate(self._instruments.symbols):
            mine = syms == sym
            traded = [
                each
                for (hour, of), each in self._traded.items()
                if of == sym and (length is None or hour * HOUR // length == number)
            ]
            row = self._row(samples[mine], stamps[mine], span_s)
            found.append(head | {"symbol": symbol} | row | self._turnover(symbol, traded))
        return found

    def _row(self, samples: np.ndarray, stamps: np.ndarray, span_s: float) -> dict[str, Any]:
        every_s = self._every_ns / 1e9
        mid = samples[:, _AT["mid"]]
        quoted = ~np.isnan(mid)
        hours = int(quoted.sum()) * every_s / HOUR_S
        coverage = min(1.0, hours * HOUR_S / span_s) if span_s > 0 else 0.0
        depth = {
            f"depth_{bps}": _mean(
                (samples[:, _AT[f"depth_bid_{bps}"]] + samples[:, _AT[f"depth_ask_{bps}"]]) / 2.0
            )
            for bps in (5, 10, 25)
        }
        spread = samples[:, _AT["spread_bps"]]
        known = spread[~np.isnan(spread)]
        refill = (samples[:, _AT["refill_1s_bid"]] + samples[:, _AT["refill_1s_ask"]]) / 2.0
        return {
            "hours": hours,
            "coverage": coverage,
            "partial": coverage < PARTIAL_BELOW,
            "spread_mean_bps": _mean(spread),
            "spread_median_bps": float(np.median(known)) if len(known) else None,
            "spread_p90_bps": float(np.quantile(known, 0.9)) if len(known) else None,
            **depth,
            "vol_hour_bps": self._vol(mid, stamps),
            "updates_per_s": _mean(samples[:, _AT["update_rate"]]),
            "lean_bps": _mean(np.abs(samples[:, _AT["microprice_bps"]])),
            "refill_1s": _mean(refill),
            "tick_bps": _mean(samples[:, _AT["tick_bps"]]),
            "score": _mean(samples[:, _AT["edge_score"]]),
        }

    @staticmethod
    def _vol(mid: np.ndarray, stamps: np.ndarray) -> float | None:
        """Of an hour, from the last mid of each minute to that of the next."""
        known = ~np.isnan(mid)
        minutes, mids = stamps[known] // MINUTE, mid[known]
        if not len(minutes):
            return None
        last = np.append(minutes[1:] != minutes[:-1], True)
        minutes, mids = minutes[last], mids[last]
        moves = np.log(mids[1:] / mids[:-1])[np.diff(minutes) == 1]
        return float(np.sqrt((moves**2).mean() * 60.0) * 1e4) if len(moves) else None

    def _turnover(self, symbol: str, traded: list[Traded]) -> dict[str, Any]:
        instrument = self._instruments[symbol]
        step = instrument.price_increment * instrument.qty_increment
        value = sum(each.value for each in traded)
        return {"trades": sum(each.n for each in traded), "turnover": float(value * step)}


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
