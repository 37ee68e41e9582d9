"""The event log keeps what it is given, in order, and says whose it is."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine import events as ev
from engine.errors import DataError, RefusedError, StorageError
from engine.events import EVENT
from engine.flow.log import LogReader, LogWriter, check_log, is_log, recover_log
from engine.instruments import Instrument, InstrumentTable

TABLE = InstrumentTable(
    [
        Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8),
        Instrument("ETH/USD", Decimal("0.01"), Decimal("0.00000001"), 2, 8),
    ]
)


def trades(n: int, seq: int = 0, ts: int = 1000) -> np.ndarray:
    rows = np.zeros(n, EVENT)
    rows["kind"], rows["flags"] = ev.TRADE, ev.LAST
    rows["seq"] = np.arange(seq, seq + n)
    rows["ts"] = ts + np.arange(n)
    rows["price"], rows["qty"] = 5 + np.arange(n), 1
    return rows


def read(path: Path) -> np.ndarray:
    batches = list(LogReader(path))
    return np.concatenate(batches) if batches else np.empty(0, EVENT)


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log", TABLE, log_id="a", flush_rows=7) as log:
        log.append(trades(10))
        log.append(trades(0))
        log.append(trades(25, seq=10, ts=2000))

    assert (
        np.concatenate([trades(10), trades(25, 10, 2000)]).tobytes()
        == read(tmp_path / "log").tobytes()
    )


def test_the_header_names_log_config_instruments_and_more(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a", config_hash="c0ffee", meta={"depth": 10}):
        pass

    header = LogReader(tmp_path).header
    assert (header.log_id, header.config_hash, header.meta) == ("a", "c0ffee", {"depth": 10})
    assert header.instruments.to_json() == TABLE.to_json()
    assert is_log(tmp_path)
    assert not is_log(tmp_path / "elsewhere")


def test_any_arrow_program_can_read_a_segment(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a") as log:
        log.append(trades(3))

    table = pa.ipc.open_stream(tmp_path / "00000001.arrows").read_all()
    assert table.schema.equals(ev.arrow_schema())
    assert table["price"].to_pylist() == [5, 6, 7]


def test_segments_rotate_by_size_and_chain_on(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a", flush_rows=10, segment_bytes=3000) as log:
        for i in range(10):
            log.append(trades(10, seq=10 * i, ts=1000 * (i + 1)))

    report = check_log(tmp_path)
    assert report.ok
    assert report.segment_last > 2
    assert (report.n_events, report.seq_first, report.seq_last) == (100, 0, 99)
    assert (report.ts_first, report.ts_last) == (1000, 10_009)
    assert report.closed
    assert log.chain == report.chain
    assert len(read(tmp_path)) == 100


def test_the_chain_does_not_depend_on_where_it_is_written_or_how_it_is_appended(
    tmp_path: Path,
) -> None:
    chains = []
    for name, step in (("one", 1), ("many", 20)):
        with LogWriter(tmp_path / name, TABLE, log_id="a", flush_rows=10) as log:
            for i in range(0, 20, step):
                log.append(trades(20)[i : i + step])
        chains.append(check_log(tmp_path / name).chain)

    assert chains[0] == chains[1]


def test_an_empty_log_is_a_log(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a"):
        pass

    report = check_log(tmp_path)
    assert (report.ok, report.n_events, report.closed) == (True, 0, True)
    assert len(read(tmp_path)) == 0
    assert recover_log(tmp_path).cut == ()


def test_events_are_numbered_if_asked_and_the_caller_sees_the_numbers(tmp_path: Path) -> None:
    rows = trades(3, seq=77)
    with LogWriter(tmp_path, TABLE, log_id="a", assign_seq=True, seq_first=5) as log:
        assert log.append(rows) == 5
        assert log.append(trades(2, seq=0, ts=3000)) == 8

    assert rows["seq"].tolist() == [5, 6, 7]
    assert read(tmp_path)["seq"].tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ts", 999, "ts 999 .* is before the event that precedes it"),
        ("seq", 0, "seq 0 .* does not come after"),
        ("kind", 99, "kind 99 .* is not a kind"),
        ("flags", 1 << 20, "flags 1048576 .* no flag owns"),
        ("sym", 2, "sym 2 .* instrument table"),
        ("qty", -1, "qty -1 .* is not a quantity"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_nothing_of_its_batch_is_kept(
    tmp_path: Path, field: str, value: int, words: str
) -> None:
    bad = trades(3, seq=2, ts=2000)
    bad[field][1] = value
    with LogWriter(tmp_path, TABLE, log_id="a") as log:
        log.append(trades(2))
        with pytest.raises(DataError, match=f"row 1 of 3: {words}"):
            log.append(bad)
        log.append(trades(1, seq=2, ts=2000))

    assert read(tmp_path)["seq"].tolist() == [0, 1, 2]


def test_a_refused_batch_leaves_the_callers_numbers_alone(tmp_path: Path) -> None:
    bad = trades(2, seq=40)
    bad["qty"][1] = -1
    with LogWriter(tmp_path, TABLE, log_id="a", assign_seq=True) as log:
        with pytest.raises(DataError):
            log.append(bad)
        assert log.append(trades(1)) == 0

    assert bad["seq"].tolist() == [40, 41]


def test_rows_of_another_type_are_refused(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a") as log, pytest.raises(DataError, match="EVENT"):
        log.append(np.zeros(3, np.int64))


def test_old_events_go_to_the_file_by_event_time(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a", flush_age_ns=500) as log:
        log.append(trades(1, ts=1000))
        assert check_log(tmp_path).n_events == 0
        log.append(trades(1, seq=1, ts=1500))
        assert check_log(tmp_path).n_events == 2


def test_a_synced_event_can_be_read_while_the_log_is_open(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a") as log:
        log.append(trades(3))
        assert log.seq_synced == -1
        log.sync()
        assert log.seq_synced == 2
        report = check_log(tmp_path)
        assert (report.n_events, report.closed, report.ok) == (3, False, True)


def test_a_log_is_not_overwritten(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a"):
        pass
    with pytest.raises(RefusedError, match="already holds"):
        LogWriter(tmp_path, TABLE, log_id="a")


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        LogWriter(tmp_path, TABLE, log_id="a"),
        pytest.raises(RefusedError, match="another process"),
    ):
        LogWriter(tmp_path, TABLE, log_id="a", resume=True)


def test_a_resumed_log_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a") as log:
        log.append(trades(3))
    with LogWriter(tmp_path, TABLE, log_id="a", assign_seq=True, resume=True) as log:
        with pytest.raises(DataError, match="ts 999 "):
            log.append(trades(1, ts=999))
        assert log.append(trades(2, ts=1002)) == 3

    assert check_log(tmp_path).ok
    assert read(tmp_path)["seq"].tolist() == [0, 1, 2, 3, 4]


def test_resuming_another_log_is_refused(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a"):
        pass
    with pytest.raises(RefusedError, match="is log 'a', not 'b'"):
        LogWriter(tmp_path, TABLE, log_id="b", resume=True)
    one = InstrumentTable([TABLE[0]])
    with pytest.raises(RefusedError, match="another instrument table"):
        LogWriter(tmp_path, one, log_id="a", resume=True)


def test_a_closed_writer_takes_nothing(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, TABLE, log_id="a")
    log.close()
    log.close()

    with pytest.raises(StorageError, match="is closed"):
        log.append(trades(1))


def test_what_was_appended_before_an_exception_is_kept(tmp_path: Path) -> None:
    def fail() -> None:
        with LogWriter(tmp_path, TABLE, log_id="a") as log:
            log.append(trades(3))
            raise KeyError("elsewhere")

    with pytest.raises(KeyError):
        fail()

    assert len(read(tmp_path)) == 3


def test_a_folder_without_segments_is_refused(tmp_path: Path) -> None:
    for function in (LogReader, check_log, recover_log):
        with pytest.raises(DataError, match="is not an event log"):
            function(tmp_path)


def test_another_schema_version_is_refused_by_name(tmp_path: Path) -> None:
    with LogWriter(tmp_path, TABLE, log_id="a") as log:
        log.append(trades(3))
    segment = tmp_path / "00000001.arrows"
    table = pa.ipc.open_stream(segment).read_all()
    metadata = {**table.schema.metadata, b"kapitaalbot.event": b"2"}
    newer = table.replace_schema_metadata(metadata)
    with pa.ipc.new_stream(segment, newer.schema) as writer:
        writer.write_table(newer)

    with pytest.raises(DataError, match=r"schema version 2; this program reads version 1"):
        LogReader(tmp_path)
    report = check_log(tmp_path)
    assert report.damage is not None
    assert report.damage.kind == "version"
    with pytest.raises(DataError, match="version 2"):
        recover_log(tmp_path)
