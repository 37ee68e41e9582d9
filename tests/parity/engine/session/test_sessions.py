"""A session decides what a replay decides, and its log gives the same again."""

from pathlib import Path

import numpy as np
import pytest

from engine.events import (
    GAP,
    GAP_SOURCE,
    MODE,
    MODE_EXIT_ONLY,
    ORDER_COMMAND,
    ORDER_FILL,
    ORDER_REJECT,
    ORDER_SENT,
    REJECT_SHADOW,
    TIMER,
)
from engine.flow.log import LogReader
from engine.session.loop import Session, ShadowGateway, end_of_stream, event, refused_rows
from engine.session.verify import follow_log
from tests.support.sessions import feed, make_session, memory_recorder, read_again
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world, split


@pytest.fixture(scope="module")
def market():
    return short_market(1200, symbols=2)


@pytest.fixture(scope="module")
def paper(market, tmp_path_factory):
    """A paper session over the whole market, closed."""
    instruments, events = market
    made = make_session(tmp_path_factory.mktemp("paper") / "log", instruments, overrides=NEAR)
    feed(made.session, split(events, [1, 7, 300, 5000]))
    made.session.close()
    return made


# The market is heard sooner than the venue answers: a session cannot know what came of an order
# before it has heard the market of that moment, a replay can.
NEAR = {**EAGER, "venue": {**EAGER["venue"], "feed": "2ms"}}


def rows_of(folder: Path) -> np.ndarray:
    return np.concatenate(list(LogReader(folder)))


def test_paper_decides_and_fills_as_a_replay_of_the_same_market(market, paper) -> None:
    """Both hear the same market; the venue of one is asked as time goes by."""
    instruments, events = market
    _, expected = run_world(make_world(instruments, NEAR), [events])

    actual = paper.tables()

    assert len(expected["fills"]) > 3
    for name in ("commands", "orders", "fills", "positions", "decisions"):
        n = min(len(expected[name]), len(actual[name]))
        assert n >= len(expected[name]) - 2, name
        assert expected[name][:n].tobytes() == actual[name][:n].tobytes(), name


def test_the_log_of_a_paper_session_gives_the_same_digest_again(market, paper) -> None:
    found, again = read_again(paper.folder, market[0], NEAR)

    assert found.difference is None
    assert found.n_commands == paper.session.n_commands > 0
    assert again.digest.hexdigest() == paper.recorder.digest.hexdigest()


def test_the_log_of_a_shadow_session_gives_the_same_digest_again(market, tmp_path) -> None:
    instruments, events = market
    made = make_session(tmp_path / "log", instruments, "shadow")
    feed(made.session, split(events, [500] * 1000))
    made.session.close()

    found, again = read_again(tmp_path / "log", instruments)

    assert found.difference is None
    assert found.n_commands == made.session.n_commands > 0
    assert again.digest.hexdigest() == made.recorder.digest.hexdigest()


def test_batches_do_not_change_what_a_session_writes(market, tmp_path) -> None:
    instruments, events = market
    digests, logs = set(), set()
    for name, sizes in (("one", [1] * 4000), ("many", [4096] * 1000)):
        made = make_session(tmp_path / name, instruments)
        feed(made.session, split(events[:20_000], sizes))
        made.session.close()
        digests.add(made.recorder.digest.hexdigest())
        logs.add(rows_of(tmp_path / name).tobytes())
    assert len(digests) == len(logs) == 1


def test_shadow_sends_nothing_and_says_so_of_every_command(market, tmp_path) -> None:
    instruments, events = market
    made = make_session(tmp_path / "log", instruments, "shadow")
    feed(made.session, [events])
    made.session.close()

    rows = rows_of(tmp_path / "log")
    refused = rows[rows["kind"] == ORDER_REJECT]
    assert len(refused) == made.session.n_commands > 0
    assert set(refused["aux"].tolist()) == {REJECT_SHADOW}
    assert not np.isin(rows["kind"], (ORDER_SENT, ORDER_FILL)).any()
    assert len(made.tables()["fills"]) == 0


def test_a_command_stands_in_the_log_before_what_became_of_it(paper) -> None:
    rows = rows_of(paper.folder)
    decided = rows[rows["kind"] == ORDER_COMMAND]
    sent = rows[rows["kind"] == ORDER_SENT]
    assert len(decided) == 3 * len(sent) > 0
    assert (decided["seq"][2::3] < sent["seq"]).all()
    assert decided["id"][2::3].tolist() == sent["id"].tolist()
    assert (np.diff(rows["ts"]) >= 0).all()
    ticks = rows[rows["kind"] == TIMER]["ts"]
    assert (np.diff(ticks) == ticks[1] - ticks[0]).all()


def test_a_command_that_the_replay_would_not_give_is_the_first_difference(market, paper) -> None:
    """Another parameter, and the log is somebody else's."""
    instruments, _ = market
    other = {**NEAR, "capital": {"base_fraction": 0.011}}
    found, _ = read_again(paper.folder, instruments, other)

    assert found.difference is not None
    assert found.difference.number == 1
    recorded, decided = found.difference.recorded, found.difference.decided
    assert recorded is not None
    assert recorded["id"] == 1
    text = found.difference.text(instruments.symbols)
    assert f"qty={recorded['qty']}" in text
    assert ("nothing" if decided is None else f"qty={decided['qty']}") in text


def test_a_log_that_was_cut_off_replays_to_its_end(market, tmp_path) -> None:
    """The process died: what was on the disk is enough, and nothing in it differs."""
    instruments, events = market
    made = make_session(tmp_path / "log", instruments)
    feed(made.session, [events[: len(events) // 3]])
    made.session.log.flush()
    n_events = made.session.log.n_events

    world = make_world(instruments)
    recorder = memory_recorder()
    found = follow_log(world.core, LogReader(tmp_path / "log"), recorder, torn=True)
    end_of_stream(world.core, recorder)

    assert found.difference is None
    assert found.n_events == n_events
    assert world.core.glob.tobytes() != b""


def test_a_gateway_with_a_clock_of_its_own_does_not_put_the_log_out_of_order(
    market, tmp_path
) -> None:
    """Its answers may be stamped after rows that were taken together with the reason for a command."""

    class Later(ShadowGateway):
        def carry(self, commands: np.ndarray, now: int) -> np.ndarray:
            return refused_rows(commands, now + 60 * 10**9, REJECT_SHADOW)

    instruments, events = market
    made = make_session(tmp_path / "log", instruments, gateway=Later())
    for batch in split(events, [5000] * 100):
        made.session.take(batch, int(batch["ts"][-1]))
    made.session.close()

    rows = rows_of(tmp_path / "log")
    assert made.session.n_commands > 0
    assert (np.diff(rows["ts"]) >= 0).all()
    assert int(rows["ts"][-1]) == int(events["ts"][-1])


def test_a_core_that_is_taken_up_sees_no_timers_of_the_time_in_which_nobody_looked(
    market, tmp_path
) -> None:
    """They would let it decide on a market that is long gone, before it hears of the gap."""
    instruments, events = market
    made = make_session(tmp_path / "log", instruments, "shadow")
    ts_last = int(events["ts"][-1])
    now = ts_last + 3600 * 10**9
    session = Session(
        made.world.core, made.session.log, made.recorder, made.session.gateway,
        timer_ns=10**9, measure=lambda: 0, ts_last=ts_last, began=now,
    )  # fmt: skip
    session.take(event(GAP, now, id=GAP_SOURCE, aux=ts_last), now)
    session.take(event(MODE, now, aux=MODE_EXIT_ONLY), now + 3 * 10**9)
    session.close()

    kinds = rows_of(tmp_path / "log")["kind"].tolist()
    assert kinds[:2] == [GAP, MODE]
    assert set(kinds[2:]) == {TIMER}
    assert len(kinds) - 2 in (3, 4)
