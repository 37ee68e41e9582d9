"""Whole live sessions beside one venue in this process, struck by faults at the moment that a test names.

One venue serves them all, an account each; a session in shadow heard the market for a quarter of an hour
before, and its core is what every other begins with, so that it may trade at once. A test is a story: a
generator that is given the `Scene` and yields what must become true before it goes on. Between two
such moments it strikes, heals and looks; when it ends, the session is stopped and `judge` holds what it
believes against the venue's books, which share no code with it, and reads its log again.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apprise.decorators import notify

from adapters.alerts import Alerts
from adapters.attending import Attending
from adapters.kraken.account import id_of_cl_ord_id
from adapters.kraken.orders import order_key
from adapters.kraken.phases import SECOND
from adapters.live import Ran
from adapters.local_venue import ApiKey, LocalVenue, VenueOptions, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.clock import VenueClock
from adapters.local_venue.faults import Done, Fault
from adapters.local_venue.keys import DEMO_SECRET
from adapters.operate import operate
from adapters.running import Running
from adapters.sessions import verify
from adapters.start import Ready, plan_session
from adapters.watching import Watch
from engine import commands as c
from engine.alerts import ALERTS
from engine.clock import WallClock
from engine.core.protection import COVER_PROTECTED
from engine.core.records import REASONS
from engine.core.tape import S_SECOND, S_VOL
from engine.events import (
    HEALTH,
    HEALTH_ACCOUNT_LOST,
    HEALTH_RECONCILED,
    MODE_NORMAL,
    ORDER_FILL,
    ORDER_SENT,
)
from engine.live_gate import FLAG
from tests.support.desks import (
    SYMBOLS,
    added,
    commands_in,
    eager_profile,
    families_compiled_once,
    merged,
    read_log,
)

# The regime asks for the volatility of 300 seconds of the last hour.
SECONDS_HEARD = 360
HISTORY_LASTS_S = 2400
HISTORY_SPEED = 60.0
SPEED = 20.0
LAG_NS = SECOND // 10  # of the market: so long may the venue keep still
STORY_S = 60.0  # of the machine: a story that takes longer has failed
PROFILE: dict[str, Any] = eager_profile(
    "faults",
    families={"rehearsal": {"params": {"move_bps": 40.0}}},
    exits={"time_multiple": 3.0},
    gates={"clock_max": "15s"},  # a moment of a busy machine is seconds of this market
    live={"deadline": "5s", "quarantine": "10s", "reconcile_every": "20s"},
)

Condition = Callable[[], Any]
Story = Callable[["Scene"], Iterator[Condition]]


class MarketClock:
    """The venue's market time. `step` : what a test adds to it, as a clock that is set does.

    A busy machine may leave the venue behind its own pace: then this clock waits for it.
    """

    def __init__(self, venue: LocalVenue) -> None:
        self._core, self._clock = venue.core, venue.clock
        self.speed, self.step = venue.clock.speed, 0

    def now(self) -> int:
        there = self._clock.market(self._clock.wall())
        return min(there, self._core.now + LAG_NS) + self.step

    def seconds_until(self, ts: int) -> float:
        return (ts - self.now()) / 1e9 / self.speed


class Scene(Attending):
    """One session as its story sees it."""

    def __init__(
        self, desk: FaultDesk, name: str, story: Story, ended: list[asyncio.Event]
    ) -> None:
        self.desk, self.name = desk, name
        self.running: Running = None  # type: ignore[assignment]
        self.clock: Any = None
        self.alerts: Alerts | None = None
        self.told: list[tuple[str, str]] = []  # code, facts, as raised
        self.alerts: Alerts | None = None
        self.bodies: list[str] = []  # messages as a person gets them
        self.said: list[str] = []
        self.failure: BaseException | None = None
        self.finished = False
        self.n_events = self.n_reconciled = self.n_lost = 0
        self.ran: Ran | None = None
        self._story = story(self)
        self._ended = ended
        self._waits: Condition = lambda: True
        self.stop_ts = 0
        self.decisions: list[tuple[int, str, str]] = []  # when, of which pair, why no entry

    # --- what the session calls ---

    def begin(self, running: Running) -> None:
        self.running = running
        self.step()

    def learned(self, rows: np.ndarray) -> None:
        self.n_events += len(rows)
        said = rows[rows["kind"] == HEALTH]["id"]
        self.n_reconciled += int((said == HEALTH_RECONCILED).sum())
        self.n_lost += int((said == HEALTH_ACCOUNT_LOST).sum())
        self.step()

    def recorded(self, table: str, rows: np.ndarray) -> None:
        # Handed on about once a second of the machine, so a while after it was decided.
        if table == "decisions":
            for row in rows:
                reason, _ = REASONS[int(row["blocker"])]
                self.decisions.append((int(row["ts"]), SYMBOLS[row["sym"]], reason))

    def reasons(self, since: int, symbol: str = "") -> Counter[str]:
        """Why nothing was bought in all decisions after `since`, as far as they were handed on."""
        return Counter(
            reason for ts, pair, reason in self.decisions if ts > since and symbol in ("", pair)
        )

    def second(self, running: Running, now: int) -> None:
        self._read_alerts()
        self.step()

    def _read_alerts(self) -> None:
        """Its person reads what is critical, as soon as it came.

        Else a busy machine, whose stop took longer than it may once, would have no entry any more.
        """
        if self.alerts is None:
            return
        for each in self.alerts.open_list():
            if any(each["code"] in body for body in self.bodies):
                self.alerts.acknowledge(each["number"])

    def step(self) -> None:
        try:
            while not self.finished and self.failure is None and self._waits():
                self._waits = next(self._story)
        except StopIteration:
            self.finished, self.stop_ts = True, self.now
            self._stop()
        except BaseException as error:
            self.failure = error
            self._stop()

    def _stop(self) -> None:
        for each in self._ended:
            each.set()

    # --- what a story looks at ---

    @property
    def core(self) -> Any:
        return self.running.built.core

    @property
    def glob(self) -> Any:
        return self.core.glob[0]

    @property
    def now(self) -> int:
        return int(self.glob["now"])

    @property
    def books(self) -> Any:
        """The account at the venue."""
        return self.client.account

    @property
    def client(self) -> Any:
        return self.desk.venue.core.clients[key_of(self.name)]

    @property
    def mode(self) -> int:
        return int(self.glob["mode"])

    @property
    def clean(self) -> bool:
        """Reconciled, and entries are allowed again."""
        ready = self.mode == MODE_NORMAL and not self.glob["reconcile"]
        return bool(self.n_reconciled) and ready

    def codes(self) -> list[str]:
        return [code for code, _ in self.told]

    def raised(self, code: str) -> bool:
        return code in self.codes()

    def orders(self, role: int = 0, open_only: bool = False) -> np.ndarray:
        orders = self.core.orders
        mine = orders["id"] > 0
        if role:
            mine &= orders["role"] == role
        if open_only:
            mine &= orders["ts_done"] == 0
        return orders[mine]

    def held(self) -> np.ndarray:
        """Rows of the symbols that are held."""
        return np.flatnonzero(self.core.symbols["position"]["qty"] > 0)

    def protected(self) -> bool:
        """Something is held, and all of it is covered by stops that rest at the venue."""
        held = self.held()
        if not len(held):
            return False
        positions = self.core.symbols["position"][held]
        return bool((positions["coverage"] == COVER_PROTECTED).all()) and any(
            each.side < 0 for each in self.open_at_venue()
        )

    def open_at_venue(self) -> list[Any]:
        client = self.desk.venue.core.clients.get(key_of(self.name))
        return [] if client is None else list(client.account.open.copy().values())

    def orders_at_venue(self) -> list[Any]:
        client = self.desk.venue.core.clients.get(key_of(self.name))
        return [] if client is None else list(client.account.orders.copy().values())

    def told_sentence(self, code: str) -> bool:
        """Did a person get what the table says of this code, with what they must do?"""
        alert = ALERTS[code]
        return any(code in each and alert.what in each and alert.do in each for each in self.bodies)

    def events(self, kind: int, id: int | None = None) -> np.ndarray:
        """Rows of the log so far."""
        self.running.log.flush()
        rows = read_log(self.running.folder)
        mine = rows["kind"] == kind
        return rows[mine if id is None else mine & (rows["id"] == id)]

    def after(self, seconds: float) -> Condition:
        """So much market time from now."""
        until = self.now + int(seconds * SECOND)
        return lambda: self.now >= until

    # --- what a story does ---

    def strike(self, **fault: Any) -> None:
        self.desk.strike(**fault)

    def heal(self) -> None:
        self.desk.heal()

    def struck(self, kind: str) -> int:
        """How often a fault of this kind struck since the session began: the reach counter."""
        return len(self.done(kind))

    def done(self, kind: str) -> list[Done]:
        """What faults of this kind did since the session began."""
        done = self.desk.venue.faults.done[self.desk.n_before :]
        return [each for each in done if each.kind == kind]

    def acknowledge(self) -> None:
        """A person has read what was told: until then nothing enters."""
        assert self.alerts is not None
        self.alerts.acknowledge()

    def by_hand(self, method: str, **params: Any) -> None:
        """Somebody else asks on the same account, over a connection of his own."""
        core = self.desk.venue.core

        def ask() -> None:
            conn = core.opened("private")
            token = self.desk.venue.new_token(key_of(self.name))
            request = {"method": method, "params": {**params, "token": token}, "req_id": 1}
            core.received(conn, json.dumps(request))

        self.desk.at_venue(ask)

    def n_buys(self) -> int:
        return sum(each.side > 0 for each in self.orders_at_venue())


class FaultDesk:
    """One venue in a thread, its fault script in the hands of stories."""

    def __init__(
        self, folder: Path, venue: LocalVenue, loop: asyncio.AbstractEventLoop, listener: str
    ) -> None:
        self.folder, self.venue, self.loop = folder, venue, loop
        self.n_before = 0
        self.before: Path | None = None
        self._hearing = False
        self._listener, self._heard_ts = listener, -HISTORY_LASTS_S * SECOND

    def at_venue(self, call: Callable[[], Any]) -> Any:
        """Do something in the venue's own thread and wait for it."""

        async def run() -> Any:
            self.venue._advance()
            found = call()
            self.venue._deliver()
            self.venue._wake.set()
            return found

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def strike(self, **fault: Any) -> None:
        self.at_venue(lambda: self.venue.faults.add(Fault(**fault)))

    def heal(self) -> None:
        def back() -> None:
            self.venue.faults.heal()
            self.venue.core.set_system("online")
            for symbol in SYMBOLS:
                self.venue.core.set_pair_status(symbol, "online")

        self.at_venue(back)

    def run_at(self, speed: float) -> None:
        def change() -> None:
            clock = self.venue.clock
            self.venue.clock = VenueClock(WallClock(), clock.market(clock.wall()), speed)

        self.at_venue(change)

    def ready(
        self,
        name: str,
        mode: str = "live",
        profile: Mapping[str, Any] | None = None,
        flag: str = "local",
    ) -> Ready:
        """What `plan_session` decides for account `name` of this venue."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        keys = place / "keys.toml"
        if not keys.exists():
            keys.touch(0o600)
            keys.write_text(f'key = "{key_of(name)}"\nsecret = "{DEMO_SECRET}"\n')
        place.chmod(0o700)
        where = {
            "run": {"out": str(place / "runs")},
            "live": {"state": str(place / "state"), "keys": f"file:{keys}"},
            "alerts": {"urls": [f"faultdesk://{name}"]},
        }
        given = merged(merged(PROFILE, where), profile or {})
        ready = plan_session(None, mode, given, {FLAG: flag}, seed=1)
        plan = replace(
            ready.plan,
            hosts=replace(ready.plan.hosts, public=self.venue.public_url),
            clock=MarketClock(self.venue),  # type: ignore[arg-type]
            previous=ready.plan.previous or self.before,
        )
        where_to = replace(
            ready.addresses, private=self.venue.private_url, rest=self.venue.rest_url
        )
        return replace(ready, plan=plan, addresses=where_to)

    def session(
        self,
        name: str,
        story: Story,
        *,
        mode: str = "live",
        profile: Mapping[str, Any] | None = None,
        change: Callable[[Ready], Ready] = lambda ready: ready,
        fails: type[BaseException] | None = None,
        take_over: bool = False,
        flag: str = "local",
        for_s: float = STORY_S,
    ) -> Scene:
        """Operate a session of account `name` through its story."""
        self.heal()  # whatever a story before was kept from healing
        self._hear_market()
        self._close_others(name)
        ended: list[asyncio.Event] = []
        scene = Scene(self, name, story, ended)
        self.n_before = len(self.venue.faults.done)
        ready = change(self.ready(name, mode, profile, flag))
        scene.clock = ready.plan.clock
        failure: BaseException | None = None
        try:
            with overheard(scene):
                scene.ran = operate(
                    ready,
                    stop=ended.append,
                    for_s=for_s,
                    take_over=take_over,
                    talk=scene.said.append,
                    lines=False,
                    more=(scene,),
                )
        except BaseException as error:
            failure = error
        finally:
            self.heal()
        if scene.failure is not None:
            raise scene.failure
        if fails is not None:
            assert isinstance(failure, fails), (failure, scene.said[-20:])
            scene.failure = failure
        elif failure is not None:
            raise failure
        elif not scene.finished:
            raise AssertionError(f"the story stands still at {where(scene)}")
        return scene

    def _close_others(self, name: str) -> None:
        """Accounts of tests before: the market is played to each, and a venue of many is slow."""

        def close() -> None:
            clients = self.venue.core.clients
            for key in clients.keys() - {key_of(name)}:
                del clients[key]

        self.at_venue(close)

    def _hear_market(self) -> None:
        """Let a session in shadow listen to the market, if none has lately: others take it up."""
        if self._hearing or self.venue.core.now - self._heard_ts < HISTORY_LASTS_S * SECOND:
            return

        began = self.venue.core.now

        def listen(scene: Scene) -> Iterator[Condition]:
            yield lambda: scene.now > began
            since = scene.now
            yield lambda: seconds_heard(scene, since) >= SECONDS_HEARD

        # Known as heard only once it was: else every story after one that failed here has no history.
        self._hearing = True
        speed = self.venue.clock.speed
        self.run_at(HISTORY_SPEED)
        asleep = {"families": {"rehearsal": {"enabled": False}}}
        try:
            seen = self.session(self._listener, listen, mode="shadow", profile=asleep, for_s=600.0)
        finally:
            self._hearing = False
            self.run_at(speed)
        assert seen.ran is not None
        self.before, self._heard_ts = seen.ran.folder, self.venue.core.now

    # --- the judgement ---

    def judge(self, scene: Scene, *, orders: int = 1) -> None:
        """Fills once and as the venue's books have them, no id placed twice, all of it replays."""
        books = scene.books
        runs = sorted(
            each for each in (self.folder / scene.name / "runs").iterdir()
            if (each / "session.json").is_file()
        )  # fmt: skip
        logs = [read_log(each) for each in runs]
        for each in runs:
            proof = verify(each)
            assert proof.ok, proof.difference and proof.difference.text(proof.symbols)
        mine = {
            id: order
            for order in books.orders.copy().values()
            if (id := id_of_cl_ord_id(order.cl_ord_id))
        }
        assert len(mine) >= orders, "the session did not trade"
        placed = Counter(each.cl_ord_id for each in books.orders.copy().values() if each.cl_ord_id)
        assert [id for id, n in placed.items() if n > 1] == []
        journaled = Counter(id for rows in logs for id in added(rows))
        assert [id for id, n in journaled.items() if n > 1] == []
        assert set(mine) <= set(journaled), "an order left before its intent was in the log"

        for rows in logs:
            no_entry_in_doubt(rows)
        fills = {
            order_key(fill.exec_id): (order, fill)
            for order, fill in list(books.fills)
            if id_of_cl_ord_id(order.cl_ord_id)
        }
        known: Counter[int] = Counter()
        for rows in logs:
            told = rows[(rows["kind"] == ORDER_FILL) & (rows["id"] > 0)]
            known.update(set(told["aux"].tolist()))
            assert len(set(told["aux"].tolist())) == len(told), "a fill was told twice"
        late = [fill for key, (_, fill) in fills.items() if key not in known]
        assert all(fill.t > scene.stop_ts for fill in late), "a fill of the venue was never told"
        core = scene.core
        table = self.venue.core.source.instruments
        for i, symbol in enumerate(SYMBOLS):
            position = core.symbols[i]["position"]
            sym = table.index(symbol)
            coins = sum(
                o.side * f.qty for key, (o, f) in fills.items() if o.sym == sym and key in known
            )
            assert position["qty"] + position["dust"] == coins, f"{symbol}: coins"
        for code, _ in scene.told:
            assert code in ALERTS


def where(scene: Scene) -> str:
    frame = scene._story.gi_frame  # type: ignore[attr-defined]
    line = "its end" if frame is None else f"line {frame.f_lineno}"
    glob = scene.glob if scene.running is not None else None
    state = "" if glob is None else f"mode {glob['mode']} reconcile {glob['reconcile']}"
    last = scene.decisions[-4:]
    return f"{line}; {state}; told {scene.codes()}; said {scene.said[-12:]}; decided {last}"


def key_of(name: str) -> str:
    return "fault" + name.ljust(20, "x")


def seconds_heard(scene: Scene, since: int) -> int:
    """Of how many seconds since then every pair has a volatility."""
    samples = scene.core.symbols["tape"]["samples"]
    told = (samples[:, :, S_SECOND] * SECOND > since) & (samples[:, :, S_VOL] >= 0)
    return int(told.sum(axis=1).min())


@contextmanager
def overheard(scene: Scene) -> Iterator[None]:
    """The scene hears what the session raises, what is said, and gets the messages of its person."""
    tell, say = Alerts.tell, Watch.say

    def listen(alerts: Alerts, code: str, /, **facts: Any) -> Any:
        scene.alerts = alerts
        scene.told.append((code, json.dumps(facts, default=str)))
        return tell(alerts, code, **facts)

    def note(watch: Watch, level: str, text: str) -> None:
        scene.said.append(f"{level} {text}")
        say(watch, level, text)

    def deliver(title: str, body: str) -> bool:
        scene.bodies.append(f"{title}\n{body}")
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Alerts, "tell", listen)
        patch.setattr(Watch, "say", note)
        patch.setitem(PERSONS, scene.name, deliver)
        yield


# Who gets the messages of an account: `faultdesk://NAME` among its alerts.urls.
PERSONS: dict[str, Callable[[str, str], bool]] = {}


@notify(on="faultdesk")  # type: ignore[untyped-decorator]
def _deliver(body: str, title: str, *_: Any, meta: Mapping[str, str], **__: Any) -> bool:
    return PERSONS[meta["host"]](title, body)


def no_entry_in_doubt(rows: np.ndarray) -> None:
    """Entries are blocked from the break of the account's stream to the next clean reconcile."""
    doubt = False
    intents = {
        int(each["id"]) for each in commands_in(rows)
        if each["kind"] == c.ADD and each["role"] == c.ROLE_ENTRY
    }  # fmt: skip
    for row in rows[np.isin(rows["kind"], (HEALTH, ORDER_SENT))]:
        if row["kind"] == HEALTH and row["id"] == HEALTH_ACCOUNT_LOST:
            doubt = True
        elif row["kind"] == HEALTH and row["id"] == HEALTH_RECONCILED:
            doubt = False
        elif row["kind"] == ORDER_SENT and row["aux"] == c.ADD:
            assert not (doubt and int(row["id"]) in intents), "an entry while in doubt"


@contextmanager
def fault_desk(
    folder: Path, names: tuple[str, ...], speed: float = SPEED, **options: Any
) -> Iterator[FaultDesk]:
    """A desk whose sessions have a history; `names` are its accounts, the first one listens."""
    compile_venue()
    keys = [ApiKey(key_of(each)) for each in names]
    chosen = VenueOptions(
        rest_limits=False, connections_max=0, fee_schedule="zero", rate_limits=False, **options
    )
    ready, box = threading.Event(), {}

    async def go() -> None:
        ended = asyncio.Event()
        async with serve(
            generated(7), speed=speed, options=chosen, keys=keys, record=False
        ) as venue:
            box.update(venue=venue, loop=asyncio.get_running_loop(), ended=ended)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(go()))
    thread.start()
    assert ready.wait(60)
    try:
        with families_compiled_once():
            yield FaultDesk(folder, box["venue"], box["loop"], names[0])
    finally:
        box["loop"].call_soon_threadsafe(box["ended"].set)
        thread.join()
