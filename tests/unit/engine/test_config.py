import json
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import (
    FILE_NAME,
    canonical_json,
    config_hash,
    duration_text,
    make_params,
    make_profile,
    make_venue_params,
    parse_duration,
    parse_money,
    parse_time,
    read_config,
    read_layers,
    walk_keys,
)
from engine.core.params import PARAMETERS, default_params
from engine.core.regime import REGIME_RANGE, REGIME_TREND, REGIME_UNKNOWN
from engine.core.routes import FAMILY_MEAN_REVERSION, FAMILY_MOMENTUM, HORIZONS_S
from engine.core.theses import default_families
from engine.errors import ConfigError
from engine.venue.params import venue_params

NOON = 1_767_268_800_000_000_000  # 2026-01-01 12:00:00 UTC


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No kapitaalbot.toml of this machine reaches a test."""
    monkeypatch.chdir(tmp_path)


def profile_of(text, tmp_path, overrides=None, environ=None):
    path = tmp_path / "profile.toml"
    path.write_text(text)
    return read_config(path, overrides, environ or {})


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("1s", 1_000_000_000),
        (" 1.5 m ", 90_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1d", 86_400_000_000_000),
        ("7ns", 7),
        ("0.001us", 1),
    ],
)
def test_durations(text, ns):
    assert ns == parse_duration(text)


@pytest.mark.parametrize("value", [250, 0.25, "250", "ms", "-1s", "0.1ns", "1 fortnight", None])
def test_a_duration_without_a_sound_unit_is_refused(value):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


@given(st.integers(0, 10**18))
def test_a_duration_survives_its_text(ns):
    assert ns == parse_duration(duration_text(ns))


def test_money_is_exact():
    assert 1_000_050_000_000 == parse_money("10000.5")
    assert 1_000_000_000_000 == parse_money(10_000)
    assert 1 == parse_money(Decimal("0.00000001"))


@pytest.mark.parametrize("value", [0.1, True, None, [1]])
def test_money_is_never_a_float(value):
    with pytest.raises(ValueError, match="is not an amount"):
        parse_money(value)


def test_money_finer_than_its_unit_is_refused():
    with pytest.raises(ValueError, match="more than eight decimals"):
        parse_money("0.000000001")


@pytest.mark.parametrize("value", ["abc", "", "1e30", "nan", "-inf", 10**11])
def test_what_is_no_amount_or_more_than_can_be_summed_is_refused(value):
    with pytest.raises(ValueError, match=r"is not an amount|lies beyond"):
        parse_money(value)


def test_times_are_utc_unless_they_say_otherwise():
    assert NOON == parse_time("2026-01-01T12:00:00")
    assert NOON == parse_time("2026-01-01T14:00:00+02:00")
    assert NOON == parse_time(datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert NOON + 123_456_000 == parse_time("2026-01-01T12:00:00.123456")
    assert parse_time(None) is None


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_time_is_read_to_the_microsecond(us):
    moment = datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)

    assert us * 1000 == parse_time(moment.isoformat())


# --- layers --------------------------------------------------------------------------------------


def test_later_layers_win_and_leave_the_rest(tmp_path):
    (tmp_path / FILE_NAME).write_text('[run]\nname = "folder"\nseed = 2\ncash = 1\n')
    text = '[run]\nname = "profile"\nseed = 3\n'
    environ = {"KAPITAALBOT__RUN__SEED": "4", "OTHER": "x"}

    assert ("profile", 3) == tuple_of(profile_of(text, tmp_path))
    assert ("profile", 4) == tuple_of(profile_of(text, tmp_path, None, environ))
    assert ("profile", 5) == tuple_of(profile_of(text, tmp_path, {"run": {"seed": 5}}, environ))
    assert 100_000_000 == profile_of(text, tmp_path).run.cash


def tuple_of(profile):
    return profile.run.name, profile.run.seed


def test_layers_are_told_with_their_origin(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[run]\nseed = 3\n")
    layers = dict(read_layers(path, {"run": {"seed": 5}}, {"KAPITAALBOT__RUN__SEED": "4"}))

    assert [3, 4, 5] == [
        layers[name]["run"]["seed"] for name in (str(path), "environment", "command line")
    ]


def test_the_environment_reads_values_as_toml_and_bare_words_as_text(tmp_path):
    profile = profile_of(
        "",
        tmp_path,
        None,
        {
            "KAPITAALBOT__CAPTURE__SYMBOLS": '["BTC/USD"]',
            "KAPITAALBOT__CAPTURE__PATH": "some/where",
            "KAPITAALBOT__VENUE__TRADE_FIRST": "false",
        },
    )

    assert ("BTC/USD",) == profile.capture.symbols
    assert "some/where" == profile.capture.path
    assert profile.venue.trade_first is False


# --- refusals ------------------------------------------------------------------------------------


def test_every_wrong_key_is_named_at_once_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError) as caught:
        profile_of("[run]\nsede = 1\n[costs]\nbufer_bps = 1\n[rnu]\n", tmp_path)

    message = caught.value.message
    assert "3 wrong keys" in message
    assert "run.sede: unknown key. Did you mean run.seed?" in message
    assert "costs.bufer_bps: unknown key. Did you mean costs.buffer_bps?" in message
    assert "rnu: unknown key. Did you mean run?" in message
    assert "config schema" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\nseed = -1\n", "run.seed"),
        ("[run]\ncash = 0.000000001\n", "run.cash"),
        ("[run]\ncash = -5\n", "run.cash: must be at least 0 (given: -5"),
        ('[run]\ncash = "abc"\n', "run.cash: 'abc' is not an amount"),
        ("[capital]\norder_max = 0\n", "capital.order_max: must be at least 0.00000001 (given: 0"),
        ('[evaluation]\ninterval = "2d"\n', "evaluation.interval: must be at most 1h (given: 2d)"),
        ("[costs]\nbuffer_bps = nan\n", "costs.buffer_bps"),
        ("[families.momentum]\nnet_min_bps = nan\n", "net_min_bps"),
        ("[families.momentum.params]\ndrift_t_min = nan\n", "drift_t_min"),
        ("[families.momentum.params]\ndrift_t_min = 0.5\n", "does not lie in 1.0 to 100.0 t"),
        ('[run]\nname = "a/b"\n', "run.name"),
        ("[evaluation]\ninterval = 250\n", "is not a duration"),
        ('[evaluation]\ninterval = "1ns"\n', "evaluation.interval"),
        ("[readiness]\nfill_prob_min = 1.5\n", "readiness.fill_prob_min"),
        ('[venue]\nfees = "none"\n', "unknown schedule 'none'"),
        ('[venue]\ntier = "gold"\n', "unknown tier 'gold'"),
        ("horizons_s = [61]\n", "61 is not one of"),
        ("[families.momentun]\n", "Did you mean families.momentum?"),
        ("[families.momentum.params]\ndrift_t = 1\n", "Did you mean drift_t_min?"),
        ('[families.momentum]\nregimes = ["UNKNOWN"]\n', "is not a regime that trades"),
        (
            '[capture]\nstart = "2026-01-02T00:00:00"\nend = "2026-01-01T00:00:00"\n',
            "not before capture.end",
        ),
        ("plugins = " + json.dumps(["a:b"] * 9), "plugins: at most 8"),
        ("[run\n", "is not valid TOML"),
        ("run = 1\n", "run"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path, text, says):
    with pytest.raises(ConfigError) as caught:
        profile_of(text, tmp_path)

    assert says in caught.value.message
    assert caught.value.hint


def test_a_profile_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="there is no profile"):
        read_config(tmp_path / "none.toml", None, {})


def test_a_profile_cannot_be_changed(tmp_path):
    profile = profile_of("", tmp_path)

    with pytest.raises(ValueError, match="frozen"):
        profile.run.seed = 2


# --- what comes of it ----------------------------------------------------------------------------


def test_the_hash_covers_what_can_change_a_decision_and_nothing_else(tmp_path):
    plain = config_hash(make_profile({}))

    same = ({"run": {"out": "x", "name": "y"}}, {"capture": {"path": "z"}})
    for layer in same:
        assert plain == config_hash(make_profile(layer))
    for layer in (
        {"run": {"seed": 2}},
        {"run": {"cash": 1}},
        {"capture": {"symbols": ["BTC/USD"]}},
        {"venue": {"feed": "16ms"}},
        {"costs": {"buffer_bps": 0.6}},
        {"families": {"momentum": {"enabled": False}}},
        {"horizons_s": [60]},
    ):
        assert plain != config_hash(make_profile(layer))
    assert plain != config_hash(make_profile({}), ("digest of a family",))


def test_the_hash_does_not_depend_on_how_a_value_was_written(tmp_path):
    one = profile_of('[evaluation]\ninterval = "1000ms"\n[run]\ncash = "5000.0"\n', tmp_path)
    other = profile_of('[run]\ncash = 5000\n[evaluation]\ninterval = "1s"\n', tmp_path)

    assert canonical_json(one) == canonical_json(other)
    assert config_hash(one) == config_hash(other)


def test_defaults_give_the_default_parameters():
    expected = default_params()
    default_families(expected)
    venue = venue_params()[0]
    for name in ("n_fee_tiers", "fee_volume", "fee_maker_e6", "fee_taker_e6"):
        expected[0][name] = venue[name]
    expected[0]["seed"] = 1
    params = make_params(make_profile({}))

    assert [] == [
        name
        for name in expected.dtype.names
        if not np.array_equal(expected[0][name], params[0][name])
    ]
    assert venue_params(seed=1).tobytes() == make_venue_params(make_profile({})).tobytes()


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda each: each.field)
def test_every_parameter_reaches_its_place(parameter):
    low, high = parameter.low, parameter.high
    other = low if parameter.default != low else high
    if parameter.unit == "ns":
        key, text, expected = parameter.name.removesuffix("_ns"), f"{int(other)}ns", int(other)
    elif parameter.unit == "money":
        key, text, expected = parameter.name, str(Decimal(int(other)).scaleb(-8)), int(other)
    elif isinstance(parameter.default, bool):
        key, text, expected = parameter.name, not parameter.default, not parameter.default
    else:
        key, text = parameter.name, type(parameter.default)(other)
        expected = text
    layer = {parameter.section: {key: text}}

    assert expected == make_params(make_profile(layer))[0][parameter.field]
    assert parameter.default == make_params(make_profile({}))[0][parameter.field]


def test_a_family_is_set_where_it_is_named(tmp_path):
    text = """
    horizons_s = [60, 900]
    [families.mean_reversion]
    enabled = false
    half_life_s = 33
    net_min_bps = 1.5
    taker = true
    regimes = ["trend"]
    params = {z_min = 3.5}
    """
    row = make_params(profile_of(text, tmp_path))[0]
    allowed = row["regime_allows"][FAMILY_MEAN_REVERSION]

    assert 0 == row["family_enabled"][FAMILY_MEAN_REVERSION]
    assert 1 == row["family_enabled"][FAMILY_MOMENTUM]
    assert 33.0 == row["family_half_life_s"][FAMILY_MEAN_REVERSION]
    assert 1.5 == row["family_net_min_bps"][FAMILY_MEAN_REVERSION]
    assert 3.5 == row["family_params"][FAMILY_MEAN_REVERSION][0]
    assert (1, 0, 0) == (allowed[REGIME_TREND], allowed[REGIME_RANGE], allowed[REGIME_UNKNOWN])
    assert [int(each in (60, 900)) for each in HORIZONS_S] == row["horizon_enabled"].tolist()


def test_the_latency_draws_share_the_seed_unless_they_have_their_own():
    assert 7 == make_venue_params(make_profile({"run": {"seed": 7}}))[0]["seed"]
    own = {"run": {"seed": 7}, "venue": {"seed": 8}}
    assert 8 == make_venue_params(make_profile(own))[0]["seed"]


def test_fees_of_the_core_are_those_of_the_venue():
    profile = make_profile({"venue": {"fees": "kraken-2021-04"}})
    core, venue = make_params(profile)[0], make_venue_params(profile)[0]

    assert 1600 == core["fee_maker_e6"][0] == venue["fee_maker_e6"][0]
    assert core["fee_volume"].tolist() == venue["fee_volume"].tolist()


def test_every_key_is_listed_with_a_meaning():
    keys = list(walk_keys())

    assert len(keys) == len({each["key"] for each in keys})
    assert {"run.cash", "venue.feed", "costs.buffer_bps", "families.<name>.regimes"} <= {
        each["key"] for each in keys
    }
    assert [] == [each["key"] for each in keys if not each["doc"]]
