"""The page for Prometheus: what it shows, to whom, and that dashboard and rules ask for what exists."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from dataclasses import fields
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.metrics import Facts, Metrics, names
from engine.reports.markers import NAMES

GRAFANA = Path(__file__).resolve().parents[3] / "configs" / "grafana"


@pytest.fixture
def metrics():
    made = Metrics("run-1", "paper", NAMES)
    made.start(0)
    yield made
    made.stop()
    made.stop()


def get(metrics, path="/metrics", method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", metrics.port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def samples(text):
    return {
        (sample.name, *(each for _, each in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_page_shows_the_facts(metrics):
    metrics.update(
        Facts(events=1000, equity=123.5, mode=3, reconciled=True, blockers={"DATA_STALE": 7})
    )
    metrics.count("ORDER_FILL")
    metrics.observe_step(0.0002)
    shown = samples(get(metrics)[1])

    assert 1 == shown["kapitaalbot_session_info", "paper", "run-1"]
    assert 1000 == shown["kapitaalbot_core_events_total",]
    assert 123.5 == shown["kapitaalbot_account_equity_quote",]
    assert 3 == shown["kapitaalbot_engine_mode",]
    assert 1 == shown["kapitaalbot_account_reconciled",]
    assert 7 == shown["kapitaalbot_core_blocked_total", "DATA_STALE"]
    assert 1 == shown["kapitaalbot_log_markers_total", "ORDER_FILL"]
    assert 0 == shown["kapitaalbot_log_markers_total", "PROTECTION_LOST"]
    assert 0 == shown["kapitaalbot_loop_step_seconds_bucket", "0.0001"]
    assert 1 == shown["kapitaalbot_loop_step_seconds_bucket", "0.0003"]


def test_counters_rise_with_the_facts_and_never_fall(metrics):
    for events, expected in ((10, 10), (25, 25), (25, 25), (5, 30), (6, 31)):
        metrics.update(Facts(events=events, blockers={"X": events}))
        shown = samples(get(metrics)[1])
        assert expected == shown["kapitaalbot_core_events_total",]
        assert expected == shown["kapitaalbot_core_blocked_total", "X"]


def test_every_fact_is_shown_and_every_name_is_known(metrics):
    numbers = {
        each.name: {"x": i} if "Mapping" in str(each.type) else i
        for i, each in enumerate(fields(Facts), 1)
    }
    metrics.update(Facts(**numbers))
    shown = samples(get(metrics)[1])

    assert set(range(1, len(numbers) + 1)) <= set(shown.values())
    created = {name for name, *_ in shown if name.endswith("_created")}
    assert names() == {name for name, *_ in shown} - created


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/metrics", "GET", {}, 200),
        ("/metrics", "GET", {"Host": "localhost:1"}, 200),
        ("/metrics", "GET", {"Host": "evil.example"}, 403),
        ("/metrics", "GET", {"Host": "evil.example:9464"}, 403),
        ("/metrics", "GET", {"Host": "127.0.0.1.evil.example"}, 403),
        ("/metrics", "GET", {"Host": ""}, 403),
        ("/metrics", "GET", {"Origin": "https://evil.example"}, 403),
        ("/metrics", "POST", {}, 405),
        ("/metrics", "DELETE", {}, 405),
        ("/", "GET", {}, 404),
        ("/metrics/../x", "GET", {}, 404),
    ],
)
def test_who_may_read_it(metrics, path, method, headers, status):
    assert status == get(metrics, path, method, **headers)[0]


def test_it_listens_on_loopback_only(metrics):
    assert "127.0.0.1" == metrics._server.server_address[0]
    with socket.socket() as other, pytest.raises(OSError):
        other.connect(("127.0.0.2", metrics.port))


def test_a_reader_that_says_nothing_keeps_nobody_waiting(metrics):
    with socket.create_connection(("127.0.0.1", metrics.port)):
        assert 200 == get(metrics)[0]


def test_the_end_leaves_no_thread_and_frees_the_port():
    before = threading.active_count()
    made = Metrics("run-1", "paper")
    made.start(0)
    assert 200 == get(made)[0]
    made.stop()

    again = Metrics("run-1", "paper")
    again.start(made.port)
    again.stop()
    assert before == threading.active_count()


# --- what asks for them ----------------------------------------------------------------------------

METRIC = re.compile(r"\bkapitaalbot_[a-z0-9_]+")


def test_the_dashboard_asks_for_what_exists():
    board = json.loads((GRAFANA / "dashboard.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in METRIC.findall(target["expr"])
    }

    assert len(asked) > 20
    assert asked <= names()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_rules_ask_for_what_exists_and_say_what_to_do():
    text = (GRAFANA / "alerts.yml").read_text()
    rules = text.split("- alert: ")[1:]
    asked = {name for rule in rules for name in METRIC.findall(rule.partition("annotations")[0])}

    assert len(rules) > 10
    assert asked <= names()
    for rule in rules:
        assert re.search(r"severity: (critical|warning)", rule)
        assert re.search(r'summary: ".+\."', rule)


def test_a_name_that_does_not_exist_is_found():
    assert not {"kapitaalbot_core_event_total"} <= names()


def test_no_gauge_of_the_session_is_left_off_the_dashboard():
    board = (GRAFANA / "dashboard.json").read_text()
    left_off = {name for name in names() if name not in board}

    shown_elsewhere = {
        *("kapitaalbot_session_info", "kapitaalbot_alerts_messages_total"),
        *("kapitaalbot_loop_step_seconds_sum", "kapitaalbot_loop_step_seconds_count"),
    }
    assert left_off == shown_elsewhere
