"""Recorded reference answers: counts, statuses, names, fees."""

import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest

from adapters.imports.instruments import (
    FeeTier,
    fees_from_asset_pairs,
    instruments_from_asset_pairs,
    instruments_from_v2_snapshot,
    names_from_asset_pairs,
    read_instruments,
    symbol_of_name,
)
from engine.instruments import canonical_symbol

SNAPSHOT = "kraken-instruments/ws_v2_instrument_snapshot_202403.json"
PAIRS = "kraken-instruments/rest_AssetPairs_20210417.json"


def test_v2_snapshot_counts_and_statuses(shared_data):
    table = instruments_from_v2_snapshot(shared_data / SNAPSHOT)

    assert len(table) == 683
    statuses = Counter(each.status for each in table)
    assert statuses == {"online": 672, "reduce_only": 9, "cancel_only": 2}
    assert len(json.loads((shared_data / SNAPSHOT).read_text())["data"]["assets"]) == 296


def test_v2_snapshot_numbers_are_exact(shared_data):
    text = (shared_data / SNAPSHOT).read_text()
    assert "1E-8" in text  # written with exponents
    table = instruments_from_v2_snapshot(shared_data / SNAPSHOT)

    assert table["BTC/USD"].qty_increment == Decimal("0.00000001")
    for pair in json.loads(text, parse_float=Decimal)["data"]["pairs"]:
        each = table[pair["symbol"]]
        assert each.price_increment == Decimal(pair["price_increment"])
        assert each.qty_increment == Decimal(pair["qty_increment"])
        assert each.qty_min == Decimal(pair["qty_min"])
        assert each.cost_min == Decimal(pair["cost_min"])
        row = each.row()  # every pair's rules fit the kernel's integers
        assert row["tick_num"] >= 1


def test_asset_pairs_counts_and_precisions(shared_data):
    table = instruments_from_asset_pairs(shared_data / PAIRS)
    raw = json.loads((shared_data / PAIRS).read_text())["result"]

    assert len(table) == len(raw) == 304
    names = names_from_asset_pairs(shared_data / PAIRS)
    for rest_id, pair in raw.items():
        each = table[names[rest_id]]
        assert each.price_precision == pair["pair_decimals"]
        assert each.qty_precision == pair["lot_decimals"]
        assert each.qty_min == Decimal(pair.get("ordermin", 0))


def test_names_of_all_worlds_lead_to_one_symbol(shared_data):
    names = names_from_asset_pairs(shared_data / PAIRS)

    assert {names[each] for each in ("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD")} == {"BTC/USD"}
    assert names["XDG/USD"] == "DOGE/USD"
    assert names["XETHZCAD.d"] == "ETH/CAD.D"
    assert names["USDTZUSD"] == "USDT/USD"


def test_names_without_a_separator_split_as_the_reference_says(shared_data):
    """Every spelling of 304 pairs of 2021 and of 683 pairs of 2024."""
    for name, symbol in names_from_asset_pairs(shared_data / PAIRS).items():
        assert symbol_of_name(name) == symbol, name
    for each in instruments_from_v2_snapshot(shared_data / SNAPSHOT):
        assert symbol_of_name(each.symbol.replace("/", "")) == each.symbol


def test_fee_ladders_of_2021(shared_data):
    fees = fees_from_asset_pairs(shared_data / PAIRS)

    assert len(fees) == 304
    assert fees["BTC/USD"][0] == FeeTier(volume_min=0, maker_rate_e6=1600, taker_rate_e6=2600)
    volumes = [tier.volume_min for tier in fees["BTC/USD"]]
    assert volumes == sorted(volumes)
    for ladder in fees.values():
        for earlier, later in pairwise(ladder):
            assert later.taker_rate_e6 <= earlier.taker_rate_e6


def test_a_file_of_either_kind_is_told_apart(shared_data):
    assert len(read_instruments(shared_data / SNAPSHOT)) == 683
    assert len(read_instruments(shared_data / PAIRS)) == 304


@pytest.mark.parametrize("name", ["rest_asset_pairs_2021-04.json", "rest_asset_pairs_2025-11.json"])
def test_samples_of_asset_pairs_are_read(shared_kraken, name):
    """Excerpts of answers of 2021 and 2025; those of 2025 carry tick_size and costmin."""
    text = (shared_kraken / "samples" / name).read_text()
    body = json.loads(text)
    found = next((v for v in walk(body) if is_pairs(v)), None)
    assert found is not None
    table = instruments_from_asset_pairs(json.dumps({"error": [], "result": found}))
    assert len(table) == len(found)
    for pair in found.values():
        each = table[pair["wsname"]] if "wsname" in pair else None
        if each is not None:
            assert each.symbol == canonical_symbol(pair["wsname"])
            assert each.price_increment == Decimal(
                pair.get("tick_size", Decimal(1).scaleb(-pair["pair_decimals"]))
            )


def is_pairs(value):
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(v, dict) and "pair_decimals" in v for v in value.values())
    )


def walk(value):
    yield value
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    for child in children:
        yield from walk(child)
