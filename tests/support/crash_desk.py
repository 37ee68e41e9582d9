"""Sessions that are killed and started again beside one venue, and the judgement on what is left.

One local venue serves all of them, an account each; its books share no code with the core and are
the oracle. `Desk.session` runs one process (crash_nursery.py), `Desk.judge` holds the logs, the core
that the last one left and the venue's books against each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

from adapters.kraken.order_state import id_of_cl_ord_id
from adapters.kraken.orders import order_key
from adapters.lease import open_folder
from adapters.local_venue import ApiKey, LocalVenue, VenueOptions, generated
from adapters.local_venue.account import compile_venue
from adapters.local_venue.clock import VenueClock
from adapters.sessions import LOG, Started, last_state, verify
from adapters.start import remember_run
from engine.clock import WallClock
from engine.core.protection import COVER_AMENDING, COVER_PROTECTED
from engine.events import HEALTH, HEALTH_RECONCILED, ORDER_FILL
from engine.flow.log import LogReader
from tests.support.capture_venue import running_venue
from tests.support.crash_nursery import SECOND
from tests.support.desks import added, eager_profile, merged, read_log

ROOT = Path(__file__).resolve().parents[2]
HISTORY_S = 930  # before a session may trade: the regime needs a quarter of an hour
HISTORY_SPEED = 300.0
KILLED = -9

# Exits so early that all kinds of orders come by.
PROFILE: dict[str, Any] = eager_profile(
    "crash", exits={"time_multiple": 0.5}, live={"snapshot_every": "5s"}
)


class Desk:
    """One venue, one nursery, and as many accounts as are asked for."""

    def __init__(self, folder: Path, venue: LocalVenue, speed: float) -> None:
        self.folder, self.venue, self.speed = folder, venue, speed
        self.before: Path | None = None
        self._n = 0
        self._lock, self._judging = threading.Lock(), threading.Lock()
        self._ended: dict[int, Queue[dict[str, Any]]] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash_nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "nursery.txt").open("w"),
            text=True,
        )
        assert self._process.stdout is not None
        json.loads(self._process.stdout.readline())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self._ended[told["id"]].put(told)
        for each in self._ended.values():
            each.put({"exit": 99})

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """Hand a job to the nursery and wait for its end."""
        assert self._process.stdin is not None
        box: Queue[dict[str, Any]] = Queue()
        with self._lock:
            self._n += 1
            job["id"] = self._n
            self._ended[self._n] = box
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        return box.get(timeout=150)

    def run_at(self, speed: float) -> None:
        """From now on the market runs so fast."""
        clock = self.venue.clock
        self.venue.clock = VenueClock(WallClock(), clock.market(clock.wall()), speed)
        self.speed = speed

    def place(self, name: str) -> Path:
        """The folder of one account."""
        return self.folder / name.replace(" ", "_")

    def session(
        self,
        name: str,
        hook: str = "",
        goal: str = "none",
        *,
        mode: str = "live",
        for_s: float = 20.0,
        linger_s: float = 6.0,
        history_s: float = HISTORY_S,
        profile: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run a session of account `name` in a process of its own; what it told, and its exit."""
        place = self.place(name)
        place.mkdir(exist_ok=True)
        n = len(list(place.glob("result-*.json")))
        wall = self.venue.clock.wall()
        where = {"run": {"out": str(place / "runs")}, "live": {"state": str(place / "state")}}
        job = {
            "key": key_of(name), "hook": hook, "goal": goal, "mode": mode, "for_s": for_s,
            "linger_s": linger_s, "history_s": history_s, "remember": "live",
            "time": (wall, self.venue.clock.market(wall), self.speed),
            "urls": {
                "public": self.venue.public_url,
                "private": self.venue.private_url,
                "rest": self.venue.rest_url,
            },
            "profile": merged(merged(PROFILE, where), profile or {}),
            "result": str(place / f"result-{n}.json"),
            "notes": str(place / f"notes-{n}.json"),
        }  # fmt: skip
        if self.before is not None and n == 0:
            remember_run(open_folder(place / "state" / "main"), "live", self.before)
        told = self.ask(job)
        result = Path(job["result"])
        facts = json.loads(result.read_text()) if result.is_file() else {}
        result.touch()
        return facts | {"exit": told["exit"]}

    def runs(self, name: str) -> list[Path]:
        """The runs of one account, oldest first."""
        folder = self.place(name) / "runs"
        return runs_in(folder)

    # --- the judgement ---

    def books(self, name: str) -> Any:
        return self.venue.core.clients[key_of(name)].account

    def judge(self, name: str, stop_ts: int) -> dict[str, Any]:
        """Nothing lost, nothing doubled, nothing uncovered; logs that replay. Returns some figures."""
        with self._judging:  # families are compiled again each time, one thread at a time
            return judge(
                self.runs(name), self.books(name), self.venue.core.source.instruments, stop_ts
            )


def judge(runs: list[Path], books: Any, table: Any, stop_ts: int) -> dict[str, Any]:
    """Nothing lost, nothing doubled, nothing uncovered; logs that replay. Returns some figures.

    runs : of one account, oldest first; books : the account at the venue; table : its pairs
    stop_ts : up to here (market time) the last session had heard of everything
    """
    events = [read_log(each) for each in runs]
    proofs = [verify(each) for each in runs]
    core = last_state(runs[-1]).built.core
    for proof in proofs:
        assert proof.ok, proof.difference and proof.difference.text(proof.symbols)

    # One placing per client id, each of them in the log before it was on the wire.
    placed = Counter(each.cl_ord_id for each in books.orders.values())
    assert None not in placed, "an order without a name of ours"
    assert [id for id, n in placed.items() if n > 1] == []
    journaled = Counter(id for rows in events for id in added(rows))
    ids = {id_of_cl_ord_id(each) for each in placed}
    assert ids <= set(journaled), "an order left before its intent was in the log"
    assert [id for id, n in journaled.items() if n > 1] == []

    # Every fill of the books, and no other.
    fills = {order_key(fill.exec_id): (order, fill) for order, fill in books.fills}
    known = {
        int(row["aux"])
        for rows in events
        for row in rows[(rows["kind"] == ORDER_FILL) & (rows["id"] > 0)]
    }
    assert known <= set(fills)
    late = [fill for key, (_, fill) in fills.items() if key not in known]
    assert all(each.t > stop_ts for each in late), "a fill of the venue was never told"

    # Coins and cash are those fills, each once; price * qty and fees as the venue booked them.
    told = [fills[key] for key in known]
    mine = {each.symbol: i for i, each in enumerate(LogReader(runs[-1] / LOG).instruments)}
    for symbol, i in mine.items():
        sym = table.index(symbol)
        position = core.symbols[i]["position"]
        coins = sum(o.side * f.qty for o, f in told if o.sym == sym)
        assert position["qty"] + position["dust"] == coins, f"{symbol}: coins"
    spent = sum(order.side * fill.cost + fill.fee for order, fill in told)
    slack = 10_000 * (1 + len(told))  # the venue rounds each to a ten-thousandth
    assert abs(int(core.glob[0]["cash"]) - (10_000 * 10**8 - spent)) <= slack, "cash"

    # Nothing uncovered for longer than the core allows itself.
    now = int(core.glob[0]["now"])
    allowed = int(core.params[0]["exits_unprotected_max_ns"]) + 2 * SECOND
    n_held = 0
    for symbol, i in mine.items():
        position = core.symbols[i]["position"]
        if position["qty"] == 0:
            continue
        n_held += 1
        resting = sum(
            each.qty - each.filled
            for each in books.open.values()
            if each.side < 0 and each.sym == table.index(symbol)
        )
        if position["uncovered_ts"] > 0:
            bare_s = (now - position["uncovered_ts"]) / 1e9
            assert now - position["uncovered_ts"] < allowed, (
                f"{symbol} uncovered {bare_s} s, {position['coverage']}"
            )
        elif position["coverage"] in (COVER_PROTECTED, COVER_AMENDING) and not late:
            assert resting >= position["covered"] > 0, f"{symbol}: no stop rests"
    # And by the books alone: while a session is there, what is held has sells for it that rest.
    begin = int(events[-1]["ts"][0])
    bare_s = {symbol: longest_bare(books, table.index(symbol), begin, now) / 1e9 for symbol in mine}
    # Whatever is open there is an order that the core works with.
    open_ids = {int(each["id"]) for each in core.orders if each["id"] > 0 and not each["ts_done"]}
    strange = [
        each.cl_ord_id
        for each in books.open.values()
        if id_of_cl_ord_id(each.cl_ord_id) not in open_ids
    ]
    assert strange == [], "open at the venue, and ended for the core"
    reconciled = events[-1][
        (events[-1]["kind"] == HEALTH) & (events[-1]["id"] == HEALTH_RECONCILED)
    ]
    assert len(reconciled), "the last session never reconciled"
    return {
        "runs": len(runs), "orders": len(books.orders), "fills": len(fills), "held": n_held,
        "events": [each.n_events for each in proofs], "bare_s": max(bare_s.values()),
    }  # fmt: skip


def longest_bare(books: Any, sym: int, start: int, stop: int) -> int:
    """How long, at most, more of a pair was held than its open sells cover, ns, by the venue's books."""
    changes: list[tuple[int, int, int]] = []  # time, coins, cover
    for order, fill in books.fills:
        if order.sym == sym:
            changes.append((fill.t, order.side * fill.qty, 0))
            if order.side < 0:
                changes.append((fill.t, 0, -fill.qty))
    for order in books.orders.values():
        if order.sym == sym and order.side < 0 and order.t_opened:
            changes.append((order.t_opened, 0, order.qty))
            if order.t_closed:
                changes.append((order.t_closed, 0, -order.leaves))
    held = cover = longest = 0
    since = 0
    for t, coins, more in [*sorted(changes), (stop, 0, 0)]:
        if since and t > start:
            longest = max(longest, min(t, stop) - max(since, start))
        held, cover = held + coins, cover + more
        since = (since or t) if held > cover else 0
    return longest


def runs_in(folder: Path) -> list[Path]:
    """The sessions in a folder of runs, oldest first."""
    whole = (each for each in folder.iterdir() if (each / "session.json").is_file())
    return sorted(whole, key=lambda each: Started.read(each).started)


def key_of(name: str) -> str:
    return "crash" + name.replace(" ", "").ljust(20, "x")


@contextmanager
def crash_desk(
    folder: Path, names: tuple[str, ...], speed: float = 20.0, seed: int = 7, **options: Any
) -> Iterator[Desk]:
    """A desk whose sessions have a history; `names` are its accounts."""
    compile_venue()
    keys = [ApiKey(key_of(each)) for each in ("history", *names)]
    chosen = VenueOptions(rest_limits=False, connections_max=0, **options)
    with running_venue(
        source=generated(seed), speed=HISTORY_SPEED, options=chosen, keys=keys, record=False
    ) as venue:
        desk = Desk(folder, venue, HISTORY_SPEED)
        try:
            done = desk.session(
                "history", goal="history", mode="shadow", for_s=90.0,
                profile={"families": {"rehearsal": {"enabled": False}}},
            )  # fmt: skip
            assert done["exit"] == 0, done
            assert "stop_ts" in done, done
            desk.run_at(speed)
            desk.before = Path(done["folder"])
            desk.ask({"load": str(desk.before)})
            yield desk
        finally:
            desk.close()
