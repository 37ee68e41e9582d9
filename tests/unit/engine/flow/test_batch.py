"""Batches that are put together without Arrow are Arrow's, byte for byte."""

import numpy as np
import pyarrow as pa
import pytest

from engine.events import EVENT, arrow_schema, of_column, to_column
from engine.flow.batch import DIGITS_MAX, batch_bytes, form_of

SIZES = (*range(1, 35), 99, 100, 101, 127, 128, 129, 999, 1000, 1001, 4097, 9998, 9999)


def some_rows(n: int) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(n).bytes(EVENT.itemsize * n), EVENT)


def texts_of(n: int, seq: str) -> dict[str, str]:
    return {"rows": str(n), "seq": seq, "previous": "0123456789abcdef" * 4, "chain": "f" * 64}


@pytest.mark.parametrize("seq", ["0", "16", "999999", "1234567890123"])
def test_a_filled_form_is_what_arrow_writes(seq: str) -> None:
    for n in SIZES:
        rows, texts = some_rows(n), texts_of(n, seq)
        form = form_of(len(texts["rows"]), len(seq))

        assert form is not None, n
        assert form.fill(rows, texts) == batch_bytes(rows, texts), n


def test_arrow_reads_the_rows_again_from_a_filled_form() -> None:
    rows, texts = some_rows(77), texts_of(77, "5")
    form = form_of(2, 1)
    assert form is not None

    stream = arrow_schema().serialize().to_pybytes() + form.fill(rows, texts)
    batch, told = pa.ipc.open_stream(stream).read_next_batch_with_custom_metadata()

    assert batch.num_rows == 77
    for name in EVENT.names or ():
        assert np.array_equal(of_column(batch.column(name), EVENT[name]), rows[name]), name
    assert {key.decode(): value.decode() for key, value in told.items()} == {
        "version": "1",
        **texts,
    }


def test_a_batch_that_is_no_hurry_has_no_form() -> None:
    assert form_of(DIGITS_MAX + 1, 1) is None


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.float64, np.bool_])
def test_a_column_of_numbers_is_the_column_that_arrow_makes(kind: type) -> None:
    for n in (0, 1, 7, 8, 9, 1000):
        values = np.random.default_rng(n).integers(0, 2, n).astype(kind)
        every_other = np.repeat(values, 2)[::2]  # not one piece of memory

        assert to_column(values).equals(pa.array(values))
        assert to_column(every_other).equals(pa.array(values))
        if kind is not np.bool_:
            assert np.array_equal(of_column(pa.array(values)[1:], np.dtype(kind)), values[1:])
