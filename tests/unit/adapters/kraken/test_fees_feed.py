"""The venue's own word on our rates, from answers as its documents show them."""

from decimal import Decimal

import numpy as np
import pytest

from adapters.kraken.fees_feed import EVERY_NS, RETRY_NS, FeesFeed
from adapters.kraken.names import Names
from engine.errors import DataError
from engine.events import EVENT, ORDER_FILL, TABLE_FEES, TABLE_UPDATE
from tests.support.private_words import PAIRS

S = 1_000_000_000
NOW = 1_767_225_600 * S
NAMES = Names(
    {
        "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD"},
        "XETHZUSD": {"altname": "ETHUSD", "wsname": "ETH/USD"},
    }
)


def feed() -> FeesFeed:
    return FeesFeed(PAIRS, ["BTC/USD", "ETH/USD"], NAMES)


def answer(**other: object) -> dict[str, object]:
    """As documented, with a second pair that is dearer."""
    taker = {"fee": "0.2200", "nextfee": "0.2000", "nextvolume": "250000.0000"}
    return {
        "currency": "ZUSD", "volume": "200709.4223",
        "fees": {"XXBTZUSD": taker, "XETHZUSD": {**taker, "fee": "0.2400"}},
        "fees_maker": {"XXBTZUSD": {"fee": "0.1200"}, "XETHZUSD": {"fee": "0.1400"}},
        **other,
    }  # fmt: skip


def fill(usd: int) -> np.ndarray:
    rows = np.zeros(1, EVENT)
    rows["kind"], rows["price"], rows["qty"] = ORDER_FILL, 10 * usd, 10**8  # 1 BTC
    return rows


def test_the_dearest_rates_of_our_pairs_become_a_row() -> None:
    fees = feed()
    assert fees.due(NOW)
    assert fees.ask == ("TradeVolume", {"pair": ["XBTUSD", "ETHUSD"]})
    [row] = fees.take(answer(), NOW)

    assert (row["kind"], row["aux"]) == (TABLE_UPDATE, TABLE_FEES)
    assert (row["price"], row["qty"]) == (1_400, 2_400)  # 0.14 % and 0.24 %
    assert not fees.due(NOW + EVERY_NS - 1)
    assert fees.due(NOW + EVERY_NS)


def test_one_schedule_for_both_and_rebates() -> None:
    both = answer()
    del both["fees_maker"]
    assert feed().take(both, NOW)[["price", "qty"]].tolist() == [(2_400, 2_400)]
    rebate = answer(fees_maker={"XXBTZUSD": {"fee": "-0.0200"}})
    assert feed().take(rebate, NOW)["price"].tolist() == [-200]


def test_rates_are_asked_for_again_when_our_trading_reaches_the_next_step() -> None:
    fees = feed()
    fees.take(answer(), NOW)
    fees.observe(fill(49_290))
    assert not fees.due(NOW + S)
    fees.observe(fill(1))
    assert fees.due(NOW + S)


def test_a_failure_keeps_what_is_known_and_tries_again() -> None:
    fees = feed()
    fees.take(answer(), NOW)
    fees.failed(NOW + EVERY_NS)
    assert not fees.due(NOW + EVERY_NS + RETRY_NS - 1)
    assert fees.due(NOW + EVERY_NS + RETRY_NS)


@pytest.mark.parametrize(
    "wrong", [[], {}, {"fees": {}}, {"fees": {"X": {}}}, {"fees": {"X": {"fee": "many"}}}]
)
def test_an_answer_without_rates_is_refused(wrong: object) -> None:
    with pytest.raises(DataError):
        feed().take(wrong, NOW)


def test_at_the_top_there_is_no_next_step() -> None:
    fees = feed()
    fees.take(answer(fees={"X": {"fee": Decimal("0.1"), "nextvolume": None}}), NOW)
    fees.observe(fill(10**9))
    assert not fees.due(NOW + S)
