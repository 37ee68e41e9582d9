"""A universe that follows the venue's own figures, over real sockets and REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters.kraken.capture import CaptureConfig
from adapters.kraken.rotation import Measure, Rotation, tickers
from adapters.local_venue import generated
from adapters.parquet.check import check_store
from adapters.parquet.manifest import list_captures
from engine.clock import WallClock
from engine.core.universe import universe_params
from tests.support.capture_venue import ONE_PART, capture_until, running_venue


def test_the_universe_swaps_while_it_is_captured(tmp_path: Path) -> None:
    store = tmp_path / "store"
    rotation = Rotation(
        universe_params(2, enter_rank=2, leave_rank=2, stay_ns=0), every_ns=1_500_000_000
    )
    config = CaptureConfig(channels={"book": 10, "trade": 0}, rotation=rotation, part_ns=ONE_PART)
    n_asked = 0
    with running_venue(source=generated(3), speed=20) as venue:
        ask = tickers(venue.rest_url, WallClock())

        async def measure() -> dict[str, Measure]:
            """The venue's figures; from the second time on DOGE is said to trade most."""
            nonlocal n_asked
            n_asked += 1
            found = dict(await ask())
            assert set(found) == {"BTC/USD", "ETH/USD", "DOGE/USD"}
            assert all(each.turnover > 0 and each.spread_e2 > 0 for each in found.values())
            if n_asked > 1:
                found["DOGE/USD"] = Measure(10**30 // 10**12, 1)
            return found

        def enough(facts: dict[str, Any]) -> bool:
            return facts["parts"] >= 2 and facts["symbols_verified"] == 2 and n_asked > 2

        capture_until(store, venue, config, enough, measure=measure)

    first, second = list_captures(store)
    report = check_store(store)
    assert report.ok, report.text()
    # A part names what was captured in it: the last messages of who leaves belong to both.
    books = [
        {each.symbol for each in part.files if each.channel == "book"} for part in (first, second)
    ]
    assert books[0] == {"BTC/USD", "ETH/USD"}
    assert "DOGE/USD" in books[1]
    assert second.seq_first == first.seq_last + 1
    assert len(second.epochs) >= 1
