"""Private messages of Kraken as text, so that a test reads like what came over the wire."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from adapters.kraken.wire import Balances, Executions, decode
from engine.instruments import Instrument, InstrumentTable

BTC = Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8)
ETH = Instrument("ETH/USD", Decimal("0.01"), Decimal("0.00000001"), 2, 8)
PAIRS = InstrumentTable([BTC, ETH])
STAMP = "2026-01-05T10:00:00.637700Z"
STAMP_NS = 1_767_607_200_637_700_000


def executions(sequence: int, *reports: dict[str, Any], kind: str = "update") -> bytes:
    frame = {"channel": "executions", "type": kind, "data": list(reports), "sequence": sequence}
    return json.dumps(frame).encode()


def balances(sequence: int, *entries: dict[str, Any], kind: str = "update") -> bytes:
    frame = {"channel": "balances", "type": kind, "data": list(entries), "sequence": sequence}
    return json.dumps(frame).encode()


def as_executions(frame: bytes) -> Executions:
    message = decode(frame)
    assert isinstance(message, Executions), message
    return message


def as_balances(frame: bytes) -> Balances:
    message = decode(frame)
    assert isinstance(message, Balances), message
    return message


def pending_new(order_id: str, cl_ord_id: str | None = None, **other: Any) -> dict[str, Any]:
    report = {
        "order_id": order_id, "symbol": "BTC/USD", "order_qty": 0.0001, "cum_cost": 0.0,
        "time_in_force": "GTC", "exec_type": "pending_new", "side": "buy", "order_type": "limit",
        "limit_price_type": "static", "limit_price": 8000.0, "order_status": "pending_new",
        "timestamp": STAMP,
    }  # fmt: skip
    return report | ({"cl_ord_id": cl_ord_id} if cl_ord_id else {}) | other


def new(order_id: str, **other: Any) -> dict[str, Any]:
    """As sparse as it was recorded."""
    return {
        "timestamp": STAMP, "order_status": "new", "exec_type": "new", "order_userref": 0,
        "order_id": order_id,
    } | other  # fmt: skip


def trade(order_id: str, exec_id: str, qty: float, price: float, **other: Any) -> dict[str, Any]:
    """A fill; the completing one says partially_filled as well."""
    return {
        "order_id": order_id, "symbol": "BTC/USD", "side": "buy", "order_type": "limit",
        "exec_type": "trade", "order_status": "partially_filled", "exec_id": exec_id,
        "trade_id": 7, "last_qty": qty, "last_price": price, "liquidity_ind": "m",
        "fees": [{"asset": "USD", "qty": 0.002}], "timestamp": STAMP,
    } | other  # fmt: skip


def filled(order_id: str, cum_qty: float, **other: Any) -> dict[str, Any]:
    return {
        "order_id": order_id, "exec_type": "filled", "order_status": "filled",
        "cum_qty": cum_qty, "timestamp": STAMP,
    } | other  # fmt: skip


def canceled(order_id: str, cum_qty: float, reason: str, **other: Any) -> dict[str, Any]:
    return {
        "order_id": order_id, "exec_type": "canceled", "order_status": "canceled",
        "cum_qty": cum_qty, "cum_cost": 0.0, "avg_price": 0.0, "reason": reason,
        "cancel_reason": reason, "timestamp": STAMP,
    } | other  # fmt: skip
