"""`kapitaalbot mirror` as a person types it, on a real database."""

import json
import shutil

import pytest

from adapters.cli.main import main
from tests.support.mirror_story import Story
from tests.support.postgres import MIRROR_ROLE
from tests.support.small_run import write_run


@pytest.fixture
def typed(empty_place, monkeypatch, capsys):
    """Type a command; returns its code, what it printed, and what it said."""
    monkeypatch.setenv("KAPITAALBOT_MIRROR_DSN", empty_place.settings.dsn)
    monkeypatch.setenv("KAPITAALBOT_MIRROR_MIGRATE_DSN", empty_place.owner.dsn)

    def run(*words):
        code = main(["mirror", *words, "--schema", empty_place.schema])
        done = capsys.readouterr()
        return code, done.out, done.err

    return run


def migrated(typed):
    return typed("migrate", "--grant", MIRROR_ROLE, "--json")


def test_the_tables_are_made_once(typed):
    first, again = json.loads(migrated(typed)[1]), json.loads(migrated(typed)[1])

    assert ("kapitaalbot.mirror.migrate", ["0001_mirror"], 1) == (
        first["kind"],
        first["applied"],
        first["version"],
    )
    assert [] == again["applied"]


def test_a_session_that_did_not_end_is_filled_from_its_log(typed, tmp_path):
    migrated(typed)
    run = tmp_path / "runs" / "20260101-120000-story-00000000"
    story = Story(run / "log")
    for _ in range(4):
        story.step()

    code, out, said = typed("rebuild", run.name, "--runs", str(tmp_path / "runs"), "--json")

    facts = json.loads(out)
    assert 0 == code, said
    assert (story.seq_last, story.seq_last, False) == (
        facts["after"],
        facts["log_end"],
        facts["tables"],
    )
    assert 4 == facts["rows"]["commands"] == facts["audited"]["commands"]
    _, out, _ = typed("status", "--json")
    shown = json.loads(out)
    assert (MIRROR_ROLE, "story") == (shown["database"]["role"], shown["logs"][0]["log_id"])
    assert story.seq_last == shown["logs"][0]["seq_to"]


def test_a_run_that_ended_is_filled_with_its_tables(typed, tmp_path):
    """The rows of the small run that the tests of reports read as well."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    migrated(typed)
    run = write_run(tmp_path / "runs")
    # Written by hand, both of its fills of one order have one execution id: none that a venue gives.
    fills = pq.read_table(run / "fills.parquet")
    i = fills.column_names.index("exec")
    pq.write_table(
        fills.set_column(i, "exec", pa.array(np.arange(1, fills.num_rows + 1))),
        run / "fills.parquet",
    )
    story = Story(run / "log")
    story.step()

    code, out, said = typed("rebuild", str(run), "--json")

    facts = json.loads(out)
    assert 0 == code, said
    assert facts["tables"]
    wanted = {"orders": 6, "fills": 3, "positions": 2, "realized": 1, "commands": 1}
    assert wanted == {name: facts["rows"][name] for name in wanted}
    assert wanted == {name: facts["audited"][name] for name in wanted}


def test_a_replay_has_nothing_to_mirror(typed, tmp_path):
    run = write_run(tmp_path / "runs")
    shutil.rmtree(run / "log", ignore_errors=True)

    code, _, said = typed("rebuild", str(run))

    assert 4 == code
    assert "holds no event log" in said


def test_a_database_without_tables_is_a_sentence(typed, tmp_path):
    code, _, said = typed("status")

    assert 4 == code
    assert "mirror migrate" in said


def test_a_migration_with_too_small_a_role_is_a_sentence(typed, empty_place, monkeypatch):
    monkeypatch.setenv("KAPITAALBOT_MIRROR_MIGRATE_DSN", empty_place.settings.dsn)

    code, _, said = typed("migrate")

    assert 3 == code
    assert "MIRROR_AUTH" in said


def test_a_database_that_is_not_there_is_a_sentence(typed, monkeypatch):
    monkeypatch.setenv("KAPITAALBOT_MIRROR_DSN", "postgresql://me:hidden@127.0.0.1:1/x")

    code, out, said = typed("status")

    assert 9 == code
    assert "MIRROR_DOWN" in said
    assert "hidden" not in out + said


@pytest.mark.parametrize("schema", ['a"; DROP SCHEMA public; --', "Robert'); --"])
def test_a_hostile_schema_is_refused(monkeypatch, capsys, schema):
    monkeypatch.setenv("KAPITAALBOT_MIRROR_DSN", "postgresql:///x")

    assert 2 == main(["mirror", "status", "--schema", schema])


@pytest.mark.parametrize("role", ['a"; DROP SCHEMA public; --', "PUBLIC", "pg_monitor"])
def test_a_hostile_role_is_refused(typed, role):
    code, _, said = typed("migrate", "--grant", role)

    assert 2 == code
    assert "the role" in said
