"""Every spelling of a pair or an asset to one name."""

import json

import pytest

from adapters.kraken.names import (
    Names,
    asset_of_name,
    holding_of_name,
    rest_asset,
    symbol_of_name,
)
from engine.errors import DataError
from engine.instruments import UnknownSymbolError

PAIRS = {
    "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD"},
    "XDGUSD": {"altname": "XDGUSD", "wsname": "XDG/USD", "base": "XXDG", "quote": "ZUSD"},
    "USDTZUSD": {"altname": "USDTUSD", "wsname": "USDT/USD", "base": "USDT", "quote": "ZUSD"},
    "USDCUSD": {"altname": "USDCUSD", "wsname": "USDC/USD", "base": "USDC", "quote": "ZUSD"},
    "XETHZCAD.d": {"altname": "ETHCAD.d", "base": "XETH", "quote": "ZCAD"},
}


@pytest.mark.parametrize(
    ("name", "asset"),
    [
        *(("XXBT", "BTC"), ("XBT", "BTC"), ("BTC", "BTC"), ("XXDG", "DOGE"), ("XDG", "DOGE")),
        *(("ZUSD", "USD"), ("USD", "USD"), ("XETH", "ETH"), ("XTZ", "XTZ"), ("ZRX", "ZRX")),
    ],
)
def test_assets_of_both_worlds_have_one_name(name, asset):
    assert asset_of_name(name) == asset


@pytest.mark.parametrize(
    ("asset", "key"),
    [("BTC", "XXBT"), ("DOGE", "XXDG"), ("USD", "ZUSD"), ("ETH", "XETH"), ("SOL", "SOL")],
)
def test_rest_asks_for_old_assets_by_old_names(asset, key):
    assert rest_asset(asset) == key
    assert asset_of_name(key) == asset


@pytest.mark.parametrize(
    ("name", "holding"),
    [
        *(("ETH.F", ("ETH", "F")), ("XXBT", ("BTC", "")), ("ZUSD.HOLD", ("USD", "HOLD"))),
        *(("DOT28.S", ("DOT", "28.S")), ("XBT.M", ("BTC", "M")), ("USDT.B", ("USDT", "B"))),
    ],
)
def test_holdings_of_rest_balances_keep_how_they_are_held(name, holding):
    assert holding_of_name(name) == holding


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        *(("XBT/USD", "BTC/USD"), ("XBTUSD", "BTC/USD"), ("XXBTZUSD", "BTC/USD")),
        *(("XDGEUR", "DOGE/EUR"), ("USDTZUSD", "USDT/USD"), ("XTZUSD", "XTZ/USD")),
        *(("BTCUSDT", "BTC/USDT"), ("btc-usd", "BTC/USD"), ("XETHXXBT", "ETH/BTC")),
    ],
)
def test_archive_and_rest_names_are_split_before_their_quote(name, symbol):
    assert symbol_of_name(name) == symbol


def test_a_name_without_a_known_quote_is_refused():
    with pytest.raises(DataError, match="does not end in a quote currency"):
        symbol_of_name("NONSENSE")


@pytest.mark.parametrize("key", PAIRS)
def test_every_spelling_of_a_pair_finds_it(key):
    names = Names(PAIRS)
    symbol = names.symbol(key)
    for spelling in (key, PAIRS[key]["altname"], PAIRS[key].get("wsname", key), symbol):
        assert names.symbol(spelling) == symbol
    assert names.rest_key(symbol) == key
    assert names.altname(symbol) == PAIRS[key]["altname"]


def test_irregular_keys_are_looked_up_and_never_built():
    names = Names(PAIRS)

    assert [names.rest_key(s) for s in ("USDT/USD", "USDC/USD")] == ["USDTZUSD", "USDCUSD"]
    assert names.symbol("btc-usd") == "BTC/USD"


def test_an_unknown_pair_is_refused_with_what_to_do():
    for name in ("SOLUSD", "SOL/USD", ""):
        with pytest.raises(UnknownSymbolError, match="AssetPairs"):
            Names(PAIRS).symbol(name)


def test_two_years_of_asset_pairs_agree_on_bitcoin(shared_kraken):
    for name in ("rest_asset_pairs_2021-04.json", "rest_asset_pairs_2025-11.json"):
        pairs = json.loads((shared_kraken / "samples" / name).read_text())["result"]
        names = Names(pairs)
        for key, pair in pairs.items():
            assert names.symbol(key) == names.symbol(pair["altname"])
            assert "XBT" not in names.symbol(key)
