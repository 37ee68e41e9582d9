"""What is really so? Doubts about orders, and gaps of the stream, settled by reading over REST.

`Settle` hears what the private stream tells and keeps the list of doubts. A pass (`reads`) asks for
open orders, for the fate of what vanished, for orders of which only our own client id is known, for
the fills since the stream was last whole, and for the balances; what it finds becomes the rows that
the stream would have said. Nothing is concluded from a read that failed, and REST may be a minute
behind: it never takes back what the stream said. An order counts as absent only if open orders,
closed orders and trades all lack it, twice, the second time so long after it was written that no
copy of it can still be on its way. Found or absent, each doubt ends with evidence or goes on.

No socket, no clock: account_line.py carries. Left out: what the core does with an absent order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
from msgspec import structs

from adapters.kraken.account import AccountFeed
from adapters.kraken.errors import printable
from adapters.kraken.names import Names, holding_of_name
from adapters.kraken.order_state import (
    SUSPECT_FILLS,
    SUSPECT_UNCLEAR,
    OrderState,
    Read,
    cl_ord_id_of,
    id_of_cl_ord_id,
)
from adapters.kraken.phases import SECOND, Note
from adapters.kraken.recovery import ORDERS_PER_CALL, PAGES_MAX, TRADES_PER_PAGE, ends_of, fills_of
from adapters.kraken.rest import exact, mapping
from engine.errors import DataError
from engine.events import (
    AMEND_REJECT,
    CANCEL_REJECT,
    HEALTH,
    HEALTH_ABSENT,
    HEALTH_ACCOUNT_LOST,
    HEALTH_ACCOUNT_SYNCED,
    HEALTH_RECONCILED,
    HEALTH_SUSPECT,
    LAST,
    NO_SYMBOL,
    ORDER_ACK,
    ORDER_AMENDED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    ORDER_FILLED,
    ORDER_REJECT,
    REJECT_UNKNOWN_ORDER,
)
from engine.instruments import UnknownSymbolError

LAG_NS: Final = 60 * SECOND  # REST was seen so far behind the stream
SKEW_NS: Final = 1 * SECOND  # of the two clocks; beyond it no entry is made at all
_ENDS: Final = (ORDER_FILLED, ORDER_CANCELED, ORDER_EXPIRED, ORDER_REJECT)

Ask = tuple[str, dict[str, Any]]
Reads = Generator[Ask, tuple[Any, int], None]


@dataclass(frozen=True)
class Patience:
    """Times of settling, ns.

    deadline : after it the engine takes no order any more; quarantine : of an order that nobody
    knows, from its write to the pass that may call it absent; every : between two passes where
    nothing is in doubt; retry : after a pass that left something open, longer each time
    overlap : so far before the newest agreement fills are read again
    """

    deadline: int = 5 * SECOND
    quarantine: int = 5 * SECOND + LAG_NS + SKEW_NS
    every: int = 300 * SECOND
    retry: tuple[int, ...] = (5 * SECOND, 15 * SECOND, 30 * SECOND, 60 * SECOND)
    overlap: int = LAG_NS + SKEW_NS


@dataclass
class _Doubt:
    cause: int
    n_empty: int = 0  # passes in which no source knew it
    differs_ns: int = 0  # since when REST tells another story than the stream


class Settle:
    """Settles what is in doubt about one account. Told the time (ns), asks no clock.

    knows : did this client id pass through our gateway, now or in an earlier session
    offset : the venue's clock minus ours, None while it is unknown
    since_ns : up to here (our clock) an earlier session knew every fill; None: from now on
    """

    def __init__(
        self,
        account: AccountFeed,
        names: Names,
        *,
        knows: Callable[[int], bool],
        offset: Callable[[], int | None],
        patience: Patience | None = None,
        since_ns: int | None = None,
    ) -> None:
        self._account, self._names = account, names
        self._knows, self._offset = knows, offset
        self.patience = patience or Patience()
        self.counts: Counter[str] = Counter()
        self.notes: list[Note] = []  # taken and cleared by the caller
        self.resync = False  # the stream is not to be believed: a new snapshot is needed
        self._doubts: dict[int, _Doubt] = {}
        self._told: list[np.ndarray] = []
        self._since = since_ns
        self._due: int | None = None
        self._epoch = 0
        self._n_tries = 0
        self._strange: dict[str, int] = {}  # what differs, since when

    # ---- what the caller may know ----

    @property
    def doubts(self) -> tuple[int, ...]:
        """Client ids that are in doubt."""
        return tuple(self._doubts)

    def due(self, now: int) -> bool:
        """Is it time for a pass?"""
        return self._account.synced and self._due is not None and now >= self._due

    def taken(self) -> np.ndarray:
        """EVENT rows since the last call, in order."""
        told, self._told = self._told, []
        return np.concatenate(told) if told else Read().events()

    # ---- what is told ----

    def observe(self, rows: np.ndarray, now: int) -> None:
        """What the private stream told, or what a pass found out."""
        for row in rows:
            kind, id = int(row["kind"]), int(row["id"])
            if kind == HEALTH:
                self._health(id, row, now)
            elif kind in (ORDER_ACK, ORDER_AMENDED) or kind in _ENDS:
                self._doubts.pop(id, None)
            elif kind in (AMEND_REJECT, CANCEL_REJECT) and row["aux"] == REJECT_UNKNOWN_ORDER:
                # Not found is not "gone".
                self.suspect([id], now)

    def _health(self, id: int, row: np.void, now: int) -> None:
        about = int(row["aux"])
        if id == HEALTH_SUSPECT and about > 0:
            self._doubts[about] = _Doubt(int(row["qty"]))
            self.soon(now)
        elif id == HEALTH_ABSENT:
            self._doubts.pop(about, None)
        elif id == HEALTH_ACCOUNT_LOST:
            self._epoch += 1
            if self._since is not None and about:
                self._since = min(self._since, about)
        elif id == HEALTH_ACCOUNT_SYNCED:
            self._epoch += 1
            if self._since is None:
                self._since = now
            self.soon(now)

    def suspect(self, ids: Iterable[int], now: int) -> None:
        """Somebody else doubts these orders of ours."""
        for id in ids:
            if id > 0 and id not in self._doubts:
                self._doubts[id] = _Doubt(SUSPECT_UNCLEAR)
                self.soon(now)

    def failed(self, text: str, now: int) -> None:
        """A read failed: nothing follows from it but that it is tried again later."""
        self.counts["reads failed"] += 1
        self._note("warning", f"reconcile: {text}; it is tried again")
        self._later(now)

    def soon(self, now: int) -> None:
        """A pass is wanted at once."""
        self._n_tries = 0
        self._at(now)

    def _at(self, due: int) -> None:
        # Kept during a pass: what arises meanwhile is not covered by it.
        self._due = due if self._due is None else min(self._due, due)

    def _later(self, now: int) -> None:
        retry = self.patience.retry
        wait = retry[min(self._n_tries, len(retry) - 1)]
        self._n_tries += 1
        self._at(now + wait)
        for order in self._account.unnamed():
            end = order.placed_ns + self.patience.quarantine
            if now < end:
                self._at(end)

    # ---- a pass ----

    def reads(self, begun: int) -> Reads:
        """One pass: gives calls, is sent (result, now) for each, and tells rows as it goes.

        Whoever carries it throws it away when a call fails (`failed`); what was told stays true.
        """
        self._due = None
        epoch = self._epoch
        account = self._account
        self.counts["passes"] += 1
        self._restate_acknowledged(begun)
        result, now = yield "OpenOrders", {}
        at_rest = mapping(mapping(result, "OpenOrders").get("open"), "OpenOrders")
        rows: dict[str, Any] = {}
        nowhere = []
        for order in account.unnamed():
            found, now = yield from self._look_for(order, at_rest, rows, now)
            if not found:
                nowhere.append(order.id)
        lost = [each.order_id for each in account.vanished() if each.order_id not in rows]
        for i in range(0, len(lost), ORDERS_PER_CALL):
            result, now = yield "QueryOrders", _orders(lost[i : i + ORDERS_PER_CALL])
            rows |= mapping(result, "QueryOrders")
        now = yield from self._fills(rows, begun, now)
        self._tell(account.settle([], ends_of(rows), now), now)
        result, now = yield "Balance", {}
        self._compare(at_rest, mapping(result, "Balance"), now)
        self._conclude(at_rest, set(nowhere), epoch, begun, now)

    def _restate_acknowledged(self, now: int) -> None:
        """A lost reply to an add whose order the stream told us of: that is evidence enough."""
        for id, doubt in list(self._doubts.items()):
            order = self._account.of_id(id)
            if order is None or doubt.cause == SUSPECT_FILLS:
                continue
            if order.order_id and order.is_open and order.acked and order.asked == "add_order":
                self._tell(self._account.restate(order, now), now)

    def _look_for(
        self, order: OrderState, at_rest: dict[str, Any], rows: dict[str, Any], now: int
    ) -> Generator[Ask, tuple[Any, int], tuple[bool, int]]:
        """Is an order of which we have only the client id open, or closed? The trades come later."""
        if _ours(at_rest, order.id):
            # The stream has not told: it lost something, or is about to.
            if now - order.placed_ns > self.patience.deadline:
                self._distrust(f"order {cl_ord_id_of(order.id)} is open and the stream is silent")
            return True, now
        result, now = yield "ClosedOrders", {"cl_ord_id": cl_ord_id_of(order.id)}
        closed = mapping(mapping(result, "ClosedOrders").get("closed"), "ClosedOrders")
        found = _ours(closed, order.id)
        if found and not order.order_id:
            rows[found] = closed[found]
            self._account.found(found, order.id)
        # The stream may have named it while we asked.
        return bool(found or order.order_id), now

    def _fills(
        self, rows: dict[str, Any], begun: int, now: int
    ) -> Generator[Ask, tuple[Any, int], int]:
        """Every fill since the stream was last whole, oldest page first, told page by page."""
        offset = self._offset() or 0
        since = (self._since if self._since is not None else begun) - self.patience.overlap
        window = {
            "start": max((since + offset) // SECOND - 1, 0),
            "end": -(-(now + offset) // SECOND) + 1,
            "consolidate_taker": False,
        }
        result, now = yield "TradesHistory", {**window, "ofs": 0}
        newest = mapping(result, "TradesHistory")
        count = int(exact(newest.get("count", 0), "count of TradesHistory"))
        n_pages = max(1, -(-count // TRADES_PER_PAGE))
        if n_pages > PAGES_MAX:
            raise DataError(
                f"{count} fills were missed, more than {PAGES_MAX * TRADES_PER_PAGE}.",
                "Start from the venue's statement: this many are not read in one go.",
            )
        if n_pages > 1:
            self._note("warning", f"{count} fills since the last agreement are read page by page")
        # The end is fixed, so new trades do not shift the pages.
        for page in range(n_pages - 1, -1, -1):
            trades = newest
            if page:
                ask = {**window, "ofs": page * TRADES_PER_PAGE}
                result, now = yield "TradesHistory", ask
                trades = mapping(result, "TradesHistory")
                self._note("info", f"fills: {page} of {n_pages} pages are left")
            found = mapping(trades.get("trades"), "TradesHistory")
            news = {
                key: row
                for key, row in found.items()
                if not self._account.seen(key) and self._is_listed(key, row)
            }
            whose, now = yield from self._name(news, rows, now)
            if news:
                self.counts["fills by REST"] += len(news)
                fills = [
                    structs.replace(each, cl_ord_id=whose.get(each.order_id))
                    for each in fills_of(news, self._names)
                ]
                self._tell(self._account.settle(fills, [], now), now)
        return now

    def _is_listed(self, exec_id: str, row: Any) -> bool:
        """Is the fill of a pair that AssetPairs lists? Any other is none that we trade.

        A person may trade what is listed elsewhere, or no longer: that must not keep us from agreeing.
        """
        name = str(mapping(row, f"the trade {exec_id}").get("pair"))
        try:
            self._names.symbol(name)
        except UnknownSymbolError:
            if not self.counts["fills of pairs that are not listed"]:
                self._note("warning", f"a fill of {printable(name)} is left out: it is not listed")
            self.counts["fills of pairs that are not listed"] += 1
            return False
        return True

    def _name(
        self, news: dict[str, Any], rows: dict[str, Any], now: int
    ) -> Generator[Ask, tuple[Any, int], tuple[dict[str, str], int]]:
        """Whose are fills of orders that nobody told us of? Client ids by order id.

        Of one whose reply was lost, or of one that an earlier session believed ended.
        """
        told = (str(mapping(row, "a trade").get("ordertxid")) for row in news.values())
        unknown = [each for each in dict.fromkeys(told) if each not in self._account.orders]
        whose = {}
        for i in range(0, len(unknown), ORDERS_PER_CALL):
            result, now = yield "QueryOrders", _orders(unknown[i : i + ORDERS_PER_CALL])
            for order_id, row in mapping(result, "QueryOrders").items():
                name = mapping(row, "an order").get("cl_ord_id")
                id = id_of_cl_ord_id(name)
                if id and self._knows(id):
                    whose[order_id] = str(name)
                    self._account.found(order_id, id)
                    rows[order_id] = row
        return whose, now

    # ---- two stories ----

    def _compare(self, at_rest: dict[str, Any], balances: dict[str, Any], now: int) -> None:
        """Do stream and REST tell of the same open orders and the same money?"""
        account = self._account
        seen = {}
        for order_id in at_rest:
            if order_id not in account.orders:
                seen[order_id] = f"order {order_id} is open over REST and unheard of on the stream"
        for order in account.open_orders():
            if order.order_id and order.order_id not in at_rest:
                seen[order.order_id] = f"order {order.order_id} is open, and REST lacks it"
        assets: dict[str, Decimal] = {}
        for key, value in balances.items():
            asset, held = holding_of_name(key)
            if not held:
                assets[asset] = exact(value, f"balance of {key}")
        for asset in account.assets:
            theirs, ours = assets.get(asset, Decimal(0)), account.amount(asset)
            if theirs != ours:
                # While we trade it differs anew each time: only what stands still is strange.
                key = f"{asset} {ours:f}"
                seen[key] = f"the stream says {ours:f} {asset} and REST says {theirs:f}"
        # REST is late: a difference must outlive its delay.
        if seen and not self._strange:
            self._note("info", f"REST_BEHIND: {next(iter(seen.values()))}; it is given time")
        self._strange = {each: self._strange.get(each, now) for each in seen}
        for key, since in self._strange.items():
            if now - since >= self.patience.overlap:
                self._distrust(seen[key])
                return

    def _conclude(
        self, at_rest: dict[str, Any], nowhere: set[int], epoch: int, begun: int, now: int
    ) -> None:
        account = self._account
        if epoch != self._epoch or not account.synced:
            self._later(now)  # the stream broke meanwhile: nothing follows from what was read
            return
        for id, doubt in list(self._doubts.items()):
            order = account.of_id(id)
            if order is None:
                self._doubts.pop(id, None)
                self._note(
                    "error", f"nothing is known of order {cl_ord_id_of(id)}, which is in doubt"
                )
            elif not (order.is_open or order.status == "vanished"):
                # It ended, and whoever doubts it missed how.
                self._doubts.pop(id, None)
                self._tell(account.restate(order, now), now)
            elif not order.order_id:
                self._absent(order, doubt, id in nowhere, begun, now)
            elif order.is_open and order.acked:
                self._confirm(order, doubt, at_rest, now)
        left = [*account.unnamed(), *(each for each in account.vanished() if each.id > 0)]
        if self._doubts or left or self._strange or self.resync:
            self._later(now)
            return
        self._n_tries = 0
        self._since = begun
        self._at(now + self.patience.every)
        read = Read()
        row = (now, 0, 0, 0, 0, HEALTH_RECONCILED, begun, NO_SYMBOL, HEALTH, 0, LAST)
        read.rows.append(row)
        self._tell(read, now)

    def _absent(self, order: OrderState, doubt: _Doubt, empty: bool, begun: int, now: int) -> None:
        if not empty:
            return
        doubt.n_empty += 1
        name = cl_ord_id_of(order.id)
        self._note("info", f"order {name} is in none of three sources, {doubt.n_empty} times now")
        # Since its own write: asking for its cancel, again and again, puts nothing off.
        if doubt.n_empty < 2 or begun < order.placed_ns + self.patience.quarantine:
            return
        if order.acked:
            self._note("error", f"order {name} was open, and no source knows how it ended")
            return
        self._tell(self._account.absent(order, now), now)

    def _confirm(self, order: OrderState, doubt: _Doubt, at_rest: dict[str, Any], now: int) -> None:
        """An amend or cancel without an answer, fills that were missing: how does it stand?"""
        if doubt.cause == SUSPECT_FILLS:
            if order.told == order.filled:
                self._tell(self._account.restate(order, now), now)
            return
        if now < order.asked_ns + self.patience.deadline + SKEW_NS:
            return  # it may still be carried out
        row = at_rest.get(order.order_id)
        if row is not None and self._account.agrees(order, mapping(row, order.order_id)):
            self._tell(self._account.restate(order, now), now)
            return
        doubt.differs_ns = doubt.differs_ns or now
        if now - doubt.differs_ns >= self.patience.overlap:
            self._distrust(f"REST tells another story of order {order.order_id}")

    def _distrust(self, text: str) -> None:
        self.counts["distrusted"] += 1
        self.resync = True
        self._strange.clear()
        self._note("error", f"reconcile: {text}: a new snapshot is asked for")

    def _tell(self, read: Read, now: int) -> None:
        for doubt in read.doubts:
            self._note("warning", f"account {doubt.order_id}: {doubt.text}")
        if read.rows:
            rows = read.events()
            self.observe(rows, now)
            self._told.append(rows)

    def _note(self, level: str, text: str) -> None:
        self.notes.append(Note(level, printable(text)))


def _orders(order_ids: list[str]) -> dict[str, Any]:
    return {"txid": order_ids, "trades": False}


def _ours(rows: dict[str, Any], id: int) -> str:
    """The order id of ours among rows of REST, by its client id; "" if it is not there."""
    for order_id, row in rows.items():
        if isinstance(row, dict) and id_of_cl_ord_id(row.get("cl_ord_id")) == id:
            return order_id
    return ""
