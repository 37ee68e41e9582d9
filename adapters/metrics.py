"""Which numbers does a running session show to Prometheus? Gauges, counters, one histogram, on loopback.

Fed from a plain `Facts` about once a second, and from markers, which are counted by name. The page
`/metrics` answers on 127.0.0.1 only, to GET only, and only where the request names this machine as
its host (a web page in a browser could otherwise read it). Names are `kapitaalbot_<area>_<what>_<unit>`.
Left out: what they are for (configs/grafana has a dashboard and alert rules), history.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

HOST: Final = "127.0.0.1"
HOSTS: Final = ("127.0.0.1", "localhost")
# Seconds of one step of the session: from one book message to a stall.
STEP_BUCKETS_S: Final = (
    *(0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
)


@dataclass(frozen=True)
class Facts:
    """How a session stands: whatever it does not know stays at its default."""

    events: int = 0  # so far
    evaluations: int = 0
    commands: int = 0
    fills: int = 0
    lag_s: float = 0.0  # we read behind the venue
    writer_lag_s: float = 0.0  # the log is behind what was read
    log_sync_s: float = 0.0  # the newest sync
    feed_age_s: float = 0.0  # since the newest public frame
    account_age_s: float = 0.0  # since the newest private frame
    clock_offset_s: float = 0.0
    orders_open: int = 0
    orders_suspect: int = 0
    positions: int = 0
    uncovered_s: float = 0.0  # positions without a stop, so far
    uncovered_now: int = 0
    equity: float = 0.0  # quote currency, nearest float
    exposure: float = 0.0
    cash: float = 0.0
    drawdown: float = 0.0
    mode: int = 0  # MODE_*: 1 NORMAL ... 5 HALT
    epoch_status: int = 0  # EPOCH_*
    reconciled: bool = False
    books_verified: int = 0
    symbols: int = 0
    alerts_open: int = 0
    alerts_overdue: int = 0
    mirror_lag_rows: int = 0
    lease: int = 0  # fencing number, 0: not held
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    loop_delay_s: float = 0.0
    cpu_share: float = 0.0
    open_files: int = 0
    gc_pause_s: float = 0.0
    blockers: Mapping[str, int] = field(default_factory=dict)  # by code, so far
    alerts_told: Mapping[str, int] = field(default_factory=dict)  # sent, failed, dropped


# fact: name, meaning. What rises for ever is a counter, everything else a gauge.
_COUNTERS: Final = {
    "events": ("kapitaalbot_core_events", "events the core has learned"),
    "evaluations": ("kapitaalbot_core_evaluations", "evaluations"),
    "commands": ("kapitaalbot_orders_commands", "commands that left the core"),
    "fills": ("kapitaalbot_orders_fills", "fills"),
    "uncovered_s": ("kapitaalbot_positions_uncovered_seconds", "time positions were without cover"),
}
_GAUGES: Final = {
    "lag_s": ("kapitaalbot_feed_lag_seconds", "how far reading is behind the venue"),
    "writer_lag_s": ("kapitaalbot_log_lag_seconds", "how far writing is behind reading"),
    "log_sync_s": ("kapitaalbot_log_sync_seconds", "the newest sync of the log"),
    "feed_age_s": ("kapitaalbot_feed_age_seconds", "since the newest public frame"),
    "account_age_s": ("kapitaalbot_account_age_seconds", "since the newest private frame"),
    "clock_offset_s": ("kapitaalbot_clock_offset_seconds", "the venue's clock minus ours"),
    "orders_open": ("kapitaalbot_orders_open", "orders that rest"),
    "orders_suspect": ("kapitaalbot_orders_suspect", "orders whose fate is unknown"),
    "positions": ("kapitaalbot_positions_open", "positions"),
    "uncovered_now": ("kapitaalbot_positions_uncovered", "positions without cover now"),
    "equity": ("kapitaalbot_account_equity_quote", "equity, marked at the bid"),
    "exposure": ("kapitaalbot_account_exposure_quote", "positions and resting entries"),
    "cash": ("kapitaalbot_account_cash_quote", "quote balance"),
    "drawdown": ("kapitaalbot_account_drawdown_quote", "highest equity minus equity"),
    "mode": ("kapitaalbot_engine_mode", "1 NORMAL, 2 REDUCED, 3 EXIT_ONLY, 4 EMERGENCY, 5 HALT"),
    "epoch_status": ("kapitaalbot_data_epoch_status", "1 valid, 2 degraded, 3 invalid, 4 closed"),
    "reconciled": ("kapitaalbot_account_reconciled", "1: state agrees with the venue"),
    "books_verified": ("kapitaalbot_data_books_verified", "books whose checksum agrees"),
    "symbols": ("kapitaalbot_data_symbols", "pairs that are followed"),
    "alerts_open": ("kapitaalbot_alerts_open", "critical alerts nobody acknowledged"),
    "alerts_overdue": ("kapitaalbot_alerts_overdue", "those older than alerts.escalate"),
    "mirror_lag_rows": ("kapitaalbot_mirror_lag_rows", "rows the SQL mirror is behind"),
    "lease": ("kapitaalbot_lease_number", "fencing number that is held, 0: none"),
    "memory_bytes": ("kapitaalbot_process_memory_bytes", "resident memory"),
    "disk_free_bytes": ("kapitaalbot_disk_free_bytes", "free space where runs are written"),
    "loop_delay_s": ("kapitaalbot_loop_delay_seconds", "how late the event loop was"),
    "cpu_share": ("kapitaalbot_process_cpu_cores", "processors in use, 1 is one whole core"),
    "open_files": ("kapitaalbot_process_files_open", "open files and sockets"),
    "gc_pause_s": (
        "kapitaalbot_process_collector_pause_seconds",
        "the longest since the last look",
    ),
}
_BY_LABEL: Final = {
    "blockers": ("kapitaalbot_core_blocked", "code", "candidates that were stopped, by reason"),
    "alerts_told": ("kapitaalbot_alerts_messages", "fate", "messages sent, failed, dropped"),
}
MARKERS: Final = "kapitaalbot_log_markers"
STEP: Final = "kapitaalbot_loop_step_seconds"


class Metrics:
    """The numbers of one session and the page that shows them. Nothing listens before `start`."""

    def __init__(self, run: str, mode: str, markers: Iterable[str] = ()) -> None:
        """run, mode : labels of `kapitaalbot_session_info`; markers : counted from 0 on"""
        self.registry = CollectorRegistry()
        info = Gauge(
            "kapitaalbot_session_info", "1, for its labels", ["run", "mode"], registry=self.registry
        )
        info.labels(run, mode).set(1)
        self._counters = {
            key: Counter(name, doc, registry=self.registry)
            for key, (name, doc) in _COUNTERS.items()
        }
        self._gauges = {
            key: Gauge(name, doc, registry=self.registry) for key, (name, doc) in _GAUGES.items()
        }
        self._labelled = {
            key: Counter(name, doc, [label], registry=self.registry)
            for key, (name, label, doc) in _BY_LABEL.items()
        }
        self._markers = Counter(MARKERS, "log lines, by name", ["name"], registry=self.registry)
        for name in markers:
            self._markers.labels(name)
        self._step = Histogram(
            STEP, "one step of the session", buckets=STEP_BUCKETS_S, registry=self.registry
        )
        self._before: dict[tuple[str, str], float] = {}
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    def update(self, facts: Facts) -> None:
        """Show these from now on; about once a second."""
        for key, gauge in self._gauges.items():
            gauge.set(float(getattr(facts, key)))
        for key, counter in self._counters.items():
            self._raise_to(counter.inc, (key, ""), float(getattr(facts, key)))
        for key, labelled in self._labelled.items():
            for label, value in getattr(facts, key).items():
                self._raise_to(labelled.labels(label).inc, (key, label), float(value))

    def _raise_to(self, inc: Callable[[float], None], key: tuple[str, str], value: float) -> None:
        # A counter never falls: facts of a session that began anew count from there.
        before = self._before.get(key, 0.0)
        self._before[key] = value
        inc(value - before if value >= before else value)

    def count(self, name: str) -> None:
        """One marker."""
        self._markers.labels(name).inc()

    def observe_step(self, seconds: float) -> None:
        """How long one step of the session took."""
        self._step.observe(seconds)

    def start(self, port: int) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one. Raises OSError where it is taken."""
        assert self._server is None
        self._server = make_server(HOST, port, _guarded(self.registry), _Server, _Quiet)
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the page; a second call does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def names() -> set[str]:
    """Every name a query may use, as Prometheus sees it."""
    counters = {name for name, _ in _COUNTERS.values()} | {name for name, *_ in _BY_LABEL.values()}
    counters.add(MARKERS)
    histogram = {f"{STEP}_{each}" for each in ("bucket", "sum", "count")}
    gauges = {name for name, _ in _GAUGES.values()} | {"kapitaalbot_session_info"}
    return {f"{name}_total" for name in counters} | histogram | gauges


assert {*_COUNTERS, *_GAUGES, *_BY_LABEL} == {each.name for each in fields(Facts)}


class _Server(ThreadingMixIn, WSGIServer):
    """One slow reader does not keep the next one waiting, nor the process alive."""

    daemon_threads = True
    block_on_close = False


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds for a request

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _guarded(registry: CollectorRegistry) -> Any:
    page = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if host not in HOSTS or environ.get("HTTP_ORIGIN"):
            status = "403 Forbidden"
        elif environ.get("REQUEST_METHOD") != "GET":
            status = "405 Method Not Allowed"
        elif environ.get("PATH_INFO") != "/metrics":
            status = "404 Not Found"
        else:
            return page(environ, start_response)
        start_response(status, [("Content-Type", "text/plain")])
        return [status.encode()]

    return answer
