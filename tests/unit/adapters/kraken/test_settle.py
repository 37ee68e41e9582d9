"""A pass of reads by hand: what is somebody else's does not keep us from agreeing."""

from typing import Any

from adapters.kraken.account import AccountFeed
from adapters.kraken.names import Names
from adapters.kraken.settle import Settle
from tests.support.short_market import short_market

NOW = 1_760_000_000_000_000_000
TRADE = {
    "ordertxid": "OAAAAA-BBBBB-CCCCCC", "type": "buy", "ordertype": "market", "price": "230.5",
    "vol": "1", "cost": "230.5", "fee": "0.5", "time": 1_760_000_000.25, "maker": False,
}  # fmt: skip


def test_a_fill_by_hand_in_a_pair_that_is_not_listed_is_left_out_and_the_pass_goes_on() -> None:
    """Shares and delisted pairs are in TradesHistory and not in AssetPairs."""
    pairs = short_market(1, 1)[0]
    names = Names({"XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD"}})
    settle = Settle(AccountFeed(pairs), names, knows=lambda id: False, offset=lambda: 0)
    trades = {f"T{i}": {**TRADE, "pair": "AAPLxUSD"} for i in range(2)}
    answers: dict[str, dict[str, Any]] = {
        "OpenOrders": {"open": {}},
        "QueryOrders": {"OAAAAA-BBBBB-CCCCCC": {"status": "closed"}},
        "TradesHistory": {"count": 2, "trades": trades},
        "Balance": {},
    }
    asked = []
    reads = settle.reads(NOW)
    name, _ = next(reads)
    try:
        while True:
            asked.append(name)
            name, _ = reads.send((answers[name], NOW))
    except StopIteration:
        pass

    assert asked[-1] == "Balance"
    assert settle.counts["fills of pairs that are not listed"] == 2
    assert settle.counts["fills by REST"] == 0
    [note] = [each for each in settle.notes if "not listed" in each.text]
    assert "AAPLxUSD" in note.text
