"""How does what happens to an order, or to a balance, read? Items of `executions` and `balances`.

Most fields are absent from most reports, as recorded: the static ones stand in pending_new, trade
and snapshots only. Left out: to whom they go, and their sequence (private.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from adapters.local_venue.account import MONEY_DIGITS, Account, Entry, Fill, Happening, Order
from adapters.local_venue.encode import COST_PRECISION, Form, Raw
from adapters.local_venue.text import fixed, rounded, stamp
from engine.units import from_money

FEE_PRECISION: Final = COST_PRECISION


def money(value: int, decimals: int = COST_PRECISION) -> Raw:
    """Money of 1e-8 with so many decimals, half up."""
    return Raw(rounded(from_money(value), decimals))


class Reporter:
    """Writes the reports of one account.

    ratecount : the field that names the transaction counter, if a subscriber asked for it
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self.forms = [Form.of(each) for each in account.market.instruments]

    def _ids(self, order: Order) -> dict[str, Any]:
        if order.cl_ord_id is not None:
            return {"cl_ord_id": order.cl_ord_id}
        return {"order_userref": order.userref or 0}

    def _average(self, order: Order) -> Raw:
        form, instrument = self.forms[order.sym], self.account.market.instruments[order.sym]
        if not order.filled:
            return Raw(form.price(0))
        average = from_money(order.cost) / instrument.qty(order.filled)
        return Raw(rounded(average, form.price_precision))

    def _totals(self, order: Order) -> dict[str, Any]:
        form = self.forms[order.sym]
        return {
            "cum_qty": Raw(form.qty(order.filled)),
            "cum_cost": money(order.cost),
            "fee_usd_equiv": money(order.fee, 4),
            "avg_price": self._average(order),
        }

    def _triggers(self, order: Order) -> dict[str, Any]:
        form = self.forms[order.sym]
        price: Raw | Decimal
        if order.trailing is None:
            price, kind = Raw(form.price(order.trigger)), "static"
        elif order.trailing_pct:
            price, kind = order.trailing, "pct"
        else:
            tick = self.account.market.instruments[order.sym].price_increment
            price, kind = order.trailing * tick, "quote"
        triggers: dict[str, Any] = {
            "reference": order.reference,
            "price": price,
            "price_type": kind,
            "actual_price": Raw(form.price(order.trigger)),
        }
        if order.trailing is not None:
            triggers["peak_price"] = Raw(form.price(order.peak))
        if order.triggered:
            triggers["last_price"] = Raw(form.price(order.last_trigger))
            triggers["timestamp"] = stamp(order.t_triggered)
        triggers["status"] = "triggered" if order.triggered else "untriggered"
        return triggers

    def static(self, order: Order) -> dict[str, Any]:
        """What an order is, whatever happened to it."""
        form = self.forms[order.sym]
        item: dict[str, Any] = {
            "order_id": order.txid,
            "symbol": form.symbol,
            "side": "buy" if order.side > 0 else "sell",
            "order_type": order.order_type,
            "order_qty": Raw(form.qty(order.qty)),
            "time_in_force": order.tif.upper(),
            **self._ids(order),
        }
        if order.price:
            item["limit_price_type"] = "static"
            item["limit_price"] = Raw(form.price(order.price))
        item["stop_price"] = Raw(form.price(order.trigger))
        item["fee_ccy_pref"] = order.fee_pref
        if order.post_only:
            item["post_only"] = True
        if order.expire_ts:
            item["expire_time"] = stamp(order.expire_ts)
        if order.effective_ts:
            item["effective_time"] = stamp(order.effective_ts)
        if order.display:
            item["display_qty"] = Raw(form.qty(order.display))
            item["display_qty_remain"] = Raw(form.qty(order.child_qty - order.child_filled))
        if order.conditional_type:
            item["triggers"] = self._triggers(order)
        if order.conditional:
            item["contingent"] = dict(order.conditional)
        if order.ref_id:
            item["ord_ref_id"] = order.ref_id
        if order.cash_qty is not None:
            item["cash_order_qty"] = order.cash_qty
        if order.sender_sub_id is not None:
            item["sender_sub_id"] = order.sender_sub_id
        return item

    def fill(self, order: Order, fill: Fill, cumulative: bool = True) -> dict[str, Any]:
        """A `trade` report; totals are those after this fill."""
        form = self.forms[order.sym]
        quote = self.account.market.instruments[order.sym].quote
        item: dict[str, Any] = {
            "order_id": order.txid,
            "exec_id": fill.exec_id,
            "exec_type": "trade",
            "trade_id": fill.trade_id,
            "symbol": form.symbol,
            "side": "buy" if order.side > 0 else "sell",
            "last_qty": Raw(form.qty(fill.qty)),
            "last_price": Raw(form.price(fill.price)),
            "liquidity_ind": "m" if fill.maker else "t",
            "cost": money(fill.cost),
            # Also the fill that completes the order says so: completion is a report of its own.
            "order_status": "partially_filled",
            "order_type": order.order_type,
            **self._ids(order),
            "timestamp": stamp(fill.t),
            "fee_usd_equiv": money(fill.fee, 4),
            "fees": [{"asset": quote, "qty": money(fill.fee, FEE_PRECISION)}],
        }
        if cumulative:
            totals = self._totals(order)
            del totals["fee_usd_equiv"]
            item |= totals
        if order.ref_id:
            item["ord_ref_id"] = order.ref_id
        return item

    def item(self, h: Happening) -> dict[str, Any]:
        """The report of a happening."""
        order, form = h.order, self.forms[h.order.sym]
        head = {"timestamp": stamp(h.t), "order_status": order.status, "exec_type": h.kind}
        if h.kind == "pending_new":
            return {
                **self.static(order),
                "cum_cost": money(0),
                "exec_type": "pending_new",
                "order_status": "pending_new",
                "fee_usd_equiv": money(0, 4),
                "timestamp": stamp(h.t),
            }
        if h.kind == "trade":
            assert h.fill is not None
            return self.fill(order, h.fill)
        if h.kind == "new":
            ids = self._ids(order) if self.account.options.new_repeats_client_id else {}
            return {**head, **ids, "order_id": order.txid}
        if h.kind == "amended":
            item: dict[str, Any] = {
                **head,
                "cum_qty": Raw(form.qty(order.filled)),
                "order_qty": Raw(form.qty(order.qty)),
                "amended": True,
                "reason": h.reason,
                **self._ids(order),
                "order_id": order.txid,
            }
            if order.price:
                item["limit_price"] = Raw(form.price(order.price))
                item["limit_price_type"] = "static"
            if order.conditional_type:
                item["triggers"] = self._triggers(order)
            return item
        if h.kind == "status":
            return {
                **head, **self._ids(order), "order_id": order.txid,
                "triggers": self._triggers(order),
            }  # fmt: skip
        if h.kind == "iceberg_refill":
            return {
                **head,
                **self._ids(order),
                "order_id": order.txid,
                "display_qty": Raw(form.qty(order.display)),
                "display_qty_remain": Raw(form.qty(order.child_qty)),
            }
        ended = {**head, **self._totals(order), **self._ids(order), "order_id": order.txid}
        if h.kind in ("canceled", "expired"):
            ended["cancel_reason"] = ended["reason"] = h.reason
        return ended

    def snapshot(self, orders: Iterable[Order]) -> list[dict[str, Any]]:
        """Open orders, whole."""
        return [
            {
                **self.static(order),
                **self._totals(order),
                "exec_type": "amended" if order.amended else order.status,
                "order_status": order.status,
                "amended": order.amended,
                "timestamp": stamp(order.t_changed),
            }
            for order in orders
        ]

    def old_fills(self, fills: Iterable[tuple[Order, Fill]]) -> list[dict[str, Any]]:
        """Fills of a snapshot: filled, as recorded, whatever became of the order."""
        return [
            {**self.fill(order, fill, cumulative=False), "order_status": "filled"}
            for order, fill in fills
        ]

    # ---- balances ----

    def entry(self, entry: Entry) -> dict[str, Any]:
        """One ledger entry as an update of `balances`."""
        decimals = self.account.decimals(entry.asset)
        return {
            "ledger_id": entry.id,
            "ref_id": entry.ref_id,
            "timestamp": stamp(entry.t),
            "type": entry.kind,
            "asset": entry.asset,
            "asset_class": "currency",
            "category": "trade",
            "wallet_type": "spot",
            "wallet_id": "main",
            "amount": Raw(fixed(entry.amount, decimals)),
            "fee": Raw(fixed(entry.fee, decimals)),
            "balance": Raw(fixed(entry.balance, decimals)),
        }

    def balances(self) -> list[dict[str, Any]]:
        """Everything owned, holds not taken off."""
        items = []
        for asset, amount in self.account.balances.items():
            text = Raw(fixed(amount, self.account.decimals(asset)))
            wallet = {"type": "spot", "id": "main", "balance": text}
            items.append(
                {"asset": asset, "asset_class": "currency", "balance": text, "wallets": [wallet]}
            )
        return items


assert MONEY_DIGITS >= COST_PRECISION
