"""Does the mirror say what the log says? Fill it from the log, and compare row by row.

Works without a session, and beside one: each transaction adds only what is missing. The audit
makes every row again and names the first that differs; it repairs nothing. Left out: replaying
the log to make the tables of the run (the caller hands them in).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adapters.postgres.feed import NO_HEAD, Batch, Head
from adapters.postgres.follow import Derive, batches_of_log, batches_of_tables
from adapters.postgres.pools import Identity, Pool, foreign_errors, prepare
from adapters.postgres.settings import Settings
from adapters.postgres.store import (
    Log,
    cells_of_batch,
    log_of,
    open_log,
    read_counts,
    read_table,
    write_batch,
)
from adapters.postgres.tables import COMMANDS, EVENTS, RUN_TABLES
from adapters.postgres.trouble import (
    JOURNAL_BEHIND_MIRROR,
    as_error,
    of_error,
    trouble,
)
from engine.core.routes import FAMILY_NAMES
from engine.errors import KapitaalbotError, MismatchError
from engine.flow.tail import LogFollower

PAGE: Final = 5_000
ROWS_ONE_BATCH: Final = 5_000
Progress = Callable[[int, int], None]


@dataclass
class Rebuilt:
    """What a rebuild did. before, after : seq up to which events were mirrored."""

    log_id: str
    identity: Identity
    before: int
    after: int
    log_end: int
    rows: dict[str, int]
    tables: bool  # whether the tables of the run were given
    audited: dict[str, int] = field(default_factory=dict)


async def rebuild(
    settings: Settings,
    path: Path | str,
    derive: Derive | None = None,
    *,
    families: Mapping[int, str] | None = None,
    audit: bool = True,
    progress: Progress | None = None,
) -> Rebuilt:
    """Fill the mirror of the log at `path` up to its end.

    raises Trouble where the database cannot be used, DataError for a damaged log or one that ends
    before its mirror, MismatchError where the audit finds a row that is not the log's
    """
    pool = Pool(settings)
    try:
        follower = LogFollower(path)
        log = log_of(follower.header, dict(families or FAMILY_NAMES))
        async with pool.connection() as connection:
            identity, head = await open_log(connection, settings, log)
        before = head.seq_to
        end = _end(path)
        if before > end:
            raise behind(log, before, end)
        for batch in batches_of_log(follower, head):
            head = await _write(pool, settings, log, batch)
            if progress is not None:
                progress(head.seq_to + 1, end + 1)
        if derive is not None:
            start = head
            for batch in batches_of_tables(derive(), start, ROWS_ONE_BATCH):
                at = head.seq_to
                head = await _write(pool, settings, log, Batch(at, at, batch.events, batch.tables))
        audited = await _audit(pool, settings, log, path, head, derive) if audit else {}
        async with pool.connection() as connection, connection.transaction():
            await prepare(connection, settings)
            rows = await read_counts(connection, log.log_id)
        return Rebuilt(
            log.log_id, identity, before, head.seq_to, end, rows, derive is not None, audited
        )
    except foreign_errors() as error:
        raise as_error(of_error(error, settings, connected=pool.n_lent > 0)) from None
    finally:
        await pool.close()


def behind(log: Log, mirrored: int, end: int) -> KapitaalbotError:
    """The log ends before its mirror: it is an old copy, or it lost its end."""
    return trouble(
        JOURNAL_BEHIND_MIRROR,
        f"the database has log {log.log_id} up to event {mirrored}, the log itself ends at {end}.",
        "An old copy of the log, or a log that lost its end: find the newer one.",
    )


def _end(path: Path | str) -> int:
    follower = LogFollower(path)
    for _ in follower.read():
        pass
    return follower.seq_to


async def _write(pool: Pool, settings: Settings, log: Log, batch: Batch) -> Head:
    async with pool.connection() as connection:
        head, _ = await write_batch(connection, settings, log, batch)
    return head


async def _audit(
    pool: Pool,
    settings: Settings,
    log: Log,
    path: Path | str,
    head: Head,
    derive: Derive | None,
) -> dict[str, int]:
    """Compare all rows up to `head` with rows made again; returns how many, by table."""
    seen: dict[str, int] = {}
    # A session may write meanwhile: what lies beyond what was compared is not counted.
    ends = dict.fromkeys((EVENTS, COMMANDS), head.seq_to + 1)
    made: Iterable[Batch] = _all_batches(path, head, derive)
    for batch in made:
        ends |= {name: each.stop for name, each in batch.tables.items()}
        for table, cells in cells_of_batch(batch, log.frame).items():
            wanted = [tuple(row) for row in zip(*cells, strict=True)]
            for i in range(0, len(wanted), PAGE):
                page = wanted[i : i + PAGE]
                async with pool.connection() as connection, connection.transaction():
                    await prepare(connection, settings)
                    found = await read_table(connection, log, table, page[0][0], len(page))
                _compare(log, table, page, [tuple(row) for row in found])
            seen[table] = seen.get(table, 0) + len(wanted)
    async with pool.connection() as connection, connection.transaction():
        await prepare(connection, settings)
        counts = await read_counts(connection, log.log_id, ends)
    for table, count in counts.items():
        known = derive is not None or table not in RUN_TABLES
        if known and count != seen.get(table, 0):
            raise MismatchError(
                f"the mirror of log {log.log_id} has {count} rows of {table}; the log makes "
                f"{seen.get(table, 0)}.",
                _HINT,
            )
    return seen


_HINT: Final = (
    "Somebody wrote into the mirror, or another version made it. Delete the log from `logs` with "
    "the owning role and rebuild (docs/howto-postgres.md)."
)


def _all_batches(path: Path | str, head: Head, derive: Derive | None) -> Iterator[Batch]:
    for batch in batches_of_log(LogFollower(path), NO_HEAD):
        if batch.seq_to <= head.seq_to:
            yield batch
        elif batch.seq_after < head.seq_to:
            rows = batch.events[batch.events["seq"] <= head.seq_to]
            yield Batch(batch.seq_after, head.seq_to, rows)
    if derive is not None:
        yield from batches_of_tables(derive(), NO_HEAD, ROWS_ONE_BATCH)


# `seq` of a row of a run's table says where it was drained, which may differ in a replay.
_LOOSE: Final = RUN_TABLES


def _compare(log: Log, table: str, wanted: list[tuple[Any, ...]], found: list[Any]) -> None:
    skip = 1 if table in _LOOSE else None
    for place, row in enumerate(wanted):
        there = found[place] if place < len(found) else None
        if there is None or _but(row, skip) != _but(there, skip):
            raise MismatchError(
                f"the mirror of log {log.log_id} differs from the log in {table} at "
                f"{row[0]}: {'the row is missing' if there is None else 'its values differ'}.",
                _HINT,
            )


def _but(row: tuple[Any, ...], skip: int | None) -> tuple[Any, ...]:
    return row if skip is None else row[:skip] + row[skip + 1 :]
