"""How is a request to Kraken's WebSocket v2 written? Words in, one frame out.

Prices and quantities go out as plain decimals with a point, as Kraken insists: no exponent, no
quotes, `5.0` rather than `5`. Left out: when to ask (session.py, private.py), and whether an
order may be sent at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec


def number(value: Decimal) -> msgspec.Raw:
    """A price or quantity as Kraken takes it; raises ValueError if it is not finite."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a number that an order can carry.")
    text = f"{value:f}"
    return msgspec.Raw((text if "." in text else text + ".0").encode())


def request(method: str, params: Mapping[str, Any] | None, req_id: int) -> bytes:
    """Any request: Decimals at any depth as plain numbers, what is None left out."""
    frame: dict[str, Any] = {"method": method}
    if params is not None:
        frame["params"] = _plain(params)
    frame["req_id"] = req_id
    return msgspec.json.encode(frame)


def subscribe(channel: str, symbols: Sequence[str], req_id: int, /, **params: object) -> bytes:
    """Ask for a channel; `symbols` is empty for instrument, executions and balances.

    params : depth, snapshot, interval, event_trigger, token ...; what is None is left out
    """
    return request("subscribe", _subscription(channel, symbols, params), req_id)


def unsubscribe(channel: str, symbols: Sequence[str], req_id: int, /, **params: object) -> bytes:
    """Let go of a channel; repeat what identifies it (depth, interval, event_trigger, token)."""
    return request("unsubscribe", _subscription(channel, symbols, params), req_id)


def ping(req_id: int) -> bytes:
    """Ask for a pong; it takes no params."""
    return request("ping", None, req_id)


def _subscription(
    channel: str, symbols: Sequence[str], params: Mapping[str, object]
) -> dict[str, object]:
    if isinstance(symbols, str):
        raise TypeError(f"symbols must be a list of names, not the name {symbols!r}.")
    return {"channel": channel, **({"symbol": list(symbols)} if symbols else {}), **params}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
