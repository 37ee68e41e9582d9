"""A configuration that makes no market is refused in one sentence."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from engine.errors import ConfigError
from engine.research.synthetic import (
    DEFAULT_SYMBOLS,
    GeneratorConfig,
    Market,
    default_instruments,
)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"depth": 11}, "depth"),
        ({"level3_depth": 25}, "level3_depth"),
        ({"duration_s": 0.0}, "duration_s"),
        ({"duration_s": float("nan")}, "duration_s"),
        ({"intensity": -1.0}, "intensity"),
        ({"latency_ms": 0.0}, "latency_ms"),
        ({"warmup_s": -1.0}, "warmup_s"),
        ({"jumps_per_hour": float("inf")}, "jumps_per_hour"),
        ({"symbols": ()}, "symbols"),
        ({"symbols": (dataclasses.replace(DEFAULT_SYMBOLS[0], common=1.5),)}, "common"),
        ({"symbols": (dataclasses.replace(DEFAULT_SYMBOLS[0], n_orders=5),)}, "n_orders"),
    ],
)
def test_wrong_values_are_refused_by_name(change, word):
    with pytest.raises(ConfigError) as caught:
        GeneratorConfig(**change)
    assert word in caught.value.message
    assert caught.value.hint


def test_a_batch_holds_at_least_one_event():
    with pytest.raises(ValueError, match="batch_rows is 0"):
        Market(GeneratorConfig(), batch_rows=0)


def test_the_default_pairs_differ_in_scale():
    table = default_instruments()
    assert table.symbols == ("BTC/USD", "ETH/USD", "DOGE/USD")
    tick_bps = [
        float(spec.instrument.price_increment / spec.price * 10_000) for spec in DEFAULT_SYMBOLS
    ]
    assert tick_bps == sorted(tick_bps)
    assert tick_bps[-1] / tick_bps[0] > 40
    assert {each.qty_increment for each in table} == {Decimal("0.00000001")}


def test_the_end_is_the_start_plus_the_duration():
    config = GeneratorConfig(start_ts=1_700_000_000_000_000_000, duration_s=1.5)
    assert config.end_ts == 1_700_000_001_500_000_000
