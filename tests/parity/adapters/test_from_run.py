"""A simulation over the market of a session: the same market, another venue, the same code."""

import json
import shutil
from datetime import datetime
from decimal import Decimal
from itertools import takewhile

import numpy as np
import pyarrow.parquet as pq
import pytest

from adapters.cli.main import main
from adapters.replay import replay
from adapters.session_market import SessionMarket
from adapters.sessions import LOG, Started, find_session
from engine.core.records import EXECUTE
from engine.errors import ConfigError, DataError
from engine.events import (
    BALANCE,
    EVENT,
    HEALTH,
    HEALTH_CLOCK,
    MODE,
    MODE_EXIT_ONLY,
    OPERATOR,
    OPERATOR_RELEASE_SYMBOL,
    ORDER_COMMAND,
    ORDER_FILL,
    ORDER_SENT,
    TABLE_FEES,
    TABLE_UPDATE,
    TIMER,
    WHO_ENGINE,
    WHY_START,
)
from engine.flow.log import LogReader
from engine.instruments import InstrumentTable
from engine.reports.sidebyside import side_by_side
from engine.session.loop import event
from engine.session.market import MARKET_KINDS, market_of
from tests.support.session_folder import write_session
from tests.support.short_market import short_market
from tests.support.worlds import EAGER

# The market is heard sooner than the venue answers: see tests/parity/engine/session.
NEAR = {**EAGER, "venue": {**EAGER["venue"], "feed": "2ms"}}
TABLES = ("commands", "orders", "fills", "positions", "decisions", "realized")


@pytest.fixture(scope="module")
def market():
    return short_market(900, symbols=2)


@pytest.fixture(scope="module")
def paper(market, tmp_path_factory):
    instruments, events = market
    return write_session(tmp_path_factory.mktemp("runs") / "paper", instruments, [events], NEAR)


@pytest.fixture(scope="module")
def simulated(paper, tmp_path_factory):
    out = {"run": {"out": str(tmp_path_factory.mktemp("out"))}}
    return replay(None, source=SessionMarket(paper), overrides=out)


def rows_of(folder, table):
    frame = pq.read_table(folder / f"{table}.parquet")
    return {name: frame.column(name).to_numpy() for name in frame.column_names}


def test_the_market_of_a_session_is_what_its_feed_said(market, paper):
    """Timers, orders, commands and balances of the log are gone, everything else is as it came."""
    _, events = market
    heard = np.concatenate(list(SessionMarket(paper).batches()))

    for name in ("ts", "kind", "sym", "side", "price", "qty", "id", "aux", "flags"):
        assert (events[name] == heard[name]).all(), name
    log = np.concatenate(list(LogReader(paper / LOG)))
    left = set(np.unique(log["kind"]).tolist()) - set(np.unique(heard["kind"]).tolist())
    assert {TIMER, ORDER_COMMAND, ORDER_SENT, ORDER_FILL} <= left
    assert not {HEALTH, BALANCE} & set(np.unique(heard["kind"]).tolist())


def test_of_a_live_session_only_the_market_is_taken(market, tmp_path):
    """Modes, facts of the process, balances, fees and people between the market's rows are left out."""
    instruments, events = market
    events = events[:20_000]
    parts = []
    for at in range(0, len(events), 4000):
        part = events[at : at + 4000]
        now = int(part["ts"][0])
        parts += [
            event(MODE, now, aux=MODE_EXIT_ONLY, id=WHO_ENGINE, qty=WHY_START),
            event(HEALTH, now, id=HEALTH_CLOCK, aux=1000, qty=1_000_000),
            event(BALANCE, now, qty=5_000_000_000),
            event(TABLE_UPDATE, now, aux=TABLE_FEES, price=2500, qty=4000),
            event(OPERATOR, now, id=OPERATOR_RELEASE_SYMBOL, sym=0),
            part,
        ]
    # The first row is the feed's: before it there is no time.
    run = write_session(tmp_path / "live", instruments, [events[:1], *parts], NEAR, "live")

    source = SessionMarket(run)
    heard = np.concatenate(list(source.batches()))

    assert "live" == source.identity()["mode"]
    assert len(events) + 1 == len(heard) == source.n_events
    for name in ("ts", "kind", "sym", "side", "price", "qty", "id", "aux", "flags"):
        assert (events[name] == heard[name][1:]).all(), name
    assert len(events) + 1 == replay(None, source=source, record=False).summary["events"]


def test_every_kind_is_decided_with_a_reason():
    assert all(why for _, why in MARKET_KINDS.values())
    rows = np.zeros(len(MARKET_KINDS), EVENT)
    rows["kind"] = list(MARKET_KINDS)
    assert [kind for kind, (taken, _) in MARKET_KINDS.items() if taken] == market_of(rows)[
        "kind"
    ].tolist()


def test_a_paper_session_and_its_own_simulation_are_the_same_to_the_byte(paper, simulated):
    for table in TABLES:
        ours, theirs = rows_of(paper, table), rows_of(simulated.folder, table)
        n = len(theirs["ts"])
        assert n > 1, table
        # A session stops asking its venue where its feed ends: the last answers may be missing.
        assert n - 2 <= len(ours["ts"]) <= n, table
        for name in ours:
            assert ours[name].tobytes() == theirs[name][: len(ours[name])].tobytes(), (table, name)


def test_with_another_latency_both_enter_alike_until_their_fills_part(paper, tmp_path):
    """The report says at which entry, and that a fill came first; the tables say the same."""
    slow = {"entry_min": "300ms", "response_min": "200ms"}
    done = replay(
        None,
        source=SessionMarket(paper),
        overrides={"run": {"out": str(tmp_path)}, "venue": {**NEAR["venue"], **slow}},
    )
    found = side_by_side(paper, done.folder)

    entered = []
    for folder in (paper, done.folder):
        rows = rows_of(folder, "decisions")
        taken = rows["outcome"] == EXECUTE
        entered.append(
            list(zip(*(rows[n][taken].tolist() for n in ("ts", "sym", "route")), strict=True))
        )
    pairs = zip(*entered, strict=False)
    n_alike = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    parting = found["entries"]["first_parting"]
    fills = found["fills"]["first_difference"]
    assert n_alike >= 2
    assert parting is not None
    parted = min(each[0] for side in entered for each in side[n_alike:])
    assert parted == parting["ts"]
    assert fills["ts"] <= parting["ts"]
    assert parting["fill_before"] == fills
    assert "their fills had parted before" in parting["why"][-1]
    assert "time" in fills["differs"]
    assert {parting["first"]["blocker"], parting["second"]["blocker"]} - {"OK"}
    answered = {each["measure"]: each for each in found["measures"]}["sent to acknowledged, median"]
    # There and back takes half a second at the least.
    assert answered["second"] >= 500.0 > answered["first"]
    assert found["runs"][1]["market_of"] == "paper"


def test_the_manifest_names_the_session(paper, simulated):
    named = simulated.manifest["capture"]

    assert ("session", "paper", "paper") == (named["kind"], named["id"], named["mode"])
    assert str(paper) == named["place"]
    assert ("replay", "test-simulated") == (
        simulated.manifest["mode"],
        simulated.manifest["name"],
    )
    stated = json.loads((paper / "manifest.json").read_text())
    assert stated["capture"]["chain"] == named["chain"]
    assert stated["config_hash"] == simulated.manifest["config_hash"]
    assert [] == named["notes"]


def test_a_torn_end_is_used_up_to_there_and_said(market, tmp_path):
    instruments, events = market
    half = events[: len(events) // 2]
    run = write_session(tmp_path / "died", instruments, [half], NEAR, dies=True)
    (segment,) = (run / LOG).glob("*.arrows")
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[8:300])  # the beginning of a batch, then the power went

    source = SessionMarket(run)
    done = replay(None, source=source, record=False)

    assert source.torn
    assert "no proper end (it was cut off)" in done.manifest["capture"]["notes"][0]
    assert len(half) == done.summary["events"]


def test_damage_before_the_end_is_refused(paper, tmp_path):
    run = shutil.copytree(paper, tmp_path / "spoiled")
    segment = sorted((run / LOG).glob("*.arrows"))[0]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)

    with pytest.raises(DataError):
        SessionMarket(run)


def test_a_session_that_took_up_a_core_starts_flat_and_says_so(market, tmp_path):
    instruments, events = market
    run = write_session(
        tmp_path / "second", instruments, [events[:20_000]], NEAR, "shadow", previous="first"
    )

    done = replay(None, source=SessionMarket(run), record=False)

    (note,) = done.manifest["capture"]["notes"]
    assert "core of first" in note
    assert "starts flat" in note


def test_another_profile_may_be_tried_and_its_capture_is_ignored(paper, tmp_path, capsys):
    profile = tmp_path / "other.toml"
    profile.write_text('[capture]\npath = "nowhere"\nsymbols = ["ETH/USD"]\n')

    assert 0 == main(
        ["run", "replay", str(profile), "--from-run", str(paper), "--out", str(tmp_path), "--json"]
    )

    facts = json.loads(capsys.readouterr().out)
    assert ["BTC/USD", "ETH/USD"] == facts["summary"]["symbols"]
    assert "paper" == facts["source"]["id"]


def test_a_session_may_be_of_its_own_profile_with_one_thing_changed(paper, tmp_path, capsys):
    arguments = ["--from-run", "paper", "--runs", str(paper.parent), "--out", str(tmp_path)]
    assert 0 == main(["run", "replay", *arguments, "--set", "run.cash=5000"])

    text = capsys.readouterr()
    assert "market of" in text.out
    assert "paper session paper" in text.out


def test_what_is_no_session_is_refused_in_words(simulated, paper, tmp_path):
    with pytest.raises(DataError, match="not the run of a session"):
        find_session(simulated.folder)
    with pytest.raises(ConfigError, match="Nearest: paper"):
        find_session("papier", paper.parent)
    assert paper == find_session("latest", paper.parent)
    assert 2 == main(["run", "replay", "--runs", str(tmp_path)])


def test_a_profile_with_a_point_in_a_number_survives_the_folder(tmp_path):
    """TOML gives Decimals and times, which JSON does not know; the configuration stays the same."""
    given = {
        "readiness": {"net_min_bps": Decimal("1.5")},
        "run": {"cash": Decimal("1000.25")},
        "capture": {"start": datetime(2026, 1, 1)},
    }
    Started("paper", "x", "main", "", given, InstrumentTable([]), 10, 1, 1, "k").write(tmp_path)

    profile = Started.read(tmp_path).profile

    assert 1.5 == profile.readiness.net_min_bps
    assert 100_025_000_000 == profile.run.cash
    assert 1_767_225_600_000_000_000 == profile.capture.start
