"""A session's log, written by hand in steps, with the rows that a recorder would drain.

Each step is one order: market rows, the command, what became of it, a balance. `told` is the
log as read back by `LogReader`, for comparison with what a mirror holds.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np

from engine.commands import ADD, COMMAND, GTC, LIMIT, ROLE_ENTRY
from engine.core.records import table_dtype
from engine.events import (
    BALANCE,
    BUY,
    EVENT,
    HEALTH,
    HEALTH_CLOCK,
    HEALTH_LEASE,
    LAST,
    MAKER,
    MODE,
    MODE_EXIT_ONLY,
    NO_SYMBOL,
    OPERATOR,
    OPERATOR_FLATTEN,
    ORDER_ACK,
    ORDER_CANCELED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_REJECT,
    ORDER_SENT,
    REJECT_POST_ONLY,
    TIMER,
    TRADE,
    WHO_OPERATOR,
    WHY_COMMAND,
)
from engine.flow.journal import command_rows
from engine.flow.log import LogReader, LogWriter
from engine.instruments import Instrument, InstrumentTable

START = 1_767_268_800_000_000_000  # 2026-01-01 12:00:00 UTC
S = 1_000_000_000

INSTRUMENTS = InstrumentTable(
    [
        Instrument("BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 1, 8),
        Instrument("DOGE/USD", Decimal("0.0000001"), Decimal("0.00000001"), 7, 8),
    ]
)

# What a mirror shows of a log, said a second time and in other words than the code does.
ORDER_KINDS = set(range(20, 36)) - {33}
SHOWN = ORDER_KINDS | {40, 41}


def shown(row) -> bool:
    kind = int(row["kind"])
    return kind in SHOWN or (kind == 43 and 10 <= int(row["id"]) <= 25)


def _row(ts: int, kind: int, **values) -> np.ndarray:
    rows = np.zeros(1, EVENT)
    rows["ts"], rows["kind"], rows["sym"] = ts, kind, NO_SYMBOL
    for name, value in values.items():
        rows[name] = value
    return rows


class Story:
    """Writes a log step by step. folder : the log's"""

    def __init__(self, folder: Path, log_id: str = "story", **options) -> None:
        self.folder = folder
        self.log_id = log_id
        self.writer = LogWriter(
            folder, INSTRUMENTS, log_id=log_id, config_hash="c0", assign_seq=True, **options
        )
        self.n = 0
        self.tables: dict[str, list[np.ndarray]] = {}
        self.drained: list[tuple[int, str, np.ndarray]] = []

    def step(self, sync: bool = True) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """One order: the pieces of events as they were appended, the rows that follow."""
        self.n += 1
        n, ts = self.n, START + self.n * S
        sym = n % 2
        price, qty = 500_000 + n, 1_000_000 + 7 * n
        command = np.zeros(1, COMMAND)
        for name, value in {
            "ts": ts, "generation": n, "id": n, "route": 0, "price": price, "qty": qty,
            "sym": sym, "kind": ADD, "side": BUY, "type": LIMIT, "tif": GTC, "post_only": 1,
            "role": ROLE_ENTRY,
        }.items():  # fmt: skip
            command[name] = value
        mine = {"sym": sym, "id": n}
        market = [
            _row(ts, TRADE, sym=sym, side=BUY, price=price, qty=5, flags=LAST),
            _row(ts, TIMER, aux=250_000_000),
            _row(ts, HEALTH, id=HEALTH_CLOCK, aux=5),
        ]
        after = [_row(ts, ORDER_SENT, aux=ADD, flags=LAST, **mine)]
        if n % 5 == 0:
            after.append(_row(ts + 1, ORDER_REJECT, aux=REJECT_POST_ONLY, flags=LAST, **mine))
        else:
            after += [
                _row(ts + 1, ORDER_ACK, ts_venue=ts, side=BUY, price=price, qty=qty, aux=900 + n,
                     flags=LAST, **mine),
                _row(ts + 2, ORDER_FILL, ts_venue=ts + 1, side=BUY, price=price, qty=qty,
                     aux=7_000 + n, flags=MAKER, **mine),
                _row(ts + 2, ORDER_FEE, ts_venue=ts + 1, qty=25_000_000 + n, aux=7_000 + n,
                     flags=LAST, **mine),
                _row(ts + 3, ORDER_FILLED, qty=qty, flags=LAST, **mine),
            ]  # fmt: skip
        after += [
            _row(ts + 4, BALANCE, qty=1_000_000_000_000 - n),
            _row(ts + 4, BALANCE, sym=sym, qty=qty, flags=LAST),
        ]
        if n % 4 == 0:
            after += [
                _row(
                    ts + 5, MODE, id=WHO_OPERATOR, aux=MODE_EXIT_ONLY, qty=WHY_COMMAND, flags=LAST
                ),
                _row(ts + 5, OPERATOR, id=OPERATOR_FLATTEN, sym=sym, flags=LAST),
                _row(ts + 5, HEALTH, id=HEALTH_LEASE, aux=3, flags=LAST),
                _row(ts + 5, ORDER_CANCELED, qty=1, aux=1, flags=LAST, **mine),
            ]
        pieces = [np.concatenate(market), command_rows(command), np.concatenate(after)]
        for piece in pieces:
            self.writer.append(piece)
        if sync:
            self.writer.sync()
        tables = {"orders": self._orders(n, sym, ts, price, qty), "decisions": self._decisions(n)}
        if n % 4 == 0:
            tables["balances"] = self._balances(n, sym, ts, qty)
        if n % 5:
            tables["fills"] = self._fill(n, sym, ts, price, qty)
        for name, rows in tables.items():
            self.tables.setdefault(name, []).append(rows)
            self.drained.append((self.writer.seq_last, name, rows))
        return pieces, tables

    def _orders(self, n: int, sym: int, ts: int, price: int, qty: int) -> np.ndarray:
        rows = np.zeros(2, table_dtype("orders"))
        rows["ts"] = [ts, ts + 3]
        rows["id"], rows["sym"], rows["side"], rows["type"] = n, sym, BUY, LIMIT
        rows["price"], rows["qty"], rows["role"] = price, qty, ROLE_ENTRY
        rows["state"], rows["cause"] = [2, 6], [101, ORDER_FILLED]
        return rows

    def _balances(self, n: int, sym: int, ts: int, qty: int) -> np.ndarray:
        rows = np.zeros(2, table_dtype("balances"))
        rows["ts"], rows["sym"] = ts + 4, [-1, sym]
        rows["told"] = rows["own"] = [1_000_000_000_000 - n, qty]
        return rows

    def _decisions(self, n: int) -> np.ndarray:
        """Three, of which the middle one led to the order."""
        rows = np.zeros(3, table_dtype("decisions"))
        rows["ts"], rows["generation"] = START + n * S, n
        rows["command"] = [0, n, 0]
        rows["margin_bps"] = [np.nan, 1.25, np.nan]
        rows["fill_time_s"] = np.inf
        return rows

    def _fill(self, n: int, sym: int, ts: int, price: int, qty: int) -> np.ndarray:
        rows = np.zeros(1, table_dtype("fills"))
        for name, value in {
            "ts": ts + 2, "ts_venue": ts + 1, "order": n, "exec": 7_000 + n, "sym": sym,
            "side": BUY, "price": price, "qty": qty, "notional": 50_000 * n + 3, "fee": 25_000_000 + n,
            "maker": 1, "mid_half_ticks": 2 * price + 1, "position": qty,
        }.items():  # fmt: skip
            rows[name] = value
        return rows

    def feed(self, mirror, n: int = 1, sync: bool = True) -> None:
        """Live n steps and give them to `mirror` as a session does."""
        for _ in range(n):
            pieces, tables = self.step(sync)
            for piece in pieces:
                mirror.events(piece)
            for name, rows in tables.items():
                mirror.rows(name, rows)

    def derive(self):
        """The rows again, from the front of the log, drained elsewhere than live."""
        for name, parts in self.tables.items():
            yield self.writer.seq_last, name, np.concatenate(parts)

    @property
    def seq_last(self) -> int:
        return self.writer.seq_last

    def told(self) -> np.ndarray:
        """The log as its own reader reads it."""
        return np.concatenate(list(LogReader(self.folder, tail="stop")))


async def assert_prefix(place, story: Story) -> int:
    """The mirror's rows are a prefix of the log's; returns the event up to which it reaches."""
    async with (
        place.connected() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        head = await connection.fetchrow(
            "SELECT seq_to, rows_to::text FROM progress WHERE log_id = $1", story.log_id
        )
        events = await connection.fetch(
            "SELECT seq, ts, ts_venue, price, qty, id, aux, sym, kind, side, flags FROM events "
            "WHERE log_id = $1 ORDER BY seq",
            story.log_id,
        )
        commands = await connection.fetch(
            "SELECT seq, id, price, qty, sym, kind, side FROM commands WHERE log_id = $1 "
            "ORDER BY seq",
            story.log_id,
        )
        orders = await connection.fetch(
            "SELECT row_n, id, price FROM orders WHERE log_id = $1 ORDER BY row_n", story.log_id
        )
        fills = await connection.fetch(
            "SELECT row_n, exec_id, fee FROM fills WHERE log_id = $1 ORDER BY row_n", story.log_id
        )
        decisions = await connection.fetch(
            "SELECT row_n, command FROM decisions WHERE log_id = $1 ORDER BY row_n", story.log_id
        )
    seq_to = -1 if head is None else head["seq_to"]
    log = story.told()
    log = log[log["seq"] <= seq_to]
    names = ("seq", "ts", "ts_venue", "price", "qty", "id", "aux", "sym", "kind", "side", "flags")
    wanted = [tuple(int(row[name]) for name in names) for row in log if shown(row)]
    assert wanted == [tuple(row) for row in events]
    firsts = [row for row in log if row["kind"] == 33 and int(row["aux"]) & 255 == 0]
    assert [
        (int(row["seq"]), int(row["id"]), int(row["price"]), int(row["qty"]), int(row["sym"]), 1, 1)
        for row in firsts
    ] == [tuple(row) for row in commands]
    rows = {name: np.concatenate(parts) for name, parts in story.tables.items()}
    for found, table, column in ((orders, "orders", "price"), (fills, "fills", "fee")):
        key = "id" if table == "orders" else "exec"
        wanted_rows = [
            (i, int(row[key]), int(row[column])) for i, row in enumerate(rows.get(table, ()))
        ]
        assert wanted_rows[: len(found)] == [tuple(row) for row in found]
    kept = [(i, int(r["command"])) for i, r in enumerate(rows.get("decisions", ())) if r["command"]]
    assert kept[: len(decisions)] == [tuple(row) for row in decisions]
    return seq_to
