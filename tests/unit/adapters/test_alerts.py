"""Who is told what, and when: the plan without a clock, then the thread with a real receiver."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from adapters.alerts import (
    PER_MINUTE,
    TRIES_MAX,
    Alerts,
    Outbox,
    Raised,
    apprise_delivery,
    facts_text,
)
from engine.alerts import ALERTS, CRIT, INFO, SEVERITIES, WARN
from engine.errors import ConfigError

S = 1_000_000_000
M = 60 * S
H = 60 * M
CODES = {
    severity: [c for c, a in ALERTS.items() if a.severity == severity] for severity in SEVERITIES
}
WARNING, CRITICAL = "LAG", "UNPROTECTED"


class Hand:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ts = 1_767_268_800 * S

    def now(self) -> int:
        return self.ts


def outbox(repeat=5 * M, escalate=30 * M):
    return Outbox(repeat, escalate)


def everything(box, now):
    """All messages that are due, delivered well."""
    found = []
    while (message := box.due(now)) is not None:
        box.delivered(message, True, now)
        found.append(message)
    return found


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("alert", ALERTS.values(), ids=lambda each: each.code)
def test_every_alert_says_what_happened_what_was_done_and_what_to_do(alert):
    assert alert.severity in SEVERITIES
    assert alert.code == alert.code.upper()
    for sentence in (alert.what, alert.did, alert.do):
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence[0] == "`"
    assert alert.severity != CRIT or alert.do != "Nothing."


def test_there_are_alerts_of_each_kind():
    assert all(len(each) > 3 for each in CODES.values())


# --- the plan ------------------------------------------------------------------------------------


def test_information_is_told_to_nobody():
    box = outbox()
    box.take(Raised(1, CODES[INFO][0], 0, ""))

    assert box.due(H) is None
    assert {} == box.open


def test_a_warning_is_told_once_and_what_follows_in_one_message_later():
    box = outbox()
    for ts in range(0, 100 * S, S):
        box.take(Raised(ts // S + 1, WARNING, ts, "lag_ms=1"))
    first = everything(box, 100 * S)
    silent = everything(box, 4 * M)
    later = everything(box, 6 * M)

    assert [1, 0, 1] == [len(first), len(silent), len(later)]
    assert "99 times" in later[0].body
    assert [] == everything(box, 24 * H)


def test_a_critical_alert_comes_again_until_it_is_acknowledged():
    box = outbox()
    box.take(Raised(7, CRITICAL, 0, "qty=1"))
    told = [len(everything(box, ts)) for ts in range(0, 20 * M, M)]

    assert [1, 0, 0, 0, 0] * 4 == told
    assert 1 == box.acknowledge(7)
    assert [] == everything(box, 24 * H)
    box.take(Raised(8, CRITICAL, 24 * H, ""))
    assert 1 == len(everything(box, 24 * H))


def test_a_critical_alert_that_comes_often_is_one_that_counts():
    box = outbox()
    for number in range(1, 51):
        box.take(Raised(number, CRITICAL, number * S, f"qty={number}"))
    messages = everything(box, M) + everything(box, 10 * M)

    assert [1] == list(box.open)
    assert 50 == box.open[1].n
    assert 2 == len(messages)
    assert "50 times" in messages[1].body
    assert "qty=50" in box.open[1].facts
    assert all("ops acknowledge 1" in each.body for each in messages)


def test_what_nobody_reads_says_so():
    box = outbox()
    box.take(Raised(1, CRITICAL, 0, ""))
    early = everything(box, M)
    late = everything(box, 31 * M)

    assert not early[0].title.startswith("NOT READ")
    assert late[0].title.startswith("NOT READ CRIT")
    assert (0, 1) == (box.overdue(29 * M), box.overdue(31 * M))


def test_a_storm_does_not_ring_more_than_so_often_a_minute_and_loses_nothing_critical():
    box = outbox()
    codes = [*CODES[WARN], *CODES[CRIT]]
    for number, code in enumerate(codes, 1):
        box.take(Raised(number, code, 0, ""))
    minutes = [everything(box, ts) for ts in range(0, 5 * M, M)]

    assert all(len(each) <= PER_MINUTE for each in minutes)
    assert len(codes) > 4 * PER_MINUTE
    said = [message for each in minutes for message in each]
    # Critical ones go first, whatever came before them.
    assert all(each.critical for each in said[: len(CODES[CRIT])])
    assert set(CODES[CRIT]) <= {each.key for each in said}


def test_what_could_not_be_delivered_comes_again_ever_later_and_not_for_ever():
    box = outbox(repeat=24 * H)
    box.take(Raised(1, WARNING, 0, ""))
    tried = []
    for second in range(3600):
        if (message := box.due(second * S)) is not None:
            tried.append(second)
            box.delivered(message, False, second * S)

    assert TRIES_MAX == len(tried)
    gaps = [b - a for a, b in itertools.pairwise(tried)]
    assert sorted(gaps) == gaps
    assert (TRIES_MAX, 1) == (box.n_failed, box.n_dropped)


def test_the_acknowledged_is_not_delivered_though_it_waits():
    box = outbox()
    box.take(Raised(1, CRITICAL, 0, ""))
    message = box.due(0)
    box.delivered(message, False, 0)
    box.acknowledge(0)

    assert box.due(H) is None


def test_facts_are_one_bounded_line_without_secrets_and_control_characters():
    facts = {"text": "a\nb\x1b[31m\u2028c\u202e", "key": "canary", "long": "x" * 5000}
    text = facts_text(facts, lambda each: each.replace("canary", "[secret]"))

    assert "canary" not in text
    assert text.isprintable()
    assert len(text) < 1000


# --- the thread ----------------------------------------------------------------------------------


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        server.got.append(json.loads(body))
        code = server.codes.pop(0) if server.codes else 200
        self.send_response(code)
        self.end_headers()
        server.one.set()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.codes, server.one = [], [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url_of(server, password="canary-5up3r"):
    return f"json://user:{password}@127.0.0.1:{server.server_port}/hook"


def test_an_alert_arrives_through_apprise(tmp_path, receiver):
    alerts = Alerts(tmp_path, Hand(), apprise_delivery([url_of(receiver)]), name="main")
    alerts.start()
    raised = alerts.tell(CRITICAL, qty=5, symbol="BTC/USD")
    assert receiver.one.wait(20)
    alerts.stop()

    assert f"CRIT {CRITICAL} main" == receiver.got[0]["title"]
    assert "qty=5 symbol=BTC/USD" in receiver.got[0]["message"]
    assert ALERTS[CRITICAL].do in receiver.got[0]["message"]
    assert 1 == raised.number == alerts.open_count()
    assert {"sent": 1, "failed": 0, "dropped": 0} == alerts.counts()


def test_a_receiver_that_fails_is_noted_without_its_address(tmp_path, receiver, caplog, capfd):
    receiver.codes = [500, 500]
    notes: list[str] = []
    alerts = Alerts(tmp_path, Hand(), apprise_delivery([url_of(receiver)]), note=notes.append)
    alerts.start()
    with caplog.at_level(0):
        alerts.tell(CRITICAL)
        assert receiver.one.wait(20)
        alerts.stop()

    out = "".join(capfd.readouterr())
    assert [f"alerts.delivery_failed code={CRITICAL} tries=1"] == notes
    assert "canary" not in caplog.text + out + repr(notes)
    assert 1 == alerts.counts()["failed"]


def test_one_of_two_receivers_is_enough_and_is_told_once(tmp_path, receiver):
    dead = "json://127.0.0.1:1/hook"
    alerts = Alerts(tmp_path, Hand(), apprise_delivery([dead, url_of(receiver)]))
    alerts.start()
    alerts.tell(CRITICAL)
    assert receiver.one.wait(20)
    alerts.stop()

    assert 1 == len(receiver.got)
    assert 0 == alerts.counts()["failed"]


def test_an_address_that_is_none_is_refused_by_its_place():
    with pytest.raises(ConfigError, match="address 2") as caught:
        apprise_delivery(["json://127.0.0.1/x", "canary://5up3r"])
    assert "5up3r" not in str(caught.value)


def test_without_addresses_nothing_is_loaded_and_nothing_lost(tmp_path):
    assert apprise_delivery([]) is None
    alerts = Alerts(tmp_path, Hand(), None)
    alerts.start()
    alerts.tell(CRITICAL)
    alerts.stop()

    assert 1 == alerts.open_count()


def test_the_unread_survive_a_restart_and_are_told_again(tmp_path):
    clock = Hand()
    first = Alerts(tmp_path, clock, None)
    first.start()
    first.tell(CRITICAL, qty=5)
    first.tell(CRITICAL, qty=6)
    first.tell("CORE_HALT")
    first.tell(WARNING)
    first.stop()

    told: list[str] = []
    second = Alerts(tmp_path, clock, lambda title, body: not told.append(title))
    assert 2 == second.open_count()
    second.start()
    assert 1 == second.acknowledge(1)
    number = second.tell("OVERFILL").number
    second.stop()
    assert 5 == number
    assert any("CORE_HALT" in title for title in told)
    assert ["CORE_HALT", "OVERFILL"] == [
        e["code"] for e in Alerts(tmp_path, clock, None).open_list()
    ]
    assert 0o600 == (tmp_path / "alerts.json").stat().st_mode & 0o777


@pytest.mark.parametrize("data", [b"", b"{", b'{"number": 1, "open": [{}]}', b"\xff"])
def test_a_damaged_file_is_itself_an_unread_alert(tmp_path, data):
    (tmp_path / "alerts.json").write_bytes(data)

    assert 1 == Alerts(tmp_path, Hand(), None).open_count()


def test_what_is_overdue_is_counted(tmp_path):
    clock = Hand()
    alerts = Alerts(tmp_path, clock, None, escalate_ns=M)
    alerts.tell(CRITICAL)
    assert 0 == alerts.overdue_count()
    clock.ts += M

    assert 1 == alerts.overdue_count()
    assert 1 == alerts.acknowledge()
    assert (0, 0) == (alerts.open_count(), alerts.overdue_count())


def test_telling_never_waits_and_never_fails_though_delivery_hangs_and_the_disk_is_gone(tmp_path):
    """Trading goes on whatever becomes of the message."""
    free = threading.Event()
    hangs = threading.Event()

    def deliver(title, body):
        hangs.set()
        free.wait(30)
        raise RuntimeError("canary-5up3r")

    notes: list[str] = []
    alerts = Alerts(tmp_path / "main", Hand(), deliver, note=notes.append)
    (tmp_path / "main").write_text("no folder")
    alerts.start()
    alerts.tell(CRITICAL)
    assert hangs.wait(20)
    for _ in range(3000):
        alerts.tell(WARNING)
        alerts.tell("CORE_HALT")
    assert 2 == alerts.open_count()
    assert alerts.counts()["dropped"] > 0
    alerts.stop(wait_s=0.01)
    assert "alerts.stop_late" in notes[-1]
    free.set()
    assert any("alerts.not_kept" in note for note in notes)
    assert "canary" not in repr(notes)


def test_a_queue_that_is_full_loses_neither_an_acknowledgement_nor_what_is_critical(tmp_path):
    """Else a person would be told for ever of what they have read, or never of the second."""
    free, hangs = threading.Event(), threading.Event()
    told: list[str] = []

    def deliver(title, body):
        told.append(title)
        hangs.set()
        return free.wait(30)

    alerts = Alerts(tmp_path, Hand(), deliver)
    alerts.start()
    read = alerts.tell(CRITICAL).number
    assert hangs.wait(20)
    while not alerts.counts()["dropped"]:
        alerts.tell(WARNING)
    assert 1 == alerts.acknowledge(read)
    alerts.tell("CORE_HALT")
    free.set()
    alerts.stop(wait_s=30)

    assert ["CORE_HALT"] == [e["code"] for e in Alerts(tmp_path, Hand(), None).open_list()]
    assert any("CORE_HALT" in title for title in told)
    assert 1 == sum(CRITICAL in title for title in told)
