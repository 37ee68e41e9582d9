"""How are single orders subscribed to? The level 3 host: a token for each connection, and its pace.

Beside that it is a connection like the public ones (public.py). Left out: where tokens come from
(rest.py gives them), what the orders say (feed.py).

Source: Kraken, "Spot WebSocket API v2", level3: 200 symbols per connection; per second 200 points
(standard), each symbol 5, 25 or 100 of them at a depth of 10, 100 or 1000.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import Final

from adapters.kraken.keys import Keys, Redactor
from adapters.kraken.limits import level3_cost
from adapters.kraken.subscriptions import Pace
from engine.clock import Clock, WallClock

LEVEL3_URL: Final = "wss://ws-l3.kraken.com/v2"
LEVEL3_SYMBOLS_MAX: Final = 200
# Half of what a standard account has: whether Kraken's second slides, and whether the count is per
# connection or per client, is not published.
LEVEL3_BUDGET: Final = 100

Token = Callable[[], Awaitable[str]]


def level3_pace(depth: int) -> Pace:
    """How fast symbols of `depth` are asked for. Raises ConfigError for a depth that is not."""
    return Pace(batch=50, cost=level3_cost(depth), budget=LEVEL3_BUDGET)


def tokens(
    rest_url: str,
    keys: Callable[[], Keys],
    clock: Clock,
    context: SSLContext | None = None,
    redactor: Redactor | None = None,
) -> Token:
    """A function that fetches a fresh token by REST. Keys are read at its first call, not before.

    rest_url : Kraken's or a venue on this machine; keys : reads them, as KeysOnce does
    redactor : is told keys and tokens
    raises (at a call) SecretError without keys or permission, VenueError without an answer
    """

    async def fetch() -> str:
        from adapters.kraken.nonce import NonceFile, state_folder
        from adapters.kraken.rest import Rest

        machine = (
            WallClock()
        )  # other programs that share the key draw by it, at any pace of a market
        async with Rest(
            rest_url,
            nonce=lambda keys: NonceFile(state_folder(), keys.fingerprint, machine).draw(),
            keys=keys,
            redactor=redactor,
            clock=clock,
            ssl_context=context,
        ) as rest:
            return (await rest.stream_token()).token.reveal()

    return fetch
