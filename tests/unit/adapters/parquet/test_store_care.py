"""Parts become one capture, old ones leave: proven, recorded, and never by half."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adapters.parquet import compact as compacting
from adapters.parquet.check import check_store
from adapters.parquet.compact import compact, plan
from adapters.parquet.deletions import RECORD, finish, read_deletions
from adapters.parquet.manifest import list_captures
from adapters.parquet.reader import open_capture
from adapters.parquet.retention import Policy, apply_retention, plan_retention
from adapters.parquet.seal import seal_log
from adapters.parquet.store import Store
from engine.errors import ConfigError, MismatchError
from engine.events import (
    BALANCE,
    BOOK_LEVEL,
    BUY,
    CHECKSUM,
    DERIVED,
    LAST,
    SELL,
    SNAPSHOT,
    TRADE,
    empty,
)
from engine.flow.log import LogWriter
from engine.research.synthetic.config import default_instruments

TABLE = default_instruments()
DAY = 86_400_000_000_000
NOON = 20_454 * DAY + DAY // 2  # 2026-01-01T12:00
SECOND = 1_000_000_000


def book(ts: int, seq: int, derived: int = 0) -> np.ndarray:
    rows = empty(2)
    rows["ts"], rows["seq"] = ts, (seq, seq + 1)
    rows["kind"], rows["sym"], rows["side"] = BOOK_LEVEL, 0, (BUY, SELL)
    rows["price"], rows["qty"] = (100, 101), 5
    rows["flags"] = (SNAPSHOT | derived, SNAPSHOT | derived | LAST)
    return rows


def trade(ts: int, seq: int) -> np.ndarray:
    row = empty(1)
    row["ts"], row["seq"], row["kind"], row["sym"], row["side"] = ts, seq, TRADE, 0, BUY
    row["price"], row["qty"], row["id"], row["flags"] = 101, 2, seq + 1, LAST
    return row


def sealed(folder: Path, name: str, rows: list[np.ndarray], lineage="one", table=TABLE) -> None:
    """A part, as a capture writes and seals it."""
    log = folder / "logs" / name
    meta = {
        "venue": "kraken",
        "lineage": lineage,
        "channels": {"book": {"BTC/USD": 10}, "trade": {"BTC/USD": 0}},
    }
    first = int(rows[0]["seq"][0])
    with LogWriter(log, table, log_id=name, meta=meta, seq_first=first) as writer:
        for each in rows:
            writer.append(each)
    seal_log(log, folder / "store")


@pytest.fixture
def store(tmp_path) -> Path:
    """Three parts of one recording, two of them on one day, and one of another."""
    sealed(tmp_path, "a-1", [book(NOON, 0), trade(NOON + 1, 2)])
    sealed(tmp_path, "a-2", [book(NOON + SECOND, 3, DERIVED), trade(NOON + 2 * SECOND, 5)])
    sealed(tmp_path, "a-3", [book(NOON + DAY, 6, DERIVED), trade(NOON + DAY + 1, 8)])
    sealed(tmp_path, "b-1", [book(NOON, 0)], lineage="two")
    return tmp_path / "store"


def everything(store: Path, name: str) -> np.ndarray:
    return np.concatenate(list(open_capture(store, name).batches()))


def test_parts_of_a_day_are_planned_together(store) -> None:
    assert [(each.capture_id, [p.capture_id for p in each.parts]) for each in plan(store)] == [
        ("one-2026-01-01", ["a-1", "a-2"])
    ]
    assert [len(each.parts) for each in plan(store, "lineage")] == [3]


def test_a_joint_gives_the_events_of_its_parts_back_without_the_opening_books(store) -> None:
    parts = [everything(store, name) for name in ("a-1", "a-2")]
    expected = np.concatenate([parts[0], parts[1][parts[1]["flags"] & DERIVED == 0]])
    (joint,) = plan(store)

    made = compact(store, joint, now=NOON + 9 * DAY)

    assert everything(store, made.capture_id).tobytes() == expected.tobytes()
    assert made.events_sha256 == hashlib.sha256(expected.tobytes()).hexdigest()
    assert [each.capture_id for each in list_captures(store)] == ["a-3", "b-1", "one-2026-01-01"]
    assert [each["capture"] for each in made.account["made_of"]] == ["a-1", "a-2"]
    report = check_store(store)
    assert report.ok, report.text()
    assert report.notes == ()  # no file is left that no manifest names
    gone = read_deletions(Store(store))
    assert [(each["capture"], each["replaced_by"]) for each in gone] == [
        ("a-1", "one-2026-01-01"),
        ("a-2", "one-2026-01-01"),
    ]
    assert plan(store) == []


def test_parts_that_do_not_follow_each_other_stay_apart(tmp_path) -> None:
    sealed(tmp_path, "a-1", [book(NOON, 0)])
    sealed(tmp_path, "a-2", [book(NOON + SECOND, 7)])  # five numbers are missing

    assert plan(tmp_path / "store") == []


def test_parts_whose_steps_differ_stay_apart(tmp_path) -> None:
    from dataclasses import replace
    from decimal import Decimal

    from engine.instruments import InstrumentTable

    coarser = replace(TABLE[0], price_increment=Decimal("0.5"))
    other = InstrumentTable([coarser, *list(TABLE)[1:]])
    sealed(tmp_path, "a-1", [book(NOON, 0)])
    sealed(tmp_path, "a-2", [book(NOON + SECOND, 2)], table=other)

    assert plan(tmp_path / "store") == []


def test_a_joint_that_does_not_come_back_whole_deletes_nothing(store, monkeypatch) -> None:
    (joint,) = plan(store)
    real = compacting.open_capture

    class Changed:
        """As if the disk had changed a byte between writing and reading."""

        def __init__(self, capture) -> None:
            self._capture = capture

        def batches(self):
            for rows in self._capture.batches():
                rows["qty"][0] += 1
                yield rows

    def read(url, capture_id, verify=False):
        capture = real(url, capture_id, verify=verify)
        return Changed(capture) if capture_id == joint.capture_id else capture

    monkeypatch.setattr(compacting, "open_capture", read)
    with pytest.raises(MismatchError, match="parts are kept"):
        compact(store, joint, now=NOON)

    monkeypatch.undo()
    assert {"a-1", "a-2"} <= {each.capture_id for each in list_captures(store)}
    assert read_deletions(Store(store)) == []


def test_what_is_too_old_goes_and_is_recorded(store) -> None:
    policy = Policy(older_ns=DAY)
    now = NOON + 2 * DAY

    shown = {each.manifest.capture_id: each.goes for each in plan_retention(store, policy, now)}
    still_there = len(list_captures(store))
    apply_retention(store, policy, now)

    assert shown == {"a-1": True, "a-2": True, "b-1": True, "a-3": False}
    assert still_there == 4  # showing deletes nothing
    assert [each.capture_id for each in list_captures(store)] == ["a-3"]
    assert {each["capture"] for each in read_deletions(Store(store))} == {"a-1", "a-2", "b-1"}
    assert check_store(store).notes == ()


def test_the_oldest_go_until_the_store_is_small_enough(store) -> None:
    sizes = {
        each.capture_id: sum(file.bytes for file in each.files) for each in list_captures(store)
    }
    limit = sum(sizes.values()) - sizes["b-1"] - 1
    chosen = plan_retention(store, Policy(bytes_max=limit), NOON)

    # b-1 ended first, but its bytes alone are one too few: a-1 goes as well.
    assert [each.manifest.capture_id for each in chosen if each.goes] == ["b-1", "a-1"]


def test_one_channel_goes_and_the_rest_is_whole(store) -> None:
    before = everything(store, "a-1")

    apply_retention(store, Policy(older_ns=1, channel="book", keep=("a-2", "a-3", "b")), NOON + DAY)

    made = everything(store, "a-1-no-book")
    assert made.tobytes() == before[before["kind"] == TRADE].tobytes()
    assert check_store(store).ok
    assert "a-1" not in [each.capture_id for each in list_captures(store)]


def test_what_is_named_stays(store) -> None:
    chosen = plan_retention(store, Policy(older_ns=1, keep=("a",)), NOON + 9 * DAY)

    assert [each.manifest.capture_id for each in chosen if each.goes] == ["b-1"]


def test_orders_and_fills_are_never_chosen(tmp_path) -> None:
    row = empty(1)
    row["ts"], row["kind"], row["qty"], row["flags"] = NOON, BALANCE, 5, LAST
    sealed(tmp_path, "mine", [row])

    (choice,) = plan_retention(tmp_path / "store", Policy(older_ns=1), NOON + 900 * DAY)

    assert not choice.goes
    assert "never deleted" in choice.why


def test_a_policy_without_age_or_size_is_refused(store) -> None:
    with pytest.raises(ConfigError, match="age or a size"):
        plan_retention(store, Policy(), NOON)


def test_a_deletion_that_was_cut_short_is_finished(store) -> None:
    """Recorded and unseen, but its files still there: what a crash leaves."""
    place = Store(store)
    (victim,) = [each for each in list_captures(store) if each.capture_id == "b-1"]
    record = {"capture": "b-1", "files": [each.path for each in victim.files]}
    place.write(RECORD, msgspec.json.encode(record) + b"\n")
    place.remove("_manifests/b-1.json")

    assert finish(place) == len(victim.files) > 0
    assert check_store(store).notes == ()
    assert finish(place) == 0


def test_a_checksum_verdict_survives_a_joint(tmp_path) -> None:
    rows = book(NOON, 0)
    rows["aux"][-1], rows["flags"][-1] = 77, SNAPSHOT | LAST | CHECKSUM
    sealed(tmp_path, "a-1", [rows])
    sealed(tmp_path, "a-2", [trade(NOON + 1, 2)])
    (joint,) = plan(tmp_path / "store")

    made = compact(tmp_path / "store", joint, NOON)

    assert [each.unchecked for each in made.checksums] == [1]
