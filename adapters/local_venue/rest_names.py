"""What are assets and pairs called in REST? `XXBT` and `XXBTZUSD` for BTC and BTC/USD.

Irregular on purpose, as Kraken's are: old coins carry an X, old currencies a Z, but only where
both halves are old is the key of a pair made of both. A client must look them up in AssetPairs.
"""

from __future__ import annotations

from typing import Final

from engine.instruments import InstrumentTable

_OLD_COINS: Final = {
    "BTC": "XXBT", "ETH": "XETH", "LTC": "XLTC", "XRP": "XXRP", "XLM": "XXLM", "XMR": "XXMR",
    "ZEC": "XZEC", "ETC": "XETC", "REP": "XREP", "MLN": "XMLN", "DOGE": "XXDG",
}  # fmt: skip
_OLD_MONEY: Final = {name: f"Z{name}" for name in ("USD", "EUR", "GBP", "CAD", "JPY", "AUD")}
_V1: Final = {"BTC": "XBT", "DOGE": "XDG"}


def asset_key(asset: str) -> str:
    """`BTC` to `XXBT`, `USD` to `ZUSD`, `SOL` to `SOL`."""
    return _OLD_COINS.get(asset) or _OLD_MONEY.get(asset, asset)


def asset_altname(asset: str) -> str:
    return _V1.get(asset, asset)


class PairNames:
    """The names of every pair: `key`, `altname`, `wsname`; and back from any of them."""

    def __init__(self, table: InstrumentTable) -> None:
        self.keys: list[str] = []
        self.altnames: list[str] = []
        self.wsnames: list[str] = []
        for each in table:
            base, quote = asset_altname(each.base), asset_altname(each.quote)
            self.altnames.append(base + quote)
            self.wsnames.append(f"{base}/{quote}")
            old = each.base in _OLD_COINS and each.base != "DOGE" and each.quote in _OLD_MONEY
            both = asset_key(each.base) + asset_key(each.quote)
            self.keys.append(both if old else base + quote)
        self._index: dict[str, int] = {}
        for i, each in enumerate(table):
            for name in (self.keys[i], self.altnames[i], self.wsnames[i], each.symbol):
                self._index[name] = i

    def index(self, name: str) -> int:
        """Row of the pair that goes by this name, -1 for none."""
        return self._index.get(name.upper(), -1)
