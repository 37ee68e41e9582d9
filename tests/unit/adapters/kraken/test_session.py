"""The life of a connection, move by move."""

import itertools

import pytest

from adapters.kraken.limits import ConnectionBudget
from adapters.kraken.phases import Limits, Phase
from adapters.kraken.session import CHANNELS, Session
from adapters.kraken.subscriptions import Pace, Sub, Wish
from engine.events import (
    BOOK_LEVEL,
    CONNECTION_DOWN,
    CONNECTION_UP,
    GAP,
    GAP_CHECKSUM,
    GAP_DISCONNECT,
    GAP_DROPPED,
    GAP_SOURCE,
    HEALTH,
    HEALTH_RESUMED,
    HEARTBEAT,
    RESYNC,
    SNAPSHOT,
    SYSTEM_STATUS,
)
from engine.research.synthetic.config import default_instruments
from tests.support import kraken_words as say
from tests.support.kraken_words import SECOND, T0, CountingFeed, asked, connect

TABLE = default_instruments()
BTC, ETH = "BTC/USD", "ETH/USD"
BOOKS = Wish("book", (BTC, ETH), (("depth", 10), ("snapshot", True)))
TRADES = Wish("trade", (BTC, ETH), (("snapshot", True),))


def session(*wishes, draw=lambda: 0.5, **options) -> Session:
    made = Session(wishes or (BOOKS,), draw, **options)
    made.follow(CountingFeed(TABLE), TABLE)
    return made


def live(made: Session, now: int = T0) -> None:
    """Every book and trade subscription accepted, every snapshot received."""
    for request in asked(connect(made, now)):
        for symbol in request["params"]["symbol"]:
            channel = request["params"]["channel"]
            made.received(say.accepted(request["req_id"], channel, symbol), now)
    for symbol in (BTC, ETH):
        made.received(say.book(symbol, "snapshot"), now)


def kinds(step) -> list[int]:
    return step.rows()["kind"].tolist()


def test_it_asks_when_the_venue_has_spoken() -> None:
    made = session()
    made.start(T0)
    made.connecting(T0)

    opened = made.opened(T0)
    spoken = made.received(say.status(), T0)

    assert [CONNECTION_UP] == kinds(opened)
    assert opened.send == []
    assert [SYSTEM_STATUS] == kinds(spoken)
    assert asked(spoken) == [
        {
            "method": "subscribe",
            "params": {"channel": "book", "symbol": [BTC, ETH], "depth": 10, "snapshot": True},
            "req_id": 1,
        }
    ]


def test_a_venue_that_does_not_speak_first_is_asked_all_the_same() -> None:
    made = session()
    made.start(T0)
    made.connecting(T0)
    made.opened(T0)

    assert made.tick(T0 + SECOND // 2).send == []
    assert len(made.tick(T0 + SECOND).send) == 1


def test_requests_come_in_batches_at_their_pace() -> None:
    many = tuple(f"A{i}/USD" for i in range(5))
    made = session(Wish("level3", many), pace={"level3": Pace(batch=50, cost=25, budget=50)})

    first = asked(connect(made))
    early = made.tick(T0 + SECOND // 2)
    second = asked(made.tick(T0 + SECOND))

    # 50 points a second at 25 a symbol are two symbols a second.
    assert [each["params"]["symbol"] for each in first] == [list(many[:2])]
    assert early.send == []
    assert [each["params"]["symbol"] for each in second] == [list(many[2:4])]


def test_books_are_asked_last() -> None:
    """The snapshot of a book ends the doubt about its symbol: all else is to be there by then."""
    order = [each["params"]["channel"] for each in asked(connect(session(BOOKS, TRADES)))]

    assert order == ["trade", "book"]


def test_updates_before_the_snapshot_do_not_count() -> None:
    made = session()
    connect(made)
    made.received(say.accepted(1, "book", BTC), T0)

    update = made.received(say.book(BTC), T0)
    snapshot = made.received(say.book(BTC, "snapshot"), T0 + 5)

    assert kinds(update) == []
    assert kinds(snapshot) == [HEALTH, BOOK_LEVEL]
    assert snapshot.rows()["id"][0] == HEALTH_RESUMED
    assert snapshot.rows()["aux"][0] == 0  # its first start
    assert snapshot.rows()["price"][0] == CHANNELS.index("book")
    assert made.subscriptions.get("book", BTC).state is Sub.LIVE


def test_one_symbol_that_is_refused_leaves_the_others_alone() -> None:
    made = session()
    connect(made)

    step = made.received(say.refused(1, "Currency pair not supported ETH/USD", ETH), T0)
    made.received(say.accepted(1, "book", BTC), T0)

    assert "not supported" in step.notes[0].text
    assert made.subscriptions.get("book", ETH).state is Sub.REFUSED
    assert made.subscriptions.get("book", BTC).state is Sub.ACKED
    assert made.tick(T0 + SECOND).send == []  # not asked again on this connection


def test_a_refusal_for_the_rate_is_asked_again_later() -> None:
    made = session(Wish("trade", (BTC,)))
    connect(made)

    made.received(say.refused(1, "Exceeded msg rate", BTC), T0)

    assert made.tick(T0 + SECOND // 2).send == []
    # The second failure in a row waits 1 to 2 s: the draw of 0.5 makes it 1.5 s.
    assert len(made.tick(T0 + SECOND * 3 // 2).send) == 1


def test_a_wrong_checksum_starts_that_symbol_again_and_no_other() -> None:
    made = session()
    live(made)

    step = made.received(say.book(BTC, checksum=0), T0 + 7)

    rows = step.rows()
    assert rows[["kind", "id", "sym"]].tolist() == [(GAP, GAP_CHECKSUM, TABLE.index(BTC))]
    assert step.interrupted == (BTC,)
    (left,) = asked(made.tick(T0 + SECOND)) if not step.send else asked(step)
    assert (left["method"], left["params"]) == (
        "unsubscribe",
        {"channel": "book", "symbol": [BTC], "depth": 10},
    )
    assert kinds(made.received(say.book(BTC), T0 + 2 * SECOND)) == []  # late
    assert kinds(made.received(say.book(ETH), T0 + 2 * SECOND)) == [BOOK_LEVEL]

    back = made.received(say.accepted(left["req_id"], "book", BTC, "unsubscribe"), T0 + 2 * SECOND)
    (again,) = asked(back)
    assert (again["method"], again["params"]["symbol"]) == ("subscribe", [BTC])
    made.received(say.accepted(again["req_id"], "book", BTC), T0 + 2 * SECOND)
    whole = made.received(say.book(BTC, "snapshot"), T0 + 3 * SECOND)
    assert kinds(whole) == [HEALTH, BOOK_LEVEL]
    assert whole.rows()["aux"][0] == T0
    assert whole.rows()["qty"][0] == GAP_CHECKSUM


def test_a_symbol_that_is_wrong_again_and_again_is_put_aside() -> None:
    made = session(Wish("book", (BTC,)), limits=Limits(resyncs_max=2, aside=60 * SECOND))
    now = T0
    requests = asked(connect(made, now))
    for _ in range(3):
        made.received(say.accepted(requests[-1]["req_id"], "book", BTC), now)
        made.received(say.book(BTC, "snapshot"), now)
        step = made.received(say.book(BTC, checksum=0), now)
        now += SECOND
        (left,) = asked(step) or asked(made.tick(now))
        step = made.received(say.accepted(left["req_id"], "book", BTC, "unsubscribe"), now)
        requests = asked(step) or asked(made.tick(now + SECOND))
        now += SECOND

    assert requests == []
    assert made.counts["put aside"] == 1
    for i in range(50):
        made.received(say.HEARTBEAT, now + i * SECOND)
        assert made.tick(now + i * SECOND).send == [] or made.counts["put aside"] == 1


def test_a_symbol_that_was_put_aside_is_waited_for_again_once_it_stood_for_a_while() -> None:
    limits = Limits(resyncs_max=0, resyncs_window=10 * SECOND, aside=20 * SECOND)
    made = session(Wish("book", (BTC,)), limits=limits)

    def stand(now: int) -> None:
        (request,) = [each for each in asked(made.tick(now)) if each["method"] == "subscribe"]
        made.received(say.accepted(request["req_id"], "book", BTC), now)
        made.received(say.book(BTC, "snapshot"), now)

    def go_wrong(now: int) -> None:
        step = made.received(say.book(BTC, checksum=0), now)
        (left,) = [e for e in asked(step) or asked(made.tick(now)) if e["method"] == "unsubscribe"]
        made.received(say.accepted(left["req_id"], "book", BTC, "unsubscribe"), now)

    (request,) = asked(connect(made, T0))
    made.received(say.accepted(request["req_id"], "book", BTC), T0)
    made.received(say.book(BTC, "snapshot"), T0)
    assert made.aside(T0) == set()
    go_wrong(T0 + SECOND)
    assert made.aside(T0 + SECOND) == {BTC}
    for i in range(2, 21):
        made.received(say.HEARTBEAT, T0 + i * SECOND)
        assert asked(made.tick(T0 + i * SECOND)) == []
    stand(T0 + 21 * SECOND)
    go_wrong(T0 + 22 * SECOND)
    for i in range(23, 42, 3):
        made.received(say.HEARTBEAT, T0 + i * SECOND)
    stand(T0 + 42 * SECOND)
    assert made.aside(T0 + 43 * SECOND) == set()
    assert made.counts["put aside"] == 2


def test_a_lost_acknowledgement_is_proven_by_the_data() -> None:
    made = session(Wish("book", (BTC,)))
    connect(made)

    step = made.received(say.book(BTC, "snapshot"), T0)

    assert kinds(step) == [HEALTH, BOOK_LEVEL]


def test_a_subscription_without_an_answer_is_left_and_asked_again() -> None:
    made = session(Wish("trade", (BTC,)), limits=Limits(answer=5 * SECOND))
    connect(made)
    for i in range(6):
        made.received(say.HEARTBEAT, T0 + i * SECOND)

    step = made.tick(T0 + 6 * SECOND)

    assert [each["method"] for each in asked(step)] == ["unsubscribe"]


def test_three_answers_that_never_come_end_the_connection() -> None:
    made = session(Wish("trade", (BTC,)), limits=Limits(answer=5 * SECOND))
    connect(made)
    steps = []
    for i in range(1, 30):
        made.received(say.HEARTBEAT, T0 + i * SECOND)
        steps.append(made.tick(T0 + i * SECOND))

    assert any(each.close for each in steps)
    assert made.phase is Phase.CLOSING


def test_silence_ends_the_connection_and_says_since_when() -> None:
    made = session()
    live(made)

    quiet = made.tick(T0 + 10 * SECOND)
    silent = made.tick(T0 + 10 * SECOND + 1)

    assert not quiet.close
    assert silent.close
    assert kinds(silent) == [GAP]
    assert silent.rows()[0]["id"] == GAP_DISCONNECT
    assert silent.rows()[0]["aux"] == T0
    assert silent.rows()[0]["sym"] == -1
    assert kinds(made.received(say.book(BTC), T0 + 11 * SECOND)) == []  # too late to count
    closed = made.closed(1006, "", T0 + 11 * SECOND)
    assert kinds(closed) == [CONNECTION_DOWN]
    assert closed.reconnect_at == T0 + 11 * SECOND


def test_a_gap_of_one_of_several_connections_names_its_symbols() -> None:
    made = session(alone=False, number=3)
    live(made)

    step = made.closed(1001, "CloudFlare WebSocket proxy restarting", T0 + SECOND)

    rows = step.rows()
    assert rows["kind"].tolist() == [GAP, GAP, CONNECTION_DOWN, CONNECTION_DOWN]
    assert rows["sym"].tolist() == [0, 1, 0, 1]
    assert set(step.interrupted) == {BTC, ETH}


def test_a_channel_that_is_silent_while_hearts_beat_is_asked_again() -> None:
    made = session(BOOKS, TRADES, limits=Limits(channel_silence={"book": 5 * SECOND}))
    live(made)
    found = []
    for i in range(1, 8):
        made.received(say.HEARTBEAT, T0 + i * SECOND)
        made.received(say.trade(BTC, i), T0 + i * SECOND)
        found.append(made.tick(T0 + i * SECOND))

    noisy = [each for each in found if len(each.rows())]
    assert len(noisy) == 1
    assert kinds(noisy[0]) == [GAP, GAP]
    assert not noisy[0].close


def test_a_channel_that_stays_quiet_is_asked_half_as_often_each_time() -> None:
    made = session(Wish("book", (BTC,)), limits=Limits(channel_silence={"book": 5 * SECOND}))
    (request,) = asked(connect(made))
    made.received(say.accepted(request["req_id"], "book", BTC), T0)
    made.received(say.book(BTC, "snapshot"), T0)
    when = []
    for i in range(1, 60):
        now = T0 + i * SECOND
        steps = [made.received(say.HEARTBEAT, now), made.tick(now)]
        if any(GAP in kinds(each) for each in steps):
            when.append(i)
        for step in steps:
            for each in asked(step):
                if each["method"] == "ping":
                    continue
                reply = say.accepted(each["req_id"], "book", BTC, each["method"])
                for one in asked(made.received(reply, now)):
                    made.received(say.accepted(one["req_id"], "book", BTC), now)
                    made.received(say.book(BTC, "snapshot"), now)
                if each["method"] == "subscribe":
                    made.received(say.book(BTC, "snapshot"), now)

    gaps = [b - a for a, b in itertools.pairwise(when)]
    assert len(when) >= 3
    assert all(b > a for a, b in itertools.pairwise(gaps))


@pytest.mark.parametrize(
    "frame",
    [b"<html>restarting</html>", b"CloudFlare WebSocket proxy restarting", b"\xff\x00", b""],
)
def test_what_is_not_json_means_that_the_connection_goes_away(frame) -> None:
    made = session()
    live(made)

    step = made.received(frame, T0 + SECOND)

    assert step.close
    assert kinds(step) == [GAP]
    assert step.rows()[0]["aux"] == T0


def test_an_unknown_channel_is_passed_over_and_kept() -> None:
    made = session()
    live(made)

    step = made.received(b'{"channel":"news","type":"update","data":[]}', T0)

    assert not step.close
    assert kinds(step) == []
    assert step.messages[0].raw == b'{"channel":"news","type":"update","data":[]}'


def test_a_message_of_another_shape_puts_its_channel_in_doubt() -> None:
    made = session(BOOKS, TRADES)
    live(made)

    step = made.received(b'{"channel":"book","type":"update","data":[{"symbol":7}]}', T0 + 1)

    assert not step.close
    assert kinds(step) == [GAP, GAP]


def test_maintenance_is_waited_for_and_all_starts_again_after_it() -> None:
    made = session()
    live(made)

    down = made.received(say.status("maintenance"), T0 + SECOND)
    held = made.tick(T0 + 2 * SECOND)
    up = made.received(say.status("online"), T0 + 3 * SECOND)

    assert kinds(down) == [SYSTEM_STATUS, GAP]
    assert held.send == []
    assert not held.close
    assert kinds(up) == [SYSTEM_STATUS]
    assert [each["method"] for each in asked(up)] == ["unsubscribe"]


def test_after_maintenance_it_waits_before_it_connects_again() -> None:
    made = session()
    live(made)
    made.received(say.status("maintenance"), T0 + SECOND)

    assert made.closed(1012, "", T0 + 2 * SECOND).reconnect_at == T0 + 6 * SECOND


@pytest.mark.parametrize("system", ["cancel_only", "post_only"])
def test_other_states_of_the_venue_leave_market_data_alone(system) -> None:
    made = session()
    live(made)

    step = made.received(say.status(system), T0)

    assert kinds(step) == [SYSTEM_STATUS]
    assert made.phase is Phase.ONLINE


def test_failures_in_a_row_wait_longer_up_to_a_limit() -> None:
    made = session(draw=lambda: 0.999_999)
    step, now, waits = made.start(T0), T0, []
    for _ in range(10):
        now = step.reconnect_at
        made.connecting(now)
        step = made.closed(0, "refused", now)
        waits.append((step.reconnect_at - now) / SECOND)

    assert waits[0] == 0  # at once after the first
    assert [round(each) for each in waits[1:]] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_jitter_comes_from_the_given_stream() -> None:
    waits = []
    for draw in (0.0, 0.5, 0.9):
        made = session(draw=lambda draw=draw: draw)
        made.start(T0)
        for _ in range(2):
            made.connecting(T0)
            step = made.closed(0, "", T0)
            made._reconnect_at = T0
        waits.append(step.reconnect_at - T0)

    assert waits == [SECOND // 2, SECOND * 3 // 4, int(SECOND * 0.95)]


def test_attempts_stay_within_the_budget_of_all_connections() -> None:
    budget = ConnectionBudget(most=3)
    made = [session(budget=budget, number=i) for i in range(4)]
    for each in made:
        each.start(T0)

    steps = [each.connecting(T0) for each in made]

    assert [each.phase for each in made] == [Phase.CONNECTING] * 3 + [Phase.WAITING]
    assert steps[3].reconnect_at == T0 + 600 * SECOND


def test_a_token_is_asked_for_before_each_connection_and_never_shown() -> None:
    made = session(Wish("level3", (BTC,), (("depth", 10),)), needs_token=True)
    made.start(T0)
    made.connecting(T0)
    assert made.phase is Phase.WAITING
    assert made.token_missing

    made.token("s3cret")
    made.connecting(T0)
    made.opened(T0)
    (request,) = asked(made.received(say.status(), T0))
    assert request["params"]["token"] == "s3cret"
    denied = made.received(say.refused(1, "ESession:Invalid session s3cret"), T0)
    assert denied.close
    assert all("s3cret" not in note.text for note in denied.notes)
    made.closed(1000, "", T0)
    assert made.token_missing  # the next connection needs a fresh one


def test_dropped_frames_are_a_gap_and_a_new_connection() -> None:
    made = session()
    live(made)

    step = made.dropped(120, T0 + SECOND, T0 + 2 * SECOND)

    assert step.close
    assert [GAP_DROPPED] == step.rows()["id"].tolist()
    assert made.counts["dropped frames"] == 120


def test_the_clock_is_measured_by_pings() -> None:
    made = session(limits=Limits(ping=5 * SECOND))
    live(made)
    made.received(say.HEARTBEAT, T0 + 5 * SECOND)
    (ping,) = asked(made.tick(T0 + 5 * SECOND))
    venue = "2026-01-01T00:00:06.100000Z"

    step = made.received(
        say.words(method="pong", req_id=ping["req_id"], time_in=venue, time_out=venue),
        T0 + 5 * SECOND + 200_000_000,
    )

    # Half of the round trip of 200 ms after T0 + 5 s it was T0 + 6.1 s there.
    (row,) = step.rows()
    assert (row["kind"], row["aux"], row["qty"]) == (HEALTH, SECOND, 200_000_000)
    assert made.clock_offset == SECOND


def test_a_symbol_that_others_lost_gets_a_fresh_snapshot() -> None:
    made = session(BOOKS, TRADES)
    live(made)

    step = made.refresh((ETH,), T0 + SECOND)

    assert kinds(step) == [RESYNC]
    assert step.rows()["id"][0] == GAP_SOURCE
    assert [each["params"]["symbol"] for each in asked(step)] == [[ETH]]
    assert step.interrupted == ()  # what was refreshed must not refresh the others again


def test_wishes_may_change() -> None:
    made = session(BOOKS)
    live(made)

    step = made.want((Wish("book", (ETH, "DOGE/USD"), BOOKS.params),), T0 + SECOND)

    shown = [(each["method"], each["params"]["symbol"]) for each in asked(step)]
    assert shown == [("unsubscribe", [BTC])]
    later = asked(made.tick(T0 + 2 * SECOND))
    assert [(each["method"], each["params"]["symbol"]) for each in later] == [
        ("subscribe", ["DOGE/USD"])
    ]
    left = asked(step)[0]["req_id"]
    made.received(say.accepted(left, "book", BTC, "unsubscribe"), T0 + 2 * SECOND)
    assert made.subscriptions.get("book", BTC) is None


def test_stop_ends_it_for_good() -> None:
    made = session()
    live(made)

    step = made.stop(T0 + SECOND)
    closed = made.closed(1000, "", T0 + 2 * SECOND)

    assert step.close
    assert kinds(step) == [CONNECTION_DOWN]
    assert closed.reconnect_at is None
    assert made.phase is Phase.STOPPED


def test_a_heartbeat_is_an_event_and_proves_no_channel() -> None:
    made = session()
    live(made)

    assert kinds(made.received(say.HEARTBEAT, T0)) == [HEARTBEAT]


def test_a_second_snapshot_in_the_middle_is_taken() -> None:
    made = session()
    live(made)

    step = made.received(say.book(BTC, "snapshot"), T0 + 1)

    assert kinds(step) == [BOOK_LEVEL]
    assert step.rows()["flags"][0] & SNAPSHOT


def test_of_several_connections_one_tells_the_state_of_the_venue() -> None:
    """The event is about every pair; a late one would undo what the instrument channel said."""
    made = session(tells_status=False)

    assert kinds(connect(made)) == []
    assert made.phase is Phase.ONLINE
