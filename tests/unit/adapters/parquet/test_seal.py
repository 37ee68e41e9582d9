"""A log becomes a capture of the same events, or nothing is given up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.kraken import session
from adapters.parquet import seal
from adapters.parquet.manifest import list_captures
from adapters.parquet.reader import open_capture, open_events
from adapters.parquet.seal import drop_log, facts_path, recover_part, seal_log
from engine.errors import MismatchError
from engine.events import (
    BOOK_LEVEL,
    BUY,
    GAP,
    GAP_CHECKSUM,
    GAP_SOURCE,
    HEALTH,
    HEALTH_CLOCK,
    HEALTH_RESUMED,
    LAST,
    MESSAGE_END,
    SNAPSHOT,
    empty,
)
from engine.flow.log import LogWriter, check_log
from engine.research.synthetic.config import default_instruments

TABLE = default_instruments()
T0 = 1_767_225_600_000_000_000
META = {"venue": "kraken", "lineage": "x", "part": 3, "channels": {"book": {"BTC/USD": 10}}}


def rows_of(n: int, *, open_end: bool = False) -> np.ndarray:
    rows = empty(n)
    rows["ts"] = T0 + np.arange(n)
    rows["seq"] = np.arange(n)
    rows["kind"], rows["sym"], rows["side"] = BOOK_LEVEL, 0, BUY
    rows["price"], rows["qty"] = 100 + np.arange(n) % 7, 1
    rows["flags"] = SNAPSHOT | LAST
    if open_end:
        rows["flags"][-1] = SNAPSHOT
    return rows


def write(log: Path, rows: np.ndarray, *, close: bool = True) -> LogWriter:
    writer = LogWriter(log, TABLE, log_id=log.name, meta=META, flush_rows=50)
    writer.append(rows)
    if close:
        writer.close()
    else:
        writer.flush()
        writer._lock.release()
    return writer


def test_the_same_events_under_the_same_digest(tmp_path) -> None:
    log = tmp_path / "part"
    rows = rows_of(200)
    write(log, rows)

    manifest = seal_log(log, tmp_path / "store")

    assert manifest.events_sha256 == open_events(log).manifest.events_sha256
    back = np.concatenate(list(open_capture(tmp_path / "store").batches()))
    assert back.tobytes() == rows.tobytes()
    assert manifest.account["lineage"] == "x"
    assert manifest.account["part"] == 3


def test_sealing_twice_is_sealing_once(tmp_path) -> None:
    log = tmp_path / "part"
    write(log, rows_of(20))

    assert seal_log(log, tmp_path / "store") == seal_log(log, tmp_path / "store")
    drop_log(log)
    assert not log.exists()
    assert len(list_captures(tmp_path / "store")) == 1


def test_another_log_of_the_same_name_is_refused(tmp_path) -> None:
    write(tmp_path / "a" / "part", rows_of(20))
    write(tmp_path / "b" / "part", rows_of(21))
    seal_log(tmp_path / "a" / "part", tmp_path / "store")

    with pytest.raises(MismatchError, match="another capture"):
        seal_log(tmp_path / "b" / "part", tmp_path / "store")


def test_remarks_and_health_go_into_the_manifest(tmp_path) -> None:
    log = tmp_path / "part"
    rows = rows_of(6)
    rows["kind"][2:5] = (GAP, HEALTH, HEALTH)
    rows[2]["id"], rows[2]["aux"] = GAP_CHECKSUM, T0
    rows[3]["id"], rows[3]["aux"] = HEALTH_CLOCK, -250_000
    rows[4]["id"], rows[4]["aux"] = HEALTH_RESUMED, T0 + 1
    rows[4]["price"], rows[4]["qty"] = session.CHANNELS.index("book"), GAP_CHECKSUM
    rows["flags"][2:5] = LAST
    write(log, rows)
    lines = [b'{"seq":2,"text":"it did not match"}', b'{"note":"hm","level":"warning","ts":1}']
    facts_path(log).write_bytes(b"\n".join([*lines, b'{"torn']))

    manifest = seal_log(log, tmp_path / "store")

    assert [each.note for each in manifest.gaps] == ["it did not match"]
    assert manifest.notes == ("hm",)
    assert manifest.account["counts"]["remarks that cannot be read"] == 1
    assert manifest.account["clock_offset_ns"]["median"] == -250_000
    assert manifest.account["outages"] == [
        {
            "symbol": "BTC/USD",
            "channel": "book",
            "ts_from": T0 + 1,
            "ts_to": T0 + 4,
            "cause": "checksum",
        }
    ]


def test_both_sides_mean_the_same_by_a_health_event() -> None:
    """The two adapters cannot import each other; this holds their codes together."""

    assert seal.HEALTH_CHANNELS == session.CHANNELS


@pytest.mark.parametrize("open_end", [False, True])
def test_a_log_whose_writer_died_ends_with_a_gap(tmp_path, open_end) -> None:
    log = tmp_path / "part"
    write(log, rows_of(120, open_end=open_end), close=False)

    found = recover_part(log)

    assert found is not None
    assert not found.closed_before
    assert check_log(log).closed
    rows = np.concatenate(list(open_events(log).batches()))
    ends = rows[120:]
    expected = [MESSAGE_END, GAP] if open_end else [GAP]
    assert ends["kind"].tolist() == expected
    assert ends["id"][-1] == GAP_SOURCE
    assert (found.seq_last, found.ts_last) == (int(rows["seq"][-1]), T0 + 119)
    (gap,) = seal_log(log, tmp_path / "store").gaps
    assert "ended without a word" in gap.note


def test_the_torn_end_of_a_log_is_named(tmp_path) -> None:
    log = tmp_path / "part"
    write(log, rows_of(120), close=False)
    (segment,) = log.glob("*.arrows")
    data = segment.read_bytes()
    segment.write_bytes(data[:-100])

    found = recover_part(log)

    assert found is not None
    assert "Torn end" in found.lost
    assert 0 < found.n_events < 120
    assert recover_part(log).closed_before  # a second start finds it whole
