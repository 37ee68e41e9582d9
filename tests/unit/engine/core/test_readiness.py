"""One dominant blocker, in its order: each gate alone, then each beside all that come after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.core.fillprob import FILL_QUEUE, FILL_TAKER
from engine.core.readiness import route_blocker, symbol_blocker
from engine.core.records import (
    BOOK_UNVERIFIED,
    CANDIDATE_ROW,
    CHAOS_BLOCKED,
    COSTS_EXCEED_MOVE,
    DATA_STALE,
    EPOCH_NOT_VALID,
    EXIT_INFEASIBLE,
    FILL_UNLIKELY,
    INSTRUMENT_STATUS,
    MOVE_TOO_SMALL,
    NOT_ENOUGH_HISTORY,
    OK,
    QUEUE_TOO_LONG,
    REGIME_BLOCKED,
    ROUTE_STALE,
    ROUTE_STALE_WINNER,
    SIZE_BELOW_MIN,
    SPREAD_TOO_WIDE,
    SURFACE_NOT_TRADABLE,
    THIN_TOUCH,
)
from engine.core.regime import (
    REGIME_CHAOS,
    REGIME_LOW_LIQUIDITY,
    REGIME_RANGE,
    REGIME_TREND,
    REGIME_UNKNOWN,
)
from engine.core.routes import (
    ENTRY_JOIN,
    ENTRY_TAKE,
    FAMILY_MARKET_MAKING,
    FAMILY_MEAN_REVERSION,
    FAMILY_MOMENTUM,
    FAMILY_SCALPING,
)
from engine.core.state import Core
from engine.events import EPOCH_DEGRADED, EPOCH_VALID, HEARTBEAT
from engine.instruments import STATUS_CANCEL_ONLY, STATUS_LIMIT_ONLY, STATUS_POST_ONLY
from tests.support.order_desk import OrderDesk
from tests.support.scene import NOW, make_scene, set_book

S = 1_000_000_000


def ask_symbol(core: Core, epoch: int = EPOCH_VALID) -> int:
    return int(symbol_blocker(core.symbols[0], core.params[0], NOW, epoch))


def test_a_sound_symbol_passes() -> None:
    assert OK == ask_symbol(make_scene())


def test_the_first_thing_wrong_with_the_data_is_named() -> None:
    """Break everything, then mend it in the order of the gates."""
    core = make_scene()
    symbol = core.symbols[0]
    symbol["instrument"]["status"] = STATUS_CANCEL_ONLY
    symbol["verified"] = 0
    symbol["book_ts"] = NOW - 11 * S
    symbol["regime"] = REGIME_UNKNOWN
    set_book(symbol, [(9_900, 10)], [(10_100, 10)])
    epoch = EPOCH_DEGRADED
    seen = []
    for mend in ("status", "verified", "book_ts", "epoch", "spread", "regime", ""):
        seen.append(ask_symbol(core, epoch))
        if mend == "status":
            symbol["instrument"]["status"] = STATUS_LIMIT_ONLY
        elif mend == "verified":
            symbol["verified"] = 1
        elif mend == "book_ts":
            symbol["book_ts"] = NOW - 10 * S
        elif mend == "epoch":
            epoch = EPOCH_VALID
        elif mend == "spread":
            set_book(symbol, [(9_999, 10)], [(10_001, 10)])
        elif mend == "regime":
            symbol["regime"] = REGIME_TREND

    expected = [INSTRUMENT_STATUS, BOOK_UNVERIFIED, DATA_STALE, EPOCH_NOT_VALID]
    assert [*expected, SPREAD_TOO_WIDE, NOT_ENOUGH_HISTORY, OK] == seen


@pytest.mark.parametrize(
    ("bids", "asks"), [([], [(10, 1)]), ([(10, 1)], []), ([(10, 1)], [(10, 1)])]
)
def test_a_book_without_two_sides_apart_is_not_verified(bids: Any, asks: Any) -> None:
    core = make_scene()
    set_book(core.symbols[0], bids, asks)

    assert BOOK_UNVERIFIED == ask_symbol(core)


@pytest.mark.parametrize(
    ("regime", "code"), [(REGIME_CHAOS, CHAOS_BLOCKED), (REGIME_LOW_LIQUIDITY, REGIME_BLOCKED)]
)
def test_a_bad_regime_stops_the_symbol_unless_an_enabled_family_trades_in_it(
    regime: int, code: int
) -> None:
    core = make_scene()
    core.symbols[0]["regime"] = regime

    assert code == ask_symbol(core)
    core.params[0]["regime_allows"][FAMILY_MOMENTUM, regime] = 1
    assert OK == ask_symbol(core)
    core.params[0]["family_enabled"][FAMILY_MOMENTUM] = 0
    assert code == ask_symbol(core)


# --- routes ---------------------------------------------------------------------------------------


def good_row(entry_mode: int = ENTRY_JOIN, family: int = FAMILY_MEAN_REVERSION) -> Any:
    row = np.zeros(1, CANDIDATE_ROW)[0]
    row["family"], row["entry_mode"], row["qty"], row["price"] = family, entry_mode, 100, 9_999
    row["fill_method"] = FILL_TAKER if entry_mode == ENTRY_TAKE else FILL_QUEUE
    row["fill_prob"], row["fill_time_s"], row["capturable"] = 0.5, 20.0, 0.6
    row["move_bps"], row["net_bps"], row["exit_drag_bps"] = 30.0, 3.0, 14.0
    return row


def ask_route(core: Core, row: Any, code: int = OK, side: int = 1, wanted: int = 100) -> int:
    return int(route_blocker(row, core.symbols[0], core.params[0], code, side, wanted, NOW))


@pytest.mark.parametrize("entry_mode", [ENTRY_JOIN, ENTRY_TAKE])
def test_a_sound_route_passes(entry_mode: int) -> None:
    assert OK == ask_route(make_scene(), good_row(entry_mode))


def test_every_gate_dominates_those_after_it() -> None:
    core = make_scene()
    symbol = core.symbols[0]
    row = good_row()
    side = -1
    wanted = 1

    def fill_soon() -> None:
        row["fill_time_s"] = 300.0

    def long() -> None:
        nonlocal side
        side = 1

    def enough() -> None:
        nonlocal wanted
        wanted = 10

    steps: list[tuple[int, Callable[[], None]]] = [
        (ROUTE_STALE, lambda: symbol.__setitem__("book_ts", NOW - 45 * S)),
        (SURFACE_NOT_TRADABLE, long),
        (REGIME_BLOCKED, lambda: symbol.__setitem__("regime", REGIME_RANGE)),
        (THIN_TOUCH, lambda: symbol.__setitem__("bid_qty", 100)),
        (QUEUE_TOO_LONG, fill_soon),
        (FILL_UNLIKELY, lambda: row.__setitem__("fill_prob", 0.1)),
        (MOVE_TOO_SMALL, lambda: row.__setitem__("capturable", 0.05)),
        (COSTS_EXCEED_MOVE, lambda: row.__setitem__("net_bps", 0.51)),
        (EXIT_INFEASIBLE, lambda: row.__setitem__("exit_drag_bps", 30.0)),
        (SIZE_BELOW_MIN, enough),
        (OK, lambda: None),
    ]
    symbol["book_ts"] = NOW - 45 * S - 1
    symbol["regime"] = REGIME_TREND
    symbol["bid_qty"] = 99
    row["fill_time_s"], row["fill_prob"], row["capturable"] = 301.0, 0.09, 0.04
    row["net_bps"], row["exit_drag_bps"] = 0.5, 101.0
    seen = []
    for _, mend in steps:
        seen.append(ask_route(core, row, OK, side, wanted))
        mend()

    assert [code for code, _ in steps] == seen


def test_what_the_thesis_said_comes_before_everything() -> None:
    core = make_scene()
    core.symbols[0]["book_ts"] = 0

    assert NOT_ENOUGH_HISTORY == ask_route(core, good_row(), NOT_ENOUGH_HISTORY, -1)


def test_a_tape_route_needs_trades_and_a_passive_one_does_not() -> None:
    core = make_scene()
    core.params[0]["regime_allows"][:, REGIME_RANGE] = 1
    core.symbols[0]["trade_ts"] = NOW - 30 * S - 1

    assert ROUTE_STALE == ask_route(core, good_row(family=FAMILY_MOMENTUM))
    assert OK == ask_route(core, good_row(family=FAMILY_MEAN_REVERSION))
    core.symbols[0]["trade_ts"] = NOW - 30 * S
    assert OK == ask_route(core, good_row(family=FAMILY_MOMENTUM))
    core.symbols[0]["trade_ts"] = 0
    assert ROUTE_STALE == ask_route(core, good_row(family=FAMILY_MOMENTUM))


def test_a_route_that_takes_has_the_shorter_ceiling() -> None:
    core = make_scene()
    core.symbols[0]["book_ts"] = NOW - 31 * S

    assert OK == ask_route(core, good_row(ENTRY_JOIN))
    assert ROUTE_STALE == ask_route(core, good_row(ENTRY_TAKE))


def test_a_taker_needs_no_queue_but_both_touches() -> None:
    core = make_scene()
    row = good_row(ENTRY_TAKE)
    row["fill_time_s"], row["fill_prob"] = 1e9, 0.0

    assert OK == ask_route(core, row)
    core.symbols[0]["ask_qty"] = 99
    assert THIN_TOUCH == ask_route(core, row)
    assert OK == ask_route(core, good_row(ENTRY_JOIN))


def test_a_pair_that_is_post_only_takes_no_taker() -> None:
    core = make_scene()
    core.symbols[0]["instrument"]["status"] = STATUS_POST_ONLY

    assert INSTRUMENT_STATUS == ask_route(core, good_row(ENTRY_TAKE))
    assert OK == ask_route(core, good_row(ENTRY_JOIN))


def test_spread_capture_is_not_judged_by_a_move_it_does_not_chase() -> None:
    core = make_scene()
    row = good_row(family=FAMILY_MARKET_MAKING)
    row["capturable"], row["move_bps"] = 0.0, 0.1

    assert OK == ask_route(core, row)
    row["family"] = FAMILY_MEAN_REVERSION
    assert MOVE_TOO_SMALL == ask_route(core, row)


def test_a_stressed_exit_dearer_than_the_move_can_be_allowed() -> None:
    row = good_row()
    row["exit_drag_bps"] = 31.0

    assert EXIT_INFEASIBLE == ask_route(make_scene(), row)
    assert OK == ask_route(make_scene(readiness_exit_drag_below_move=0), row)


def test_an_unknown_net_edge_never_passes() -> None:
    row = good_row()
    row["net_bps"] = np.nan

    assert COSTS_EXCEED_MOVE == ask_route(make_scene(readiness_net_min_bps=-1e4), row)


@pytest.mark.parametrize(
    ("wanted", "cost_min", "code"),
    [
        (10, 50_000_000, OK),
        (9, 0, SIZE_BELOW_MIN),
        (0, 0, SIZE_BELOW_MIN),
        (10, 99_990_000, OK),  # 0.010 x 99.99 = 0.9999
        (10, 99_990_001, SIZE_BELOW_MIN),
    ],
)
def test_the_venues_minimums_are_met_exactly(wanted: int, cost_min: int, code: int) -> None:
    core = make_scene()
    core.symbols[0]["instrument"]["cost_min"] = cost_min

    assert code == ask_route(core, good_row(), wanted=wanted)


def test_a_scalp_needs_an_exit_that_rests() -> None:
    row = good_row(family=FAMILY_SCALPING)
    regimes = {"regime_allows": np.ones_like(make_scene().params[0]["regime_allows"])}

    assert EXIT_INFEASIBLE == ask_route(make_scene(**regimes), row)
    assert OK == ask_route(make_scene(costs_exit_maker_share=1.0, **regimes), row)
    taking_half = make_scene(costs_exit_maker_share=0.5, **regimes)
    assert EXIT_INFEASIBLE == ask_route(taking_half, row)


def test_a_route_that_only_its_age_stops_is_told_from_one_that_more_would_stop() -> None:
    core = make_scene(readiness_stale_winner=1)
    core.symbols[0]["book_ts"] = NOW - 45 * S - 1
    assert ROUTE_STALE_WINNER == ask_route(core, good_row())
    assert ROUTE_STALE == ask_route(core, good_row(), side=-1)
    core.symbols[0]["bid_qty"] = 1
    assert ROUTE_STALE == ask_route(core, good_row())
    core.params[0]["readiness_stale_winner"] = 0  # off by default
    core.symbols[0]["bid_qty"] = 10_000
    assert ROUTE_STALE == ask_route(core, good_row())


def test_a_heartbeat_keeps_a_verified_book_young_where_the_profile_says_so() -> None:
    for told, verified, age in ((1, 1, 0), (0, 1, 60 * S), (1, 0, 60 * S)):
        desk = OrderDesk(readiness_heartbeat=told)
        symbol = desk.core.symbols[0]
        symbol["verified"] = verified
        symbol["book_ts"] = symbol["trade_ts"] = desk.glob["now"]
        desk.wait(60 * S - S // 1000)
        desk.tell(HEARTBEAT, 0)
        assert age == desk.glob["now"] - symbol["book_ts"]
        assert 60 * S == desk.glob["now"] - symbol["trade_ts"]  # the tape does not live on it
