"""Minute closes, quarters and hours lived through a core: ignition, forecast, time of day, gates."""

import math
from typing import Any

import pytest

from engine.config import make_params, make_profile
from engine.core.columns import FEATURE_INDEX
from engine.core.daytime import LONDON, NEW_YORK, TOKYO, centres_open
from engine.core.forecast import forecast_factor
from engine.core.ignition import (
    IGNITION_COMPRESSION,
    IGNITION_COOLDOWN,
    IGNITION_DORMANT,
    IGNITION_EXPANSION,
    IGNITION_IGNITION,
    IGNITION_NAMES,
    N_IGNITION,
)
from engine.core.minutes import minutes_second
from engine.core.params import CHAOS_DATA as PARAMS_CHAOS_DATA
from engine.core.params import N_CHAOS, default_params
from engine.core.params import N_IGNITION as PARAMS_N_IGNITION
from engine.core.readiness import regime_allows, route_blocker
from engine.core.records import (
    CHAOS_BLOCKED,
    IGNITION_BLOCKED,
    OK,
    T_FORECAST_15M,
    T_IGNITION,
)
from engine.core.regime import (
    CHAOS_DATA,
    CHAOS_GAP,
    CHAOS_NAMES,
    CHAOS_ONE_WAY,
    CHAOS_SPREAD,
    REGIME_CHAOS,
)
from engine.core.routes import (
    ENTRY_JOIN,
    FAMILY_BREAKOUT,
    FAMILY_GRID,
    FAMILY_IGNITION,
    FAMILY_MARKET_MAKING,
    FAMILY_MOMENTUM,
    FAMILY_PLUGIN,
)
from engine.core.state import Core
from engine.core.tape import tape_second, tape_trade
from engine.core.wide import wide_features, widen_features, widen_market
from engine.errors import ConfigError
from engine.events import BUY, SELL
from engine.jit import JIT_ENABLED
from engine.stage import define_kind
from tests.support.scene import NOW, make_scene

S = 1_000_000_000
MINUTE = 60 * S
START = NOW // MINUTE * MINUTE


def value(core: Core, name: str) -> float:
    return float(core.symbols[0]["features"][FEATURE_INDEX[name]])


def rows(core: Core, table: str, i_table: int) -> Any:
    return core.rings[0][table][: core.glob[0]["n_rows"][i_table]]


class Life:
    """A core of one symbol that is told one minute of trades after the other."""

    def __init__(self, **params: Any) -> None:
        self.core = make_scene(**params)
        self.now = START
        if JIT_ENABLED:
            # The one stage that widen_market calls; a scene links none.
            define_kind("core", self.core)
            self.core.calls[wide_features.index] = wide_features.address()

    def trade(self, price: int, second: int, qty: int = 10, side: int = BUY) -> None:
        ts = self.now + second * S
        tape_trade(self.core.symbols[0]["tape"], price, qty, side, price * qty, ts)

    def end_minute(self) -> None:
        self.now += MINUTE
        symbol = self.core.symbols[0]
        mid = int(symbol["bid"] + symbol["ask"])
        tape_second(symbol["tape"], mid, self.now)
        minutes_second(symbol["minutes"], symbol["tape"])
        self.core.glob[0]["now"] = self.now
        widen_market(self.core, 0)

    def swing(self, minutes: int, width: int, price: int = 10_000) -> None:
        """Up and down by `width` within each minute, closing where it opened."""
        for _ in range(minutes):
            for second, move in ((5, 0), (20, width), (35, -width), (50, 0)):
                self.trade(price + move, second, side=BUY if move >= 0 else SELL)
            self.end_minute()

    def burst(self, price: int, to: int, qty: int = 200) -> None:
        for k in range(5):
            self.trade(price + (to - price) * (k + 1) // 5, 5 + 10 * k, qty)
        self.end_minute()

    @property
    def state(self) -> int:
        return int(self.core.symbols[0]["ignition"]["state"])


def test_a_squeeze_ignites_expands_cools_down_and_rests():
    life = Life(ignition_enabled=1)
    life.swing(60, 20)
    assert IGNITION_DORMANT == life.state
    life.swing(16, 2)
    assert IGNITION_COMPRESSION == life.state
    life.swing(2, 2)
    life.trade(10_000, 1)
    life.burst(10_000, 10_050)
    assert IGNITION_IGNITION == life.state
    assert 1 == value(life.core, "ignition_direction")
    life.burst(10_050, 10_080)
    life.burst(10_080, 10_120)
    assert IGNITION_EXPANSION == life.state
    life.swing(4, 1, 10_120)  # the volume is gone
    assert IGNITION_COOLDOWN == life.state
    since = int(life.core.symbols[0]["ignition"]["since"])
    while life.state == IGNITION_COOLDOWN:
        life.swing(1, 20, 10_120)
    assert 1800 == (life.now - since) / S
    seen = rows(life.core, "ignition", T_IGNITION)
    assert [1, 2, 3, 4, 0] == seen["ignition"].tolist()
    assert [0, 1, 2, 3, 4] == seen["ignition_before"].tolist()
    fired = seen[1]
    assert fired["volume_burst"] >= 3
    assert fired["body_share"] >= 0.6
    assert fired["acceleration"] >= 1
    assert 1 == fired["bar_flow"]
    assert 10_050 == fired["close"]


def test_an_ignition_that_falls_back_cools_down_at_once():
    life = Life(ignition_enabled=1)
    life.swing(60, 20)
    life.swing(18, 2)
    life.trade(10_000, 1)
    life.burst(10_000, 10_050)
    assert IGNITION_IGNITION == life.state
    life.burst(10_050, 9_990)
    assert IGNITION_COOLDOWN == life.state


def test_a_market_without_a_squeeze_never_ignites():
    life = Life(ignition_enabled=1)
    for k in range(120):
        life.swing(1, 20)
        if k % 60 == 59:
            life.burst(10_000, 10_050)
            life.burst(10_050, 10_000)
    assert IGNITION_NAMES[IGNITION_IGNITION] not in {
        IGNITION_NAMES[int(each)] for each in rows(life.core, "ignition", T_IGNITION)["ignition"]
    }


def test_too_many_silent_minutes_switch_ignition_off():
    life = Life(ignition_enabled=1)
    life.swing(60, 20)
    life.swing(18, 2)
    assert IGNITION_COMPRESSION == life.state
    for _ in range(5):
        life.end_minute()
    assert IGNITION_COMPRESSION == life.state
    life.end_minute()
    assert IGNITION_DORMANT == life.state
    assert 6 == rows(life.core, "ignition", T_IGNITION)[-1]["n_missing"]


def test_ignition_is_off_by_default_but_measured():
    life = Life()
    life.swing(60, 20)
    life.swing(18, 2)
    assert IGNITION_DORMANT == life.state
    assert 0 == len(rows(life.core, "ignition", T_IGNITION))
    assert value(life.core, "range_percentile") < 0.2


def blocker(core: Core, family: int) -> int:
    row = core.work[0]["candidates"][0]
    row["family"], row["entry_mode"] = family, ENTRY_JOIN
    row["qty"], row["price"] = 100, 9_999
    row["net_bps"], row["fill_prob"], row["capturable"] = 5.0, 1.0, 1.0
    core.symbols[0]["instrument"]["status"] = 1
    return int(route_blocker(row, core.symbols[0], core.params[0], OK, 1, 100, NOW))


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        (IGNITION_DORMANT, {FAMILY_MARKET_MAKING, FAMILY_MOMENTUM, FAMILY_PLUGIN}),
        (IGNITION_COMPRESSION, {FAMILY_MARKET_MAKING, FAMILY_PLUGIN}),
        (IGNITION_IGNITION, {FAMILY_MOMENTUM, FAMILY_IGNITION, FAMILY_PLUGIN}),
        (IGNITION_EXPANSION, {FAMILY_MOMENTUM, FAMILY_IGNITION, FAMILY_PLUGIN}),
        (IGNITION_COOLDOWN, {FAMILY_MARKET_MAKING, FAMILY_PLUGIN}),
    ],
)
def test_the_state_of_ignition_decides_which_families_enter(state, allowed):
    core = make_scene(ignition_enabled=1)
    core.params[0]["regime_allows"][:, 1:] = 1
    core.symbols[0]["ignition"]["state"] = state
    for family in (FAMILY_MARKET_MAKING, FAMILY_MOMENTUM, FAMILY_IGNITION, FAMILY_PLUGIN):
        assert (blocker(core, family) == IGNITION_BLOCKED) == (family not in allowed), family
    core.params[0]["ignition_enabled"] = 0
    assert blocker(core, FAMILY_IGNITION) != IGNITION_BLOCKED


def test_a_kind_of_chaos_lets_those_in_that_the_profile_names():
    profile = make_profile(
        {"families": {"momentum": {"chaos": ["gap"]}, "market_making": {"regimes": ["CHAOS"]}}}
    )
    core = make_scene()
    core.params[:] = make_params(profile)
    symbol = core.symbols[0]
    symbol["regime"] = REGIME_CHAOS
    for kind, momentum, making in (
        (CHAOS_DATA, False, False),
        (CHAOS_SPREAD, False, True),
        (CHAOS_GAP, True, True),
        (CHAOS_ONE_WAY, False, True),
    ):
        symbol["chaos_kind"] = kind
        assert momentum == regime_allows(symbol, core.params[0], FAMILY_MOMENTUM), kind
        assert making == regime_allows(symbol, core.params[0], FAMILY_MARKET_MAKING), kind
        assert (blocker(core, FAMILY_MOMENTUM) == CHAOS_BLOCKED) == (not momentum)


def test_unknown_kinds_and_states_are_refused():
    with pytest.raises(ConfigError, match=r"families\.momentum\.chaos: 'data' is not one of"):
        make_profile({"families": {"momentum": {"chaos": ["data"]}}})
    with pytest.raises(ConfigError, match=r"families\.momentum\.ignition: 'awake' is not one of"):
        make_profile({"families": {"momentum": {"ignition": ["awake"]}}})


def test_states_of_ignition_come_from_the_profile():
    row = make_params(make_profile({"families": {"momentum": {"ignition": ["expansion"]}}}))[0]
    assert [0, 0, 0, 1, 0] == row["ignition_allows"][FAMILY_MOMENTUM].tolist()


def test_tables_of_the_parameters_have_a_place_for_every_code():
    assert PARAMS_N_IGNITION == N_IGNITION == len(IGNITION_NAMES)
    assert len(CHAOS_NAMES) == N_CHAOS
    assert PARAMS_CHAOS_DATA == CHAOS_DATA
    row = default_params()[0]
    assert 0 == row["chaos_allows"][:, CHAOS_DATA].max()
    assert 1 == row["ignition_allows"][FAMILY_GRID][IGNITION_COMPRESSION]
    assert 0 == row["ignition_allows"][FAMILY_BREAKOUT][IGNITION_COMPRESSION]


def test_each_quarter_hour_states_a_forecast_and_judges_the_one_before():
    life = Life()
    symbol = life.core.symbols[0]
    symbol["features"][FEATURE_INDEX["drift_t_15m"]] = 1.0
    quarter = START // (15 * MINUTE) + 1
    life.now = quarter * 15 * MINUTE - 2 * MINUTE
    life.end_minute()
    assert 0 == len(rows(life.core, "forecast_15m", T_FORECAST_15M))
    life.end_minute()
    for _ in range(15):
        life.end_minute()
        if life.now == (quarter + 1) * 15 * MINUTE - MINUTE:
            symbol["bid"] += 5  # mid from 10,000 to 10,005
            symbol["ask"] += 5
    made = rows(life.core, "forecast_15m", T_FORECAST_15M)
    assert [0, 1, 0] == made["realized"].tolist()
    first, judged, _ = made
    assert quarter * 15 * MINUTE == first["ts"] == first["ts_made"] == judged["ts_made"]
    assert judged["ts"] - first["ts"] == 15 * MINUTE
    assert math.isnan(first["move_bps"])
    assert judged["move_bps"] == pytest.approx(5.0)
    assert first["score"] == judged["score"]
    assert 1.0 == judged["drift_t_15m"]


def test_a_forecast_over_a_lost_book_is_not_judged():
    life = Life()
    life.core.symbols[0]["features"][FEATURE_INDEX["drift_t_15m"]] = 1.0
    life.now = (START // (15 * MINUTE) + 1) * 15 * MINUTE - 2 * MINUTE
    life.end_minute()
    life.end_minute()
    life.core.symbols[0]["verified"] = 0
    for _ in range(15):
        life.end_minute()
    assert [0] == rows(life.core, "forecast_15m", T_FORECAST_15M)["realized"].tolist()


def test_the_forecast_scales_directional_families_by_at_most_its_scale():
    core = make_scene({"forecast_15m": -0.8, "forecast_15m_confidence": 0.5})
    features, params = core.symbols[0]["features"], core.params[0]
    assert 1.0 == forecast_factor(features, params, FAMILY_MOMENTUM, 5.0)  # off by default
    params["forecast_scale"] = 0.2
    assert forecast_factor(features, params, FAMILY_MOMENTUM, 5.0) == pytest.approx(0.92)
    assert forecast_factor(features, params, FAMILY_MOMENTUM, -5.0) == pytest.approx(1.08)
    assert 1.0 == forecast_factor(features, params, FAMILY_MARKET_MAKING, 5.0)
    features[FEATURE_INDEX["forecast_15m"]] = math.nan
    assert 1.0 == forecast_factor(features, params, FAMILY_MOMENTUM, 5.0)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (1_767_571_200, TOKYO),  # Monday 2026-01-05 00:00 UTC, 9:00 in Tokyo
        (1_767_592_800, 0),  # 06:00 UTC
        (1_767_600_000, LONDON),  # 08:00 UTC
        (1_767_623_400, LONDON + NEW_YORK),  # 14:30 UTC
        (1_767_630_600, NEW_YORK),  # 16:30 UTC: London has closed
        (1_767_484_800, 0),  # Sunday
        (1_783_324_800, LONDON),  # Monday 2026-07-06 08:00 UTC: 9:00 summer time
        (1_783_323_000, LONDON),  # 07:30 UTC, 8:30 summer time
        (1_783_344_600, LONDON + NEW_YORK),  # 13:30 UTC
    ],
)
def test_centres_keep_their_own_clocks(second, expected):
    assert expected == centres_open(second)


def test_without_the_gate_no_vwap_is_known():
    core = make_scene({"vwap_z": 1.0, "vwap_15m": 10_000.0})
    core.symbols[0]["tape"]["second"] = 1
    core.params[0]["features_vwap"] = 0
    widen_features(core.symbols[0], core.params[0], NOW)
    for name in ("vwap_15m", "vwap_sd_bps", "vwap_z", "vwap_1h", "vwap_z_4h"):
        assert math.isnan(value(core, name)), name


def test_the_score_is_the_weighted_mean_of_its_parts():
    core = make_scene(
        {
            "spread_bps": 5.0,  # half of it
            "depth_bid_5": 60_000.0,
            "depth_ask_5": 20_000.0,  # the smaller one: half
        }
    )
    widen_features(core.symbols[0], core.params[0], NOW)
    assert 0.5 == value(core, "score_spread")
    assert 0.5 == value(core, "score_density")
    assert 0.0 == value(core, "score_lean")  # the book of the scene is even
    assert math.isnan(value(core, "score_refill"))
    assert math.isnan(value(core, "edge_score"))
