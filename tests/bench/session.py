"""How long does a session take from a frame to an order? A whole one, over loopback sockets.

`python -m tests.bench.session [SECONDS] [RATE] [MODE] [stalls]`: the local venue, in a process of its own,
generates a market of about so many messages a second and takes the orders; with `stalls` they come as
over a network that stalls nearly once a second. The session is what
`kapitaalbot run live` (or paper, shadow) runs, with log, sync, tables, status and all. The core has
seen too little of the market to trade, so the bench puts an order or a cancel in the place of its
commands with every fiftieth frame. Stamps are taken from outside, by wrapped methods, and their cost is in
the figures. Session and venue share the machine's cores with whoever else is there: the load is
printed, and what the kernel says the thread waited for a processor is shown apart. `chrt -f 1` before
the command keeps other work off their cores, as cores of their own would.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from websockets.asyncio.client import ClientConnection

from adapters.attending import Attending
from adapters.kraken.live import Hub
from adapters.kraken.public import Line
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from adapters.operate import operate
from adapters.running import Running
from adapters.start import plan_session
from engine.commands import ADD, CANCEL, GTC, LIMIT, ROLE_PROTECTION
from engine.events import BOOK_LEVEL, BUY, LAST, MESSAGE_END, TRADE
from engine.flow.follow import COMMANDS_DUE, FOLLOWED
from engine.flow.log import LogWriter
from engine.research.synthetic.config import DEFAULT_SYMBOLS
from engine.session.loop import Session
from tests.support.worlds import EAGER

N_SYMBOLS: Final = 9
PER_INTENSITY: Final = 58.0  # messages a second of nine pairs, at depth 100
EVERY: Final = 50  # frames from one order of ours to the next
RESTING: Final = 60  # orders of ours at the venue, before the oldest is withdrawn
DEPTH: Final = 100
PROBE_S: Final = 0.005
WARM_S: Final = 10.0  # connecting, snapshots, first evaluations: not the question
QUANTILES: Final = (0.5, 0.99, 0.999)
FRAME_KINDS: Final = np.isin(np.arange(256), (BOOK_LEVEL, MESSAGE_END, TRADE))


def symbols() -> tuple[Any, ...]:
    """The generator's three pairs, three times."""
    found = []
    for i in range(N_SYMBOLS):
        spec = DEFAULT_SYMBOLS[i % len(DEFAULT_SYMBOLS)]
        symbol = spec.instrument.symbol if i < len(DEFAULT_SYMBOLS) else f"A{i}/USD"
        found.append(replace(spec, instrument=replace(spec.instrument, symbol=symbol)))
    return tuple(found)


# --- the venue, in a process of its own ---------------------------------------------------------


def punctual(batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The generator's market without its network: each message is sent when it happened.

    The generator stalls one message in 2,500 for 80 ms on average. At thirty times its usual pace that
    is nearly once a second, and a sixteenth of all messages would come in bursts of hundreds.
    """
    last = 0
    for batch in batches:
        batch["ts"] = np.maximum.accumulate(np.maximum(batch["ts_venue"], last))
        last = int(batch["ts"][-1])
        yield batch


async def serve_market(rate: float, stalls: bool) -> None:
    """Serve until killed; prints the first of its ports."""
    from decimal import Decimal

    from adapters.local_venue import VenueOptions, serve
    from adapters.local_venue.source import GENERATED_DEPTH, MarketSource
    from engine.research.synthetic.config import GeneratorConfig
    from engine.research.synthetic.market import generate

    chosen = GeneratorConfig(
        seed=7,
        duration_s=86_400.0,
        symbols=symbols(),
        depth=GENERATED_DEPTH,
        level3=False,
        tickers=False,
        intensity=rate / PER_INTENSITY,
        latency_ms=0.05,
        warmup_s=60.0,
        start_ts=time.time_ns() + 1_500_000_000,  # the opening books take about so long to make
    )
    batches = generate(chosen, batch_rows=1024)
    source = MarketSource(
        chosen.instruments, batches if stalls else punctual(batches), {"book": GENERATED_DEPTH}
    )
    source.peek()
    options = VenueOptions(
        rate_limits=False,
        balances={"USD": Decimal(1_000_000)},
        balance_other=Decimal(0),
    )
    port = four_free_ports()
    ports = (port, port + 1, port + 2, port + 3)
    async with serve(source, options=options, record=False, ports=ports):
        # Collecting what it has made would stop it now and then, and what it then sends at once would be
        # measured as the session's own doing.
        gc.collect()
        gc.disable()
        print(port, flush=True)
        await asyncio.Event().wait()


def four_free_ports() -> int:
    """The first of four ports in a row that nobody listens on; a session asks for them so."""
    for first in range(18_600, 20_000, 4):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + 4):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise OSError("no four ports in a row are free")


@contextmanager
def venue_process(rate: float, stalls: bool) -> Any:
    """The first port of a venue, and how much processor it has used (a callable, s)."""
    more = ["stalls"] if stalls else []
    arguments = [sys.executable, "-m", "tests.bench.session", "venue", str(rate), *more]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), lambda: processor_of(process.pid)
    finally:
        process.kill()
        process.wait()


# What the disk alone takes for the bytes of an order's journal: over zeros, as the log writes them.
BARE_DISK: Final = """
import os, sys, time
zeros, piece = bytes(4 << 20), os.urandom(3000)
fd = os.open(sys.argv[1] + "/bare", os.O_WRONLY | os.O_CREAT)
told = os.open(sys.argv[1] + "/took", os.O_WRONLY | os.O_CREAT)
os.write(fd, zeros)
os.fsync(fd)
at = 0
while True:
    time.sleep(0.2)
    began = time.perf_counter_ns()
    os.pwrite(fd, piece, at)
    os.fdatasync(fd)
    os.write(told, (time.perf_counter_ns() - began).to_bytes(8, "little"))
    at = (at + len(piece)) % (len(zeros) - len(piece))
"""


@contextmanager
def bare_disk(folder: Path) -> Iterator[Callable[[], np.ndarray]]:
    """Syncs in a process of its own, as long as the block lasts; what they took, ns."""
    process = subprocess.Popen([sys.executable, "-S", "-c", BARE_DISK, str(folder)])
    try:
        yield lambda: np.fromfile(folder / "took", np.int64)
    finally:
        process.kill()
        process.wait()


def processor_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- stamps, from outside -----------------------------------------------------------------------


class Stamps(Attending):
    """What one session took, ns: plain arrays, which no collection of garbage looks through.

    The loop only notes moments; what lies between them is worked out when it has ended.
    """

    def __init__(self) -> None:
        self._heard = array("q")  # frames: stamp, and waited for a processor until then
        self._marks = array("q")  # the core was done: when, waited until then, frames it ended
        self._ends = array("q")  # those frames: stamp, the venue's stamp
        self._logs = array("q")  # what was done then was in the log: when
        self._writes = array("q")  # order bytes: when, waited until then, stamp of the frame
        self.synced = array("q")  # the log's way to the disk
        self.late = array("q")  # how late the loop was, and how much of it without a processor
        self.n_frames = 0
        self.began = 0
        self._read = (0, 0)  # when the kernel was asked, and what it said
        self._due: dict[int, int] = {}  # bytes of an order: stamp of the frame that it follows from
        self._causes: deque[int] = deque()  # of orders that wait for the disk
        self._cause = 0
        self._within = ""  # which part of the session is at work
        self._unlogged = False

    @property
    def counts(self) -> bool:
        return self.began > 0 and time.perf_counter_ns() - self.began > WARM_S * 1e9

    def begin(self, running: Running) -> None:
        self.began = time.perf_counter_ns()
        self._queue = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._probing = asyncio.get_running_loop().create_task(self._probe())
        session, orders = running.session, Orders(running)
        assert session is not None
        follow = session._follow

        def followed(core: Any, rows: np.ndarray, first: int) -> Any:
            reached, status = follow(core, rows, first)
            if reached == first or not self.counts:
                return reached, status
            now = time.time_ns()
            part = rows[first:reached]
            ends = np.flatnonzero((part["flags"] & LAST > 0) & FRAME_KINDS[part["kind"]])
            self._marks.extend((now, self.waited(), len(ends)))
            self._unlogged = True
            if len(ends):
                for i in ends.tolist():
                    self._ends.extend((int(part["ts"][i]), int(part["ts_venue"][i])))
                self._cause = self._ends[-2]
                due = self.n_frames >= (orders.n + 1) * EVERY
                if due and not self._within and status == FOLLOWED:
                    orders.next()
                    self._causes.append(self._cause)
                    return reached, COMMANDS_DUE
            return reached, status

        session._follow = followed

    def waited(self) -> int:
        """How long this thread was ready and had no processor, ns; asked again after 20 us."""
        now = time.perf_counter_ns()
        if now - self._read[0] > 20_000:
            self._read = now, int(os.pread(self._queue, 64, 0).split()[1])
        return self._read[1]

    def found(self) -> dict[str, np.ndarray]:
        """Pairs (how long, less waiting for a processor), and the venue's stamp to ours."""
        heard, marks, ends, writes = (
            np.array(each, np.int64).reshape(-1, n)
            for each, n in ((self._heard, 2), (self._marks, 3), (self._ends, 2), (self._writes, 3))
        )
        which = np.repeat(np.arange(len(marks)), marks[:, 2])
        logs = np.array(self._logs, np.int64)

        def since(stamps: np.ndarray, now: np.ndarray, waited: np.ndarray) -> np.ndarray:
            at = np.searchsorted(heard[:, 0], stamps)
            at[at == len(heard)] = 0
            known = heard[at, 0] == stamps
            took, stood = now - stamps, waited - heard[at, 1]
            return np.stack((took, took - stood), axis=1)[known]

        stamps, venue = ends.T
        return {
            "done": since(stamps, marks[which, 0], marks[which, 1]),
            "logged": logs[which[which < len(logs)]] - stamps[which < len(logs)],
            "written": since(writes[:, 2], writes[:, 0], writes[:, 1]),
            "wire": (stamps - venue)[venue > 0],
        }

    async def _probe(self) -> None:
        """How late the loop is, and how long its thread stood in the kernel's queue meanwhile."""
        clock = time.perf_counter_ns
        while True:
            due, before = clock() + int(PROBE_S * 1e9), self.waited()
            await asyncio.sleep(PROBE_S)
            late = clock() - due
            if self.counts:
                self.late.extend((late, max(0, late - (self.waited() - before))))

    @contextmanager
    def installed(self, private: str) -> Any:
        """Wrap what is wrapped in classes, for as long as the block lasts."""
        restore: list[tuple[Any, str, Any]] = []

        def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
            before = getattr(owner, name)
            restore.append((owner, name, before))
            setattr(owner, name, make(before))

        def append(before: Any) -> Any:
            def appended(log: LogWriter, rows: np.ndarray) -> int:
                found: int = before(log, rows)
                if self._unlogged:
                    self._logs.append(time.time_ns())
                    self._unlogged = False
                return found

            return appended

        def within(name: str) -> Callable[[Any], Any]:
            def make(before: Any) -> Any:
                def called(session: Session, *arguments: Any) -> None:
                    outer, self._within = self._within, name
                    try:
                        before(session, *arguments)
                    finally:
                        self._within = outer

                return called

            return make

        def sent(before: Any) -> Any:
            def told(session: Session, now: int) -> None:
                before(session, now)
                if self.counts:
                    self.synced.append(session.sync_ns)

            return told

        def send(before: Any) -> Any:
            def sent(line: Line, frames: list[bytes]) -> None:
                if self._within and line.url == private:
                    for each in frames:
                        cause = self._causes.popleft() if self._causes else 0
                        if self.counts:
                            self._due[id(each)] = cause
                before(line, frames)

            return sent

        def write(before: Any) -> Any:
            async def written(line: ClientConnection, frame: Any, text: bool | None = None) -> None:
                ts = self._due.pop(id(frame), 0)
                await before(line, frame, text=text)
                if ts:
                    self._writes.extend((time.time_ns(), self.waited(), ts))

            return written

        def heard(before: Any) -> Any:
            def counted(hub: Any, conn: int, frame: bytes, ts: int) -> None:
                if self.counts:
                    self.n_frames += 1
                    self._heard.extend((ts, self.waited()))
                before(hub, conn, frame, ts)

            return counted

        wrap(LogWriter, "append", append)
        wrap(Session, "_step", within("step"))
        wrap(Session, "_send", within("send"))
        wrap(Session, "_sent", sent)
        wrap(Line, "send", send)
        wrap(ClientConnection, "send", write)
        wrap(Hub, "heard", heard)
        try:
            yield
        finally:
            for owner, name, before in restore:
                setattr(owner, name, before)


class Orders:
    """Orders that the bench puts where the core's own stand: far from the market, then withdrawn.

    Their ids are none of the core's, so that it leaves what comes of them alone.
    """

    def __init__(self, running: Running) -> None:
        self.n = 0
        self._core = running.built.core
        self._instruments = running.started.instruments
        self._first = self._id = int(self._core.glob[0]["last_order_id"]) + 10**12

    def next(self) -> None:
        """Decide the next: an order, or the end of the oldest of them."""
        core = self._core
        self.n += 1
        command = core.commands[0]
        command["ts"] = core.glob[0]["now"]
        if self.n % 2 == 0 and self._id - self._first > RESTING:
            command["kind"], command["id"], self._first = CANCEL, self._first, self._first + 1
        else:
            pair = self._instruments[self._id % len(self._instruments)]
            command["kind"], command["id"], self._id = ADD, self._id, self._id + 1
            command["side"], command["type"], command["tif"] = BUY, LIMIT, GTC
            command["role"], command["post_only"] = ROLE_PROTECTION, 1
            command["qty"] = 2 * pair.lots(pair.qty_min)
        sym = int(command["id"]) % len(self._instruments)
        command["sym"], command["price"] = sym, int(core.symbols[sym]["bid"]) * 9 // 10
        core.glob[0]["n_commands"] = 1


# --- one run ------------------------------------------------------------------------------------


def measure(seconds: float, rate: float, mode: str, stalls: bool = False) -> dict[str, Any]:
    """Run a session for so long (after its first ten seconds); figures in microseconds."""
    found = run_once(seconds, rate, mode, stalls)
    # The first run of a version may do nothing but compile.
    return found or run_once(seconds, rate, mode, stalls)


def run_once(seconds: float, rate: float, mode: str, stalls: bool) -> dict[str, Any]:
    """As `measure`; nothing where the session never came to its frames."""
    stamps = Stamps()
    with (
        tempfile.TemporaryDirectory() as folder,
        venue_process(rate, stalls) as (port, venue_cpu),
        bare_disk(Path(folder)) as disk,
    ):
        given = {
            **EAGER,
            "run": {"out": f"{folder}/runs", "name": "bench", "cash": 1_000_000},
            "live": {
                "symbols": [each.instrument.symbol for each in symbols()],
                "endpoint": "local",
                "local_port": port,
                "state": f"{folder}/state",
                "depth": DEPTH,
                "tier": "pro",
                "allow_orders": True,
                "snapshot_every": f"{max(10, int(seconds) // 3)}s",
            },
        }
        os.environ |= {"KAPITAALBOT_KRAKEN_KEY": DEMO_KEY, "KAPITAALBOT_KRAKEN_SECRET": DEMO_SECRET}
        flag = {"KAPITAALBOT_LIVE": "local"} if mode == "live" else {}
        ready = plan_session(None, mode, given, {**os.environ, **flag}, fresh=True)
        own = -_own_cpu()
        load = os.getloadavg()[0]
        began = time.perf_counter()
        with stamps.installed(ready.addresses.private):
            ran = operate(
                ready,
                stop=lambda _: None,
                for_s=seconds + WARM_S,
                lines=False,
                more=(stamps,),
            )
        spent = time.perf_counter() - began
        venue, own = venue_cpu(), own + _own_cpu()
        rows = ran.manifest["rows"]
        bare, synced = disk(), np.array(stamps.synced, np.int64)
    found = stamps.found() if stamps._ends else {}
    if not stamps.late or not len(found.get("done", ())):
        return {}
    late = np.array(stamps.late, np.int64).reshape(-1, 2)
    done, written, wire = found["done"], found["written"], found["wire"]
    worst = late[np.argmax(late[:, 0])]
    ratios = (
        [float(np.quantile(synced, q) / np.quantile(bare, q)) for q in QUANTILES[:2]]
        if (len(synced) and len(bare))
        else []
    )
    return {
        "mode": mode,
        "seconds": seconds,
        "messages_per_s": round(stamps.n_frames / seconds),
        "commands": rows.get("commands", 0),
        "fills": rows.get("fills", 0),
        "venue stamp to frame received": _quantiles(wire - wire.min() if len(wire) else wire),
        "frame received to core done": _quantiles(done[:, 0]),
        "  less waiting for a processor": _quantiles(done[:, 1]),
        "frame received to log appended": _quantiles(found["logged"]),
        "frame received to order bytes written": _quantiles(written[:, 0]),
        "  less waiting for a processor ": _quantiles(written[:, 1]),
        "  of it the log to the disk": _quantiles(synced),
        "the bare disk meanwhile, five times a second": _quantiles(bare),
        "loop late": _quantiles(late[:, 0]),
        "  less waiting for a processor  ": _quantiles(late[:, 1]),
        "to_the_disk_by_bare_disk_p50_p99": " ".join(f"{each:.2f}" for each in ratios),
        "stall_ms": round(worst[0] / 1e6, 1),
        "stall_waiting_ms": round((worst[0] - worst[1]) / 1e6, 1),
        "stalls_over_20ms": int((late[:, 0] > 20_000_000).sum()),
        "own_stalls_over_20ms": int((late[:, 1] > 20_000_000).sum()),
        "session_cores": round(own / spent, 2),
        "venue_cores": round(venue / spent, 2),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "own_priority": os.sched_getscheduler(0) != os.SCHED_OTHER,
    }


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _quantiles(ns: np.ndarray) -> list[float]:
    """p50, p99, p99.9, largest, in microseconds; and of how many."""
    if not len(ns):
        return []
    return [
        *(round(float(each) / 1e3, 1) for each in (*np.quantile(ns, QUANTILES), ns.max())),
        len(ns),
    ]


def session_table(
    seconds: float = 60, rate: float = 2000, mode: str = "live", stalls: str = ""
) -> str:
    """The figures of one run, for people."""
    found = measure(seconds, rate, mode, bool(stalls))
    if not found:
        return f"\na {mode} session came to no frames within {seconds:g} s"
    lines = [
        f"\na {mode} session, {found['messages_per_s']:,} messages a second of {N_SYMBOLS} pairs for "
        f"{seconds:g} s; microseconds",
        f"{'':45}{'p50':>10}{'p99':>10}{'p99.9':>10}{'largest':>11}{'of':>11}",
    ]
    for name, value in found.items():
        if isinstance(value, list) and value:
            texts = "".join(f"{each:10,.0f}" for each in value[:3])
            lines.append(f"{name:45}{texts}{value[3]:11,.0f}{value[4]:11,}")
    plain = {name: value for name, value in found.items() if not isinstance(value, list)}
    lines += ["  " + ", ".join(f"{name} {value}" for name, value in plain.items())]
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["venue"]:
        asyncio.run(serve_market(float(sys.argv[2]), "stalls" in sys.argv))
        return
    numbers = [float(each) for each in sys.argv[1:3]]
    print(session_table(*numbers, *sys.argv[3:5]))


if __name__ == "__main__":
    main()
