"""What `run explain` prints, as a person reads it. Update with --snapshot-update, in its own commit."""

import pytest

from engine.reports.explain import explain
from engine.reports.frames import Run
from tests.support.small_run import write_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    write_run(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)  # the folder of the run is printed
    return Run.open("latest")


@pytest.mark.parametrize(
    ("at", "symbol"),
    [
        ("2026-01-01T12:00:02", "BTC/USD"),
        ("2026-01-01T12:00:03", "BTC/USD"),
        ("2026-01-01T12:00:03", "DOGE/USD"),
    ],
    ids=["executed", "too_dear", "not_enough_history"],
)
def test_explain(run, at, symbol, snapshot):
    assert snapshot == explain(run, at, symbol)
