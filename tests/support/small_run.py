"""A run folder written by hand: two symbols, four evaluations, one round trip, small enough to read.

What it holds was chosen, not computed, so that tests of reports do not move with the core. The
story: BTC/USD at 50,000 buys 0.01 with a resting order at the third evaluation, is filled, gets a
stop, and leaves through it at a loss; DOGE/USD never has enough history.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.commands import ADD, COMMAND, GTC, GTD, LIMIT, ROLE_ENTRY, ROLE_PROTECTION, STOP_LOSS
from engine.config import canonical_json, make_profile
from engine.core.exits import EXIT_STOP
from engine.core.fillprob import FILL_QUEUE, FILL_TAKER
from engine.core.orderstates import (
    ORDER_STATE_FILLED,
    ORDER_STATE_JOURNALED,
    ORDER_STATE_OPEN,
    ORDER_STATE_PARTIAL,
    ORDER_STATE_PLANNED,
)
from engine.core.positions import POSITION_CLOSED, POSITION_OPEN
from engine.core.protection import COVER_NONE, COVER_PROTECTED
from engine.core.records import (
    ALLOW,
    COSTS_EXCEED_MOVE,
    ECONOMICS,
    EXECUTE,
    LOST_TO_BETTER,
    NONE,
    NOT_ENOUGH_HISTORY,
    OK,
    SKIP,
    TABLES,
    THESIS_INACTIVE,
    table_dtype,
)
from engine.core.regime import REGIME_RANGE, REGIME_UNKNOWN
from engine.core.routes import (
    ENTRY_JOIN,
    ENTRY_TAKE,
    FAMILY_MEAN_REVERSION,
    FAMILY_MOMENTUM,
    FAMILY_NAMES,
    route_key,
)
from engine.core.shadow import OUTCOME_ENDED, TOUCH_STOP, TOUCH_TARGET
from engine.events import (
    BUY,
    EPOCH_VALID,
    MODE_NORMAL,
    ORDER_ACK,
    ORDER_FILL,
    ORDER_FILLED,
    SELL,
)
from engine.instruments import Instrument, InstrumentTable
from engine.reports.manifest import RUN_SCHEMA_VERSION

START = 1_767_268_800_000_000_000  # 2026-01-01 12:00:00 UTC
S = 1_000_000_000
MS = 1_000_000
BTC, DOGE = 0, 1
JOIN = int(route_key(BTC, FAMILY_MEAN_REVERSION, 1, ENTRY_JOIN, BUY, 0))
TAKE = int(route_key(BTC, FAMILY_MOMENTUM, 2, ENTRY_TAKE, BUY, 0))
UNIT = 100_000_000  # money in one USD

INSTRUMENTS = InstrumentTable.from_json(
    [
        Instrument.from_json(
            {
                "symbol": symbol,
                "price_increment": price,
                "qty_increment": "0.00000001",
                "price_precision": precision,
                "qty_precision": 8,
                "qty_min": "0.0001",
                "cost_min": "0.5",
            }
        ).to_json()
        for symbol, price, precision in (("BTC/USD", "0.1", 1), ("DOGE/USD", "0.0000001", 7))
    ]
)

NO_ECONOMICS = {column.name: float("nan") for column in ECONOMICS if column.type == "f8"}
JOIN_ECONOMICS = {
    "move_bps": 62.0, "move_sd_bps": 21.5, "confidence": 0.64, "capturable": 0.9,
    "gross_bps": 55.8, "fill_prob": 0.42, "fill_time_s": 11.5, "fill_method": FILL_QUEUE,
    "entry_fee_bps": 25.0, "exit_fee_bps": 40.0, "spread_in_bps": -0.1, "spread_out_bps": 0.1,
    "slip_in_bps": 0.0, "slip_out_bps": 0.3, "adverse_bps": 1.4, "latency_bps": 0.2,
    "buffer_bps": 0.5, "cost_bps": 67.4, "exit_drag_bps": 44.0, "net_bps": -11.6,
    "edge_bps_min": -4.1, "score": -3.1,
}  # fmt: skip
TAKE_ECONOMICS = JOIN_ECONOMICS | {
    "move_bps": 80.25, "gross_bps": 72.225, "fill_prob": 1.0, "fill_time_s": 0.0,
    "fill_method": FILL_TAKER, "entry_fee_bps": 40.0, "spread_in_bps": 0.1, "slip_in_bps": 0.25,
    "adverse_bps": 0.0, "cost_bps": 81.35, "net_bps": -9.125, "edge_bps_min": -1.8, "score": -5.84,
}  # fmt: skip

OUTCOME_FLOATS = tuple(column.name for column in TABLES["outcomes"] if column.type == "f8")


def _rows(table: str, rows: list[dict[str, Any]]) -> np.ndarray:
    dtype = COMMAND if table == "commands" else table_dtype(table)
    array = np.zeros(len(rows), dtype)
    for i, row in enumerate(rows):
        for name, value in row.items():
            array[i][name] = value
    return array


def _evaluation(i: int) -> dict[str, Any]:
    return {
        "ts": START + i * S, "generation": i + 1, "epoch": 1, "epoch_status": EPOCH_VALID,
        "mode": MODE_NORMAL, "n_symbols": 2, "n_ready": 1, "n_candidates": 4,
        "n_active": 2 if i == 2 else 0, "n_positive": 1 if i == 2 else 0,
        "n_commands": 1 if i == 2 else 0, "best_net_bps": -9.125 if i == 2 else float("nan"),
        "blocker": THESIS_INACTIVE, "equity": 10_000 * UNIT, "free": 9_800 * UNIT,
        "n_open_orders": 0, "n_positions": 0, "n_events": 1000 * (i + 1),
    }  # fmt: skip


def _decision(i: int, sym: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ts": START + i * S, "generation": i + 1, "sym": sym, "outcome": NONE,
        "blocker": THESIS_INACTIVE, "margin_bps": float("nan"), "n_candidates": 4,
        "bid": 500_000, "ask": 500_001, "mid_half_ticks": 1_000_001, "spread_bps": 0.02,
        "regime": REGIME_RANGE, "book_age_ns": 12 * MS, "trade_age_ns": 340 * MS,
        "check_value": float("nan"), "check_limit": float("nan"), **NO_ECONOMICS,
    }  # fmt: skip
    if sym == DOGE:
        row |= {"blocker": NOT_ENOUGH_HISTORY, "n_candidates": 0, "regime": REGIME_UNKNOWN}
        row |= {"bid": 1_234_567, "ask": 1_234_570, "mid_half_ticks": 2_469_137, "trade_age_ns": -1}
    elif i == 2:
        row |= {
            "outcome": EXECUTE, "blocker": OK, "route": JOIN, "runner_up": TAKE,
            "margin_bps": 2.74, "n_active": 2, "verdict": ALLOW, "qty": 1_000_000,
            "price": 500_000, "stop": 497_500, "target": 503_000, "command": 1, **JOIN_ECONOMICS,
        }  # fmt: skip
    elif i == 3:
        row |= {"outcome": SKIP, "blocker": COSTS_EXCEED_MOVE, "n_active": 1}
    return row


def _candidate(route: int, family: int, horizon: int, mode: int, **values: Any) -> dict[str, Any]:
    return {
        "ts": START + 2 * S, "generation": 3, "sym": BTC, "route": route, "family": family,
        "horizon_s": horizon, "entry_mode": mode, "weight": 1, "qty": 1_000_000,
        "price": 500_000, "invalidation_bps": 50.0, **values,
    }  # fmt: skip


def _order(ts: int, id_: int, role: int, state: int, before: int, cause: int, **values: Any) -> Any:
    entry = role == ROLE_ENTRY
    return {
        "ts": START + ts, "id": id_, "sym": BTC, "generation": 3, "route": JOIN, "role": role,
        "side": BUY if entry else SELL, "type": LIMIT if entry else STOP_LOSS,
        "price": 500_000 if entry else 0, "trigger": 0 if entry else 497_500, "qty": 1_000_000,
        "state": state, "state_before": before, "cause": cause,
        "ts_decided": START + (2 * S if entry else 5 * S), **values,
    }  # fmt: skip


def _fill(ts: int, order: int, qty: int, position: int, **values: Any) -> dict[str, Any]:
    return {
        "ts": START + ts, "ts_venue": START + ts - 15 * MS, "order": order, "exec": order * 10 + ts // S,
        "sym": BTC, "generation": 3, "route": JOIN, "qty": qty, "position": position, **values,
    }  # fmt: skip


def tables() -> dict[str, np.ndarray]:
    """Every table of the run, as the recorder would write it."""
    stop = {"role": ROLE_PROTECTION, "side": SELL}
    return {
        "evaluations": _rows("evaluations", [_evaluation(i) for i in range(4)]),
        "decisions": _rows(
            "decisions", [_decision(i, sym) for i in range(4) for sym in (BTC, DOGE)]
        ),
        "candidates": _rows(
            "candidates",
            [
                _candidate(JOIN, FAMILY_MEAN_REVERSION, 60, ENTRY_JOIN, blocker=OK, rank=1,
                           executed=1, **JOIN_ECONOMICS),
                _candidate(TAKE, FAMILY_MOMENTUM, 300, ENTRY_TAKE, blocker=LOST_TO_BETTER, rank=2,
                           **TAKE_ECONOMICS),
                _candidate(int(route_key(BTC, FAMILY_MOMENTUM, 0, ENTRY_TAKE, BUY, 0)),
                           FAMILY_MOMENTUM, 10, ENTRY_TAKE, blocker=THESIS_INACTIVE, weight=16,
                           **NO_ECONOMICS),
            ],
        ),
        "blockers": _rows(
            "blockers",
            [
                {"ts": START + i * S, "generation": i + 1, "sym": sym, "code": code, "n": n}
                for i in range(4)
                for sym, code, n in (
                    *(
                        ((BTC, OK, 1), (BTC, THESIS_INACTIVE, 2), (BTC, LOST_TO_BETTER, 1))
                        if i == 2
                        else ((BTC, THESIS_INACTIVE, 4),)
                    ),
                    (DOGE, NOT_ENOUGH_HISTORY, 4),
                )
            ],
        ),
        "orders": _rows(
            "orders",
            [
                _order(2 * S, 1, ROLE_ENTRY, ORDER_STATE_JOURNALED, ORDER_STATE_PLANNED, 100 + ADD),
                _order(2 * S + 40 * MS, 1, ROLE_ENTRY, ORDER_STATE_OPEN, ORDER_STATE_JOURNALED,
                       ORDER_ACK, ts_sent=START + 2 * S, ts_acked=START + 2 * S + 40 * MS),
                _order(4 * S, 1, ROLE_ENTRY, ORDER_STATE_PARTIAL, ORDER_STATE_OPEN, ORDER_FILL,
                       filled=400_000, ts_filled=START + 4 * S),
                _order(5 * S, 1, ROLE_ENTRY, ORDER_STATE_FILLED, ORDER_STATE_PARTIAL, ORDER_FILLED,
                       filled=1_000_000, ts_filled=START + 4 * S),
                _order(5 * S, 2, ROLE_PROTECTION, ORDER_STATE_JOURNALED, ORDER_STATE_PLANNED,
                       100 + ADD, reason=EXIT_STOP),
                _order(9 * S, 2, ROLE_PROTECTION, ORDER_STATE_FILLED, ORDER_STATE_OPEN,
                       ORDER_FILLED, filled=1_000_000),
            ],
        ),
        "fills": _rows(
            "fills",
            [
                _fill(4 * S, 1, 400_000, 400_000, role=ROLE_ENTRY, side=BUY, price=500_000,
                      notional=200 * UNIT, fee=50_000_000, maker=1, mid_half_ticks=1_000_001),
                _fill(5 * S, 1, 600_000, 1_000_000, role=ROLE_ENTRY, side=BUY, price=500_000,
                      notional=300 * UNIT, fee=75_000_000, maker=1, mid_half_ticks=999_999),
                _fill(9 * S, 2, 1_000_000, 0, **stop, price=497_400, notional=49_740_000_000,
                      fee=198_960_000, maker=0, mid_half_ticks=994_901,
                      realized=-583_960_000),
            ],
        ),
        "positions": _rows(
            "positions",
            [
                {"ts": START + 4 * S, "sym": BTC, "state": POSITION_OPEN, "qty": 1_000_000,
                 "cost": 50_125_000_000, "route": JOIN, "opened_ts": START + 4 * S,
                 "coverage": COVER_PROTECTED, "stop": 497_500, "target": 503_000,
                 "covered": 1_000_000, "unprotected_ns": 55 * MS},
                {"ts": START + 9 * S, "sym": BTC, "state": POSITION_CLOSED, "route": JOIN,
                 "opened_ts": START + 4 * S, "coverage": COVER_NONE, "realized": -583_960_000},
            ],
        ),
        "realized": _rows(
            "realized",
            [
                {"ts": START + 9 * S, "sym": BTC, "route": JOIN, "opened_ts": START + 4 * S,
                 "hold_ns": 5 * S, "qty": 1_000_000, "bought": 500 * UNIT, "sold": 49_740_000_000,
                 "fees": 323_960_000, "net": -583_960_000, "exit_reason": EXIT_STOP,
                 "expected_bps": -11.6, "realized_bps": -116.792},
            ],
        ),
        "equity": _rows(
            "equity",
            [
                {"ts": START, "cash": 10_000 * UNIT, "equity": 10_000 * UNIT,
                 "free": 9_800 * UNIT, "peak": 10_000 * UNIT},
                {"ts": START + 9 * S, "cash": 999_416_040_000, "equity": 999_416_040_000,
                 "free": 979_427_719_200, "realized": -583_960_000, "fees": 323_960_000,
                 "peak": 10_000 * UNIT, "drawdown": 583_960_000},
            ],
        ),
        "health": _rows(
            "health",
            [
                {"ts": START, "sym": sym, "verified": 1, "n_events": 500, "n_messages": 400,
                 "n_trades": 20, "book_age_ns": 12 * MS, "regime": REGIME_RANGE,
                 "spread_bps": 0.02}
                for sym in (BTC, DOGE)
            ],
        ),
        "outcomes": _rows("outcomes", outcomes()),
        "ignition": _rows(
            "ignition",
            [
                {"ts": START, "sym": BTC, "ignition": 1, "close": 500_000,
                 "range_percentile": 0.1, "volume_burst": np.nan},
            ],
        ),
        "forecast_15m": _rows(
            "forecast_15m",
            [
                {"ts": START, "sym": BTC, "ts_made": START, "mid_half_ticks": 1_000_000,
                 "score": 0.25, "confidence": 0.5, "move_bps": np.nan},
            ],
        ),
        "modes": _rows(
            "modes",
            [
                {"ts": START, "mode_before": 1, "mode": 3, "asked": 3, "why": 1, "accepted": 1},
                {"ts": START + S, "mode_before": 3, "mode": 1, "asked": 1, "why": 2, "accepted": 1},
            ],
        ),
        "recoveries": _rows(
            "recoveries",
            [
                {"ts": START, "sym": -1, "recovery": 2},
                {"ts": START + S, "sym": BTC, "recovery": 4, "order": 1, "value": 1,
                 "state_before": 5, "state": 13},
            ],
        ),
        "balances": _rows(
            "balances",
            [{"ts": START, "sym": -1, "told": 10_000 * UNIT, "own": 10_000 * UNIT}],
        ),
        "releases": _rows(
            "releases",
            [
                {"ts": START + MS, "generation": 1, "generation_made": 1, "sym": BTC, "route": JOIN,
                 "blocker": 38, "born_ts": START, "scored_ts": START, "score_made": 2.0,
                 "score_faded": 1.9, "score": np.nan, "net_bps": np.nan},
            ],
        ),
        "flow": _rows("flow", [{"ts": START, "generation": 1, "n_waiting": 1, "n_merged": 1}]),
        "adaptive": _rows(
            "adaptive",
            [
                {"ts": START, "generation": 1, "sym": BTC, "route": JOIN, "v1_rank": 1,
                 "v1_winner": 1, "v2_winner": 1, "admissible": 1, "v1_net_bps": 2.0,
                 "v2_net_bps": 1.5, "q10_bps": -20.0, "q50_bps": 1.0, "q90_bps": 22.0},
            ],
        ),
        "routes": _rows("routes", [{"ts": START, "sym": BTC, "route": JOIN, "viability": 1}]),
        "exits": _rows("exits", [{"ts": START + 6 * S, "sym": BTC, "route": JOIN, "urgency": 2,
                                  "path": 3, "style": 3, "gain_bps": -4.0, "best_bps": 12.0,
                                  "still_ns": 3 * S, "loss_share": 0.5, "stress": 3.5,
                                  "flow": -0.4, "cover": 20.0, "trail_factor": 0.5}]),
        "inventory": _rows("inventory", [{"ts": START, "sym": BTC, "own": 5, "held": 5}]),
        "universe": _rows(
            "universe",
            [{"ts": START, "version": 1, "sym": DOGE, "member": 0, "member_reason": 5, "rank": 2}],
        ),
        "commands": _rows(
            "commands",
            [
                {"ts": START + 2 * S, "generation": 3, "id": 1, "route": JOIN, "price": 500_000,
                 "qty": 1_000_000, "expire_ts": START + 32 * S, "sym": BTC, "kind": ADD,
                 "side": BUY, "type": LIMIT, "tif": GTD, "post_only": 1, "role": ROLE_ENTRY},
                {"ts": START + 5 * S, "generation": 3, "id": 2, "route": JOIN, "trigger": 497_500,
                 "qty": 1_000_000, "reason": EXIT_STOP, "sym": BTC, "kind": ADD, "side": SELL,
                 "type": STOP_LOSS, "tif": GTC, "role": ROLE_PROTECTION},
            ],
        ),
    }  # fmt: skip


def _outcome(i: int, **values: Any) -> dict[str, Any]:
    """What became of row i of `candidates`, four hours later."""
    return {
        "ts": START + 2 * S, "generation": 3, "sym": BTC, "side": BUY, "weight": 1,
        "regime": REGIME_RANGE, "mid_half_ticks": 1_000_001, "n_known": 3, "fill_s": -1,
        "touch_s": -1, "filled": -1, "closed_ts": START + 9 * S, "status": OUTCOME_ENDED,
        **{name: float("nan") for name in OUTCOME_FLOATS}, **values,
    }  # fmt: skip


def outcomes() -> list[dict[str, Any]]:
    """The three candidates of the third evaluation, followed."""
    return [
        _outcome(0, route=JOIN, family=FAMILY_MEAN_REVERSION, horizon_s=60, entry_mode=ENTRY_JOIN,
                 blocker=OK, rank=1, executed=1, price=500_000, stop=497_500, target=503_000,
                 cost_bps=67.4, net_bps=-11.6, fill_prob=0.42, borrow_bps=0.0, legs_bps=65.3,
                 mid_10s_bps=-20.0, mid_30s_bps=-45.0, mid_1m_bps=-60.0, own_bps=-60.0,
                 best_bps=2.0, worst_bps=-65.0, net_later_bps=-127.4, worth_bps=-53.508, filled=1,
                 fill_s=2, touch=TOUCH_STOP, touch_s=5, trade_bps=-115.3),
        _outcome(1, route=TAKE, family=FAMILY_MOMENTUM, horizon_s=300, entry_mode=ENTRY_TAKE,
                 blocker=LOST_TO_BETTER, rank=2, price=500_001, stop=492_501, target=500_500,
                 cost_bps=81.35, net_bps=-9.125, fill_prob=1.0, borrow_bps=0.0, legs_bps=80.55,
                 mid_10s_bps=-20.0, mid_30s_bps=-45.0, mid_1m_bps=-60.0, filled=1, fill_s=0,
                 touch=TOUCH_TARGET, touch_s=3, trade_bps=19.45),
        _outcome(2, route=int(route_key(BTC, FAMILY_MOMENTUM, 0, ENTRY_TAKE, BUY, 0)),
                 family=FAMILY_MOMENTUM, horizon_s=10, entry_mode=ENTRY_TAKE,
                 blocker=THESIS_INACTIVE, weight=16, borrow_bps=0.0, mid_10s_bps=-20.0,
                 mid_30s_bps=-45.0, mid_1m_bps=-60.0, own_bps=-20.0),
    ]  # fmt: skip


def summary() -> dict[str, Any]:
    """The summary of that run, made by the collector that every run uses."""
    from engine.reports.summary import RunSummary

    collected = RunSummary(INSTRUMENTS.symbols, "USD")
    for name, rows in tables().items():
        collected.observe(name, rows)
    glob = {
        "n_evaluations": 4,
        "n_commands_total": 2,
        "realized": -583_960_000,
        "equity": 999_416_040_000,
        "peak": 10_000 * UNIT,
    }
    return collected.facts(glob, START, START + 9 * S, 4000, 10_000 * UNIT)


def write_run(folder: Path, name: str = "20260101-120000-small-0a1b2c3d") -> Path:
    """Write the run under `folder`; returns the run's own folder."""
    run = folder / name
    run.mkdir(parents=True)
    made = tables()
    for table, rows in made.items():
        columns = {each: np.ascontiguousarray(rows[each]) for each in rows.dtype.names or ()}
        pq.write_table(pa.table(columns), run / f"{table}.parquet")
    manifest = {
        "schema": RUN_SCHEMA_VERSION,
        "mode": "replay",
        "name": "small",
        "digest": "ab" * 32,
        "table_digests": {table: "cd" * 32 for table in made},
        "rows": {table: len(rows) for table, rows in made.items()},
        "config": json.loads(canonical_json(make_profile({}))),
        "config_hash": "0a1b2c3d" * 8,
        "plugins": [],
        "families": {str(code): family for code, family in FAMILY_NAMES.items()},
        "instruments": INSTRUMENTS.to_json(),
        "capture": {"id": "by hand"},
        "money_per_unit": UNIT,
        "software": {"kapitaalbot": "0.1.0", "kernels": "ef" * 32, "python": "3", "machine": "any"},
        "started": START,
        "seconds": 2.0,
        "summary": summary(),
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


assert set(tables()) == {*TABLES, "commands"}
