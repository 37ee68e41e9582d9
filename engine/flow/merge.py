"""How do several ordered streams of events become one? The k-way merge, and columns to rows.

The order is (ts, seq, position of the source). Inside one capture that is the order of seq, since
ts never falls there; between captures it is time. Left out: where the streams come from, reading
ahead, and feed latency.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from engine.events import EVENT, LAST
from engine.jit import kernel

# Rows that all sources together may hold in memory while they are merged: 64 MB.
_STAGED_ROWS: Final = 1 << 20
_STAGE_MIN: Final = 1024
_STAGE_MAX: Final = 16_384  # 1 MB a source: the merge then reads from the cache
_BUFFERS_MAX: Final = 8  # batches that are on their way at the same time
NEVER: Final = 0x7FFFFFFFFFFFFFFF  # later than every stamp
_WORDS: Final = EVENT.itemsize // 8
# Where ts and seq stand in a row of words; flags are the upper half of the last word.
_TS: Final = 0
_SEQ: Final = 2
_FLAGS: Final = 7
assert [EVENT.fields[name][1] for name in ("ts", "seq", "flags")] == [0, 16, 60]  # type: ignore
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

    Rows are seen as eight words: copying words is more than twice as fast as copying records.

    stage : int64[k, m, 8]; source i holds stage[i, head[i]:tail[i]], ordered by (ts, seq)
    head, tail : int64[k]; `head` is moved
    key : int64[k, 2], (ts, seq) of the row at the head, (NEVER, NEVER) for a source that is
        finished; beside the stage, since a scan over it touches one line of memory, not k
    i_open : int64, the source in the middle of a message, -1 if none (whole_messages only)
    whole_messages : bool, never leave a source between the rows of one message
    out : int64[n, 8]; rows before n_out are kept
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
        if bound > best:
            bound_seq += 1  # of equals the source that was named first goes first
        at = head[best]
        end = min(tail[best], at + n_max - n_out)
        first = at
        if whole_messages:
            while at < end:
                row = stage[best, at]
                if not forced and i_open != best:
                    if not _earlier(row[_TS], row[_SEQ], bound_ts, bound_seq):
                        break
                i_open = -1 if (row[_FLAGS] >> 32) & LAST else best
                at += 1
                if forced and i_open < 0:
                    break
        else:
            while at < end and _earlier(
                stage[best, at, _TS], stage[best, at, _SEQ], bound_ts, bound_seq
            ):
                at += 1
        for j in range(first, at):
            for word in range(_WORDS):
                out[n_out, word] = stage[best, j, word]
            n_out += 1
        head[best] = at
        if at == tail[best]:
            key[best, 0] = NEVER
            key[best, 1] = NEVER
            return n_out, i_open, best
        key[best, 0] = stage[best, at, _TS]
        key[best, 1] = stage[best, at, _SEQ]
    return n_out, i_open, -1


class Source(Protocol):
    """A stream that writes its next rows where it is told to: no copy in between."""

    def fill(self, out: np.ndarray) -> int:
        """Write at most len(out) rows, ordered by (ts, seq), to out[:n]; returns n, 0 at the end."""


class ArraySource:
    """A stream of EVENT arrays of any length as a Source."""

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self._arrays = iter(arrays)
        self._rest: np.ndarray = np.empty(0, EVENT)

    def fill(self, out: np.ndarray) -> int:
        while len(self._rest) == 0:
            rest = next(self._arrays, None)
            if rest is None:
                return 0
            self._rest = rest
        n = min(len(out), len(self._rest))
        words(out)[: n * _WORDS] = words(self._rest[:n])
        self._rest = self._rest[n:]
        return n


def merge(
    sources: Sequence[Source | Iterable[np.ndarray]],
    rows: int = 65_536,
    *,
    whole_messages: bool = False,
    renumber: bool = False,
) -> Generator[np.ndarray, None, None]:
    """Merge streams into one, in EVENT batches of at most `rows`.

    sources : each a Source, or an iterable of EVENT arrays of any length, ordered by (ts, seq)
    whole_messages : keep the rows of a message together; needed where the sources are
        different captures, whose messages may carry the same ts
    renumber : give seq 0, 1, 2, ... to the result; needed where sources count for themselves

    Memory: at most 64 MB of staged rows whatever the number of sources, and `rows`.
    A batch is the caller's for as long as it, or a view of it, is referred to; its memory is used
    again after that. Raises what a source raises.
    """
    if rows < 1:
        raise ValueError(f"a batch needs at least one row, not {rows}.")
    fills = [(each if hasattr(each, "fill") else ArraySource(each)).fill for each in sources]
    stream = _alone(fills[0], rows) if len(fills) == 1 else _merged(fills, rows, whole_messages)
    seq_next = 0
    for batch in stream:
        if renumber:
            batch["seq"] = np.arange(seq_next, seq_next + len(batch))
            seq_next += len(batch)
        yield batch
        del batch  # else we would hold it while the next is made


class _Buffers:
    """Arrays for batches, used again once nobody holds them or a part of them.

    Fresh memory costs its pages: 7 ns a row, as much as the merge itself. A view of an array
    counts as a reference to it, so a batch that someone kept is never written over.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._buffers: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        for buffer in self._buffers:
            # Held by the list, by this name, and by the call itself.
            if sys.getrefcount(buffer) == 3:
                return buffer
        buffer = np.empty(self._rows, EVENT)
        if len(self._buffers) < _BUFFERS_MAX:
            self._buffers.append(buffer)
        return buffer


def _alone(fill: Callable[[np.ndarray], int], rows: int) -> Iterator[np.ndarray]:
    buffers = _Buffers(rows)
    while True:
        out = buffers.take()
        n = fill(out)
        if n == 0:
            return
        batch = out[:n]
        del out
        yield batch
        del batch


def _merged(
    fills: Sequence[Callable[[np.ndarray], int]], rows: int, whole_messages: bool
) -> Iterator[np.ndarray]:
    k = len(fills)
    capacity = max(_STAGE_MIN, min(_STAGE_MAX, _STAGED_ROWS // max(k, 1)))
    stage = np.empty((k, capacity), EVENT)
    stage_words = stage.view(np.int64).reshape(k, capacity, _WORDS)
    head, tail = np.zeros(k, np.int64), np.zeros(k, np.int64)
    key = np.full((k, 2), NEVER, np.int64)

    def refill(i: int) -> None:
        n = fills[i](stage[i])
        head[i], tail[i] = 0, n
        if n:
            key[i] = stage[i, 0]["ts"], stage[i, 0]["seq"]

    for i in range(k):
        refill(i)
    buffers = _Buffers(rows)
    i_open, n_out = -1, rows
    while k and n_out == rows:
        out, n_out, i_dry = buffers.take(), 0, 0
        out_words = words(out).reshape(rows, _WORDS)
        while True:
            n_out, i_open, i_dry = merge_rows(
                stage_words, head, tail, key, i_open, whole_messages, out_words, n_out
            )
            if i_dry < 0:
                break
            refill(i_dry)
        batch = out[:n_out]
        del out, out_words
        if n_out:
            yield batch
        del batch
