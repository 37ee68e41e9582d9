"""Whatever happens between the mirror and its database, its rows are a prefix of the log, and once
it heals they are all of it. The names are those of the catalogue of faults (B01 and so on)."""

import asyncio
import contextlib
import json

import pytest

from adapters.postgres.feed import Hole
from adapters.postgres.follow import batches_of_log
from adapters.postgres.mirror import Mirror
from adapters.postgres.rebuild import rebuild
from adapters.postgres.store import log_of, open_log, write_batch
from engine.core.routes import FAMILY_NAMES
from engine.errors import DataError, SecretError, StorageError
from engine.flow.tail import LogFollower
from tests.support.mirror_story import Story, assert_prefix
from tests.support.pg_proxy import PgProxy
from tests.support.postgres import MIRROR_ROLE

DEADLINE_S = 60


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


async def whole(mirror, story):
    await until(lambda: mirror.status().seq_to >= story.seq_last and not mirror._pending.n_rows)


async def terminate(place):
    """What an administrator or a failover does to every connection of the mirror."""
    async with place.connected() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", MIRROR_ROLE
        )


async def as_owner(place, *statements):
    async with place.connected() as connection:
        for statement in statements:
            await connection.execute(statement)


def through(place, proxy, **values):
    return place.made(place.server.as_role(MIRROR_ROLE, host=proxy.host), **values)


# ---- the connection ---------------------------------------------------------------------------


async def one_fault(place, story, at=None, on_commit=""):
    """Six orders, a fault at one message, and a database that is well again."""
    told = []
    async with PgProxy(place.server.socket, at, on_commit) as proxy:
        mirror = Mirror(through(place, proxy), story.folder, notify=told.append)
        mirror.start()
        for _ in range(3):
            story.feed(mirror, 2)
            await asyncio.sleep(0.02)
            await assert_prefix(place, story)
        await whole(mirror, story)
        assert 0 == mirror.pool.n_out
        status = await mirror.close(20)
        return status, proxy, told


@pytest.mark.parametrize("fault", ["cut", "reply", "terminate"])
def test_the_connection_is_lost_at_each_message(own_server, place, tmp_path, fault):
    """B01."""
    n_fired = 0

    async def go():
        nonlocal n_fired
        for n in range(1, 26):
            story = Story(tmp_path / f"log{n}", log_id=f"story-{n}")
            what = (lambda: terminate(place)) if fault == "terminate" else fault
            status, proxy, _ = await one_fault(place, story, {n: what})
            n_fired += len(proxy.fired)
            assert "MIRROR_OK" == status.code, (n, status)
            assert story.seq_last == await assert_prefix(place, story), n

    run(go())
    assert n_fired >= 20  # fewer messages than that would leave statements untried


def test_the_answer_to_a_commit_is_lost(own_server, place, tmp_path):
    """B02: the server has it, we do not know; it is looked up and not sent twice."""
    story = Story(tmp_path / "log")

    status, proxy, told = run(one_fault(place, story, on_commit="reply"))
    # The first transaction only makes the log known; the second is a batch.
    assert ["reply"] == proxy.fired
    again = Story(tmp_path / "again", log_id="again")

    async def second():
        async with PgProxy(place.server.socket) as proxy:
            mirror = Mirror(through(place, proxy), again.folder, notify=told.append)
            await mirror.open()
            proxy.on_commit = "reply"
            again.feed(mirror, 3)
            mirror.start()
            await whole(mirror, again)
            return await mirror.close(20), proxy

    status, proxy = run(second())
    assert ["reply"] == proxy.fired
    assert ("MIRROR_OK", 1) == (status.code, status.counts["MIRROR_REPLAYED"])
    assert again.seq_last == run(assert_prefix(place, again))
    done = run(rebuild(place.settings, again.folder, again.derive))
    assert 3 == done.rows["commands"]


def test_the_server_crashes_and_comes_back(own_server, place, tmp_path):
    """B03: the session goes on meanwhile; nothing is lost and nothing is doubled."""
    story = Story(tmp_path / "log")
    told = []

    async def go():
        mirror = Mirror(place.settings, story.folder, notify=told.append)
        await mirror.open()
        mirror.start()
        story.feed(mirror, 5)
        await whole(mirror, story)
        await asyncio.to_thread(own_server.stop)
        story.feed(mirror, 20)
        await until(lambda: mirror.status().code == "MIRROR_DOWN")
        down = mirror.status()
        with pytest.raises(StorageError, match="MIRROR_BEHIND"):
            await mirror.committed(story.seq_last, 0.05)
        await asyncio.to_thread(own_server.start)
        await mirror.committed(story.seq_last, 30)
        await whole(mirror, story)
        return down, await mirror.close(20)

    down, status = run(go())
    assert down.lag_seq > 200
    assert "rows wait" in next(each.text for each in told if each.code == "MIRROR_DOWN")
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))
    assert 50 == run(rebuild(place.settings, story.folder, story.derive)).rows["orders"]


async def lose_newest_batches(place, story, n):
    """What a standby that lagged lacks when it is made the primary."""
    async with place.connected() as connection, connection.transaction():
        row = await connection.fetchrow(
            "SELECT batch, seq_to, rows_to::text FROM batches WHERE log_id = $1 "
            "ORDER BY batch DESC OFFSET $2 LIMIT 1",
            story.log_id, n,
        )  # fmt: skip
        await connection.execute("DELETE FROM batches WHERE batch > $1", row["batch"])
        await connection.execute("DELETE FROM events WHERE seq > $1", row["seq_to"])
        await connection.execute("DELETE FROM commands WHERE seq > $1", row["seq_to"])
        rows = json.loads(row["rows_to"])
        await connection.execute("DELETE FROM orders WHERE row_n >= $1", rows.get("orders", 0))
        await connection.execute("DELETE FROM fills WHERE row_n >= $1", rows.get("fills", 0))
        await connection.execute(
            "DELETE FROM decisions WHERE row_n >= $1", rows.get("decisions", 0)
        )
        return row["seq_to"]


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_failover_loses_rows_that_were_acknowledged(own_server, place, tmp_path, reconnect):
    """B04: they come from the log again."""
    story = Story(tmp_path / "log")
    told = []

    async def go():
        mirror = Mirror(place.settings, story.folder, notify=told.append, derive=story.derive)
        await mirror.open()
        mirror.start()
        for _ in range(8):
            story.feed(mirror, 1)
            await whole(mirror, story)
        lost = await lose_newest_batches(place, story, 5)
        assert lost < mirror.head.seq_to
        await assert_prefix(place, story)
        if reconnect:
            await terminate(place)
        story.feed(mirror, 3)
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))
    assert any(each.code == "MIRROR_BEHIND" and "from" in each.text for each in told)
    assert 22 == run(rebuild(place.settings, story.folder, story.derive)).audited["orders"]


def test_an_old_primary_takes_no_writes(own_server, place, tmp_path):
    """B05."""
    story = Story(tmp_path / "log")
    told = []

    async def go():
        mirror = Mirror(place.settings, story.folder, notify=told.append)
        await mirror.open()
        mirror.start()
        story.feed(mirror, 2)
        await whole(mirror, story)
        await as_owner(place, f"ALTER ROLE {MIRROR_ROLE} SET default_transaction_read_only = on")
        try:
            await terminate(place)
            story.feed(mirror, 2)
            await until(lambda: mirror.status().code == "MIRROR_READONLY")
            await assert_prefix(place, story)
        finally:
            await as_owner(place, f"ALTER ROLE {MIRROR_ROLE} RESET default_transaction_read_only")
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))


# ---- other sessions ---------------------------------------------------------------------------


def test_a_deadlock_is_broken_and_the_batch_is_sent_again(place, tmp_path):
    """B07: a real one; the other session holds what we need and wants what we hold."""
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.made(lock_s=10.0, statement_s=20.0), story.folder)
        await mirror.open()
        async with place.connected() as other:
            change = other.transaction()
            await change.start()
            await other.execute("SET LOCAL deadlock_timeout = '60s'")
            await other.execute("LOCK TABLE fills IN ACCESS EXCLUSIVE MODE")
            story.feed(mirror, 3)
            mirror.start()
            async with place.connected() as looker:
                while not await looker.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'fills'::regclass"
                ):
                    await asyncio.sleep(0.01)
            # Now we wait for `fills`, and hold the lock of the log: the circle closes.
            await other.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", story.log_id
            )
            await change.rollback()
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))
    assert status.counts["MIRROR_RETRY"] >= 1


RAISES = """
    CREATE SEQUENCE trips;
    GRANT USAGE ON SEQUENCE trips TO {role};
    CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('trips') <= 3 THEN RAISE EXCEPTION 'planted' USING ERRCODE = '{state}'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER trip BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION trip();
"""


@pytest.mark.parametrize("table", ["events", "fills", "batches"])
@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("40001", "MIRROR_RETRY"),  # B08
        ("53100", "MIRROR_DOWN"),  # B12: the disk of the server is full
        ("26000", "MIRROR_RETRY"),  # B13: a statement that the server forgot
        ("57014", "MIRROR_WAITS"),
    ],
)
def test_what_the_server_says_in_the_middle_of_a_batch(place, tmp_path, table, state, code):
    """The server raises it itself, three times, and is well again."""
    story = Story(tmp_path / "log")
    told = []

    async def go():
        await as_owner(place, RAISES.format(role=MIRROR_ROLE, state=state, table=table))
        mirror = Mirror(place.settings, story.folder, notify=told.append)
        story.feed(mirror, 3)
        mirror.start()
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))
    assert 3 == status.counts[code]
    assert code in [each.code for each in told]


def test_a_row_that_the_database_refuses_stops_the_mirror_and_says_which_rule(place, tmp_path):
    story = Story(tmp_path / "log")

    async def go():
        await as_owner(place, "ALTER TABLE fills ADD CONSTRAINT planted CHECK (fee < 0)")
        mirror = Mirror(place.settings, story.folder)
        story.feed(mirror, 3)
        mirror.start()
        await until(lambda: mirror.status().code == "MIRROR_REFUSED")
        with pytest.raises(DataError, match="planted") as caught:
            await mirror.committed(story.seq_last, 20)
        story.feed(mirror, 3)  # the session goes on
        await mirror.close()
        return caught.value.exit_code

    assert 4 == run(go())
    assert -1 == run(assert_prefix(place, story))


def test_somebody_holds_a_lock_on_a_table(place, tmp_path):
    """B11: the wait has an end, and the session does not notice."""
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.made(lock_s=0.05), story.folder)
        await mirror.open()
        mirror.start()
        async with place.connected() as other, other.transaction():
            await other.execute("LOCK TABLE commands IN ACCESS EXCLUSIVE MODE")
            story.feed(mirror, 3)
            await until(lambda: mirror.status().counts.get("MIRROR_WAITS", 0) >= 3)
            assert -1 == mirror.status().seq_to
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))


def test_a_statement_that_takes_too_long_is_ended_by_the_server(place, tmp_path):
    """B11."""
    story = Story(tmp_path / "log")
    slow = """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(30); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slow();
    """

    async def go():
        await as_owner(place, slow)
        mirror = Mirror(place.made(statement_s=0.2), story.folder)
        await mirror.open()
        mirror.start()
        story.feed(mirror, 2)
        await until(lambda: mirror.status().counts.get("MIRROR_WAITS", 0) >= 2)
        await as_owner(place, "DROP TRIGGER slow ON orders")
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))


# ---- the client -------------------------------------------------------------------------------


def test_all_connections_are_held(place, tmp_path):
    """B09: every wait for one has a deadline."""
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.made(acquire_s=0.05, pool_size=2), story.folder)
        async with contextlib.AsyncExitStack() as held:
            for _ in range(2):
                await held.enter_async_context(mirror.pool.connection())
            mirror.start()
            story.feed(mirror, 2)
            await until(lambda: mirror.status().code == "POOL_EXHAUSTED")
            with pytest.raises(StorageError, match="POOL_EXHAUSTED"):
                await mirror.committed(story.seq_last, 0.05)
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))


def test_a_task_that_is_cancelled_leaves_no_connection_and_no_half_batch(
    own_server, place, tmp_path
):
    """B10, at each message; the next mirror goes on from there."""
    story = Story(tmp_path / "log")
    n_cancelled = 0

    async def go():
        nonlocal n_cancelled
        for n in range(1, 26):
            async with PgProxy(place.server.socket) as proxy:
                mirror = Mirror(through(place, proxy), story.folder, seq_after=story.seq_last)

                async def cancel(mirror=mirror):
                    mirror._task.cancel()

                proxy.at[n] = cancel
                story.feed(mirror, 1)
                mirror.start()
                await until(
                    lambda each=mirror: each._task.done() or each.status().code == "MIRROR_OK"
                )
                await asyncio.sleep(0)
                n_cancelled += mirror._task.cancelled()
                if mirror._task.done():
                    assert 0 == mirror.pool.n_out
                    await mirror.pool.close()
                else:
                    await mirror.close(20)
            await assert_prefix(place, story)
        async with place.connected() as connection:
            return await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", MIRROR_ROLE
            )

    run(go())
    assert n_cancelled >= 10
    run(rebuild(place.settings, story.folder, story.derive))
    assert story.seq_last == run(assert_prefix(place, story))


def test_a_database_that_never_answers_holds_nobody_up(own_server, place, tmp_path):
    """I-47: the session feeds and goes on; only who asks for a commit waits, until its deadline."""
    story = Story(tmp_path / "log")

    async def go():
        async with PgProxy(place.server.socket, {3: "stall"}) as proxy:
            mirror = Mirror(
                through(place, proxy, statement_s=0.1, connect_s=0.5, acquire_s=0.5), story.folder
            )
            mirror.start()
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            ticker = asyncio.create_task(tick())
            story.feed(mirror, 10)
            with pytest.raises(StorageError, match="MIRROR_BEHIND"):
                await mirror.committed(story.seq_last, 0.2)
            seen = ticks
            proxy.go_on.set()
            await whole(mirror, story)
            ticker.cancel()
            return seen, proxy.fired, await mirror.close(20)

    ticks, fired, status = run(go())
    assert ticks > 100
    assert ["stall"] == fired
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))


# ---- batches ----------------------------------------------------------------------------------


def test_a_batch_that_is_sent_again_adds_nothing(place, tmp_path):
    """B15: whole, as its second half, and as one that overlaps; and no hole can be made."""
    story = Story(tmp_path / "log")
    for _ in range(6):
        story.step()

    async def go():
        follower = LogFollower(story.folder)
        log = log_of(follower.header, dict(FAMILY_NAMES))
        from adapters.postgres.feed import Batch
        from adapters.postgres.pools import Pool

        pool = Pool(place.settings)
        async with pool.connection() as connection:
            _, head = await open_log(connection, place.settings, log)
            (batch,) = batches_of_log(follower, head)
            half = int(batch.events["seq"][len(batch.events) // 2])
            while batch.events["kind"][batch.events["seq"] == half] == 33:
                half += 1
            early = Batch(-1, half, batch.events[batch.events["seq"] <= half])
            late = Batch(half, batch.seq_to, batch.events[batch.events["seq"] > half])
            said = []
            with pytest.raises(Hole):
                await write_batch(connection, place.settings, log, late)
        async with pool.connection() as connection:
            for each in (early, early, batch, batch, early, late):
                said.append((await write_batch(connection, place.settings, log, each))[1])
                await assert_prefix(place, story)
            n = await connection.fetchval(f"SELECT count(*) FROM {place.schema}.batches")
        await pool.close()
        return said, n

    said, n = run(go())
    assert ([False, True, False, True, True, True], 2) == (said, n)
    assert story.seq_last == run(assert_prefix(place, story))


def test_a_rebuild_beside_a_session_and_the_session_agree(place, tmp_path):
    """Two writers of one log: each adds what is missing, neither doubles."""
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.settings, story.folder)
        await mirror.open()
        mirror.start()
        for _ in range(15):
            story.feed(mirror, 2)
            await rebuild(place.settings, story.folder, audit=False)
            await assert_prefix(place, story)
        await whole(mirror, story)
        return await mirror.close(20)

    status = run(go())
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))
    assert 60 == run(rebuild(place.settings, story.folder, story.derive)).audited["orders"]


# ---- who may ----------------------------------------------------------------------------------


@pytest.fixture
def password_server(own_server, tmp_path):
    """A server that asks one role for a password, as one on a network does."""
    rules = own_server.own.pgdata / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all kb_word scram-sha-256\n{before}")
    own_server.reload()
    yield own_server
    rules.write_text(before)
    own_server.reload()


def test_a_password_that_was_changed(password_server, place, tmp_path):
    """B17: said at once, without the password, and well again when it is."""
    story = Story(tmp_path / "log")
    told = []
    right, wrong = "right-horse-battery", "wrong-horse-battery"

    async def set_password(word):
        await as_owner(place, f"ALTER ROLE kb_word PASSWORD '{word}'")

    async def go():
        await as_owner(
            place,
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kb_word') "
            "THEN CREATE ROLE kb_word LOGIN; END IF; END $$",
            f"GRANT {MIRROR_ROLE} TO kb_word",
        )
        await set_password(right)
        settings = place.made(place.server.as_role("kb_word", right))
        mirror = Mirror(settings, story.folder, notify=told.append)
        await mirror.open()
        mirror.start()
        story.feed(mirror, 2)
        await whole(mirror, story)
        await set_password(wrong)
        async with place.connected() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kb_word'"
            )
        story.feed(mirror, 2)
        await until(lambda: mirror.status().code == "MIRROR_AUTH")
        other = Mirror(settings, story.folder)
        with pytest.raises(SecretError) as caught:
            await other.open()
        await other.close(0.1)
        await set_password(right)
        await whole(mirror, story)
        return caught.value, await mirror.close(20)

    error, status = run(go())
    assert 3 == error.exit_code
    said = " ".join([str(error), *(each.text + each.hint for each in told), status.text])
    assert right not in said
    assert ("MIRROR_OK", story.seq_last) == (status.code, run(assert_prefix(place, story)))


def test_a_server_that_cannot_do_tls_when_tls_is_asked_for(own_server, place, tmp_path):
    """B17: refused, never spoken to in the clear."""
    story = Story(tmp_path / "log")

    async def go():
        async with PgProxy(place.server.socket) as proxy:
            dsn = (
                f"postgresql://{MIRROR_ROLE}:hidden@127.0.0.1:{proxy.port}/postgres?sslmode=require"
            )
            mirror = Mirror(place.made(dsn), story.folder)
            with pytest.raises(SecretError, match=r"MIRROR_AUTH.*TLS") as caught:
                await mirror.open()
            await mirror.close(0.1)
            return str(caught.value)

    assert "hidden" not in run(go())


def test_nobody_listens(place, tmp_path):
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.made("postgresql://a:hidden@127.0.0.1:1/x"), story.folder)
        with pytest.raises(StorageError, match="MIRROR_DOWN") as caught:
            await mirror.open()
        await mirror.close(0.1)
        return caught.value

    error = run(go())
    assert 9 == error.exit_code
    assert "hidden" not in str(error)
