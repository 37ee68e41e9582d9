"""Migrations: whole or not at all, and no session writes into a schema that it does not know."""

import asyncio

import pytest

from adapters.postgres import schema as schemas
from adapters.postgres.mirror import Mirror
from adapters.postgres.pools import lone_connection
from adapters.postgres.schema import Migration, differences, migrate, migrations
from engine.errors import DataError, RefusedError, SecretError
from tests.support.mirror_story import Story
from tests.support.postgres import MIRROR_ROLE


async def opened(place, story):
    mirror = Mirror(place.settings, story.folder)
    try:
        return await mirror.open()
    finally:
        await mirror.close(0.1)


def test_migrations_make_the_columns_that_the_code_writes(place):
    """If this fails, a table of the run changed: docs/howto-postgres.md says what to do."""

    async def look():
        async with place.connected() as connection:
            return await differences(connection, place.schema)

    assert [] == asyncio.run(look())


def test_migrating_again_does_nothing(place):
    assert [] == asyncio.run(place.migrate())


def test_the_database_that_answered_is_named_without_secrets(place, tmp_path):
    identity = asyncio.run(opened(place, Story(tmp_path / "log")))

    assert (MIRROR_ROLE, place.schema, 1) == (
        identity.role,
        identity.schema,
        identity.schema_version,
    )
    assert identity.server[:2].isdigit()


def test_a_session_never_makes_tables(empty_place, tmp_path):
    with pytest.raises(DataError, match=r"MIRROR_SCHEMA.*version 0") as caught:
        asyncio.run(opened(empty_place, Story(tmp_path / "log")))
    assert "mirror migrate" in caught.value.hint
    assert 4 == caught.value.exit_code


def test_a_schema_of_a_newer_program_is_refused(place, tmp_path):
    async def newer():
        async with place.connected() as connection:
            await connection.execute(
                "INSERT INTO migrations (version, name, digest) VALUES (99, '0099_later', 'x')"
            )

    asyncio.run(newer())
    with pytest.raises(DataError, match="version 99"):
        asyncio.run(opened(place, Story(tmp_path / "log")))
    with pytest.raises(DataError, match="version 99"):
        asyncio.run(place.migrate())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ALTER TABLE fills DROP COLUMN fee", "fills.fee is missing"),
        ("ALTER TABLE orders ADD COLUMN extra integer", "orders.extra is not known"),
        ("ALTER TABLE commands ALTER COLUMN tif TYPE integer", "commands.tif is integer"),
        ("DROP TABLE realized CASCADE", "realized.log_id is missing"),
        ("UPDATE migrations SET digest = 'other'", "not the one that this program has"),
        ("DELETE FROM migrations", "no migration made it"),
    ],
)
def test_a_schema_that_was_changed_by_hand_is_refused(place, tmp_path, damage, said):
    """B14: half of a migration, however it came to be."""

    async def spoil():
        async with place.connected() as connection:
            await connection.execute(damage)

    asyncio.run(spoil())
    with pytest.raises(DataError, match=f"SCHEMA_PARTIAL.*{said}"):
        asyncio.run(opened(place, Story(tmp_path / "log")))


def test_a_migration_that_fails_half_way_leaves_nothing(empty_place, monkeypatch):
    """B14: it ends after some of its statements, and then goes through."""
    whole = migrations()
    half = Migration(1, whole[0].name, whole[0].text + "\nCREATE TABLE logs (again int);")

    async def tables():
        async with empty_place.connected() as connection:
            return await connection.fetchval(
                "SELECT count(*) FROM pg_tables WHERE schemaname = $1", empty_place.schema
            )

    with monkeypatch.context() as patch:
        patch.setattr(schemas, "migrations", lambda: [half])
        with pytest.raises(Exception, match="already exists"):
            asyncio.run(empty_place.migrate())
    assert 0 == asyncio.run(tables())
    assert ["0001_mirror"] == asyncio.run(empty_place.migrate())
    assert asyncio.run(tables()) > 8


def test_only_one_migration_runs_at_a_time(empty_place):
    async def both():
        async with (
            empty_place.connected() as other,
            other.transaction(),
            lone_connection(empty_place.owner) as connection,
        ):
            await other.fetchval("SELECT pg_advisory_xact_lock($1)", schemas.LOCK_KEY)
            await migrate(connection, empty_place.schema)

    with pytest.raises(RefusedError, match="another migration"):
        asyncio.run(both())


def test_the_role_of_the_mirror_may_not_make_tables(place):
    async def try_it():
        async with lone_connection(place.settings) as connection:
            await migrate(connection, f"{place.schema}_2")

    with pytest.raises(SecretError, match="MIRROR_AUTH"):
        asyncio.run(try_it())


@pytest.mark.parametrize(
    "statement", ["UPDATE fills SET fee = 0", "DELETE FROM events", "TRUNCATE orders"]
)
def test_the_role_of_the_mirror_may_not_change_rows(place, statement):
    import asyncpg

    async def try_it():
        connection = await asyncpg.connect(
            place.settings.dsn, server_settings={"search_path": place.schema}
        )
        try:
            await connection.execute(statement)
        finally:
            connection.terminate()

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        asyncio.run(try_it())


def test_a_session_with_a_role_that_may_do_more_is_refused(place, tmp_path):
    story = Story(tmp_path / "log")

    async def as_owner():
        mirror = Mirror(place.owner, story.folder)
        try:
            await mirror.open()
        finally:
            await mirror.close(0.1)

    with pytest.raises(RefusedError, match="MIRROR_ROLE") as caught:
        asyncio.run(as_owner())
    assert 6 == caught.value.exit_code


BAD_ROWS = {
    "NaN": "INSERT INTO fills SELECT * FROM jsonb_populate_record(NULL::fills, '{}')",
    "a price that is no number": "UPDATE events SET price_quote = 'NaN'",
    "an infinite fee": "UPDATE fills SET fee_quote = 'Infinity'",
    "an estimate that is no number": "UPDATE decisions SET margin_bps = 'NaN'",
    "a time before the epoch": "UPDATE events SET ts = -1",
    "a time beyond all": "UPDATE events SET ts = 9223372036854775807",
    "more than 64 bits": "UPDATE events SET qty = 9223372036854775808",
    "a third side": "UPDATE events SET side = 2",
    "a time of its own": "UPDATE events SET time = now()",
    "a hole between batches": "INSERT INTO batches SELECT log_id, batch + 9, seq_to, rows_to, digest "
    "FROM batches ORDER BY batch DESC LIMIT 1",
    "the same execution twice": "UPDATE fills SET exec_id = 1",
    "the same order submitted twice": "UPDATE commands SET id = 1",
}


@pytest.mark.parametrize("statement", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_the_database_itself_refuses_what_can_never_be(place, tmp_path, statement):
    """B16, with the rights of the owner."""
    import asyncpg

    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.settings, story.folder)
        await mirror.open()
        mirror.start()
        story.feed(mirror, 3)
        await mirror.close(20)
        async with place.connected() as connection:
            await connection.execute(statement)

    with pytest.raises(
        (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.SyntaxOrAccessError)
    ):
        asyncio.run(go())


def test_times_are_the_same_whatever_the_time_zone_of_the_server(place, tmp_path):
    """B16: the instant is made of nanoseconds, in UTC, by the database."""
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.settings, story.folder)
        await mirror.open()
        mirror.start()
        story.feed(mirror, 1)
        await mirror.close(20)
        async with place.connected() as connection:
            await connection.execute("SET TimeZone = 'Asia/Kathmandu'")
            return await connection.fetchval(
                "SELECT min(extract(epoch FROM time))::bigint FROM events"
            )

    assert 1_767_268_801 == asyncio.run(go())
