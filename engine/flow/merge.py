"""How do several ordered streams of events become one? The k-way merge, and columns to rows.

The order is (ts, seq, position of the source). Inside one capture that is the order of seq, since
ts never falls there; between captures it is time. Left out: where the streams come from, reading
ahead, and feed latency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from engine.events import EVENT, LAST
from engine.jit import kernel

# Rows that all sources together may hold in memory while they are merged: 64 MB.
_STAGED_ROWS: Final = 1 << 20
_STAGE_MIN: Final = 1024
_STAGE_MAX: Final = 65_536
NEVER: Final = 0x7FFFFFFFFFFFFFFF  # later than every stamp
_WORDS: Final = EVENT.itemsize // 8


COLUMNS: Final[tuple[str, ...]] = tuple(EVENT.names or ())  # in the order of columns_to_rows


def words(rows: np.ndarray) -> np.ndarray:
    """The memory of EVENT[n] as int64[8 n]: a view where rows are contiguous, else a copy."""
    return np.ascontiguousarray(rows).view(np.int64)


@kernel
def columns_to_rows(
    out, ts, ts_venue, seq, price, qty, id_, aux, sym, kind, side, flags, ts_last, seq_last
):
    """Write columns as event rows and see that they are in order, in one pass.

    out : EVENT[n]; the columns : arrays [n] of the types in EVENT
    ts_last, seq_last : int64, of the row before
    returns int64: n, or the first row whose ts falls or whose seq does not rise
    """
    n = len(ts)
    for i in range(n):
        if ts[i] < ts_last or seq[i] <= seq_last:
            return i
        ts_last = ts[i]
        seq_last = seq[i]
        row = out[i]
        row["ts"] = ts_last
        row["ts_venue"] = ts_venue[i]
        row["seq"] = seq_last
        row["price"] = price[i]
        row["qty"] = qty[i]
        row["id"] = id_[i]
        row["aux"] = aux[i]
        row["sym"] = sym[i]
        row["kind"] = kind[i]
        row["side"] = side[i]
        row["flags"] = flags[i]
    return n


@kernel
def _earlier(ts, seq, other_ts, other_seq):
    """Does (ts, seq) stand before the other pair?"""
    return ts < other_ts or (ts == other_ts and seq < other_seq)


@kernel
def merge_rows(stage, head, tail, key, i_open, whole_messages, out, n_out):
    """Copy the earliest rows of all sources to `out` until it is full or a source runs dry.

    stage : EVENT[k, m]; source i holds stage[i, head[i]:tail[i]], ordered by (ts, seq)
    head, tail : int64[k]; `head` is moved
    key : int64[k, 2], (ts, seq) of the row at the head, (NEVER, NEVER) for a source that is
        finished; beside the stage, since a scan over it touches one line of memory, not k
    i_open : int64, the source in the middle of a message, -1 if none (whole_messages only)
    whole_messages : bool, never leave a source between the rows of one message
    out : EVENT[]; rows before n_out are kept
    returns n_out, i_open, i_dry : int64; i_dry is -1 when `out` is full or all is merged
    """
    k = len(head)
    n_max = len(out)
    while n_out < n_max:
        best = 0
        best_ts = key[0, 0]
        best_seq = key[0, 1]
        bound = -1  # the source that comes next and so ends the run of the best
        bound_ts = NEVER
        bound_seq = NEVER
        for i in range(1, k):
            ts = key[i, 0]
            if ts > bound_ts:
                continue
            seq = key[i, 1]
            if _earlier(ts, seq, best_ts, best_seq):
                bound, bound_ts, bound_seq = best, best_ts, best_seq
                best, best_ts, best_seq = i, ts, seq
            elif _earlier(ts, seq, bound_ts, bound_seq):
                bound, bound_ts, bound_seq = i, ts, seq
        forced = i_open >= 0 and head[i_open] < tail[i_open]
        if forced:
            best = i_open
        elif best_ts == NEVER:
            break
        at = head[best]
        end = min(tail[best], at + n_max - n_out)
        while at < end:
            row = stage[best, at]
            if not forced and i_open != best:
                if _earlier(bound_ts, bound_seq, row["ts"], row["seq"]):
                    break
                # Of equals the source that was named first goes first.
                if bound < best and row["ts"] == bound_ts and row["seq"] == bound_seq:
                    break
            out[n_out] = row
            n_out += 1
            at += 1
            if whole_messages:
                i_open = -1 if np.int64(row["flags"]) & LAST else best
                if forced and i_open < 0:
                    break
        head[best] = at
        if at == tail[best]:
            key[best, 0] = NEVER
            key[best, 1] = NEVER
            return n_out, i_open, best
        row = stage[best, at]
        key[best, 0] = row["ts"]
        key[best, 1] = row["seq"]
    return n_out, i_open, -1


def merge(
    sources: Sequence[Iterable[np.ndarray]],
    rows: int = 65_536,
    *,
    whole_messages: bool = False,
    renumber: bool = False,
) -> Iterator[np.ndarray]:
    """Merge streams of EVENT arrays into one, in batches of `rows` (the last may be shorter).

    sources : each an iterable of EVENT arrays of any length, ordered by (ts, seq)
    whole_messages : keep the rows of a message together; needed where the sources are
        different captures, whose messages may carry the same ts
    renumber : give seq 0, 1, 2, ... to the result; needed where sources count for themselves

    Memory: at most about 64 MB of staged rows whatever the number of sources, and `rows`.
    Every batch is a fresh array. Raises what a source raises.
    """
    if rows < 1:
        raise ValueError(f"a batch needs at least one row, not {rows}.")
    if len(sources) == 1 and not renumber:
        yield from _rebatch(iter(sources[0]), rows)
        return
    k = len(sources)
    if k == 0:
        return
    iterators = [iter(source) for source in sources]
    rest: list[np.ndarray] = [np.empty(0, EVENT)] * k
    capacity = max(_STAGE_MIN, min(_STAGE_MAX, _STAGED_ROWS // k))
    stage = np.empty((k, capacity), EVENT)
    stage_words = stage.view(np.int64)
    head, tail = np.zeros(k, np.int64), np.zeros(k, np.int64)
    key = np.full((k, 2), NEVER, np.int64)

    def refill(i: int) -> None:
        while len(rest[i]) == 0:
            chunk = next(iterators[i], None)
            if chunk is None:
                return
            rest[i] = chunk
        n = min(capacity, len(rest[i]))
        # As words: numpy copies structured rows field by field, 25 times slower.
        stage_words[i, : n * _WORDS] = words(rest[i][:n])
        rest[i] = rest[i][n:]
        head[i], tail[i] = 0, n
        key[i] = stage[i, 0]["ts"], stage[i, 0]["seq"]

    for i in range(k):
        refill(i)
    i_open, seq_next = -1, 0
    out, n_out = np.empty(rows, EVENT), 0
    while True:
        n_out, i_open, i_dry = merge_rows(
            stage, head, tail, key, i_open, whole_messages, out, n_out
        )
        if i_dry >= 0:
            refill(i_dry)
            continue
        if n_out == 0:
            return
        batch = out[:n_out]
        if renumber:
            batch["seq"] = np.arange(seq_next, seq_next + n_out)
            seq_next += n_out
        yield batch
        if n_out < rows:
            return
        out, n_out = np.empty(rows, EVENT), 0


def _rebatch(source: Iterator[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Cut or keep the arrays of one source so that none is longer than `rows`."""
    for chunk in source:
        for start in range(0, len(chunk), rows):
            yield chunk[start : start + rows]
