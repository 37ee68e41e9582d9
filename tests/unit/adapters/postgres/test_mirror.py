"""A mirror that nothing happens to: what it holds, and what it refuses."""

import asyncio
from decimal import Decimal

import numpy as np
import pytest

from adapters.postgres.mirror import Mirror
from adapters.postgres.rebuild import rebuild
from engine.errors import DataError, MismatchError
from tests.support.mirror_story import START, Story, assert_prefix


async def mirrored(place, story, n=12, **options):
    """Feed n orders through a mirror, and end it."""
    mirror = Mirror(place.settings, story.folder, **options)
    await mirror.open()
    mirror.start()
    story.feed(mirror, n)
    return await mirror.close(20)


def test_everything_of_the_log_that_is_about_orders_is_in_the_mirror(place, tmp_path):
    story = Story(tmp_path / "log")

    status = asyncio.run(mirrored(place, story))

    assert "MIRROR_OK" == status.code, status
    assert story.seq_last == status.seq_to == asyncio.run(assert_prefix(place, story))
    assert 0 == status.lag_seq == status.rows_waiting


def test_numbers_stand_as_exact_decimals_with_their_names_and_times(place, tmp_path):
    story = Story(tmp_path / "log")
    asyncio.run(mirrored(place, story))

    async def look():
        async with place.connected() as connection:
            fill = await connection.fetchrow("SELECT * FROM fills WHERE order_id = 1")
            sent = await connection.fetchrow("SELECT * FROM order_events WHERE order_id = 1")
            mode = await connection.fetchrow("SELECT * FROM mode_events")
            cash = await connection.fetchrow("SELECT * FROM balance_events WHERE asset = 'USD'")
            coins = await connection.fetchrow("SELECT * FROM balance_events WHERE asset = 'DOGE'")
            told = await connection.fetch(
                "SELECT asset, told_amount, difference_amount FROM balances WHERE row_n < 2 "
                "ORDER BY row_n"
            )
            decision = await connection.fetchrow("SELECT * FROM decisions WHERE command = 1")
            # The database's own arithmetic on increments, against the decimals that were sent.
            wrong = await connection.fetchval(
                """SELECT count(*) FROM orders o JOIN instruments i USING (log_id, sym)
                WHERE o.price_quote <> o.price * i.price_increment
                    OR o.qty_base <> o.qty * i.qty_increment OR o.symbol <> i.symbol"""
            )
            late = await connection.fetchval(
                """SELECT count(*) FROM events
                WHERE extract(epoch FROM time) * 1000000 <> ts / 1000"""
            )
            return fill, sent, mode, cash, coins, told, decision, wrong, late

    fill, sent, mode, cash, coins, told, decision, wrong, late = asyncio.run(look())
    assert ("DOGE/USD", Decimal("0.0500001")) == (fill["symbol"], fill["price_quote"])
    assert (Decimal("0.01000007"), "buy") == (fill["qty_base"], fill["side_name"])
    assert Decimal("0.25000001") == fill["fee_quote"]
    assert Decimal("0.05000015") == fill["mid_quote"]
    assert ("order_sent", "add") == (sent["kind_name"], sent["reason_name"])
    assert "2026-01-01 12:00:01+00:00" == str(sent["time"])
    assert ("exit_only", "operator", "command") == (mode["mode"], mode["who"], mode["why"])
    assert Decimal("9999.99999999") == cash["balance"]
    assert Decimal("0.01000007") == coins["balance"]
    assert [("USD", Decimal("9999.99999996"), 0), ("BTC", Decimal("0.01000028"), 0)] == [
        tuple(row) for row in told
    ]
    assert (1.25, float("inf")) == (decision["margin_bps"], decision["fill_time_s"])
    assert (0, 0) == (wrong, late)


def test_a_rebuild_of_a_whole_mirror_adds_nothing_and_finds_it_equal(place, tmp_path):
    story = Story(tmp_path / "log")
    asyncio.run(mirrored(place, story))

    done = asyncio.run(rebuild(place.settings, story.folder, story.derive))

    assert story.seq_last == done.before == done.after == done.log_end
    assert {"orders": 24, "fills": 10, "decisions": 12, "commands": 12} == {
        name: done.audited[name] for name in ("orders", "fills", "decisions", "commands")
    }
    assert done.rows == done.audited | {"positions": 0, "realized": 0} | done.rows


def test_a_rebuild_from_nothing_makes_the_same_rows_as_a_session_did(place, empty_place, tmp_path):
    story = Story(tmp_path / "log")
    asyncio.run(mirrored(place, story))
    asyncio.run(empty_place.migrate())

    asyncio.run(rebuild(empty_place.settings, story.folder, story.derive))

    async def rows(where, table):
        async with where.connected() as connection:
            found = await connection.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")
            # Where a row was drained may differ; what it says may not.
            return [
                {k: v for k, v in dict(row).items() if (table, k) != (table, "seq")}
                for row in found
            ]

    for table in ("events", "commands", "orders", "fills", "decisions"):
        live, again = asyncio.run(rows(place, table)), asyncio.run(rows(empty_place, table))
        assert live
        assert live == again
    assert story.seq_last == asyncio.run(assert_prefix(empty_place, story))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET qty = qty + 1 WHERE seq = (SELECT min(seq) FROM events)",
        "UPDATE fills SET fee_quote = fee_quote + 0.00000001 WHERE row_n = 3",
        "DELETE FROM orders WHERE row_n = 5",
        "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)",
        "INSERT INTO events SELECT log_id, 0, ts, ts_venue, kind FROM events LIMIT 0",
    ],
)
def test_the_audit_finds_what_somebody_changed(place, tmp_path, damage):
    story = Story(tmp_path / "log")
    asyncio.run(mirrored(place, story))

    async def spoil():
        async with place.connected() as connection:
            await connection.execute(damage)

    if "LIMIT 0" in damage:  # the control: a statement that changes nothing
        asyncio.run(rebuild(place.settings, story.folder, story.derive))
        return
    asyncio.run(spoil())
    with pytest.raises(MismatchError, match="mirror of log story"):
        asyncio.run(rebuild(place.settings, story.folder, story.derive))


def test_a_log_of_the_same_name_but_other_content_is_refused(place, tmp_path):
    asyncio.run(mirrored(place, Story(tmp_path / "one")))
    other = Story(tmp_path / "two", meta={"mode": "paper"})

    with pytest.raises(DataError, match="another log"):
        asyncio.run(mirrored(place, other))


def test_a_session_whose_log_is_older_than_the_database_does_not_start(place, tmp_path):
    """B18: an old copy of the log, a newer database."""
    story = Story(tmp_path / "log")
    asyncio.run(mirrored(place, story))
    old = Story(tmp_path / "old")

    with pytest.raises(DataError, match="JOURNAL_BEHIND_MIRROR") as caught:
        asyncio.run(mirrored(place, old))
    assert 4 == caught.value.exit_code
    old.step()
    with pytest.raises(DataError, match="JOURNAL_BEHIND_MIRROR"):
        asyncio.run(rebuild(place.settings, old.folder))
    assert story.seq_last == asyncio.run(assert_prefix(place, story))


def test_a_command_waits_until_the_database_has_it(place, tmp_path):
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.made(flush_s=30.0, progress_s=30.0), story.folder)
        await mirror.open()
        mirror.start()
        pieces, _ = story.step()
        mirror.events(pieces[0])
        mirror.events(pieces[1])
        seq = int(pieces[1]["seq"][-1])
        await mirror.committed(seq, 20)
        async with place.connected() as connection:
            there = await connection.fetchval("SELECT seq_last FROM commands WHERE id = 1")
        await mirror.close()
        return seq, there

    seq, there = asyncio.run(go())
    assert seq == there


def test_a_batch_never_ends_in_the_middle_of_a_command(place, tmp_path):
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.settings, story.folder)
        await mirror.open()
        mirror.start()
        pieces, _ = story.step()
        mirror.events(pieces[0])
        mirror.events(pieces[1][:2])
        await asyncio.wait_for(mirror.committed(int(pieces[0]["seq"][-1]), 20), 20)
        before = mirror.head.seq_to
        mirror.events(pieces[1][2:])
        await mirror.committed(int(pieces[1]["seq"][-1]), 20)
        await mirror.close()
        return before, int(pieces[0]["seq"][-1])

    before, wanted = asyncio.run(go())
    assert wanted == before


def test_market_data_alone_moves_the_mirror_on(place, tmp_path):
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.settings, story.folder)
        await mirror.open()
        mirror.start()
        pieces, _ = story.step()
        mirror.events(pieces[0])
        await mirror.committed(int(pieces[0]["seq"][-1]), 20)
        status = await mirror.close()
        return status.seq_to, int(pieces[0]["seq"][-1])

    reached, wanted = asyncio.run(go())
    assert wanted == reached


def test_rows_that_had_to_be_dropped_come_from_the_log_again(place, tmp_path):
    story = Story(tmp_path / "log")
    told = []

    async def go():
        mirror = Mirror(
            place.made(rows_max=50), story.folder, notify=told.append, derive=story.derive
        )
        story.feed(mirror, 30)  # before anything can be written
        mirror.start()
        while mirror.status().seq_to < story.seq_last:
            await asyncio.sleep(0.01)
        story.feed(mirror, 2)
        return await mirror.close(20)

    status = asyncio.run(asyncio.wait_for(go(), 60))
    assert story.seq_last == status.seq_to == asyncio.run(assert_prefix(place, story))
    assert "MIRROR_BEHIND" in [each.code for each in told]
    assert () == status.tables_behind
    done = asyncio.run(rebuild(place.settings, story.folder, story.derive))
    assert 64 == done.audited["orders"]


def test_without_a_way_to_make_tables_again_the_mirror_says_which_stay_behind(place, tmp_path):
    story = Story(tmp_path / "log")

    async def go():
        mirror = Mirror(place.made(rows_max=50), story.folder)
        story.feed(mirror, 30)
        mirror.start()
        while mirror.status().seq_to < story.seq_last:
            await asyncio.sleep(0.01)
        story.feed(mirror, 2)
        return await mirror.close(20), mirror

    status, mirror = asyncio.run(asyncio.wait_for(go(), 60))
    assert ("MIRROR_BEHIND", story.seq_last) == (status.code, status.seq_to)
    assert {"orders", "fills", "decisions", "balances"} == set(status.tables_behind)
    asyncio.run(assert_prefix(place, story))
    done = asyncio.run(rebuild(place.settings, story.folder, story.derive))
    assert 64 == done.audited["orders"]

    async def again():
        await mirror.open()
        await mirror.pool.close()
        return mirror.status().tables_behind

    assert () == asyncio.run(again())  # a rebuild beside the session heals it


def test_the_mirror_of_a_log_that_is_still_written_follows_segment_by_segment(place, tmp_path):
    from engine.flow.tail import LogFollower

    story = Story(tmp_path / "log", segment_bytes=20_000, flush_rows=16)
    follower, seen = LogFollower(story.folder), []
    for _ in range(60):
        story.step(sync=False)
        seen += [each["seq"] for each in follower.read()]
    story.writer.close()
    seen += [each["seq"] for each in follower.read()]

    assert len(list(story.folder.glob("*.arrows"))) > 3
    np.testing.assert_array_equal(story.told()["seq"], np.concatenate(seen))


def test_a_follower_refuses_a_log_that_was_altered(tmp_path):
    from engine.flow.tail import LogFollower

    story = Story(tmp_path / "log", segment_bytes=20_000, flush_rows=16)
    for _ in range(60):
        story.step()
    story.writer.close()
    segment = sorted(story.folder.glob("*.arrows"))[1]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)

    with pytest.raises(DataError, match=segment.name):
        for _ in LogFollower(story.folder).read():
            pass


def test_times_of_rows_are_those_of_the_story(tmp_path):
    """The oracle above reads the log with the project's own reader; this ties it to what was written."""
    story = Story(tmp_path / "log")
    story.step()

    assert START + 1_000_000_000 == int(story.told()["ts"][0])
    assert [6, 16, 43, 33, 33, 33, 20, 21, 23, 24, 29, 35, 35] == story.told()["kind"].tolist()
