"""Whatever happens to a connection, in whatever order: what must hold after every input."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.kraken.limits import ConnectionBudget
from adapters.kraken.phases import NEXT, Input, Limits, Phase
from adapters.kraken.session import Session
from adapters.kraken.subscriptions import NEXT as SUB_NEXT
from adapters.kraken.subscriptions import Happening, Sub, Wish
from engine.events import BOOK_LEVEL, CONNECTION_DOWN, CONNECTION_UP, GAP, LAST, RESYNC, SNAPSHOT
from engine.research.synthetic.config import default_instruments
from tests.support import kraken_words as say
from tests.support.kraken_words import SECOND, T0, CountingFeed, asked

TABLE = default_instruments()
SYMBOLS = ("BTC/USD", "ETH/USD", "DOGE/USD")
CONNECTED = (Phase.OPEN, Phase.ONLINE, Phase.MAINTENANCE)
BUDGET = 6
ERRORS = (
    "Currency pair not supported",
    "Already subscribed",
    "Exceeded msg rate",
    "ESession:Invalid session",
    "Subscription Not Found",
    "something new",
)


class Play:
    """A session, a venue that answers some of its requests, and what both have come to."""

    def __init__(self, seed: int, alone: bool) -> None:
        self.dice = random.Random(seed)
        self.now = T0
        self.session = Session(
            (Wish("book", SYMBOLS, (("depth", 10),)), Wish("trade", SYMBOLS)),
            self.dice.random,
            alone=alone,
            limits=Limits(answer=5 * SECOND, channel_silence={"book": 8 * SECOND}),
            budget=ConnectionBudget(most=BUDGET),
        )
        self.feed = CountingFeed(TABLE)
        self.session.follow(self.feed, TABLE)
        self.attempts: list[int] = []
        self.open: list[dict] = []  # requests without an answer
        self.ids: set[int] = set()
        self.trusted: set[int] = set()
        self.up = False
        self.alone = alone
        self.take(self.session.start(self.now))

    def take(self, step) -> None:
        """Everything that must hold of any step."""
        phase = self.session.phase
        assert not step.send or phase is Phase.ONLINE
        assert step.reconnect_at is None or step.reconnect_at >= self.now or phase is Phase.WAITING
        for request in asked(step):
            assert request["req_id"] not in self.ids
            self.ids.add(request["req_id"])
            if request["method"] != "ping":
                self.open.append(request)
        rows = step.rows()
        assert (rows["ts"] == self.now).all()
        assert (rows["flags"] & LAST).all()
        for row in rows:
            kind, sym = int(row["kind"]), int(row["sym"])
            if kind == CONNECTION_UP and self.alone:
                assert not self.up
                self.up = True
            elif kind == CONNECTION_DOWN and self.alone:
                assert self.up
                self.up = False
            elif kind in (GAP, RESYNC):
                if kind == GAP:
                    assert 0 < row["aux"] <= self.now
                self.trusted -= {sym} if sym >= 0 else set(range(len(TABLE)))
            elif kind == BOOK_LEVEL:
                if row["flags"] & SNAPSHOT:
                    self.trusted.add(sym)
                # Nothing of a book counts between a gap and the next snapshot.
                assert sym in self.trusted

    def do(self, what: str) -> None:
        session, now, dice = self.session, self.now, self.dice
        symbol = dice.choice((*SYMBOLS, "SOL/USD"))
        if what == "connect":
            before = session.phase
            self.take(session.connecting(now))
            if before is Phase.WAITING and session.phase is Phase.CONNECTING:
                self.attempts.append(now)
                recent = [each for each in self.attempts if now - each < 600 * SECOND]
                assert len(recent) <= BUDGET
        elif what == "open":
            self.take(session.opened(now))
        elif what == "close":
            self.take(session.closed(dice.choice((1000, 1001, 1006)), "away", now))
            self.open.clear()
            if session.phase is Phase.WAITING:
                assert session.subscriptions.count()["idle"] == len(session.subscriptions.by_key)
        elif what == "status":
            self.frame(say.status(dice.choice(("online", "maintenance", "post_only", "odd"))))
        elif what == "heartbeat":
            self.frame(say.HEARTBEAT)
        elif what in ("snapshot", "update", "wrong"):
            kind = "snapshot" if what == "snapshot" else "update"
            self.frame(say.book(symbol, kind, checksum=0 if what == "wrong" else 1))
        elif what == "garbage":
            self.frame(dice.randbytes(dice.randint(0, 20)))
        elif what == "cut":
            whole = say.book(symbol)
            self.frame(whole[: dice.randint(0, len(whole) - 1)])
        elif what in ("accept", "refuse") and self.open:
            request = self.open.pop(dice.randrange(len(self.open)))
            for each in request["params"].get("symbol", [""]):
                if what == "refuse":
                    words = dice.choice(ERRORS)
                    self.frame(say.refused(request["req_id"], words, each, request["method"]))
                else:
                    channel = request["params"]["channel"]
                    self.frame(say.accepted(request["req_id"], channel, each, request["method"]))
        elif what == "wait":
            self.now += dice.choice((1, SECOND // 10, SECOND, 7 * SECOND, 90 * SECOND))
            self.take(session.tick(self.now))
        elif what == "dropped":
            self.take(session.dropped(3, now - 1, now))
        elif what == "refresh":
            self.take(session.refresh((symbol,), now))
        elif what == "want":
            some = tuple(each for each in SYMBOLS if dice.random() < 0.7)
            self.take(session.want((Wish("book", some, (("depth", 10),)),) if some else (), now))

    def frame(self, frame: bytes) -> None:
        before = self.session.phase
        step = self.session.received(frame, self.now)
        if before not in CONNECTED:
            assert not len(step.rows())
            assert not step.send
        self.take(step)


WORDS = (
    *("connect", "open", "close", "status", "heartbeat", "snapshot", "update", "wrong"),
    *("garbage", "cut", "accept", "refuse", "wait", "dropped", "refresh", "want"),
)
# Most of a connection's life is uneventful; without this bias few books would ever be live.
STORY = ("connect", "open", "status", "accept", "accept", "snapshot", "snapshot", "snapshot")


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    alone=st.booleans(),
    script=st.lists(
        st.one_of(st.sampled_from(WORDS), st.just("story"), st.just("update")), max_size=60
    ),
)
def test_no_sequence_of_inputs_breaks_what_must_hold(seed, alone, script) -> None:
    play = Play(seed, alone)
    for what in script:
        for each in STORY if what == "story" else (what,):
            play.do(each)


@pytest.mark.parametrize("alone", [True, False])
def test_a_connection_that_is_left_alone_comes_back_from_anywhere(alone) -> None:
    """After any story, once the venue behaves, every book is trusted again within minutes."""
    for seed in range(12):
        play = Play(seed, alone)
        for _ in range(80):
            play.do(play.dice.choice((*WORDS, *STORY)))
        play.take(
            play.session.want(
                (Wish("book", SYMBOLS, (("depth", 10),)), Wish("trade", SYMBOLS)), play.now
            )
        )
        honest(play, seconds=700)

        live = [each.state for each in play.session.subscriptions]
        assert set(live) == {Sub.LIVE}, (seed, play.session.subscriptions.count())
        assert play.trusted == {TABLE.index(each) for each in SYMBOLS}


def honest(play: Play, seconds: int) -> None:
    """The venue of the documentation: speaks first, answers everything, sends what it promised."""
    session = play.session
    if session.phase in CONNECTED:
        play.frame(say.status())
    for _ in range(seconds):
        play.now += SECOND
        if session.phase is Phase.CLOSING or session.phase is Phase.CONNECTING:
            play.take(session.closed(1006, "", play.now))
            play.open.clear()
        if session.phase is Phase.WAITING:
            play.do("connect")
            if session.phase is Phase.CONNECTING:
                play.take(session.opened(play.now))
                play.frame(say.status())
        if session.phase in CONNECTED:
            play.frame(say.HEARTBEAT)
            play.take(session.tick(play.now))
        while play.open and session.phase in CONNECTED:
            request = play.open.pop(0)
            channel = request["params"]["channel"]
            for each in request["params"]["symbol"]:
                play.frame(say.accepted(request["req_id"], channel, each, request["method"]))
            if request["method"] == "subscribe" and channel == "book":
                for each in request["params"]["symbol"]:
                    play.frame(say.book(each, "snapshot"))
        if session.phase in CONNECTED:
            for each in SYMBOLS:
                play.frame(say.book(each))


def test_every_state_has_a_way_out_and_a_way_in() -> None:
    assert {phase for phase, _ in NEXT} == set(Phase) - {Phase.STOPPED}
    assert set(NEXT.values()) == set(Phase)
    assert {happened for _, happened in NEXT} == set(Input)
    assert {state for state, _ in SUB_NEXT} == set(Sub)
    assert set(SUB_NEXT.values()) == set(Sub)
    assert {happened for _, happened in SUB_NEXT} == set(Happening)
