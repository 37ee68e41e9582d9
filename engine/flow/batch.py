"""How do events become the bytes of one Arrow batch, before an order may leave?

Arrow takes 40 us to write a small batch, and 400 where a session has other things in the processor's
caches. Batches of a log differ in four texts, a few numbers that follow from how many rows there are,
and the rows: `form_of` has Arrow write some of them once, learns where those stand, and `fill` puts them
there. The bytes are Arrow's, or there is no form. Left out: what the texts say (segment.py).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from engine.events import EVENT, EVENT_SCHEMA_VERSION, arrow_schema, to_column
from engine.flow.merge import COLUMNS, words

DIGITS_MAX: Final = 4  # of the number of rows: larger batches are no hurry
_HOLES: Final = {"rows": "r", "seq": "s", "previous": "p", "chain": "c"}
_SIZES: Final = np.array([EVENT[name].itemsize for name in COLUMNS])
_WIDE: Final = 7  # fields of an event that are eight bytes and come first


def batch_bytes(rows: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """EVENT[n] as Arrow writes it: a record batch of a stream.

    texts : rows, seq, previous, chain, in this order; with the version they are its metadata
    """
    schema, sink = arrow_schema(), pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays([to_column(rows[name]) for name in COLUMNS], schema=schema)
    with pa.ipc.new_stream(sink, schema) as writer:
        start = len(schema.serialize())
        metadata = {"version": str(EVENT_SCHEMA_VERSION), **texts}
        writer.write_batch(batch, custom_metadata=metadata)
        end = sink.tell()
    data: bytes = sink.getvalue().slice(start, end - start).to_pybytes()
    return data


@functools.lru_cache(4096)
def _numbers(n: int) -> np.ndarray:
    """int64: what a batch of `n` rows may say of its size. The last is how long its body is."""
    sizes = n * _SIZES
    whole = -(-sizes // 8) * 8  # each column begins at a multiple of eight bytes
    ends = np.cumsum(whole)
    return np.concatenate(([n], sizes, whole, ends - whole, ends))


class Form(NamedTuple):
    """What is the same in all batches with as many digits in their texts, and where the rest goes."""

    head: bytes
    places: np.ndarray  # int64 words of the head ...
    numbers: np.ndarray  # ... and which of `_numbers` stands there
    texts: tuple[tuple[str, int], ...]  # name, first byte

    def fill(self, rows: np.ndarray, texts: Mapping[str, str]) -> bytes:
        """The bytes of EVENT[n]. texts : as long as the form was made for"""
        n, at = len(rows), len(self.head)
        numbers = _numbers(n)
        data = bytearray(at + int(numbers[-1]))
        data[:at] = self.head
        np.frombuffer(data, np.int64, at // 8)[self.places] = numbers[self.numbers]
        for name, first in self.texts:
            text = texts[name].encode()
            data[first : first + len(text)] = text
        wide = np.frombuffer(data, np.int64, _WIDE * n, at).reshape(_WIDE, n)
        wide[:] = words(rows).reshape(n, -1)[:, :_WIDE].T
        at += 8 * _WIDE * n
        for name in COLUMNS[_WIDE:]:
            kind = EVENT[name]
            np.frombuffer(data, kind, n, at)[:] = rows[name]
            at += -(-n * kind.itemsize // 8) * 8
        return bytes(data)


@functools.cache
def form_of(rows_digits: int, seq_digits: int) -> Form | None:
    """For batches whose number of rows and first seq have so many digits. None: Arrow writes them."""
    if rows_digits > DIGITS_MAX:
        return None
    digits = {"rows": rows_digits, "seq": seq_digits, "previous": 64, "chain": 64}
    blank = {name: letter * digits[name] for name, letter in _HOLES.items()}
    low, high = 10 ** (rows_digits - 1), 10**rows_digits - 1
    shown = sorted({low, low + 1, low + (high - low) // 3, (low + high) // 2, high})
    heads = []
    for n in shown:
        data = batch_bytes(np.zeros(n, EVENT), blank)
        heads.append(data[: len(data) - int(_numbers(n)[-1])])
    if len(set(map(len, heads))) > 1 or len(heads[0]) % 8:
        return None
    texts = []
    for name, text in blank.items():
        # As flatbuffers keep a text: its length, its bytes, a zero.
        kept = len(text).to_bytes(4, "little") + text.encode() + b"\0"
        if heads[0].count(kept) != 1:
            return None
        texts.append((name, heads[0].index(kept) + 4))
    said = np.array([np.frombuffer(each, np.int64) for each in heads])
    known = np.array([_numbers(n) for n in shown])
    places = np.flatnonzero((said != said[0]).any(axis=0))
    fits = (said[:, places, None] == known[:, None, :]).all(axis=0)
    if not fits.any(axis=1).all():
        return None
    form = Form(heads[0], places, fits.argmax(axis=1), tuple(texts))
    given = {"rows": "1" * rows_digits, "seq": "2" * seq_digits, "previous": "3" * 64}
    given |= {"chain": "4" * 64}
    for n in (min(low + 2, high), max(high - 1, low)):
        rows = np.frombuffer(bytes(range(1, 65)) * n, EVENT)
        if form.fill(rows, given) != batch_bytes(rows, given):
            return None
    return form
