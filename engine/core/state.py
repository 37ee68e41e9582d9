"""What does the core remember? All of its state, as flat numpy records that the caller owns.

`Core` is a NamedTuple of arrays: a snapshot is a copy, a digest is a hash of bytes. Each file of
engine/core writes only the fields that its heading below names.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from engine.book import BOOK
from engine.commands import COMMAND
from engine.core.adaptive import N_ENDS, PATHS
from engine.core.bursts import BURSTS
from engine.core.calibration import CALIBRATION, FORECASTS
from engine.core.columns import N_FAMILY_PARAMS, N_FEATURES, N_OUT
from engine.core.daytime import DAYTIME
from engine.core.faults import (  # noqa: F401  the names people look for here
    FAULT_COMMANDS_FULL,
    FAULT_MONEY,
    FAULT_NONE,
    FAULT_ORDER,
    FAULT_RING_FULL,
    FAULT_TIME_BACKWARDS,
    FAULT_UNKNOWN_EVENT,
    FAULT_UNKNOWN_SYMBOL,
)
from engine.core.forecast import FORECAST
from engine.core.heap import HEAP
from engine.core.ignition import IGNITION
from engine.core.learned import LEARNED
from engine.core.level3 import LEVEL3
from engine.core.members import MEMBERS
from engine.core.minutes import MINUTES
from engine.core.orders import N_ORDERS, ORDER
from engine.core.positions import POSITION_FIELDS
from engine.core.reach import REACH
from engine.core.records import (
    ADAPTIVE_ROW,
    BALANCE_ROW,
    BLOCKER_ROW,
    CANDIDATE_ROW,
    DECISION_ROW,
    EQUITY_ROW,
    EVALUATION_ROW,
    EXIT_ROW,
    FILL_ROW,
    FLOW_ROW,
    FORECAST_ROW,
    HEALTH_ROW,
    IGNITION_ROW,
    INVENTORY_ROW,
    MODE_ROW,
    N_REASONS,
    ORDER_ROW,
    OUTCOME_ROW,
    POSITION_ROW,
    REALIZED_ROW,
    RECOVERY_ROW,
    RELEASE_ROW,
    ROUTE_ROW,
    TABLE_NAMES,
    UNIVERSE_TABLE_ROW,
)
from engine.core.refill import REFILL
from engine.core.repeats import REPEATS
from engine.core.routes import N_FAMILIES, N_HORIZONS
from engine.core.routestate import ROUTE_STATE
from engine.core.shadow import SHADOW
from engine.core.tape import TAPE
from engine.core.throttle import THROTTLE
from engine.core.watch import WATCH
from engine.events import EPOCH_VALID, EVENT, MODE_NORMAL
from engine.instruments import INSTRUMENT_ROW
from engine.stage import N_STAGES, define_kind, link

N_TABLES: Final = len(TABLE_NAMES)
SYMBOLS_MAX: Final = 64
MODES_PER_ROUTE: Final = 4
N_ROUTES_PER_SYMBOL: Final = N_FAMILIES * N_HORIZONS * MODES_PER_ROUTE

SYMBOL: Final = np.dtype(
    [
        ("instrument", INSTRUMENT_ROW),  # its `status`: what holds now, pair and venue together
        ("pair_status", "<i8"),  # STATUS_* of the pair alone
        # step.py: the book and its verdict
        ("book", BOOK),
        ("verified", "<i8"),  # 1: snapshot seen, checksums good, not crossed, no gap open
        ("awaiting_snapshot", "<i8"),
        ("message_open", "<i8"),  # 1: a book message is not closed by LAST yet
        ("depth", "<i8"),  # levels per side of the feed, 0 unbounded
        ("bid", "<i8"),  # ticks at the last complete message, 0 none
        ("ask", "<i8"),
        ("bid_qty", "<i8"),  # lots
        ("ask_qty", "<i8"),
        ("book_ts", "<i8"),  # ns of the newest complete book message, 0 none
        ("trade_ts", "<i8"),
        ("trade_price", "<i8"),
        ("first_ts", "<i8"),
        ("dirty", "<i8"),  # touch changed since the features were computed
        ("n_events", "<i8"),
        ("n_trades", "<i8"),
        ("n_messages", "<i8"),
        ("n_checksum_failed", "<i8"),
        ("n_crossed", "<i8"),
        ("n_gaps", "<i8"),
        # tape.py
        ("tape", TAPE),
        # learned.py
        ("learned", LEARNED),
        # reach.py
        ("reach", REACH),
        # calibration.py
        ("forecasts", FORECASTS),
        # features.py
        ("features", "<f8", (N_FEATURES,)),
        ("observations", "<i8", (N_FEATURES,)),
        # regime.py
        ("regime", "<i8"),
        ("regime_ts", "<i8"),
        ("chaos_kind", "<i8"),
        ("expansion", "<i8"),
        # bursts.py, refill.py, level3.py
        ("bursts", BURSTS),
        ("refill", REFILL),
        ("level3", LEVEL3),
        # minutes.py, ignition.py, forecast.py, daytime.py
        ("minutes", MINUTES),
        ("ignition", IGNITION),
        ("forecast", FORECAST),
        ("daytime", DAYTIME),
        # positions.py, protection.py, exits.py
        ("position", np.dtype(list(POSITION_FIELDS))),
        # pipeline.py: the winner of the present evaluation
        ("winner_score", "<f8"),
        ("winner_index", "<i8"),
        ("ready", "<i8"),  # data-level blocker of the present evaluation, OK if none
        ("blocker", "<i8"),
        # drain.py: routes of this symbol that wait, and its mid when they were evaluated
        ("n_waiting", "<i8"),
        # routestate.py: routes of this symbol that have a row, and its mid at the newest look
        ("n_tracked", "<i8"),
        ("tracked_mid", "<i8"),
        ("waiting_mid", "<i8"),
        # members.py: 1: takes no entries; 1: held back by inventory; 1: named by a running update
        ("outside", "<i8"),
        ("leaving", "<i8"),
        ("told", "<i8"),
        # readiness.py: TIER_* of lanes.py; allocate.py: money its candidate may use, -1 no limit
        ("tier", "<i8"),
        ("allotted", "<i8"),
        # watch.py
        ("watch", WATCH),
    ]
)

GLOB: Final = np.dtype(
    [
        ("now", "<i8"),  # ts of the newest event
        ("start_ts", "<i8"),
        ("generation", "<i8"),
        ("epoch", "<i8"),
        ("epoch_status", "<i8"),
        ("system_status", "<i8"),  # STATUS_* of the venue
        # modes.py
        ("mode", "<i8"),
        ("mode_who", "<i8"),  # WHO_* and WHY_* of the mode in force
        ("mode_why", "<i8"),
        ("mode_ts", "<i8"),  # since when
        ("mode_start", "<i8"),  # mode to which a clean reconcile returns, where WHY_START holds it
        ("mode_start_who", "<i8"),
        ("mode_start_why", "<i8"),
        ("evaluation_due", "<i8"),  # 1: a timer struck while a message was open
        ("n_messages_open", "<i8"),
        ("n_events", "<i8"),
        ("n_evaluations", "<i8"),
        ("n_commands", "<i8"),  # COMMANDs in `commands` not yet taken by the caller
        ("n_commands_total", "<i8"),
        ("n_rows", "<i8", (N_TABLES,)),  # rows in each ring not yet drained
        ("n_candidates_seen", "<i8"),  # counter of the candidate sample
        ("fault", "<i8"),  # FAULT_*: an invariant of ours is broken, the run stops
        ("last_order_id", "<i8"),
        ("equity_ts", "<i8"),  # newest rows of the periodic tables
        ("health_ts", "<i8"),
        # capital.py, positions.py
        ("cash", "<i8"),  # money: our own account of it, from fills and fees
        ("cash_held", "<i8"),
        ("equity", "<i8"),
        ("free", "<i8"),
        ("exposure", "<i8"),
        ("peak", "<i8"),
        ("realized", "<i8"),
        ("fees", "<i8"),
        ("volume", "<i8"),  # money traded so far (fee tier)
        ("fee_ts", "<i8"),  # ns at which the venue named our rates, 0: those of the schedule
        ("fee_maker_e6", "<i8"),
        ("fee_taker_e6", "<i8"),
        ("day", "<i8"),  # UTC day number of day_equity
        ("day_equity", "<i8"),
        ("entries_ts", "<i8", (128,)),  # ring: times of the newest entries
        ("n_entries", "<i8"),
        ("loss_ts", "<i8", (64,)),  # ring: realised losses of the newest closed trades
        ("loss_money", "<i8", (64,)),
        ("n_losses", "<i8"),
        ("reason_counts", "<i8", (N_REASONS,)),  # candidates stopped first by each code, whole run
        # reconcile.py
        ("reconcile", "<i8"),  # 1: pending, the state is not yet what the venue says
        ("reconcile_ts", "<i8"),  # since when
        ("reconcile_read", "<i8"),  # 1: orders and trades were read since then (HEALTH_RECONCILED)
        ("account_synced", "<i8"),  # 1: the private stream is whole, balances count
        ("adopted", "<i8"),  # 1: a first reconcile said what was there before us
        ("venue_cash", "<i8"),  # money as the venue told it, all of the quote currency
        ("venue_cash_told", "<i8"),  # 1: told since the account was lost
        ("foreign_cash", "<i8"),  # money that is not ours
        ("cash_difference", "<i8"),  # venue_cash - cash - foreign_cash, 0 within the slack
        ("cash_differs_ts", "<i8"),  # since when it is not 0
        ("cash_changed_ts", "<i8"),  # since when it is what it is
        ("cash_differs", "<i8"),  # 1: it outlived `reconcile.settle_ns`, no entries
        # gates.py: facts of the shell
        ("clock_offset", "<i8"),  # ns, venue's clock minus ours
        ("clock_ts", "<i8"),  # when it was measured, 0 never
        ("journal_ns", "<i8"),  # how long the newest sync of the log took
        ("journal_ts", "<i8"),  # when that was told
        ("journal_failed", "<i8"),
        ("lag_ns", "<i8"),  # the larger of writer's and decoder's
        ("heartbeat_ts", "<i8"),  # newest heartbeat, 0 never
        ("account_ts", "<i8"),  # newest private frame, 0 never
        ("alerts", "<i8"),  # critical alerts that nobody acknowledged
        ("lease_lost", "<i8"),
        ("switch_fired", "<i8"),
        ("stopping", "<i8"),
        # repeats.py
        ("repeats", REPEATS),
        # shadow.py
        ("shadow", SHADOW),
        # throttle.py
        ("throttle", THROTTLE),
        # heap.py, drain.py
        ("heap", HEAP),
        # adaptive.py
        ("paths", PATHS),
        ("calibration", CALIBRATION),
        # routestate.py
        ("routes", ROUTE_STATE),
        # members.py
        ("universe_version", "<i8"),
        ("members", MEMBERS),
    ]
)

FOUND: Final = np.dtype(
    [
        ("winner", "<i8"),
        ("runner_up", "<i8"),
        ("best", "<i8"),
        ("margin_bps", "<f8"),
        ("n_candidates", "<i8"),
        ("n_active", "<i8"),
        ("n_positive", "<i8"),
    ]
)
WORK: Final = np.dtype(
    [
        ("candidates", CANDIDATE_ROW, (N_ROUTES_PER_SYMBOL,)),  # of the symbol being evaluated
        ("blank", CANDIDATE_ROW),  # economics of no candidate: NaN
        ("n_candidates", "<i8"),
        ("ranking", "<i8", (N_ROUTES_PER_SYMBOL,)),  # selection.py: rows of candidates, best first
        ("reason_counts", "<i8", (N_REASONS,)),
        ("winner_rows", CANDIDATE_ROW, (SYMBOLS_MAX,)),  # best candidate of each symbol
        ("winners", DECISION_ROW, (SYMBOLS_MAX,)),  # decision row of each symbol, this evaluation
        ("order", "<i8", (SYMBOLS_MAX,)),  # symbols in rank order, this evaluation
        ("found", FOUND),  # selection.py: what it found for the symbol being evaluated
        ("adaptive", ADAPTIVE_ROW, (N_ROUTES_PER_SYMBOL,)),  # adaptive.py: V2 of the tradable ones
        ("end_fees", "<f8", (N_ENDS,)),
        ("horizon_place", "<i8", (N_HORIZONS,)),  # selection.py: 0 first
        # allocate.py
        ("share_scores", "<f8", (SYMBOLS_MAX,)),
        ("share_families", "<i8", (SYMBOLS_MAX,)),
        ("share_used", "<f8", (N_FAMILIES,)),
        ("shares", "<f8", (SYMBOLS_MAX,)),
    ]
)

# Rows that fit each ring between two drains; one evaluation of SYMBOLS_MAX symbols fits.
RING_ROWS: Final = {
    "evaluations": 256,
    "decisions": 4096,
    "candidates": 32768,
    "blockers": 16384,
    "orders": 4096,
    "fills": 4096,
    "positions": 4096,
    "realized": 1024,
    "equity": 1024,
    "health": 4096,
    "outcomes": 32768,
    "ignition": 1024,
    "forecast_15m": 1024,
    "modes": 1024,
    "recoveries": 1024,
    "balances": 1024,
    "releases": 1024,
    "flow": 256,
    "universe": 1024,
    "adaptive": 8192,
    "routes": 4096,
    "exits": 1024,
    "inventory": 1024,
}
ROW_TYPES: Final = {
    "evaluations": EVALUATION_ROW,
    "decisions": DECISION_ROW,
    "candidates": CANDIDATE_ROW,
    "blockers": BLOCKER_ROW,
    "orders": ORDER_ROW,
    "fills": FILL_ROW,
    "positions": POSITION_ROW,
    "realized": REALIZED_ROW,
    "equity": EQUITY_ROW,
    "health": HEALTH_ROW,
    "outcomes": OUTCOME_ROW,
    "ignition": IGNITION_ROW,
    "forecast_15m": FORECAST_ROW,
    "modes": MODE_ROW,
    "recoveries": RECOVERY_ROW,
    "balances": BALANCE_ROW,
    "releases": RELEASE_ROW,
    "flow": FLOW_ROW,
    "universe": UNIVERSE_TABLE_ROW,
    "adaptive": ADAPTIVE_ROW,
    "routes": ROUTE_ROW,
    "exits": EXIT_ROW,
    "inventory": INVENTORY_ROW,
}
RINGS: Final = np.dtype([(name, ROW_TYPES[name], (RING_ROWS[name],)) for name in TABLE_NAMES])
COMMANDS_MAX: Final = 256


define_kind("event", EVENT)
define_kind("events", np.zeros(0, EVENT))
define_kind("evaluation", EVALUATION_ROW)


class Core(NamedTuple):
    """Everything the core owns; made by `make_core`, changed by `core_step` alone."""

    glob: np.ndarray  # GLOB[1]
    symbols: np.ndarray  # SYMBOL[n]
    orders: np.ndarray  # ORDER[N_ORDERS]
    params: np.ndarray  # PARAMS[1]
    work: np.ndarray  # WORK[1]: scratch of one evaluation, nothing is remembered in it
    rings: np.ndarray  # RINGS[1]: rows not yet drained, counts in glob["n_rows"]
    commands: np.ndarray  # COMMAND[COMMANDS_MAX], count in glob["n_commands"]
    features: np.ndarray  # float64[N_FEATURES]: what a thesis is given
    family_params: np.ndarray  # float64[N_FAMILY_PARAMS]
    thesis_out: np.ndarray  # float64[N_OUT]: what a thesis answers
    plugins: tuple[Any, ...]  # N_PLUGINS compiled user families
    calls: np.ndarray  # int64[N_STAGES]: addresses of compiled stages, no part of the state


def make_core(
    instruments: np.ndarray,
    params: np.ndarray,
    cash: int,
    depths: np.ndarray,
    plugins: tuple[Any, ...],
    linked: bool = True,
) -> Core:
    """Allocate a core that has seen nothing.

    instruments : INSTRUMENT_ROW[n]; params : PARAMS[1]; cash : money to begin with
    depths : int64[n], levels per side of each book feed (0 unbounded)
    plugins : N_PLUGINS compiled families (theses.no_family where there is none)
    linked : compile or load what the core is made of; False where only its shape is wanted
    """
    # Every stage must be defined before the table of addresses is filled.
    from engine.core.desk import Desk

    n = len(instruments)
    glob = np.zeros(1, GLOB)
    glob[0]["mode"], glob[0]["epoch_status"] = MODE_NORMAL, EPOCH_VALID
    for name in ("cash", "equity", "free", "peak", "day_equity"):
        glob[0][name] = cash
    symbols = np.zeros(n, SYMBOL)
    symbols["instrument"] = instruments
    symbols["pair_status"] = instruments["status"]
    symbols["awaiting_snapshot"] = 1
    symbols["depth"] = depths
    symbols["observations"] = 0
    symbols["allotted"] = -1
    symbols["features"] = np.nan
    symbols["watch"]["on"] = params[0]["records_shadow"]
    if n > SYMBOLS_MAX:
        raise ValueError(
            f"{n} symbols in one run, the core holds {SYMBOLS_MAX}. Name the ones you want in the "
            "profile's universe.symbols, or split the run."
        )
    work = np.zeros(1, WORK)
    for name, (kind, *_) in (CANDIDATE_ROW.fields or {}).items():
        if kind.kind == "f":
            work["blank"][name] = np.nan
    core = Core(
        glob=glob,
        symbols=symbols,
        orders=np.zeros(N_ORDERS, ORDER),
        params=params.copy(),
        work=work,
        rings=np.zeros(1, RINGS),
        commands=np.zeros(COMMANDS_MAX, COMMAND),
        features=np.full(N_FEATURES, np.nan),
        family_params=np.zeros(N_FAMILY_PARAMS),
        thesis_out=np.zeros(N_OUT),
        plugins=plugins,
        calls=np.zeros(N_STAGES, np.int64),
    )
    define_kind("core", core)
    views = (core.glob[0], core.params[0], core.rings[0])
    define_kind("desk", Desk(*views, core.symbols, core.orders, core.commands, core.calls))
    if linked:
        link(core.calls)
    return core
