"""How do rows get into the database, once and whole? One transaction per batch, and the readings.

Each transaction takes a lock of its log, reads how far the log is mirrored, and adds only what is
missing. So a batch that is sent again, after a commit whose answer was lost or by a second writer,
adds nothing, and no transaction can leave a hole. Left out: when and how often (mirror.py).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from adapters.postgres.feed import NO_HEAD, Batch, Head
from adapters.postgres.pools import Identity, prepare, read_identity
from adapters.postgres.schema import check_schema
from adapters.postgres.settings import Settings
from adapters.postgres.tables import (
    COLUMNS,
    COMMANDS,
    EVENTS,
    INSERTS,
    KEYS,
    SELECTS,
    cells_of,
    command_cells,
    event_cells,
)
from adapters.postgres.trouble import MIRROR_ROLE, trouble
from engine.errors import DataError
from engine.events import ORDER_COMMAND
from engine.flow.segment import SegmentHeader
from engine.reports.columns import Frame

ROWS_IN_THREAD: Final = 100  # above that the loop of a session is not held up by making values

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_HEAD: Final = """
    SELECT batch, seq_to, rows_to, digest FROM batches WHERE log_id = $1 ORDER BY batch DESC LIMIT 1
"""
_ADD_BATCH: Final = """
    INSERT INTO batches (log_id, batch, seq_to, rows_to, digest) VALUES ($1, $2, $3, $4, $5)
"""
_ADD_LOG: Final = """
    INSERT INTO logs (log_id, header, config_hash) VALUES ($1, $2, $3)
    ON CONFLICT (log_id) DO NOTHING
"""
_LOG: Final = "SELECT header FROM logs WHERE log_id = $1"
_ADD_INSTRUMENTS: Final = """
    INSERT INTO instruments (log_id, sym, symbol, base, quote, price_increment, qty_increment)
    SELECT $1::text, * FROM unnest(
        $2::smallint[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::numeric[])
    ON CONFLICT (log_id, sym) DO NOTHING
"""
# May this role do more than it should, or less than it must?
_RIGHTS: Final = """
    SELECT
        has_schema_privilege(current_user, $1, 'CREATE') OR coalesce(bool_or(
            has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE')
            OR has_table_privilege(c.oid, 'TRUNCATE')), false),
        coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')
            AND (has_table_privilege(c.oid, 'INSERT') OR c.relname = 'migrations')), false)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind = 'r'
"""
_HEADS: Final = """
    SELECT log_id, batch, seq_to, rows_to, committed FROM progress ORDER BY committed DESC LIMIT 100
"""
_COUNTS: Final = {
    table: f"SELECT count(*) FROM {table} WHERE log_id = $1 AND {KEYS[table][0]} < $2"
    for table in COLUMNS
}


@dataclass(frozen=True)
class Log:
    """Which log is mirrored, and what its rows are read against."""

    log_id: str
    header: str
    config_hash: str
    frame: Frame


def log_of(header: SegmentHeader, families: dict[int, str]) -> Log:
    """header : that of the first segment"""
    return Log(
        header.log_id, header.start(), header.config_hash, Frame(header.instruments, families)
    )


async def read_head(connection: Any, log: Log) -> Head:
    """Inside a transaction that `prepare` has set up."""
    row = await connection.fetchrow(_HEAD, log.log_id)
    if row is None:
        return NO_HEAD
    return Head(row[0], row[1], json.loads(row[2]), row[3])


async def open_log(
    connection: Any, settings: Settings, log: Log, write: bool = True
) -> tuple[Identity, Head]:
    """Look at the schema and the role, make the log known, and say how far it is mirrored.

    raises DataError for another schema or another log of this name, RefusedError for a role that
    may change rows, and what the driver raises
    """
    async with connection.transaction(isolation="read_committed"):
        await prepare(connection, settings)
        version = await check_schema(connection, settings.schema)
        # check_schema has named the schema for itself; the deadlines stand.
        if write:
            await _check_rights(connection, settings)
            await connection.execute(_LOCK, log.log_id)
            if await connection.fetchval(_LOG, log.log_id) is None:
                await connection.execute(_ADD_LOG, log.log_id, log.header, log.config_hash)
                await connection.execute(_ADD_INSTRUMENTS, log.log_id, *_instruments(log))
        header = await connection.fetchval(_LOG, log.log_id)
        if header is not None and header != log.header:
            raise DataError(
                f"MIRROR_SCHEMA: the mirror knows another log as {log.log_id!r}.",
                "Two runs have one name: mirror one of them into another schema.",
            )
        head = await read_head(connection, log)
        return await read_identity(connection, settings, version), head


async def _check_rights(connection: Any, settings: Settings) -> None:
    too_much, enough = await connection.fetchrow(_RIGHTS, settings.schema)
    if too_much:
        raise trouble(
            MIRROR_ROLE,
            "the mirror's role may change or delete rows, or make tables.",
            "Give it a role of its own: `kapitaalbot mirror migrate --grant ROLE` gives insert "
            "and select, and nothing else (docs/howto-postgres.md).",
        )
    if not enough:
        raise trouble(
            MIRROR_ROLE,
            "the mirror's role may not read and write all of its tables.",
            "`kapitaalbot mirror migrate --grant ROLE`, with the role that owns them.",
        )


def _instruments(log: Log) -> list[list[Any]]:
    table = list(log.frame.instruments)
    return [
        list(range(len(table))),
        [each.symbol for each in table],
        [each.base for each in table],
        [each.quote for each in table],
        [each.price_increment for each in table],
        [each.qty_increment for each in table],
    ]


def cells_of_batch(batch: Batch, frame: Frame) -> dict[str, list[list[Any]]]:
    """Table to columns of values, without tables that get nothing."""
    is_command = batch.events["kind"] == ORDER_COMMAND
    made = {
        EVENTS: event_cells(batch.events[~is_command], frame),
        COMMANDS: command_cells(batch.events[is_command], frame),
    }
    for name, each in batch.tables.items():
        keys = [each.numbers.tolist(), each.seqs.tolist()]
        made[name] = cells_of(name, keys, each.rows, frame)
    return {name: cells for name, cells in made.items() if cells[0]}


async def write_batch(
    connection: Any, settings: Settings, log: Log, batch: Batch
) -> tuple[Head, bool]:
    """Add what the database lacks of `batch`; returns where it stands, and whether it had all.

    raises Hole if something before the batch is missing
    """
    # Each statement sees what was committed before it: the head is read after the lock was given.
    async with connection.transaction(isolation="read_committed"):
        await prepare(connection, settings)
        await connection.execute(_LOCK, log.log_id)
        head = await read_head(connection, log)
        rest = batch.after(head)
        if batch.is_done(head):
            return head, True
        if rest.n_rows > ROWS_IN_THREAD:
            made = await asyncio.to_thread(cells_of_batch, rest, log.frame)
        else:
            made = cells_of_batch(rest, log.frame)
        for table, cells in made.items():
            await connection.execute(INSERTS[table], log.log_id, *cells)
        after = rest.next_head(head)
        await connection.execute(
            _ADD_BATCH, log.log_id, after.batch, after.seq_to, json.dumps(after.rows), after.digest
        )
    return after, False


async def read_table(connection: Any, log: Log, table: str, first: int, n: int) -> list[Any]:
    """Up to n rows of a mirror table from key `first` on, as they were written."""
    return list(await connection.fetch(SELECTS[table], log.log_id, first, n))


async def read_counts(
    connection: Any, log_id: str, ends: dict[str, int] | None = None
) -> dict[str, int]:
    """Rows of each table; with `ends`, those below that key."""
    below = {table: (1 << 62) if ends is None else ends.get(table, 0) for table in COLUMNS}
    return {
        table: int(await connection.fetchval(statement, log_id, below[table]))
        for table, statement in _COUNTS.items()
    }


async def read_heads(connection: Any) -> list[dict[str, Any]]:
    """The logs that the database knows, newest first."""
    return [dict(row) for row in await connection.fetch(_HEADS)]
