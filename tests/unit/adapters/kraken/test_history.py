"""Pages of trades: where the next begins, boundaries, kills and what is kept."""

import asyncio
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kraken.history import Fetch, Plan
from adapters.kraken.rest import Rest
from adapters.kraken.rest_trades import TradePager, id_of, read_trade_page
from engine.errors import ConfigError, DataError, RefusedError

S = 1_000_000_000
T0 = 1_762_000_000 * S
PAIR = {
    "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1,
    "lot_decimals": 8, "cost_decimals": 5, "ordermin": "0.00005", "costmin": "0.5",
    "tick_size": "0.1", "status": "online", "fees": [[0, 0.4]],
}  # fmt: skip


class Market:
    """Trades as (ns, id), and the answers that Kraken's page describes."""

    def __init__(self, times: list[int], first_id: int = 100, holes: tuple[int, ...] = ()) -> None:
        ids = (each for each in range(first_id, first_id + 10**6) if each not in holes)
        self.trades = list(zip(sorted(times), ids, strict=False))

    def page(self, since_ns: int, count: int) -> bytes:
        """Exclusive of `since`, as many as asked for; `last` is the last row's nanosecond."""
        found = [each for each in self.trades if each[0] > since_ns][:count]
        rows = [
            ["30000.00000", "0.10000000", float(f"{ns / 1e9:.7f}"), "b", "l", "", id]
            for ns, id in found
        ]
        last = found[-1][0] if found else since_ns
        return json.dumps({"error": [], "result": {"XXBTZUSD": rows, "last": str(last)}}).encode()


class Killed(Exception):
    """The process ends here."""


class Venue:
    """A Rest that answers from a market, and dies when it is told to."""

    def __init__(self, market: Market, die_at: int = -1) -> None:
        self.market, self.die_at = market, die_at
        self.asked: list[int] = []

    async def asset_pairs(self) -> dict[str, object]:
        return {"XXBTZUSD": PAIR}

    async def trades(self, pair: str, since_ns: int, count: int) -> tuple[bytes, object]:
        if len(self.asked) == self.die_at:
            raise Killed
        assert pair == "XBTUSD"
        self.asked.append(since_ns)
        data = self.market.page(since_ns, count)
        return data, read_trade_page(data, "a page")


def fetch(folder: Path, venue: Venue, since: int, until: int, count: int = 5) -> Plan:
    async def main() -> Plan:
        rest: Rest = venue  # type: ignore[assignment]
        with Fetch(folder) as running:
            plan = await running.begin(rest, "BTC/USD", since, until)
            await running.run(rest, plan, lambda n, ts: None, count)
            return plan

    return asyncio.run(main())


def kept(folder: Path) -> Iterator[int]:
    """Ids in the pages, in order, overlaps included."""
    with Fetch(folder) as running:
        for path in running.pages():
            page = read_trade_page(gzip.decompress(path.read_bytes()), path.name)
            yield from (id_of(row) for row in page.rows)


def spread(n: int, step: int = S) -> list[int]:
    return [T0 + i * step for i in range(n)]


# ---- pages ----


def test_every_trade_is_fetched_once_and_the_next_page_begins_at_last(tmp_path: Path) -> None:
    venue = Venue(Market(spread(23)))
    fetch(tmp_path / "f", venue, T0, T0 + 3600 * S)

    assert list(kept(tmp_path / "f")) == list(range(100, 123))
    # The first moment is included, `since` is not: one nanosecond before it.
    assert venue.asked[:3] == [T0 - 1, T0 + 4 * S, T0 + 9 * S]


def test_it_ends_with_the_page_that_passes_until(tmp_path: Path) -> None:
    venue = Venue(Market(spread(100)))
    fetch(tmp_path / "f", venue, T0, T0 + 7 * S)

    assert len(venue.asked) == 2


def test_since_the_start_asks_from_zero(tmp_path: Path) -> None:
    venue = Venue(Market(spread(3)))
    fetch(tmp_path / "f", venue, 0, T0 + 100 * S)

    assert venue.asked[0] == 0
    assert list(kept(tmp_path / "f")) == [100, 101, 102]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_a_boundary_among_trades_of_one_nanosecond_loses_none(tmp_path: Path, count: int) -> None:
    """`since` leaves out its whole nanosecond; the hole in the ids gives it away."""
    times = [T0, T0 + 1, T0 + 5, T0 + 5, T0 + 9, T0 + 9, T0 + 20]
    venue = Venue(Market(times))
    fetch(tmp_path / "f", venue, T0, T0 + 100, count)

    assert sorted(set(kept(tmp_path / "f"))) == list(range(100, 107))


def test_a_hole_of_the_venue_is_asked_about_once_and_then_believed(tmp_path: Path) -> None:
    venue = Venue(Market(spread(12), holes=(105, 106)))
    fetch(tmp_path / "f", venue, T0, T0 + 100 * S)

    ids = sorted(set(kept(tmp_path / "f")))
    assert ids == [100, 101, 102, 103, 104, *range(107, 114)]
    # Three pages, one of them again, an empty one, and the end from a nanosecond earlier.
    assert len(venue.asked) == 6


def test_more_trades_in_a_nanosecond_than_a_page_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="share the nanosecond"):
        fetch(tmp_path / "f", Venue(Market([T0] * 9 + [T0 + 5])), T0, T0 + 100, 4)


@pytest.mark.parametrize("n", [5, 6, 10, 11])
def test_trades_of_one_nanosecond_at_the_very_end_are_not_lost(tmp_path: Path, n: int) -> None:
    """Nothing comes after them whose id would show the hole."""
    venue = Venue(Market([*spread(n - 1), T0 + (n - 2) * S]))
    fetch(tmp_path / "f", venue, T0, T0 + 100 * S)

    assert sorted(set(kept(tmp_path / "f"))) == list(range(100, 100 + n))


@pytest.mark.parametrize("last", ["0", str(T0 - 5), str(T0)])
def test_a_page_that_leads_nowhere_is_refused(last: str) -> None:
    """A `last` that went through a double repeats the same page for ever."""
    body = {"XXBTZUSD": [["1.0", "1.0", T0 / S, "b", "l", "", 5]], "last": last}
    page = read_trade_page(json.dumps({"error": [], "result": body}).encode(), "a page")

    with pytest.raises(DataError, match="leads nowhere"):
        TradePager(T0).take(page, "a page")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b'{"result":{}}', b'{"error":["EService:Busy"]}',
        b'{"result":{"A":[],"B":[],"last":"1"}}', b'{"result":{"A":5,"last":"1"}}',
        b'{"result":{"A":[],"last":"x"}}', b'{"result":{"A":[],"last":1e400}}',
        b'{"result":{"A":[],"last":"99999999999999999999"}}', b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_page_is_refused_with_its_place(body: bytes) -> None:
    with pytest.raises(DataError, match="page 7"):
        read_trade_page(body, "page 7")


# ---- kills ----


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_killed_anywhere_it_goes_on_without_loss(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    dice = random.Random(seed)
    folder = tmp_path_factory.mktemp("fetch") / "f"
    times = [T0 + dice.randrange(40) for _ in range(dice.randrange(1, 25))]
    if max(times.count(each) for each in times) >= count:
        times = [T0 + i for i in range(len(times))]
    market = Market(times)
    for _ in range(30):
        venue = Venue(market, die_at=dice.randrange(1, 4))
        try:
            fetch(folder, venue, T0, T0 + 100, count)
            break
        except Killed:
            for part in folder.rglob("*.part"):  # nothing half written is left by this kill
                raise AssertionError(part) from None
    else:
        fetch(folder, Venue(market), T0, T0 + 100, count)

    assert sorted(set(kept(folder))) == [id for _, id in market.trades]


def test_a_page_that_was_torn_by_the_kill_is_fetched_again(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    with pytest.raises(Killed):
        fetch(folder, Venue(Market(spread(23)), die_at=2), T0, T0 + 100 * S)
    (folder / "pages" / ".00000003.json.gz.part").write_bytes(b"\x1f\x8b torn")
    fetch(folder, Venue(Market(spread(23))), T0, T0 + 100 * S)

    assert list(kept(folder)) == list(range(100, 123))


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    fetch(folder, Venue(Market(spread(9))), T0, T0 + 100 * S)
    page = folder / "pages" / "00000001.json.gz"
    page.write_bytes(page.read_bytes()[:-9])

    with pytest.raises(DataError, match=r"00000001\.json\.gz is damaged"):
        fetch(folder, Venue(Market(spread(9))), T0, T0 + 100 * S)


def test_a_folder_answers_one_question(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    fetch(folder, Venue(Market(spread(9))), T0, T0 + 100 * S)

    with pytest.raises(ConfigError, match="holds a fetch of BTC/USD"):
        fetch(folder, Venue(Market(spread(9))), T0 + S, T0 + 100 * S)
    # Without --until the end is now, and now has moved: the first one holds.
    assert fetch(folder, Venue(Market(spread(9))), T0, T0 + 999 * S).until_ns == T0 + 100 * S


def test_two_processes_cannot_fetch_into_one_folder(tmp_path: Path) -> None:
    with (
        Fetch(tmp_path / "f"),
        pytest.raises(RefusedError, match="another process"),
        Fetch(tmp_path / "f"),
    ):
        pass


def test_a_damaged_plan_and_one_of_another_version_are_refused(tmp_path: Path) -> None:
    with Fetch(tmp_path / "f") as running:
        for text, words in (
            ("{", "not a plan"),
            ('{"version":9,"symbol":"A/B","pair":"AB","since_ns":0,"until_ns":1}', "version 9"),
        ):
            (tmp_path / "f" / "plan.json").write_text(text)
            with pytest.raises(DataError, match=words):
                running.plan()


def test_an_unknown_pair_and_a_fetch_that_ends_before_it_begins_are_refused(tmp_path: Path) -> None:
    async def begin(symbol: str, until: int) -> None:
        rest: Rest = Venue(Market([]))  # type: ignore[assignment]
        with Fetch(tmp_path / "f") as running:
            await running.begin(rest, symbol, T0, until)

    with pytest.raises(ConfigError, match="no pair DOGE/USD"):
        asyncio.run(begin("DOGE/USD", T0 + S))
    with pytest.raises(ConfigError, match="ends before it begins"):
        asyncio.run(begin("BTC/USD", T0 - S))


def test_after_it_is_done_nothing_is_left(tmp_path: Path) -> None:
    fetch(tmp_path / "f", Venue(Market(spread(9))), T0, T0 + 100 * S)
    with Fetch(tmp_path / "f") as running:
        running.remove()

    assert list(tmp_path.iterdir()) == []
