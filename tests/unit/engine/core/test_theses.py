"""What the families say, against stepping through time and against hand-set markets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.core.columns import (
    N_FAMILY_PARAMS,
    N_OUT,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_HISTORY,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_REASON,
    OUT_SD_BPS,
)
from engine.core.families.contract import (
    N_OWN_PARAMS,
    P_HALF_LIFE_S,
    P_MAKER_FEE_BPS,
)
from engine.core.params import default_params
from engine.core.records import NOT_ENOUGH_HISTORY, OK, THESIS_INACTIVE, THESIS_INVALID
from engine.core.regime import REGIME_NAMES, REGIME_UNKNOWN
from engine.core.routes import (
    BUILT_FAMILIES,
    DEFAULT_FAMILIES,
    FAMILY_ATR_BREAKOUT,
    FAMILY_BREAKOUT,
    FAMILY_FADE,
    FAMILY_GRID,
    FAMILY_IGNITION,
    FAMILY_MARKET_MAKING,
    FAMILY_MEAN_REVERSION,
    FAMILY_MOMENTUM,
    FAMILY_ORDER_FLOW,
    FAMILY_PLUGIN,
    FAMILY_PULLBACK,
    FAMILY_SCALPING,
    FAMILY_SWEEP,
    FAMILY_VWAP_REVERSION,
    N_PLUGINS,
)
from engine.core.theses import (
    FAMILY_CARDS,
    FAMILY_PARAMETERS,
    ask_thesis,
    default_families,
    no_family,
)
from engine.jit import function_value
from tests.naive import theses as naive
from tests.support.scene import make_features

NO_PLUGINS = (no_family,) * N_PLUGINS
_DEFAULT = default_params()
default_families(_DEFAULT)
HALF_LIFE = {family: float(_DEFAULT[0]["family_half_life_s"][family]) for family in BUILT_FAMILIES}
# Markets in which each family sees an opportunity.
ACTIVE: dict[int, dict[str, float]] = {
    FAMILY_MARKET_MAKING: {"spread_bps": 6.0, "microprice_bps": 0.5},
    FAMILY_MEAN_REVERSION: {"mean_z": -2.5, "mean_bps": -8.0, "reversion_half_life": 40.0},
    FAMILY_MOMENTUM: {
        "drift_t_1m": 0.4,
        "drift_t_5m": 1.5,
        "drift_t_15m": 3.0,
        "drift_t_1h": -0.2,
        "return_bps_15m": 30.0,
        "flow_imbalance_5m": 0.3,
    },
    FAMILY_ORDER_FLOW: {"ofi": 1.5, "ofi_slope": 0.8},
    FAMILY_BREAKOUT: {
        "mid": 10_005.0,
        "bar_high_20": 10_003.5,
        "bar_low_20": 9_997.5,
        "range_percentile": 0.1,
        "buy_notional_1m": 130_000.0,
        "vol_bps_1m": 6.0,
        "vol_bps_15m": 12.0,
    },
    FAMILY_ATR_BREAKOUT: {"mid": 10_016.0, "atr_fast_bps": 6.0},
    FAMILY_PULLBACK: {
        "mid": 10_002.0,
        "prior_high_40": 10_000.0,
        "bar_high_20": 10_020.0,
        "flow_imbalance_1m": 0.3,
    },
    FAMILY_IGNITION: {
        "ignition_state": 2.0,
        "ignition_direction": 1.0,
        "acceleration": 1.5,
        "flow_imbalance_1m": 0.6,
        "return_bps_1m": 12.0,
    },
    # a random walk of 12 bps would cover 19
    FAMILY_GRID: {"high_bps_15m": 8.0, "low_bps_15m": 1.0},
    FAMILY_SCALPING: {"microprice_bps": 0.6},
    FAMILY_FADE: {
        "return_bps_5m": -25.0,
        "low_bps_5m": 2.0,
        "imbalance_5": 0.3,
        "microprice_bps": 0.5,
    },
    FAMILY_VWAP_REVERSION: {"vwap_z": -2.5, "flow_imbalance_5m": -0.1, "drift_t_5m": -1.0},
    FAMILY_SWEEP: {
        "sweep_levels_sell": 6.0,
        "sweep_bps_sell": 8.0,
        "sweep_age_sell": 1.0,
        "imbalance_5": 0.4,
    },
}
# What each of them cannot do without: what its card says.
NEEDED = {
    family: tuple(name for name in card.inputs if name not in ("inventory", "tick_bps"))
    for family, card in FAMILY_CARDS.items()
}


def family_params(family: int, **changes: float) -> np.ndarray:
    params = np.zeros(N_FAMILY_PARAMS)
    for slot, each in enumerate(FAMILY_PARAMETERS[family]):
        params[slot] = changes.pop(each.name, each.default)
    params[P_HALF_LIFE_S] = changes.pop("half_life_s", HALF_LIFE.get(family, 10.0))
    params[P_MAKER_FEE_BPS] = changes.pop("maker_fee_bps", 0.0)
    assert not changes
    return params


def ask(
    family: int, changes: dict[str, float] | None = None, plugins: Any = NO_PLUGINS, **params: float
) -> tuple[int, np.ndarray]:
    out = np.full(N_OUT, 77.0)  # what was there before must not survive
    given = (
        family_params(family, **params)
        if family in FAMILY_PARAMETERS
        else np.zeros(N_FAMILY_PARAMS)
    )
    given[P_HALF_LIFE_S] = given[P_HALF_LIFE_S] or 10.0
    code = ask_thesis(family, make_features(changes), given, out, plugins)
    return int(code), out


@pytest.mark.parametrize("family", BUILT_FAMILIES)
def test_a_calm_market_offers_no_family_anything(family: int) -> None:
    fees = {"maker_fee_bps": 5.0} if family == FAMILY_MARKET_MAKING else {}
    code, out = ask(family, **fees)

    assert THESIS_INACTIVE == code
    assert 0.0 == out[OUT_ACTIVE]
    assert not (out == 77.0).any()


@pytest.mark.parametrize("family", BUILT_FAMILIES)
def test_each_family_acts_in_its_market_and_answers_completely(family: int) -> None:
    code, out = ask(family, ACTIVE[family])

    assert OK == code
    assert 1.0 == out[OUT_ACTIVE]
    assert out[OUT_MOVE_BPS] > 0.0
    assert np.isfinite(out).all()
    assert 0.5 < out[OUT_CONFIDENCE] < 1.0
    assert out[OUT_INVALIDATION_BPS] > 0.0
    assert out[OUT_HALF_LIFE_S] > 0.0


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family, names in NEEDED.items() for name in names]
)
def test_a_missing_feature_is_named_as_missing_and_never_taken_as_zero(
    family: int, name: str
) -> None:
    code, out = ask(family, ACTIVE[family] | {name: math.nan})

    assert NOT_ENOUGH_HISTORY == code
    assert (0.0, 1.0) == (out[OUT_ACTIVE], out[OUT_HISTORY])


@pytest.mark.parametrize("horizon", [10.0, 60.0, 300.0, 900.0])
def test_the_momentum_move_is_the_fading_drift_shrunk_by_its_doubt(horizon: float) -> None:
    _, out = ask(FAMILY_MOMENTUM, ACTIVE[FAMILY_MOMENTUM] | {"horizon": horizon})

    expected = naive.faded(30.0 / 900.0, 300.0, horizon) * (1.0 - 1.0 / 9.0)
    assert expected == pytest.approx(out[OUT_MOVE_BPS], rel=1e-6)


@pytest.mark.parametrize("horizon", [60.0, 300.0, 900.0])
def test_the_reversion_is_what_price_itself_does_of_the_closing_gap(horizon: float) -> None:
    _, out = ask(FAMILY_MEAN_REVERSION, ACTIVE[FAMILY_MEAN_REVERSION] | {"horizon": horizon})

    expected = naive.reverted(-8.0, 40.0, 120.0, horizon)
    assert expected == pytest.approx(out[OUT_MOVE_BPS], rel=1e-4)


def test_a_random_walk_closes_its_gap_to_its_mean_without_any_reversion_to_trade() -> None:
    """The fitted half-life of a random walk's deviation is that of the mean itself."""
    changes = ACTIVE[FAMILY_MEAN_REVERSION] | {"reversion_half_life": 120.0, "horizon": 900.0}

    code, _ = ask(FAMILY_MEAN_REVERSION, changes)

    assert THESIS_INACTIVE == code


def test_a_reversion_slower_than_the_horizon_is_no_opportunity() -> None:
    code, _ = ask(FAMILY_MEAN_REVERSION, ACTIVE[FAMILY_MEAN_REVERSION] | {"horizon": 10.0})

    assert THESIS_INACTIVE == code


@pytest.mark.parametrize("horizon", [10.0, 60.0, 900.0])
def test_the_order_flow_move_agrees_with_its_slope_at_ten_seconds(horizon: float) -> None:
    _, out = ask(FAMILY_ORDER_FLOW, ACTIVE[FAMILY_ORDER_FLOW] | {"horizon": horizon})

    expected = 0.8 * 1.5 * naive.faded(1.0, 10.0, horizon) / naive.faded(1.0, 10.0, 10.0)
    assert expected == pytest.approx(out[OUT_MOVE_BPS], rel=1e-6)


def test_order_flow_without_a_positive_slope_stays_silent_unless_one_is_configured() -> None:
    changes = ACTIVE[FAMILY_ORDER_FLOW] | {"ofi_slope": -0.1}

    assert THESIS_INACTIVE == ask(FAMILY_ORDER_FLOW, changes)[0]
    assert OK == ask(FAMILY_ORDER_FLOW, changes, slope_bps=0.5)[0]
    changes["ofi_slope"] = math.nan
    assert OK == ask(FAMILY_ORDER_FLOW, changes, slope_bps=0.5)[0]


def test_the_drift_needs_three_of_four_windows_and_the_flow_behind_it() -> None:
    market = ACTIVE[FAMILY_MOMENTUM]

    assert THESIS_INACTIVE == ask(FAMILY_MOMENTUM, market | {"drift_t_1m": -0.1})[0]
    assert OK == ask(FAMILY_MOMENTUM, market | {"drift_t_1m": -0.1, "drift_t_1h": 0.1})[0]
    assert OK == ask(FAMILY_MOMENTUM, market | {"drift_t_1h": math.nan})[0]
    assert THESIS_INACTIVE == ask(FAMILY_MOMENTUM, market | {"flow_imbalance_5m": -0.1})[0]
    assert THESIS_INACTIVE == ask(FAMILY_MOMENTUM, market | {"drift_t_15m": 1.9})[0]


@pytest.mark.parametrize(
    ("family", "mirrored"),
    [
        (
            FAMILY_IGNITION,
            ("ignition_direction", "acceleration", "flow_imbalance_1m", "return_bps_1m"),
        ),
        (FAMILY_SCALPING, ("microprice_bps",)),
        (FAMILY_VWAP_REVERSION, ("vwap_z", "flow_imbalance_5m", "drift_t_5m")),
        (FAMILY_MEAN_REVERSION, ("mean_z", "mean_bps")),
        (FAMILY_ORDER_FLOW, ("ofi",)),
        (
            FAMILY_MOMENTUM,
            (
                *("drift_t_1m", "drift_t_5m", "drift_t_15m", "drift_t_1h"),
                *("return_bps_15m", "flow_imbalance_5m"),
            ),
        ),
    ],
)
def test_the_mirrored_market_gives_the_mirrored_move(
    family: int, mirrored: tuple[str, ...]
) -> None:
    up = ACTIVE[family]
    down = up | {name: -up[name] for name in mirrored}

    (code_up, out_up), (code_down, out_down) = ask(family, up), ask(family, down)

    assert OK == code_up == code_down
    assert -out_up[OUT_MOVE_BPS] == out_down[OUT_MOVE_BPS]
    for slot in (OUT_SD_BPS, OUT_CONFIDENCE, OUT_INVALIDATION_BPS, OUT_HALF_LIFE_S):
        assert out_up[slot] == out_down[slot]


def test_market_making_wants_two_maker_fees_and_its_margin_in_the_spread() -> None:
    market = ACTIVE[FAMILY_MARKET_MAKING]

    # 6.0 >= 2 x 2.75 + 0.5
    assert OK == ask(FAMILY_MARKET_MAKING, market, maker_fee_bps=2.75)[0]
    assert THESIS_INACTIVE == ask(FAMILY_MARKET_MAKING, market, maker_fee_bps=2.76)[0]
    assert OK == ask(FAMILY_MARKET_MAKING, market, maker_fee_bps=9.0, fee_cover=0.0)[0]
    assert THESIS_INACTIVE == ask(FAMILY_MARKET_MAKING, market | {"queue_wait_bid": 121.0})[0]


def test_inventory_pulls_the_market_makers_expectation_down() -> None:
    market = ACTIVE[FAMILY_MARKET_MAKING]

    _, flat = ask(FAMILY_MARKET_MAKING, market)
    _, full = ask(FAMILY_MARKET_MAKING, market | {"inventory": 1000.0})

    assert 0.5 == pytest.approx(flat[OUT_MOVE_BPS])
    assert 0.5 - 1.0 == pytest.approx(full[OUT_MOVE_BPS])


def test_confidence_is_the_normal_chance_of_the_right_sign() -> None:
    _, out = ask(FAMILY_ORDER_FLOW, ACTIVE[FAMILY_ORDER_FLOW] | {"horizon": 60.0})

    assert 3.0 == pytest.approx(out[OUT_SD_BPS])
    assert naive.normal_cdf(out[OUT_MOVE_BPS] / 3.0) == pytest.approx(out[OUT_CONFIDENCE])


def test_a_still_market_is_not_a_riskless_one() -> None:
    """Half a tick is the least spread of a move, and nothing is ever certain."""
    _, out = ask(FAMILY_ORDER_FLOW, ACTIVE[FAMILY_ORDER_FLOW] | {"vol_bps_1m": 0.0})

    assert 0.5 == out[OUT_SD_BPS]
    assert 0.99 == out[OUT_CONFIDENCE]


def test_a_family_that_is_not_built_sees_nothing() -> None:
    assert THESIS_INACTIVE == ask(FAMILY_PLUGIN - 1, ACTIVE[FAMILY_ORDER_FLOW])[0]
    assert THESIS_INACTIVE == ask(FAMILY_PLUGIN + 3, ACTIVE[FAMILY_ORDER_FLOW])[0]


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        (OUT_MOVE_BPS, math.nan),
        (OUT_MOVE_BPS, math.inf),
        (OUT_SD_BPS, -1.0),
        (OUT_SD_BPS, math.nan),
        (OUT_CONFIDENCE, 1.5),
        (OUT_CONFIDENCE, math.nan),
        (OUT_INVALIDATION_BPS, 0.0),
        (OUT_INVALIDATION_BPS, math.inf),
        (OUT_HALF_LIFE_S, 0.0),
        (OUT_HALF_LIFE_S, math.nan),
        (OUT_ACTIVE, 0.5),
        (OUT_ACTIVE, math.nan),
    ],
)
def test_an_answer_out_of_its_range_is_refused_as_invalid(slot: int, value: float) -> None:
    def answer(features: Any, params: Any, out: Any) -> None:
        out[OUT_ACTIVE] = 1.0
        out[OUT_MOVE_BPS] = 5.0
        out[OUT_SD_BPS] = 2.0
        out[OUT_CONFIDENCE] = 0.6
        out[OUT_INVALIDATION_BPS] = 10.0
        out[slot] = value

    plugins = (function_value(answer),) * N_PLUGINS

    code, out = ask(FAMILY_PLUGIN, plugins=plugins)

    assert THESIS_INVALID == code
    assert 0.0 == out[OUT_ACTIVE]


def test_defaults_switch_on_the_built_families_and_never_the_unknown_regime() -> None:
    params = default_params()
    default_families(params)
    row = params[0]

    assert sorted(DEFAULT_FAMILIES) == np.flatnonzero(row["family_enabled"]).tolist()
    assert not row["regime_allows"][:, REGIME_UNKNOWN].any()
    traded = {
        family: {REGIME_NAMES[code] for code in np.flatnonzero(row["regime_allows"][family])}
        for family in BUILT_FAMILIES
    }
    assert {"RANGE"} == traded[FAMILY_MEAN_REVERSION]
    assert {"RANGE"} == traded[FAMILY_MARKET_MAKING]
    assert "TREND" in traded[FAMILY_MOMENTUM]
    assert not any({"LOW_LIQUIDITY", "CHAOS"} & each for each in traded.values())


def test_every_parameter_has_a_default_within_its_bounds_and_room() -> None:
    for family, parameters in FAMILY_PARAMETERS.items():
        assert len(parameters) <= N_OWN_PARAMS, family
        names = [each.name for each in parameters]
        assert len(set(names)) == len(names)
        for each in parameters:
            assert each.low <= each.default <= each.high, (family, each.name)
            assert each.doc


@pytest.mark.parametrize(
    "family", sorted(set(ACTIVE) - {FAMILY_MARKET_MAKING, FAMILY_MEAN_REVERSION})
)
def test_the_horizon_brings_what_the_half_life_allows(family: int) -> None:
    """Ten times the horizon never brings less, and never ten times as much."""
    near = ask(family, ACTIVE[family] | {"horizon": 6.0})[1][OUT_MOVE_BPS]
    far = ask(family, ACTIVE[family] | {"horizon": 60.0})[1][OUT_MOVE_BPS]

    assert near < far < 10.0 * near


def test_the_market_maker_prices_the_variance_of_its_inventory() -> None:
    """Avellaneda, Stoikov 2008, eq. (29): mid - q gamma sigma^2 (T - t); sigma is 3 bps here."""
    market = ACTIVE[FAMILY_MARKET_MAKING] | {"inventory": 500.0}

    _, plain = ask(FAMILY_MARKET_MAKING, market)
    _, averse = ask(FAMILY_MARKET_MAKING, market, risk_aversion=0.04)

    assert 0.5 * 0.04 * 9.0 == pytest.approx(plain[OUT_MOVE_BPS] - averse[OUT_MOVE_BPS])


def test_the_market_maker_wants_the_spread_that_its_risk_asks_for() -> None:
    """Eq. (30) with gamma 0.1, k 0.5, sigma 3: 0.9 + 20 ln 1.2 = 4.546 bps."""
    market = ACTIVE[FAMILY_MARKET_MAKING]
    risk = {"risk_aversion": 0.1, "arrival_decay": 0.5}

    assert OK == ask(FAMILY_MARKET_MAKING, market | {"spread_bps": 4.56}, **risk)[0]
    assert THESIS_INACTIVE == ask(FAMILY_MARKET_MAKING, market | {"spread_bps": 4.53}, **risk)[0]


# What is missing where the market above is one step away from the property.
NEAR_MISSES = [
    (FAMILY_BREAKOUT, {"range_percentile": 0.5}),  # no compression before
    (FAMILY_BREAKOUT, {"buy_notional_1m": 60_000.0}),  # usual volume
    (FAMILY_BREAKOUT, {"vol_bps_1m": 3.0}),  # no expansion
    (FAMILY_BREAKOUT, {"mid": 10_003.0}),  # still in its box
    (FAMILY_ATR_BREAKOUT, {"atr_fast_bps": 4.5}),
    (FAMILY_ATR_BREAKOUT, {"mid": 10_013.0}),  # beyond by a quarter of an ATR
    (FAMILY_PULLBACK, {"flow_imbalance_1m": 0.0}),
    (FAMILY_PULLBACK, {"mid": 10_009.0}),  # not back yet
    (FAMILY_PULLBACK, {"mid": 9_995.0}),  # through the level
    (FAMILY_PULLBACK, {"bar_high_20": 10_006.0}),  # no impulse
    (FAMILY_IGNITION, {"ignition_state": 1.0}),
    (FAMILY_IGNITION, {"ignition_state": 4.0}),
    (FAMILY_IGNITION, {"acceleration": -0.1}),
    (FAMILY_IGNITION, {"flow_imbalance_1m": 0.2}),
    (FAMILY_GRID, {"high_bps_15m": 18.0}),  # as wide as chance makes it
    (FAMILY_GRID, {"drift_t_15m": -2.0}),
    (FAMILY_GRID, {"high_bps_15m": 5.0, "low_bps_15m": 4.0}),  # in the middle
    (FAMILY_SCALPING, {"queue_wait_ask": 31.0}),
    (FAMILY_SCALPING, {"horizon": 300.0}),
    (FAMILY_SCALPING, {"high_bps_1m": 12.0}),
    (FAMILY_FADE, {"return_bps_5m": -18.0}),
    (FAMILY_FADE, {"imbalance_5": -0.1}),
    (FAMILY_FADE, {"refill_1s_bid": 0.2}),
    (FAMILY_FADE, {"low_bps_5m": 20.0}),  # it has come back already
    (FAMILY_VWAP_REVERSION, {"vwap_z": -1.9}),
    (FAMILY_VWAP_REVERSION, {"flow_imbalance_5m": -0.4}),
    (FAMILY_VWAP_REVERSION, {"drift_t_5m": -2.5}),
    (FAMILY_SWEEP, {"sweep_levels_sell": 3.0}),
    (FAMILY_SWEEP, {"sweep_age_sell": 0.2}),
    (FAMILY_SWEEP, {"sweep_age_sell": 6.0}),
    (FAMILY_SWEEP, {"refill_5s_bid": 0.3}),
    (FAMILY_SWEEP, {"imbalance_5": 0.0}),
]


@pytest.mark.parametrize(("family", "change"), NEAR_MISSES)
def test_each_condition_of_a_family_is_needed(family: int, change: dict[str, float]) -> None:
    assert OK == ask(family, ACTIVE[family])[0]
    assert THESIS_INACTIVE == ask(family, ACTIVE[family] | change)[0]


def test_a_sweep_that_nobody_absorbs_is_told_apart_from_none() -> None:
    _, running = ask(FAMILY_SWEEP, ACTIVE[FAMILY_SWEEP] | {"refill_5s_bid": 0.3})
    _, quiet = ask(FAMILY_SWEEP)

    assert (1.0, 0.0) == (running[OUT_REASON], quiet[OUT_REASON])


def test_the_newer_of_two_sweeps_counts() -> None:
    both = ACTIVE[FAMILY_SWEEP] | {
        "sweep_levels_buy": 6.0, "sweep_bps_buy": 8.0, "sweep_age_buy": 2.0,
    }  # fmt: skip

    assert ask(FAMILY_SWEEP, both)[1][OUT_MOVE_BPS] > 0.0
    mirrored = both | {"sweep_age_buy": 0.6, "imbalance_5": -0.4}
    assert ask(FAMILY_SWEEP, mirrored)[1][OUT_MOVE_BPS] < 0.0
