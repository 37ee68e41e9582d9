"""Pages of REST Trades: steps of the past, and where a fetch ends."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.imports import kraken_rest
from engine.instruments import Instrument, InstrumentTable

TODAY = InstrumentTable([Instrument("BTC/USD", Decimal("0.1"), Decimal("0.0001"), 1, 4)])
S = 1_000_000_000
T0 = 1_700_000_000


def page(folder: Path, *rows: tuple[str, str, str, int]) -> Path:
    """Rows of price, quantity, seconds and id."""
    cells: list[list[Any]] = [[p, q, "TIME" + t, "b", "m", "", id] for p, q, t, id in rows]
    body = {"XXBTZUSD": cells, "last": f"{T0 + 100}000000000"}
    text = json.dumps({"error": [], "result": body})
    for _, _, t, _ in rows:
        text = text.replace(f'"TIME{t}"', t)  # a bare number, digit by digit
    path = folder / "page.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("price", "qty", "ticks", "lots", "steps"),
    [
        ("30000.10000", "0.50000000", 300_001, 5_000, ("0.1", "0.0001")),
        ("30000.12300", "0.50000000", 30_000_123, 5_000, ("0.001", "0.0001")),
        ("30000.10000", "0.12345678", 300_001, 12_345_678, ("0.1", "1E-8")),
        ("30000.00000", "2.00000000", 300_000, 20_000, ("0.1", "0.0001")),
    ],
)
def test_finer_steps_of_the_past_are_taken_and_others_left(
    tmp_path: Path, price: str, qty: str, ticks: int, lots: int, steps: tuple[str, str]
) -> None:
    path = page(tmp_path, (price, qty, f"{T0}.1234567", 1))
    found = kraken_rest.read(path, instruments=TODAY, finer=True)
    events = found.read_all()

    assert (events["price"].tolist(), events["qty"].tolist()) == ([ticks], [lots])
    pair = found.instruments["BTC/USD"]
    assert (pair.price_increment, pair.qty_increment) == tuple(map(Decimal, steps))
    assert events["ts"].tolist() == [T0 * S + 123_456_700]
    pair.row()  # increments and precisions agree


def test_without_it_a_trade_off_the_grid_is_a_declared_reject(tmp_path: Path) -> None:
    path = page(tmp_path, ("30000.12300", "0.5", f"{T0}.1", 1))
    found = kraken_rest.read(path, instruments=TODAY)

    assert len(found.read_all()) == 0
    assert found.summary.n_rejected == 1


def test_steps_that_are_no_power_of_ten_become_one_where_the_data_needs_it(tmp_path: Path) -> None:
    halves = InstrumentTable([Instrument("BTC/USD", Decimal("0.5"), Decimal("0.0001"), 1, 4)])
    path = page(tmp_path, ("30000.3", "0.5", f"{T0}.1", 1))
    found = kraken_rest.read(path, instruments=halves, finer=True)

    assert found.read_all()["price"].tolist() == [300_003]
    assert found.instruments["BTC/USD"].price_increment == Decimal("0.1")


def test_what_came_after_the_end_is_declared(tmp_path: Path) -> None:
    rows = [("1.0", "1.0", f"{T0 + i}.5", 10 + i) for i in range(4)]
    found = kraken_rest.read(
        page(tmp_path, *rows), instruments=TODAY, until_ns=(T0 + 1) * S + S // 2
    )

    assert found.read_all()["id"].tolist() == [10, 11]
    assert found.summary.rejects == {"later than asked for": 2}
    assert found.summary.n_gaps == 0
