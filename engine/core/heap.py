"""Which candidates that were good enough still wait for their turn? A bounded set with a half-life.

At most one entry leaves per evaluation; what else would have traded waits here until it expires. An
entry is a route with the score it had and when. Scores fade by the family's half-life, the same route
is kept once with its newest economics, and where there is no room the lowest score goes. Ties go to
the smaller route key. Left out: when somebody looks and what is asked again then (drain.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.edge import decay
from engine.jit import kernel

HEAP_MAX: Final = 64
_NS_PER_S: Final = 1.0e9

WAITING: Final = np.dtype(
    [
        ("route", "<i8"),  # 0: free
        ("sym", "<i8"),
        ("score", "<f8"),  # bps, when it was evaluated
        ("scored_ts", "<i8"),
        ("born_ts", "<i8"),  # when the route came here first
        ("expires_ts", "<i8"),
        ("half_life_s", "<f8"),
        # what it was decided under: each must still hold when it is released
        ("generation", "<i8"),
        ("epoch", "<i8"),
        ("mode", "<i8"),
        ("universe", "<i8"),
    ]
)
HEAP: Final = np.dtype(
    [
        ("n", "<i8"),
        ("rows", WAITING, (HEAP_MAX,)),
        ("top_route", "<i8"),  # at the last look
        ("top_score", "<f8"),
        ("awake", "<i8"),  # 1: the top has changed since then
        ("n_since", "<i8"),  # released since the last evaluation
        ("n_asked", "<i8"),  # symbols evaluated again since then
        # counters of the run
        ("n_merged", "<i8"),
        ("n_woken", "<i8"),
        ("n_popped", "<i8"),
        ("n_released", "<i8"),
        ("n_refused", "<i8"),
        ("n_mismatched", "<i8"),
        ("n_expired", "<i8"),
        ("n_displaced", "<i8"),
        ("n_overflow", "<i8"),
        ("age_ns", "<i8"),  # sum over what was released
    ]
)


@kernel
def faded(row, now):
    """Score of a waiting candidate now, float64 bps: half of it is left after each half-life."""
    return row["score"] * decay(float(now - row["scored_ts"]) / _NS_PER_S, row["half_life_s"])


@kernel
def heap_find(heap, route):
    """Place of a route, -1 if it does not wait."""
    for k in range(HEAP_MAX):
        if heap["rows"][k]["route"] == route:
            return k
    return -1


@kernel
def heap_best(heap, now):
    """Place of the highest score now, -1 if nothing waits; ties to the smaller route key."""
    best = -1
    most = 0.0
    for k in range(HEAP_MAX):
        row = heap["rows"][k]
        if row["route"] == 0:
            continue
        score = faded(row, now)
        first = best < 0 or score > most
        if first or (score == most and row["route"] < heap["rows"][best]["route"]):
            best = k
            most = score
    return best


@kernel
def _heap_worst(heap, now):
    """Place of the lowest score now; ties to the larger route key. Something waits."""
    worst = -1
    least = 0.0
    for k in range(HEAP_MAX):
        row = heap["rows"][k]
        if row["route"] == 0:
            continue
        score = faded(row, now)
        first = worst < 0 or score < least
        if first or (score == least and row["route"] > heap["rows"][worst]["route"]):
            worst = k
            least = score
    return worst


@kernel
def heap_merge(heap, route, sym, score, half_life_s, now, expires_ts):
    """Let a route wait, or renew what waits; the place, -1 where it is not worth one.

    The newer evaluation replaces the older one; of two of the same moment the better score stays.
    score : float64, bps, > 0; half_life_s : float64, > 0
    """
    at = heap_find(heap, route)
    if at >= 0:
        row = heap["rows"][at]
        if row["scored_ts"] == now and row["score"] >= score:
            return at
    else:
        at = heap_find(heap, 0)
        if at < 0:
            at = _heap_worst(heap, now)
            heap["n_displaced"] += 1
            if faded(heap["rows"][at], now) >= score:
                return -1
        else:
            heap["n"] += 1
        heap["rows"][at]["born_ts"] = now
    row = heap["rows"][at]
    row["route"] = route
    row["sym"] = sym
    row["score"] = score
    row["scored_ts"] = now
    row["half_life_s"] = half_life_s
    row["expires_ts"] = expires_ts
    heap["n_merged"] += 1
    return at


@kernel
def heap_drop(heap, k):
    """Free the place k."""
    heap["rows"][k]["route"] = 0
    heap["n"] -= 1


@kernel
def heap_expire(heap, now):
    """Free what has waited too long."""
    for k in range(HEAP_MAX):
        row = heap["rows"][k]
        if row["route"] != 0 and now >= row["expires_ts"]:
            heap_drop(heap, k)
            heap["n_expired"] += 1


@kernel
def heap_wake(heap, now, step):
    """Has the top changed by more than `step` bps since the last look? Then it is awake.

    Another route at the top counts as a change where its score exceeds the step.
    """
    best = heap_best(heap, now)
    if best < 0:
        heap["awake"] = 0
        heap["top_route"] = 0
        heap["top_score"] = 0.0
        return
    row = heap["rows"][best]
    score = faded(row, now)
    change = score - heap["top_score"]
    if row["route"] != heap["top_route"]:
        change = score
    if heap["awake"] == 0 and (change > step or change < -step):
        heap["awake"] = 1
        heap["n_woken"] += 1
    heap["top_route"] = row["route"]
    heap["top_score"] = score
