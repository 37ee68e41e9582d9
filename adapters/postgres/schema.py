"""Which tables does the database have, and are they the ones that this program writes?

Migrations are files of SQL, numbered, applied in order by a command and never by a session. Each
runs in one transaction together with the line that says so, under a lock, so that half of one
cannot stay; a schema that was changed by hand is told by its columns and refused. `python -m
adapters.postgres.schema` prints the columns as the code wants them, for whoever writes the next
migration. Left out: rows (store.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.postgres.settings import checked_name
from adapters.postgres.tables import COLUMNS, KEYS
from engine.errors import DataError, RefusedError

MIGRATIONS: Final = Path(__file__).resolve().parent / "migrations"
LOCK_KEY: Final = 0x4B425F4D4947  # of the advisory lock: one migration at a time

_SET_PATH: Final = "SELECT set_config('search_path', $1, true)"
_LOCK: Final = "SELECT pg_try_advisory_xact_lock($1)"
_HAS_SCHEMA: Final = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
_HAS_TABLE: Final = """
    SELECT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2
    )
"""
_APPLIED: Final = "SELECT version, name, digest FROM migrations ORDER BY version"
_APPLY: Final = "INSERT INTO migrations (version, name, digest) VALUES ($1, $2, $3)"
_BEGIN: Final = """
    CREATE TABLE IF NOT EXISTS migrations (
        version integer PRIMARY KEY CHECK (version > 0),
        name text NOT NULL,
        digest text NOT NULL,
        applied timestamptz NOT NULL DEFAULT now()
    )
"""
# The server quotes the names; what comes back is run as it is.
_CREATE_SCHEMA: Final = "SELECT format('CREATE SCHEMA IF NOT EXISTS %I', $1::text)"
_GRANTS: Final = (
    "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', $1::text, $2::text)",
    "SELECT format('GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA %I TO %I', $1::text, $2::text)",
    "SELECT format('REVOKE INSERT ON %I.migrations FROM %I', $1::text, $2::text)",
)
_READ_GRANTS: Final = (
    "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', $1::text, $2::text)",
    "SELECT format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I', $1::text, $2::text)",
)
_COLUMNS: Final = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True)
class Migration:
    """One file of migrations/."""

    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All of them, in order."""
    return [
        Migration(int(path.name[:4]), path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]


def schema_version() -> int:
    """The version that this program writes."""
    return migrations()[-1].version


async def applied(connection: Any, schema: str) -> dict[int, tuple[str, str]]:
    """Version to (name, digest) of what the database says it has. Inside a transaction."""
    await connection.execute(_SET_PATH, schema)
    if not await connection.fetchval(_HAS_TABLE, schema, "migrations"):
        return {}
    return {row[0]: (row[1], row[2]) for row in await connection.fetch(_APPLIED)}


def compare(found: dict[int, tuple[str, str]], schema: str) -> list[Migration]:
    """What is still to be applied; raises DataError for a schema of another program."""
    known = {each.version: each for each in migrations()}
    newest = max(found, default=0)
    if newest > max(known):
        raise DataError(
            f"MIRROR_SCHEMA: schema {schema} has version {newest}; this program writes version "
            f"{max(known)}.",
            "Use the program that made it, or a newer one.",
        )
    for version, (name, digest) in sorted(found.items()):
        if version not in known or known[version].digest != digest:
            raise DataError(
                f"SCHEMA_PARTIAL: migration {name} of schema {schema} is not the one that this "
                "program has.",
                "Put the mirror into an empty schema; it is rebuilt from the log.",
            )
    missing = [each for version, each in sorted(known.items()) if version not in found]
    if missing and missing[0].version < newest:
        raise DataError(
            f"SCHEMA_PARTIAL: schema {schema} has version {newest} but not {missing[0].name}.",
            "Put the mirror into an empty schema; it is rebuilt from the log.",
        )
    return missing


async def check_schema(connection: Any, schema: str) -> int:
    """The version of a schema that this program can write; raises DataError for any other.

    Inside a transaction.
    """
    found = await applied(connection, schema)
    await _refuse_leftovers(connection, schema, found)
    missing = compare(found, schema)
    if missing:
        raise DataError(
            f"MIRROR_SCHEMA: schema {schema} has version {max(found, default=0)}; this program "
            f"writes version {schema_version()}.",
            "`kapitaalbot mirror migrate` brings it up to date, with a role that may.",
        )
    wrong = await differences(connection, schema)
    if wrong:
        raise DataError(
            f"SCHEMA_PARTIAL: schema {schema} has other columns than its version says: "
            f"{'; '.join(wrong[:8])}.",
            "Somebody changed it by hand. Put the mirror into an empty schema and rebuild it.",
        )
    return max(found)


async def _refuse_leftovers(connection: Any, schema: str, found: dict[int, Any]) -> None:
    """Tables of ours without a line that says how they came are half of a migration."""
    if found:
        return
    for table in (*COLUMNS, "logs", "batches"):
        if await connection.fetchval(_HAS_TABLE, schema, table):
            raise DataError(
                f"SCHEMA_PARTIAL: schema {schema} has a table {table}, but no migration made it.",
                "Put the mirror into an empty schema, or drop this one; it is rebuilt from the log.",
            )


async def differences(connection: Any, schema: str) -> list[str]:
    """How the columns in the database differ from those that this program writes, in words."""
    there: dict[str, dict[str, str]] = {}
    for table, column, type_ in await connection.fetch(_COLUMNS, schema):
        there.setdefault(table, {})[column] = type_
    wrong = []
    for table, columns in wanted_columns().items():
        has = there.get(table, {})
        for name, type_ in columns.items():
            if name not in has:
                wrong.append(f"{table}.{name} is missing")
            elif has[name] != type_:
                wrong.append(f"{table}.{name} is {has[name]}, not {type_}")
        wrong += [f"{table}.{name} is not known" for name in has if name not in columns]
    return wrong


def wanted_columns() -> dict[str, dict[str, str]]:
    """Names and types of the columns of the tables that hold rows."""
    return {
        table: {
            "log_id": "text",
            **dict.fromkeys(KEYS[table], "bigint"),
            **{each.name: each.type for each in columns},
        }
        for table, columns in COLUMNS.items()
    }


async def migrate(
    connection: Any, schema: str, grant: str | None = None, grant_read: str | None = None
) -> list[str]:
    """Bring `schema` up to date; returns the names of what was applied.

    grant : a role that gets insert and select, as the mirror needs; grant_read : select only
    raises RefusedError while another migration runs, DataError as check_schema
    """
    checked_name(schema, "the mirror's schema")
    done = []
    async with connection.transaction():
        if not await connection.fetchval(_LOCK, LOCK_KEY):
            raise RefusedError("another migration of the mirror is running.", "Wait for its end.")
        found = await applied(connection, schema)
        await _refuse_leftovers(connection, schema, found)
        missing = compare(found, schema)
    for each in missing or ():
        # One transaction each, with its own line: the server keeps all of it or nothing.
        async with connection.transaction():
            if not await connection.fetchval(_LOCK, LOCK_KEY):
                raise RefusedError("another migration of the mirror is running.", "Wait for it.")
            if not await connection.fetchval(_HAS_SCHEMA, schema):
                create = await connection.fetchval(_CREATE_SCHEMA, schema)
                await connection.execute(create)
            if each.version in await applied(connection, schema):
                continue
            await connection.execute(_BEGIN)
            await connection.execute(each.text)
            await connection.execute(_APPLY, each.version, each.name, each.digest)
        done.append(each.name)
    for role, statements in ((grant, _GRANTS), (grant_read, _READ_GRANTS)):
        if role is None:
            continue
        checked_name(role, "the role")
        async with connection.transaction():
            for statement in statements:
                granted = await connection.fetchval(statement, schema, role)
                await connection.execute(granted)
    return done


# --- the columns as SQL, for writing a migration -------------------------------------------------


def table_text(table: str) -> str:
    """CREATE TABLE of one table as the code wants it."""
    lines = ["log_id text NOT NULL REFERENCES logs ON DELETE CASCADE"]
    lines += [f"{name} bigint NOT NULL CHECK ({name} >= 0)" for name in KEYS[table]]
    for each in COLUMNS[table]:
        if each.cells is None:
            made = (
                "(timestamp '1970-01-01' + (nullif("
                f"{each.source}, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC'"
            )
            lines.append(f"{each.name} {each.type} GENERATED ALWAYS AS ({made}) STORED")
            continue
        empty = "" if each.type in ("text", "numeric", "double precision") else " NOT NULL"
        check = f" CHECK ({each.check})" if each.check else ""
        lines.append(f"{each.name} {each.type}{empty}{check}")
    lines.append(f"PRIMARY KEY (log_id, {KEYS[table][0]})")
    return f"CREATE TABLE {table} (\n    " + ",\n    ".join(lines) + "\n);\n"


if __name__ == "__main__":
    print("\n".join(table_text(each) for each in COLUMNS))
