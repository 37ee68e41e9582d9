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

from adapters.attending import Attending, Several
from adapters.kraken.keys import Redactor, Secret
from adapters.kraken.order_state import id_of_cl_ord_id
from adapters.kraken.orders import order_key
from adapters.kraken.phases import SECOND
from adapters.kraken.settle import Patience
from adapters.live import Ran, Running, run_session
from adapters.local_venue import ApiKey, LocalVenue, VenueOptions, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.clock import VenueClock
from adapters.local_venue.faults import Fault
from adapters.local_venue.keys import DEMO_SECRET
from adapters.sessions import LOG, verify
from adapters.start import Ready, held_account, plan_session
from adapters.trading import prepare_trading
from adapters.watching import Watch
from engine import commands as c
from engine.alerts import ALERTS
from engine.clock import WallClock
from engine.core.protection import COVER_PROTECTED
from engine.events import (
    EVENT,
    HEALTH,
    HEALTH_ACCOUNT_LOST,
    HEALTH_RECONCILED,
    MODE_NORMAL,
    ORDER_COMMAND,
    ORDER_FILL,
    ORDER_SENT,
)
from engine.flow.journal import RECORDS, commands_of
from engine.flow.log import LogReader

SYMBOLS = ("BTC/USD", "ETH/USD")
HISTORY_S = 960  # the regime asks for a quarter of an hour
SPEED = 20.0
STORY_S = 25.0  # of the machine: a story that takes longer has failed
FAMILY = f"{Path(__file__).with_name('always.py')}:always"
PROFILE: dict[str, Any] = {
    "plugins": [FAMILY],
    "run": {"name": "faults", "cash": 10_000},
    "evaluation": {"warmup": "1s"},
    "families": {"always": {"enabled": True}},
    "exits": {"time_multiple": 3.0},
    "readiness": {
        "net_min_bps": -1000.0,
        "capturable_min": 0.0,
        "fill_prob_min": 0.0,
        "spread_max_bps": 1000.0,
        "exit_drag_max_bps": 10000.0,
        "touch_multiple": 0.0,
        "queue_wait_max_s": 1000000.0,
        "exit_drag_below_move": False,
    },
    "regime": {"depth_min": 0.0, "spread_low_liquidity_bps": 1000.0},
    "live": {
        "symbols": list(SYMBOLS),
        "endpoint": "local",
        "allow_orders": True,
        "depth": 10,
        "deadline": "5s",
        "quarantine": "10s",
        "reconcile_every": "20s",
    },
}
PATIENCE = Patience(
    deadline=5 * SECOND, quarantine=10 * SECOND, every=20 * SECOND,
    retry=(2 * SECOND, 4 * SECOND), overlap=5 * SECOND,
)  # fmt: skip

Condition = Callable[[], Any]
Story = Callable[["Scene"], Iterator[Condition]]


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for name, value in other.items():
        deep = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = merged(found[name], value) if deep else value
    return found


class MarketClock:
    """The venue's market time. `step` : what a test adds to it, as a clock that is set does."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock, self.speed, self.step = clock, clock.speed, 0

    def now(self) -> int:
        return self._clock.market(self._clock.wall()) + self.step

    def seconds_until(self, ts: int) -> float:
        return (ts - self.now()) / 1e9 / self.speed


class Scene(Attending):
    """One session as its story sees it."""

    def __init__(
        self, desk: FaultDesk, name: str, story: Story, ended: list[asyncio.Event]
    ) -> None:
        self.desk, self.name = desk, name
        self.watch: Any = None
        self.running: Running = None  # type: ignore[assignment]
        self.clock: Any = None
        self.told: list[tuple[str, str]] = []  # code, facts, as raised
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

    def second(self, running: Running, now: int) -> None:
        self.step()

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
        return sum(each.kind == kind for each in self.desk.venue.faults.done[self.desk.n_before :])

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

    def __init__(self, folder: Path, venue: LocalVenue, loop: asyncio.AbstractEventLoop) -> None:
        self.folder, self.venue, self.loop = folder, venue, loop
        self.n_before = 0
        self.before: Path | None = None

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
        self, name: str, mode: str = "live", profile: Mapping[str, Any] | None = None
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
        }
        given = merged(merged(PROFILE, where), profile or {})
        ready = plan_session(None, mode, given, {"KAPITAALBOT_LIVE": "local"}, seed=1)
        plan = replace(
            ready.plan,
            hosts=replace(ready.plan.hosts, public=self.venue.public_url),
            clock=MarketClock(self.venue.clock),  # type: ignore[arg-type]
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
        for_s: float = STORY_S,
    ) -> Scene:
        """Run a session of account `name` through its story; as adapters/operate.py does."""
        from adapters.operate import _Remember

        ended: list[asyncio.Event] = []
        scene = Scene(self, name, story, ended)
        self.n_before = len(self.venue.faults.done)
        ready = change(self.ready(name, mode, profile))
        scene.clock = ready.plan.clock
        redactor = Redactor()
        redactor.add(Secret(DEMO_SECRET))
        failure: BaseException | None = None
        try:
            with held_account(ready, take_over) as lease:
                watch = scene.watch = Watch(ready, lease, redactor.clean, None, lines=False)
                tell = watch.alerts.tell

                def listen(code: str, /, **facts: Any) -> Any:
                    scene.told.append((code, json.dumps(facts, default=str)))
                    return tell(code, **facts)

                def deliver(title: str, body: str) -> bool:
                    scene.bodies.append(f"{title}\n{body}")
                    return True

                def say(level: str, text: str) -> None:
                    scene.said.append(f"{level} {text}")
                    watch.say(level, text)

                watch.alerts.tell = listen  # type: ignore[method-assign]
                watch.alerts._deliver = deliver
                prepare = None
                if ready.gate.may_send:
                    prepare = prepare_trading(ready, lease, say, PATIENCE)
                scene.ran = run_session(
                    ready.plan,
                    attending=Several((_Remember(ready), watch, scene), scene.said.append),
                    prepare=prepare,
                    stop=ended.append,
                    for_s=for_s,
                    talk=scene.said.append,
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
    return f"{line}; {state}; told {scene.codes()}; said {scene.said[-12:]}"


def key_of(name: str) -> str:
    return "fault" + name.ljust(20, "x")


def read_log(run: Path) -> np.ndarray:
    batches = list(LogReader(run / LOG, tail="stop"))
    return np.concatenate(batches) if batches else np.zeros(0, EVENT)


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


def commands_in(rows: np.ndarray) -> np.ndarray:
    mine = rows[rows["kind"] == ORDER_COMMAND]
    return commands_of(mine[: len(mine) // RECORDS * RECORDS])


def added(rows: np.ndarray) -> list[int]:
    commands = commands_in(rows)
    return [int(each) for each in commands["id"][commands["kind"] == c.ADD]]


@contextmanager
def fault_desk(
    folder: Path, names: tuple[str, ...], speed: float = SPEED, **options: Any
) -> Iterator[FaultDesk]:
    """A desk whose sessions have a history; `names` are its accounts."""
    compile_venue()
    keys = [ApiKey(key_of(each)) for each in names]
    chosen = VenueOptions(
        rest_limits=False, connections_max=0, fee_schedule="zero", rate_limits=False, **options
    )
    ready, box = threading.Event(), {}

    async def go() -> None:
        ended = asyncio.Event()
        async with serve(
            generated(7), speed=HISTORY_S / 6, options=chosen, keys=keys, record=False
        ) as venue:
            box.update(venue=venue, loop=asyncio.get_running_loop(), ended=ended)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(go()))
    thread.start()
    assert ready.wait(60)
    try:
        desk = FaultDesk(folder, box["venue"], box["loop"])

        def listen(scene: Scene) -> Iterator[Condition]:
            yield lambda: scene.now > 0
            yield scene.after(HISTORY_S)

        seen = desk.session(
            names[0], listen, mode="shadow", profile={"families": {"always": {"enabled": False}}}
        )
        assert seen.ran is not None
        desk.before = seen.ran.folder
        desk.run_at(speed)
        yield desk
    finally:
        box["loop"].call_soon_threadsafe(box["ended"].set)
        thread.join()
