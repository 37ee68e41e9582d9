from decimal import Decimal

import pytest

from adapters.cli.options import parse_overrides
from engine.errors import ConfigError


def test_settings_become_nested_keys_with_toml_values():
    assert {
        "run": {"cash": 5000, "name": "mine"},
        "capture": {"symbols": ["BTC/USD"], "end": "2026-01-01T01:00:00+01:00[x]"},
        "costs": {"buffer_bps": Decimal("0.5")},
        "evaluation": {"interval": "250ms"},
        "families": {"momentum": {"enabled": False}},
    } == parse_overrides(
        [
            "run.cash=5000",
            "run.name = mine",
            'capture.symbols=["BTC/USD"]',
            "capture.end=2026-01-01T01:00:00+01:00[x]",
            "costs.buffer_bps=0.5",
            "evaluation.interval=250ms",
            "families.momentum.enabled=false",
        ]
    )


def test_a_value_may_hold_an_equals_sign():
    assert {"a": "b=c"} == parse_overrides(["a=b=c"])


def test_no_settings_are_no_layer():
    assert {} == parse_overrides(None) == parse_overrides([])


@pytest.mark.parametrize("setting", ["run.cash", "=1", "run.=1", ".cash=1", ""])
def test_what_is_no_setting_is_refused(setting):
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_overrides([setting])


@pytest.mark.parametrize("settings", [["a=1", "a=2"], ["a=1", "a.b=2"], ["a.b=2", "a=1"]])
def test_a_key_is_set_once(settings):
    with pytest.raises(ConfigError, match=r"twice|set already"):
        parse_overrides(settings)
