"""What became of orders that nobody saw end? Answered by REST, after a gap.

A reconnect tells which orders are open and the last fifty fills; how the others ended is asked for
here: QueryOrders for their fate, TradesHistory for fills that were missed. The rows become what the
stream would have said, so that one reader (account.py) applies both. REST lags the stream, by up to
a minute: an order that it does not know yet stays suspect and is asked for again. Left out: when to
ask, and orders that we never had an id of.

Source: Kraken, REST "Get orders info", "Get trades history".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.kraken.account import AccountFeed
from adapters.kraken.names import Names
from adapters.kraken.order_state import Ended, Read
from adapters.kraken.rest import Rest, exact, mapping
from adapters.kraken.stamps import Ns
from adapters.kraken.wire import Fee, Report
from engine.clock import Clock
from engine.errors import DataError
from engine.instruments import UnknownSymbolError

ORDERS_PER_CALL: Final = 50
TRADES_PER_PAGE: Final = 50
PAGES_MAX: Final = 40  # of one recovery: the history calls are dear
_NS: Final = 1_000_000_000
# REST's words for the end of an order, as the stream says them.
_ENDS: Final = {"closed": "filled", "canceled": "canceled", "expired": "expired"}
_SIDES: Final = ("buy", "sell")


def fills_of(rows: Mapping[str, Any], names: Names) -> list[Report]:
    """Rows of TradesHistory or QueryTrades, by execution id, as fills in order of time.

    REST gives one fee and no asset of it: it is taken to be the quote's. Raises DataError.
    """
    fills = []
    for exec_id, value in rows.items():
        row = mapping(value, f"the trade {exec_id}")
        try:
            symbol = names.symbol(str(row.get("pair")))
        except UnknownSymbolError as error:
            raise DataError(f"the trade {exec_id}: {error}", "Fetch the names again.") from error
        side = str(row.get("type"))
        if side not in _SIDES:
            raise DataError(f"the trade {exec_id} neither buys nor sells.", "Ask again.")
        number = {
            name: exact(row.get(name), f"{name} of the trade {exec_id}")
            for name in ("price", "vol", "cost", "fee", "time")
        }
        maker = row.get("maker")
        trade_id = row.get("trade_id")
        fills.append(
            Report(
                order_id=str(row.get("ordertxid")),
                exec_type="trade",
                order_status="filled",
                timestamp=Ns(int(number["time"] * _NS)),
                symbol=symbol,
                side=side,  # type: ignore[arg-type]
                order_type=str(row.get("ordertype", "")),
                last_qty=number["vol"],
                last_price=number["price"],
                cost=number["cost"],
                exec_id=exec_id,
                trade_id=trade_id if isinstance(trade_id, int) else None,
                liquidity_ind=None if maker is None else "m" if maker else "t",
                fees=(Fee(symbol.partition("/")[2], number["fee"]),),
            )
        )
    return sorted(fills, key=lambda each: each.timestamp)


def ends_of(rows: Mapping[str, Any]) -> list[Ended]:
    """Rows of QueryOrders, by order id; those that are still open are left out. Raises DataError."""
    found = []
    for order_id, value in rows.items():
        row = mapping(value, f"the order {order_id}")
        status = _ENDS.get(str(row.get("status")))
        if status is None:
            continue
        ended = exact(row.get("closetm", 0), f"closetm of the order {order_id}")
        found.append(
            Ended(
                order_id=order_id,
                status=status,
                filled=exact(row.get("vol_exec"), f"vol_exec of the order {order_id}"),
                reason=str(row.get("reason") or ""),
                timestamp=Ns(int(ended * _NS)),
            )
        )
    return found


async def recover(
    rest: Rest, names: Names, account: AccountFeed, since_ns: int, until_ns: int, clock: Clock
) -> Read:
    """Ask how every order that vanished ended, and for the fills since `since_ns`.

    since_ns, until_ns : by the venue's clock; a little earlier and later than needed does no harm
    clock : ours, for the stamps of the events
    What REST does not know yet stays as it is: call again a little later. Raises as Rest does.
    """
    lost = [each.order_id for each in account.vanished()]
    ends: list[Ended] = []
    for i in range(0, len(lost), ORDERS_PER_CALL):
        rows = await rest.call("QueryOrders", txid=lost[i : i + ORDERS_PER_CALL], trades=False)
        ends += ends_of(mapping(rows, "QueryOrders"))
    fills = await _history(rest, names, since_ns, until_ns)
    return account.settle(fills, ends, clock.now())


async def _history(rest: Rest, names: Names, since_ns: int, until_ns: int) -> Sequence[Report]:
    """All fills in between, page by page; the end is fixed, for new trades would shift the pages."""
    rows: dict[str, Any] = {}
    for page in range(PAGES_MAX):
        result = mapping(
            await rest.call(
                "TradesHistory",
                start=max(since_ns // _NS - 1, 0),
                end=-(-until_ns // _NS),
                ofs=page * TRADES_PER_PAGE,
                consolidate_taker=False,
            ),
            "TradesHistory",
        )
        found = mapping(result.get("trades"), "TradesHistory")
        rows |= found
        if len(found) < TRADES_PER_PAGE:
            return fills_of(rows, names)
    raise DataError(
        f"more than {PAGES_MAX * TRADES_PER_PAGE} fills since {since_ns} were missed.",
        "Recover in shorter steps, or start from the venue's statement.",
    )
