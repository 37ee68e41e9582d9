"""Stored events come back in order, in part if asked, the same from a store and from a log."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from adapters.parquet.manifest import Channel, find_capture
from adapters.parquet.reader import Capture, open_capture, open_events
from adapters.parquet.store import Store
from adapters.parquet.writer import CaptureWriter
from engine import events as ev
from engine.errors import ConfigError, DataError
from engine.flow.log import LogWriter
from engine.instruments import UnknownSymbolError
from tests.support.captures import CHANNELS, DEPTH, TABLE, market_rows

ROWS = market_rows(4000)
ROOT = Path(__file__).parents[4]
MIDNIGHT = 1_767_312_000_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store")
    with CaptureWriter(path, "a", TABLE, channels=CHANNELS, row_group_rows=300) as writer:
        writer.append(ROWS)
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log")
    depths = {"book": dict.fromkeys(TABLE.symbols, DEPTH)}
    with LogWriter(path, TABLE, log_id="a", meta={"channels": depths}, flush_rows=500) as writer:
        writer.append(ROWS)
    return path


def join(batches: object) -> np.ndarray:
    return np.concatenate([ev.empty(0), *batches])  # type: ignore[misc]


def channel_of(rows: np.ndarray) -> np.ndarray:
    names = {ev.BOOK_LEVEL: "book", ev.TRADE: "trade", ev.TICKER: "ticker"}
    names |= {ev.INSTRUMENT: "instrument", ev.CONNECTION_UP: "status"}
    return np.array([names[int(kind)] for kind in rows["kind"]])


@pytest.mark.parametrize("rows", [1, 100, 65_536])
@pytest.mark.parametrize("ahead", [True, False])
def test_any_batch_size_gives_the_same_events(store: Path, rows: int, ahead: bool) -> None:
    capture = open_capture(store)
    batches = list(capture.batches(rows, ahead=ahead))

    assert ROWS.tobytes() == join(batches).tobytes()
    assert max(map(len, batches)) <= rows


def test_a_capture_can_be_read_again(store: Path) -> None:
    capture = open_capture(store)

    assert join(capture.batches()).tobytes() == join(capture.batches()).tobytes()


def test_an_early_end_is_no_trouble(store: Path) -> None:
    batches = open_capture(store).batches(10)
    next(batches)
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("symbols", [("ETH/USD",), ("MINA/GBP", "btc-usd"), ()])
def test_a_part_of_the_symbols_keeps_their_numbers(store: Path, symbols: tuple[str, ...]) -> None:
    capture = open_capture(store, symbols=symbols)

    wanted = [-1, *(TABLE.index(each) for each in symbols)]
    expected = ROWS[np.isin(ROWS["sym"], wanted)]
    assert expected.tobytes() == join(capture.batches()).tobytes()
    assert capture.n_events == len(expected)
    assert set(capture.symbols) == {TABLE[each].symbol for each in symbols}
    assert capture.instruments.symbols == TABLE.symbols


@pytest.mark.parametrize("channels", [("trade",), ("book", "ticker"), ("status",)])
def test_a_part_of_the_channels_comes_with_status(store: Path, channels: tuple[str, ...]) -> None:
    capture = open_capture(store, channels=channels)

    expected = ROWS[np.isin(channel_of(ROWS), [*channels, "status"])]
    assert expected.tobytes() == join(capture.batches()).tobytes()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, MIDNIGHT),
        (MIDNIGHT, None),
        (MIDNIGHT - 10**9, MIDNIGHT + 10**9),
        (int(ROWS["ts"][700]), int(ROWS["ts"][701]) + 1),
        (int(ROWS["ts"][-1]) + 1, None),
        (0, 1),
    ],
)
def test_a_part_of_the_time_has_its_start_and_not_its_end(
    store: Path, log: Path, start: int | None, end: int | None
) -> None:
    ts = ROWS["ts"]
    expected = ROWS[(ts >= (start or 0)) & (ts < (end or 2**62))]
    for path in (store, log):
        part = open_events(path, start=start, end=end)
        assert expected.tobytes() == join(part.batches()).tobytes()
        assert part.n_events == len(expected)
        if len(expected):
            first, last = part.span
            assert (start or 0) <= first <= expected["ts"][0]
            assert expected["ts"][-1] <= last < (end or 2**62)


def test_unwanted_files_are_not_opened(store: Path) -> None:
    part = open_capture(store, symbols=["BTC/USD"], channels=["trade"], end=MIDNIGHT)

    assert isinstance(part, Capture)
    assert [each.path for each in part.files] == [
        "venue=kraken/channel=status/symbol=ALL/date=2026-01-01/a.parquet",
        "venue=kraken/channel=trade/symbol=BTC-USD/date=2026-01-01/a.parquet",
    ]


def test_a_log_and_a_capture_look_alike(store: Path, log: Path) -> None:
    one, two = open_events(store), open_events(log)

    assert join(one.batches()).tobytes() == join(two.batches()).tobytes()
    assert (one.n_events, one.span, one.symbols) == (two.n_events, two.span, two.symbols)
    assert one.instruments.to_json() == two.instruments.to_json()
    assert one.depth("BTC/USD") == two.depth("BTC/USD") == DEPTH
    assert one.has_timers == two.has_timers == False  # noqa: E712
    assert one.identity()["events_sha256"] == two.identity()["events_sha256"]
    assert one.manifest.kinds == two.manifest.kinds
    assert one.manifest.channels["trade"].depths == two.manifest.channels["trade"].depths
    assert set(one.manifest.channels) == set(two.manifest.channels)


@pytest.mark.parametrize("symbols", [("ETH/USD",), None])
@pytest.mark.parametrize("channels", [("trade",), None])
@pytest.mark.parametrize("rows", [50, 65_536])
def test_parts_of_a_log_are_the_parts_of_a_capture(
    store: Path,
    log: Path,
    symbols: tuple[str, ...] | None,
    channels: tuple[str, ...] | None,
    rows: int,
) -> None:
    one = open_events(store, symbols=symbols, channels=channels)
    two = open_events(log, symbols=symbols, channels=channels)

    assert join(one.batches(rows)).tobytes() == join(two.batches(rows)).tobytes()
    assert one.n_events == two.n_events


def test_timers_in_a_log_are_noticed(tmp_path: Path) -> None:
    rows = ev.empty(2)
    rows["kind"], rows["flags"], rows["seq"], rows["aux"] = ev.TIMER, ev.LAST, [0, 1], 10**9
    rows[1]["kind"], rows[1]["id"], rows[1]["aux"] = ev.GAP, ev.GAP_DROPPED, 0
    with LogWriter(tmp_path, TABLE, log_id="a") as writer:
        writer.append(rows)

    events = open_events(tmp_path)
    assert events.has_timers
    assert [each.cause for each in events.manifest.gaps] == ["dropped"]


def test_the_identity_says_which_data(store: Path) -> None:
    identity = open_events(store, symbols=["ETH/USD"], start=MIDNIGHT).identity()

    manifest = find_capture(Store(store), "a")
    assert identity == {
        "kind": "capture",
        "place": str(store),
        "id": "a",
        "digest": manifest.digest,
        "events_sha256": manifest.events_sha256,
        "symbols": ["ETH/USD"],
        "channels": None,
        "start": MIDNIGHT,
        "end": None,
    }


def test_depth_of_a_symbol_without_a_book_is_zero(tmp_path: Path) -> None:
    book = Channel(name="book", depth=25, symbols=("ETH/USD",))
    with CaptureWriter(tmp_path, "a", TABLE, channels=[book]):
        pass

    capture = open_capture(tmp_path)
    assert (capture.depth("ETH/USD"), capture.depth("BTC/USD")) == (25, 0)


# --- which capture ---------------------------------------------------------------------------------


def test_one_capture_is_found_by_id_beginning_day_or_as_the_latest(tmp_path: Path) -> None:
    for name, seconds in (("jan-1", 0), ("jan-2", 86_400)):
        rows = ROWS[:200].copy()
        rows["ts"] += seconds * 10**9
        with CaptureWriter(tmp_path, name, TABLE, channels=CHANNELS) as writer:
            writer.append(rows)

    def found(wanted: str | None) -> str:
        return find_capture(Store(tmp_path), wanted).capture_id

    assert found("jan-1") == "jan-1"
    assert found("latest") == "jan-2"
    assert found("2026-01-02") == "jan-2"
    for ambiguous in ("jan", None):
        with pytest.raises(ConfigError, match="jan-1, jan-2"):
            found(ambiguous)
    with pytest.raises(DataError, match=r"no capture 'feb'.*jan-1, jan-2"):
        found("feb")


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a cold store"):
        open_events(tmp_path)
    with pytest.raises(DataError, match="is not a cold store"):
        open_events(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot be reached"):
        open_events("nosuchprotocol://bucket/store")


def test_wishes_that_make_no_sense_are_refused(store: Path) -> None:
    with pytest.raises(UnknownSymbolError, match="Nearest known"):
        open_capture(store, symbols=["XRP/USD"])
    with pytest.raises(ConfigError, match="no channel 'depth'"):
        open_capture(store, channels=["depth"])
    with pytest.raises(ConfigError, match="is empty"):
        open_capture(store, start=5, end=5)


# --- memory ------------------------------------------------------------------------------------------


def peak(store: Path) -> int:
    """Most bytes that numpy and Python held while reading; Arrow's own pool is not counted."""
    tracemalloc.start()
    for _ in open_capture(store).batches(4096, ahead=False):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_length_of_a_capture(tmp_path: Path) -> None:
    rows = np.concatenate([ROWS] * 40)
    rows["seq"] = np.arange(len(rows))
    rows["ts"] = ROWS["ts"][0] + rows["seq"] * 1000
    for name, n in (("short", len(rows) // 10), ("long", len(rows))):
        with CaptureWriter(
            tmp_path / name, "a", TABLE, channels=CHANNELS, row_group_rows=4000
        ) as writer:
            writer.append(rows[:n])
    peak(tmp_path / "short")  # compiles

    assert peak(tmp_path / "long") < 1.2 * peak(tmp_path / "short")


READ_AND_WEIGH = """
import sys
from pathlib import Path
import pyarrow
from adapters.parquet.reader import open_capture

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

weights = [pages() for batch in open_capture(sys.argv[1]).batches()]
arrow = pyarrow.default_memory_pool().max_memory()
print(len(weights), 4096 * weights[len(weights) // 4], 4096 * max(weights), arrow)
"""


@pytest.mark.long
def test_a_process_does_not_grow_while_it_reads(tmp_path: Path) -> None:
    """All of it: Arrow's pool, mapped pages, freed memory that nobody gave back."""
    rng = np.random.default_rng(0)
    with CaptureWriter(
        tmp_path, "a", TABLE, channels=CHANNELS, assign_seq=True, on_crossed="count"
    ) as writer:
        for i in range(60):
            rows = np.tile(ROWS, 12)
            rows["ts"] = MIDNIGHT + (i * len(rows) + np.arange(len(rows))) * 1000
            rows["qty"] = rng.integers(1, 1 << 50, len(rows))  # does not compress
            rows["ts_venue"] = rng.integers(0, 1 << 62, len(rows))
            writer.append(rows)
    command = [sys.executable, "-c", READ_AND_WEIGH, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    n_batches, after_a_quarter, most, arrow = map(int, out.split())
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    assert n_batches > 80
    assert on_disk > 100e6
    assert most - after_a_quarter < on_disk // 5
    assert arrow < on_disk // 3  # files are not read whole before their first row is given
