"""What was the whole feature vector of a symbol, when, and why was it kept?

`Snapshots` looks at a core whenever `Watching` (a recorder) says that an evaluation ended or a fill was
booked, and keeps rows of the vector: at a cadence, at decisions, at fills. The core steps in compiled
batches; to be let in, the recorder makes two of its rings look one row short of half full, so that the
driver's loop comes back to drain right after the next row. A row is the state at that event, so nothing
later can be in it. Left out: which run is replayed (adapters/features.py), the file
(adapters/parquet/vectors.py).
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from engine.core.columns import FEATURE_INDEX, FEATURE_VERSION, FEATURES, N_FEATURES
from engine.core.records import EXECUTE, T_DECISIONS, T_EVALUATIONS, T_FILLS
from engine.core.state import Core
from engine.errors import ConfigError
from engine.events import ORDER_FEE, ORDER_FILL, TIMER
from engine.flow.advance import HALF_FULL
from engine.flow.recorder import Recorder, Sink

HOUR: Final = 3_600_000_000_000

# Why a row was kept, as bits; what is thinned first stands first, fills are never thinned.
BROAD: Final = 1
CADENCE: Final = 2
DECISION: Final = 4
FILL: Final = 8
WHY_NAMES: Final = {FILL: "fill", DECISION: "decision", CADENCE: "cadence", BROAD: "broad"}
_THINNED: Final = (BROAD, CADENCE, DECISION)
_STRIDE_MAX: Final = 4096  # a class that is thinned further is dropped

VECTOR_ROW: Final = np.dtype(
    [
        ("ts", "<i8"),  # of the event whose state it is
        ("sym", "<i8"),
        ("generation", "<i8"),  # newest evaluation
        ("why", "<i8"),
        ("age_ns", "<i8"),  # ts - that evaluation's: how old the vector is, at most
        ("regime", "<i8"),
        ("member", "<i8"),  # 1: in the traded universe
        ("values", "<f8", (N_FEATURES,)),
    ]
)

# Set anew for each thesis that is asked: no part of what a symbol is.
_HORIZON: Final = FEATURE_INDEX["horizon"]
_INVENTORY: Final = FEATURE_INDEX["inventory"]

# What a unit says of its numbers; where a unit is not named here any number may be.
_RANGES: Final = {
    "0..1": (0.0, 1.0),
    "-1..1": (-1.0, 1.0),
    "ticks": (0.0, np.inf),
    "lots": (0.0, np.inf),
    "quote": (0.0, np.inf),
    "s": (0.0, np.inf),
    "1/s": (0.0, np.inf),
    "lots/s": (0.0, np.inf),
    "orders": (0.0, np.inf),
    "levels": (0.0, np.inf),
}
_LOWEST: Final = np.array([_RANGES.get(each.unit, (-np.inf, 0))[0] for each in FEATURES])
_HIGHEST: Final = np.array([_RANGES.get(each.unit, (0, np.inf))[1] for each in FEATURES])


def content_hash(values: np.ndarray, version: int = FEATURE_VERSION) -> str:
    """sha256 over version and values, hex: the same for the same vector on any machine.

    values : float64[N_FEATURES]; a NaN counts as the one NaN that the core writes
    """
    plain = np.where(np.isnan(values), np.nan, values).astype("<f8")
    return hashlib.sha256(struct.pack("<q", version) + plain.tobytes()).hexdigest()


def why_text(why: int) -> str:
    """The bits of `why` in words, as in fill or decision+cadence."""
    return "+".join(name for bit, name in WHY_NAMES.items() if why & bit)


@dataclass(frozen=True)
class Plan:
    """When rows are kept. Times in ns, 0: not at all.

    every_ns : symbols of the traded universe; broad_ns : all symbols of the run
    decisions : evaluations of a symbol in which a family saw an opportunity; entries : those that
    entered; fills : when one is booked
    rows : instrument rows wanted, None for all; budget : most rows per hour, 0 for no bound
    """

    every_ns: int = 0
    broad_ns: int = 0
    decisions: bool = False
    entries: bool = False
    fills: bool = False
    rows: frozenset[int] | None = None
    budget: int = 0

    def check(self, interval_ns: int) -> None:
        """Raise ConfigError for a cadence that no evaluation can serve, or a plan of nothing."""
        for name, given in (("every", self.every_ns), ("broad", self.broad_ns)):
            if given and given % interval_ns:
                raise ConfigError(
                    f"{name} = {given / 1e9:g} s is not a multiple of the run's evaluations, "
                    f"{interval_ns / 1e9:g} s: features are computed when the core evaluates.",
                    f"Give a multiple of {interval_ns / 1e9:g} s, or replay with a shorter "
                    "evaluation.interval.",
                )
        if not (self.every_ns or self.broad_ns or self.decisions or self.entries or self.fills):
            raise ConfigError("nothing was asked for.", "Give a cadence, decisions or fills.")


@dataclass
class Quality:
    """What was taken, thinned and missed, and how whole the vectors are."""

    n_rows: int = 0
    taken: Counter[str] = field(default_factory=Counter)  # by why; a row may have several
    thinned: Counter[str] = field(default_factory=Counter)
    hours: int = 0
    hours_thinned: int = 0
    late: int = 0  # evaluations that the core had left before it could be read
    incomplete: int = 0  # rows with a NaN among the columns
    missing: np.ndarray = field(default_factory=lambda: np.zeros(N_FEATURES, np.int64))
    outside: np.ndarray = field(default_factory=lambda: np.zeros(N_FEATURES, np.int64))
    ts_first: int = 0
    ts_last: int = 0

    def facts(self) -> dict[str, Any]:
        """As plain data; `missing` names each column that was NaN, and in how many rows, `outside` each that
        left the range of its unit."""
        return {
            "rows": self.n_rows,
            "taken": {name: self.taken[name] for name in WHY_NAMES.values()},
            "thinned": {WHY_NAMES[bit]: self.thinned[WHY_NAMES[bit]] for bit in _THINNED},
            "hours": self.hours,
            "hours_thinned": self.hours_thinned,
            "late": self.late,
            "incomplete": self.incomplete,
            "missing": {FEATURES[i].name: int(n) for i, n in enumerate(self.missing) if n},
            "outside": {FEATURES[i].name: int(n) for i, n in enumerate(self.outside) if n},
            "ts_first": self.ts_first,
            "ts_last": self.ts_last,
        }


class Snapshots:
    """Rows of the vector, hour by hour to `sink`; memory is bounded by the budget of an hour.

    sink : takes VECTOR_ROW[n], in the order of the events
    """

    def __init__(self, core: Core, plan: Plan, sink: Callable[[np.ndarray], None]) -> None:
        self.quality = Quality()
        self._core, self._plan, self._sink = core, plan, sink
        self._rows = [i for i in range(len(core.symbols)) if plan.rows is None or i in plan.rows]
        self._struck = {BROAD: -1, CADENCE: -1}
        self._evaluated_ts = 0
        self._refreshing = int(core.params[0]["heap_enabled"]) == 1
        self._hour = -1
        self._kept = np.zeros(256, VECTOR_ROW)
        self._strikes = np.zeros((256, len(_THINNED)), np.int64)  # of the reasons of each row
        self._n = 0
        self._stride = dict.fromkeys(_THINNED, 1)

    def look(self, evaluations: np.ndarray, decisions: np.ndarray, fills: np.ndarray) -> None:
        """The core has just written these rows and has not gone on; newest evaluation last."""
        for fill in fills:
            if self._plan.fills:
                self._keep(int(fill["ts"]), int(fill["sym"]), FILL, ())
        if not len(evaluations):
            return
        row = evaluations[-1]
        ts, generation = int(row["ts"]), int(row["generation"])
        self._evaluated_ts = ts
        self.quality.late += len(evaluations) - 1
        # Where candidates wait, what moved is computed again between evaluations: too late for us.
        if self._refreshing and int(self._core.glob[0]["now"]) != ts:
            self.quality.late += 1
            return
        strikes = (
            self._strike(BROAD, ts, self._plan.broad_ns),
            self._strike(CADENCE, ts, self._plan.every_ns),
            generation,
        )
        chosen = decisions[decisions["generation"] == generation]
        why = np.zeros(len(self._core.symbols), np.int64)
        for each in chosen:
            active = self._plan.decisions and each["n_active"] > 0
            entered = self._plan.entries and each["outcome"] == EXECUTE
            if active or entered:
                why[each["sym"]] |= DECISION
        for i in self._rows:
            member = self._core.symbols[i]["outside"] == 0
            bits = int(why[i]) | (BROAD if strikes[0] >= 0 else 0)
            bits |= CADENCE if strikes[1] >= 0 and member else 0
            if bits:
                self._keep(ts, i, bits, strikes)

    def finish(self) -> Quality:
        """Hand over the last hour."""
        self._flush()
        return self.quality

    def _strike(self, cadence: int, ts: int, every_ns: int) -> int:
        """Number of the stroke that this evaluation is the first to come after, -1 if none is due."""
        if not every_ns:
            return -1
        stroke = ts // every_ns
        if stroke == self._struck[cadence]:
            return -1
        self._struck[cadence] = stroke
        return stroke

    def _keep(self, ts: int, sym: int, why: int, strikes: tuple[int, ...]) -> None:
        if sym not in self._rows:
            return
        if ts // HOUR != self._hour:
            self._flush()
            self._hour = ts // HOUR
        for place, bit in enumerate(_THINNED):
            if why & bit and strikes[place] % self._stride[bit]:
                why &= ~bit
                self.quality.thinned[WHY_NAMES[bit]] += 1
        if not why:
            return
        if self._n == len(self._kept):
            self._kept = np.concatenate((self._kept, np.zeros_like(self._kept)))
            self._strikes = np.concatenate((self._strikes, np.zeros_like(self._strikes)))
        if strikes:
            self._strikes[self._n] = strikes
        self._write(self._kept[self._n], ts, sym, why)
        self._n += 1
        while self._n > self._plan.budget > 0 and self._thin():
            pass

    def _write(self, row: np.void, ts: int, sym: int, why: int) -> None:
        symbol = self._core.symbols[sym]
        row["ts"], row["sym"], row["why"] = ts, sym, why
        row["generation"] = self._core.glob[0]["generation"]
        row["age_ns"] = ts - self._evaluated_ts if self._evaluated_ts else -1
        row["regime"] = symbol["regime"]
        row["member"] = 1 - min(int(symbol["outside"]), 1)
        values = row["values"]
        values[:] = symbol["features"]
        values[_HORIZON] = np.nan
        # As selection.py gives it to a thesis.
        instrument = symbol["instrument"]
        mid = 0.5 * float(symbol["bid"] + symbol["ask"])
        lots = float(symbol["position"]["qty"])
        values[_INVENTORY] = (
            lots * mid * float(instrument["price_float"]) * float(instrument["qty_float"])
        )

    def _thin(self) -> bool:
        """Keep every other stroke of the least class that there is; False where only fills are left."""
        kept, strikes = self._kept[: self._n], self._strikes[: self._n]
        for place, bit in enumerate(_THINNED):
            has = kept["why"] & bit != 0
            if not has.any():
                continue
            self._stride[bit] *= 2
            out = has & (strikes[:, place] % self._stride[bit] != 0)
            if self._stride[bit] > _STRIDE_MAX:
                out = has
            kept["why"][out] &= ~bit
            self.quality.thinned[WHY_NAMES[bit]] += int(out.sum())
            stays = kept["why"] != 0
            n = int(stays.sum())
            self._strikes[:n] = strikes[stays]
            self._kept[:n] = kept[stays]
            self._n = n
            return True
        return False

    def _flush(self) -> None:
        rows = self._kept[: self._n]
        found = self.quality
        if self._hour >= 0:
            found.hours += 1
            found.hours_thinned += any(stride > 1 for stride in self._stride.values())
        self._stride = dict.fromkeys(_THINNED, 1)
        self._n = 0
        if not len(rows):
            return
        found.n_rows += len(rows)
        for bit, name in WHY_NAMES.items():
            found.taken[name] += int((rows["why"] & bit != 0).sum())
        gone = np.isnan(rows["values"])
        gone[:, _HORIZON] = False
        found.missing += gone.sum(axis=0)
        found.incomplete += int(gone.any(axis=1).sum())
        outside = (rows["values"] < _LOWEST) | (rows["values"] > _HIGHEST)  # never of a NaN
        found.outside += outside.sum(axis=0)
        found.ts_first = found.ts_first or int(rows["ts"][0])
        found.ts_last = int(rows["ts"][-1])
        self._sink(rows)


Looker = Callable[[np.ndarray, np.ndarray, np.ndarray], None]

# Rings that look nearly half full, and how many of their rows are not there.
_ARMED: Final = {
    table: (index, int(HALF_FULL[index]) - 1)
    for table, index in (("evaluations", T_EVALUATIONS), ("fills", T_FILLS))
}


class Watching(Recorder):
    """A recorder that is let in after each evaluation and each fill, before the core goes on.

    look : shown the new rows of evaluations, decisions and fills; the arrays are the core's own
    The digest is that of any other recorder: it does not depend on when rings are drained.
    """

    def __init__(
        self,
        core: Core,
        look: Looker,
        make_sink: Callable[[str, np.dtype], Sink] | None = None,
        observe: Callable[[str, np.ndarray], None] | None = None,
    ) -> None:
        super().__init__(make_sink, observe)
        self._core, self._look = core, look
        self._arm()

    def _arm(self) -> None:
        counts = self._core.glob[0]["n_rows"]
        for index, pretended in _ARMED.values():
            counts[index] = pretended

    def due(self) -> bool:
        """Is there a row that was not looked at?"""
        counts = self._core.glob[0]["n_rows"]
        return any(int(counts[index]) > pretended for index, pretended in _ARMED.values())

    def drain(self, core: Core, link: np.ndarray | None = None) -> None:
        counts, rings = core.glob[0]["n_rows"], core.rings[0]
        fresh = {
            table: rings[table][pretended : int(counts[index])]
            for table, (index, pretended) in _ARMED.items()
        }
        decisions = rings["decisions"][: int(counts[T_DECISIONS])]
        self._look(fresh["evaluations"], decisions, fresh["fills"])
        for table, (index, _) in _ARMED.items():
            if len(fresh[table]):
                self.add(table, fresh[table])
            counts[index] = 0
        super().drain(core, link)
        self._arm()


def step_by_step(
    core: Core, recorder: Watching, batches: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """The events of a log, cut so that the core stops where something is to be looked at.

    A log carries its timers and the answers to orders as events: pieces end with them, and an
    evaluation that waits for a book message to close is waited for event by event.
    """
    for batch in batches:
        ends = np.flatnonzero(np.isin(batch["kind"], (TIMER, ORDER_FILL, ORDER_FEE))) + 1
        first = 0
        for end in (*ends.tolist(), len(batch)):
            while first < end:
                stop = first + 1 if core.glob[0]["evaluation_due"] else end
                yield batch[first:stop]
                first = stop
                if recorder.due():
                    recorder.drain(core)
