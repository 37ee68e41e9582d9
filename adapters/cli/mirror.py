"""`kapitaalbot mirror`: the SQL mirror of sessions' logs: its tables, how far it is, filling it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.options import RUNS, JsonFlag, RunsFolder
from adapters.cli.output import say, write_json, write_pairs, write_table
from engine.errors import DataError, MismatchError

if TYPE_CHECKING:
    import numpy as np

    from adapters.postgres.settings import Settings

app = typer.Typer(
    help="Keep a copy of sessions' orders, fills and positions in PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="FILE",
        help="Profile with a [mirror]; else KAPITAALBOT_MIRROR_DSN says where.",
        show_default=False,
    ),
]
SchemaOption = Annotated[
    str, typer.Option("--schema", metavar="NAME", help="Schema that holds the tables.")
]


@app.callback()
def group() -> None:
    """Keep a copy of sessions' orders, fills and positions in PostgreSQL."""


def _settings(profile: Path | None, schema: str) -> Settings:
    from adapters.postgres.settings import settings_from

    table: dict[str, Any] = {}
    if profile is not None:
        from engine.config import read_config

        section = read_config(profile, {}).mirror
        table = {"dsn": section.dsn, "required": section.required}
    return settings_from(table | {"schema": schema})


@app.command(short_help="Make or update the mirror's tables.")
def migrate(
    profile: ProfileOption = None,
    schema: SchemaOption = "kapitaalbot",
    grant: Annotated[
        str | None,
        typer.Option(help="Role of the mirror: gets insert and select.", show_default=False),
    ] = None,
    grant_read: Annotated[
        str | None, typer.Option(help="Role of readers: gets select.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make or update the mirror's tables, with a role that may (never done by a session).

    KAPITAALBOT_MIRROR_MIGRATE_DSN, if set, is used in place of the mirror's own. Example:
    kapitaalbot mirror migrate --grant kapitaalbot_mirror
    """
    from adapters.postgres.settings import DSN_VARIABLE, MIGRATE_VARIABLE, settings_from

    other = os.environ.get(MIGRATE_VARIABLE, "")
    if other:
        settings = settings_from({"schema": schema}, {DSN_VARIABLE: other})
    else:
        settings = _settings(profile, schema)
    done, version = asyncio.run(_migrate(settings, grant, grant_read))
    if as_json:
        write_json("mirror.migrate", {"schema": schema, "applied": done, "version": version})
        return
    for name in done:
        say(f"applied {name}.")
    say(f"schema {schema} at {settings.place} has version {version}.")


async def _migrate(
    settings: Settings, grant: str | None, grant_read: str | None
) -> tuple[list[str], int]:
    from adapters.postgres.pools import lone_connection
    from adapters.postgres.schema import migrate as apply
    from adapters.postgres.schema import schema_version

    async with lone_connection(settings) as connection:
        done = await apply(connection, settings.schema, grant, grant_read)
    return done, schema_version()


@app.command(short_help="Show how far each log is mirrored.")
def status(
    profile: ProfileOption = None,
    schema: SchemaOption = "kapitaalbot",
    as_json: JsonFlag = False,
) -> None:
    """Show which database answers, its schema, and how far each log is mirrored.

    Example: kapitaalbot mirror status --json
    """
    identity, heads = asyncio.run(_status(_settings(profile, schema)))
    if as_json:
        write_json("mirror.status", {"database": identity, "logs": heads})
        return
    write_pairs((name, str(value)) for name, value in identity.items())
    write_table(
        ("log", "events up to", "batches", "orders", "fills", "at"),
        [
            (
                each["log_id"],
                each["seq_to"],
                each["batch"],
                each["rows"].get("orders", 0),
                each["rows"].get("fills", 0),
                f"{each['committed']:%Y-%m-%d %H:%M:%S} UTC",
            )
            for each in heads
        ],
    )


async def _status(settings: Settings) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    import json

    from adapters.postgres.pools import lone_connection, prepare, read_identity
    from adapters.postgres.schema import check_schema
    from adapters.postgres.store import read_heads

    async with lone_connection(settings) as connection, connection.transaction():
        await prepare(connection, settings)
        version = await check_schema(connection, settings.schema)
        identity = await read_identity(connection, settings, version)
        heads = await read_heads(connection)
    for each in heads:
        each["rows"] = json.loads(each.pop("rows_to"))
    return identity.facts(), heads


@app.command(short_help="Fill the mirror from a run's log, and compare.")
def rebuild(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run's folder, its id under --runs, or a log's folder."
        ),
    ],
    runs: RunsFolder = RUNS,
    profile: ProfileOption = None,
    schema: SchemaOption = "kapitaalbot",
    no_audit: Annotated[
        bool, typer.Option("--no-audit", help="Only fill; do not compare row by row.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add what the mirror lacks of a run, from its log, then compare all of it.

    The tables of a run that ended are read; those of one that did not are made by a fresh core from
    the log. Deletes and changes nothing; may run beside a session. Leaves with 4 where the database is
    ahead of the log, 5 where a row is not the log's. Example: kapitaalbot mirror rebuild latest
    """
    from adapters.postgres.rebuild import rebuild as fill

    log, derive, families = run_sources(run, runs)
    done = asyncio.run(
        fill(_settings(profile, schema), log, derive, families=families, audit=not no_audit)
    )
    facts = {
        "log": done.log_id,
        "database": done.identity.facts(),
        "before": done.before,
        "after": done.after,
        "log_end": done.log_end,
        "rows": done.rows,
        "tables": done.tables,
        "audited": done.audited,
    }
    if as_json:
        write_json("mirror.rebuild", facts)
        return
    say(f"log {done.log_id}: mirrored up to event {done.after} of {done.log_end}.")
    if not done.tables:
        say("this is a log without its session: only events and commands were filled.")
    write_table(
        ("table", "rows", "compared"),
        [(name, n, done.audited.get(name, 0)) for name, n in sorted(done.rows.items())],
    )


def run_sources(
    run: str, runs: Path
) -> tuple[
    Path,
    Callable[[], Iterator[tuple[int, str, np.ndarray]]] | None,
    dict[int, str] | None,
]:
    """The log of a run, its tables if it ended, and its families' names."""
    from engine.flow.log import is_log
    from engine.reports.manifest import LATEST, MANIFEST_NAME, find_run, read_manifest

    given = Path(run)
    for folder in (given, runs / given):
        if given.name == LATEST:
            break
        if is_log(folder):
            return folder, None, None
        if is_log(folder / "log") and not (folder / MANIFEST_NAME).is_file():
            if not (folder / "session.json").is_file():
                return folder / "log", None, None
            return folder / "log", lambda folder=folder: replayed(folder), None  # type: ignore[misc]
    folder = find_run(run, runs)
    if not is_log(folder / "log"):
        raise DataError(
            f"{folder} holds no event log: a replay keeps none, and nothing of it is mirrored.",
            "Sessions (shadow, paper, live) keep one in their run folder, `log/`.",
        )
    manifest = read_manifest(folder)
    families = {int(code): name for code, name in manifest.get("families", {}).items()}
    return folder / "log", lambda: tables_of(folder), families or None


def tables_of(folder: Path) -> Iterator[tuple[int, str, np.ndarray]]:
    """The rows of an ended run's tables that are mirrored, as drained at the end of its log."""
    from adapters.parquet.tables import read_table
    from adapters.postgres.tables import RUN_TABLES
    from engine.core.state import ROW_TYPES
    from engine.flow.tail import LogFollower

    follower = LogFollower(folder / "log")
    for _ in follower.read():
        pass
    for table in RUN_TABLES:
        path = folder / f"{table}.parquet"
        if path.is_file():
            rows, _ = read_table(path)
            yield follower.seq_to, table, rows.astype(ROW_TYPES[table], copy=False)


def replayed(folder: Path) -> Iterator[tuple[int, str, np.ndarray]]:
    """The mirrored rows of a session that has not ended, made by a fresh core from its log.

    The core runs in a thread of its own and waits for whoever reads, so that few rows are held.
    """
    import queue
    import threading

    from adapters.postgres.tables import RUN_TABLES
    from adapters.sessions import open_session
    from engine.flow.log import LogReader
    from engine.flow.recorder import Recorder
    from engine.session.verify import follow_log

    built = open_session(folder)
    built.started.must_fit()
    line: queue.Queue[tuple[int, str, np.ndarray] | BaseException | None] = queue.Queue(64)
    left = threading.Event()
    seq = -1

    def put(item: tuple[int, str, np.ndarray] | BaseException | None) -> None:
        while not left.is_set():
            try:
                return line.put(item, timeout=0.1)
            except queue.Full:
                continue

    def observe(table: str, rows: np.ndarray) -> None:
        if table in RUN_TABLES:
            put((seq, table, rows.copy()))

    def batches() -> Iterator[np.ndarray]:
        nonlocal seq
        for rows in LogReader(folder / "log", tail="stop"):
            if left.is_set():
                return
            seq = int(rows["seq"][-1])
            yield rows

    def work() -> None:
        try:
            recorder = Recorder(observe=observe)
            found = follow_log(built.core, batches(), recorder, torn=True)
            if found.difference is not None and not left.is_set():
                text = found.difference.text(built.started.instruments.symbols)
                raise MismatchError(
                    f"the log of {folder.name} does not replay: {text}",
                    "`kapitaalbot run verify` shows the same; report it.",
                )
            recorder.drain(built.core)
            put(None)
        except BaseException as error:  # told to the reader, who raises it
            put(error)

    thread = threading.Thread(target=work, name="replay", daemon=True)
    thread.start()
    try:
        while (item := line.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        thread.join()
