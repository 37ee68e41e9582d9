"""Which pair or asset is meant? Every spelling that Kraken uses, to one canonical name.

Canonical is the name of WebSocket v2 (`BTC/USD`). REST, WebSocket v1 and the archives say XBT and
XDG, put X before old coins and Z before old currencies, and leave out the separator. What can be
told from the spelling alone is told by `asset_of_name` and `symbol_of_name`; what cannot (REST's
own key of a pair) is looked up in `Names`, which is made from AssetPairs. Left out: the rules of a
pair (engine/instruments.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.errors import DataError
from engine.instruments import UnknownSymbolError, canonical_asset, canonical_symbol

# Second halves of names without a separator, tried longest first.
QUOTES: Final = (
    *("USD", "EUR", "GBP", "CAD", "JPY", "CHF", "AUD", "BRL", "AED", "TRY"),
    *("USDT", "USDC", "USDG", "EURR", "PYUSD", "DAI", "XBT", "BTC", "ETH", "DOT", "BNB"),
)
# REST ids put X before old coins and Z before currencies; both have then four letters.
_OLD_COINS: Final = frozenset(
    f"X{name}"
    for name in ("XBT", "XDG", "ETH", "ETC", "LTC", "MLN", "REP", "XLM", "XMR", "XRP", "ZEC", "ICN")
)
_OLD_CURRENCIES: Final = frozenset(
    f"Z{name}" for name in ("USD", "EUR", "GBP", "CAD", "JPY", "AUD", "KRW", "CHF")
)
_OLD_BY_NAME: Final = {canonical_asset(name[1:]): name for name in _OLD_COINS | _OLD_CURRENCIES}
# Staked, opt-in rewards, yield bearing, automatic yield, tokenized: holdings of REST balances.
_HOLDINGS: Final = ("S", "M", "B", "F", "T", "HOLD")


def asset_of_name(name: str) -> str:
    """`XXBT`, `XBT` or `BTC` to `BTC`; `ZUSD` to `USD`; names without history stay."""
    if name in _OLD_COINS or name in _OLD_CURRENCIES:
        name = name[1:]
    return canonical_asset(name)


def rest_asset(asset: str) -> str:
    """`BTC` to `XXBT`, `USD` to `ZUSD`: the key of an old asset in REST; others stay."""
    name = canonical_asset(asset)
    return _OLD_BY_NAME.get(name, name)


def holding_of_name(name: str) -> tuple[str, str]:
    """The asset of a REST balance and how it is held: `ETH.F` to (`ETH`, `F`), `XXBT` to (`BTC`, ``).

    The digits of bonded assets (`DOT28.S`) belong to the way it is held: (`DOT`, `28.S`).
    """
    asset, separator, kind = name.strip().upper().rpartition(".")
    if not separator or kind not in _HOLDINGS:
        return asset_of_name(name.strip().upper()), ""
    bare = asset.rstrip("0123456789") if kind == "S" else asset
    if not bare:
        bare = asset
    return asset_of_name(bare), f"{asset[len(bare) :]}.{kind}".removeprefix(".")


def symbol_of_name(name: str) -> str:
    """`XBTUSD`, `XXBTZUSD`, `BTCUSDT`, `ETHEUR.d` or `XBT/USD` to the canonical symbol.

    A name without a separator is split before the longest known quote currency that ends it.
    Raises DataError where none does.
    """
    text = name.strip().upper()
    if any(separator in text for separator in "/-_"):
        return canonical_symbol(text.replace("_", "/"))
    suffix = ".D" if text.endswith(".D") else ""
    text = text.removesuffix(".D")
    if text[:4] in _OLD_COINS and text[4:] in _OLD_COINS | _OLD_CURRENCIES:
        return canonical_symbol(f"{asset_of_name(text[:4])}/{asset_of_name(text[4:])}{suffix}")
    for quote in sorted((*QUOTES, *_OLD_CURRENCIES), key=len, reverse=True):
        base = text.removesuffix(quote)
        if base == text or not base:
            continue
        # ZUSD ends old REST ids such as USDTZUSD, but XTZUSD is XTZ in USD.
        if quote in _OLD_CURRENCIES and len(base) < 3:
            continue
        return canonical_symbol(f"{asset_of_name(base)}/{asset_of_name(quote)}{suffix}")
    raise DataError(
        f"{name!r} does not end in a quote currency that we know.",
        "Name the pair as in BTC/USD with the option symbol.",
    )


def symbol_of_pair(key: str, pair: Mapping[str, Any]) -> str:
    """The canonical symbol of one entry of AssetPairs, dark pool pairs as `ETH/CAD.D`."""
    if "wsname" in pair:
        return canonical_symbol(pair["wsname"])
    # Dark pool pairs have no wsname; they end in .d and share base and quote with the lit pair.
    suffix = ".d" if key.endswith(".d") else ""
    return canonical_symbol(f"{asset_of_name(pair['base'])}/{asset_of_name(pair['quote'])}{suffix}")


class Names:
    """The spellings of the pairs of one AssetPairs answer, both ways."""

    def __init__(self, asset_pairs: Mapping[str, Mapping[str, Any]]) -> None:
        """asset_pairs : the `result` of AssetPairs, by REST's own key"""
        self._symbols: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._altnames: dict[str, str] = {}
        for key, pair in asset_pairs.items():
            symbol = symbol_of_pair(key, pair)
            self._keys[symbol] = key
            self._altnames[symbol] = pair.get("altname", key)
            for spelling in (key, pair.get("altname"), pair.get("wsname"), symbol):
                if spelling:
                    self._symbols[spelling] = symbol

    @property
    def spellings(self) -> dict[str, str]:
        """Every spelling of the answer to its symbol."""
        return dict(self._symbols)

    def symbol(self, name: str) -> str:
        """The canonical symbol of a REST key, altname, wsname or symbol.

        Raises UnknownSymbolError for a name that the answer does not hold.
        """
        found = self._symbols.get(name)
        if found is None and any(separator in name for separator in "/-"):
            found = self._symbols.get(canonical_symbol(name))
        if found is None:
            raise UnknownSymbolError(
                f"{name!r} is not a pair of the venue's list. It may be new: fetch AssetPairs again."
            )
        return found

    def rest_key(self, symbol: str) -> str:
        """The key that REST answers with: `BTC/USD` to `XXBTZUSD`. Raises UnknownSymbolError."""
        return self._keys[self.symbol(symbol)]

    def altname(self, symbol: str) -> str:
        """The name to ask REST with: `BTC/USD` to `XBTUSD`. Raises UnknownSymbolError."""
        return self._altnames[self.symbol(symbol)]
