"""What may be said of a database, and what is refused before anything is connected."""

import pickle
import sys

import pytest

from adapters.postgres import trouble as troubles
from adapters.postgres.pools import driver
from adapters.postgres.settings import Settings, settings_from
from adapters.postgres.trouble import trouble
from engine.alerts import ALERTS
from engine.errors import ConfigError

SECRET = "h%40rd-to-guess"
REMOTE = f"postgresql://mirror:{SECRET}@db.example:5433/trades"


def test_nothing_that_is_printed_holds_the_password():
    settings = Settings(dsn=f"{REMOTE}?sslmode=verify-full")

    assert "db.example/trades" == settings.place
    said = f"{settings!r} {settings.place} {settings.redacted(f'at {settings.dsn}: h@rd-to-guess')}"
    assert SECRET not in said
    assert "h@rd" not in said


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_another_machine_is_reached_over_tls_only(mode):
    with pytest.raises(ConfigError, match="sslmode") as caught:
        Settings(dsn=f"{REMOTE}?sslmode={mode}")
    assert SECRET not in str(caught.value)


def test_another_machine_without_a_word_on_tls_is_verified():
    assert "verify-full" == Settings(dsn=REMOTE).ssl_mode


@pytest.mark.parametrize(
    "dsn", ["postgresql://a@/x?host=/run/pg", "postgresql://127.0.0.1:5432/x", "postgres://[::1]/x"]
)
def test_this_machine_needs_no_tls(dsn):
    assert Settings(dsn=dsn).ssl_mode is None


def test_one_far_host_among_near_ones_needs_tls():
    assert "verify-full" == Settings(dsn="postgresql://localhost,db.example/x").ssl_mode


@pytest.mark.parametrize(
    "dsn", ["mysql://a:pw@b/c", "host=here password=pw", "postgresql://[::1/x"]
)
def test_a_connection_string_that_cannot_be_read_is_not_repeated(dsn):
    with pytest.raises(ConfigError) as caught:
        Settings(dsn=dsn)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "a;drop table x", 'a"b', "A", "1a", "pg_catalog", "a b", "a" * 41, "é", "a\n"]
)
def test_a_hostile_schema_name_is_refused(name):
    with pytest.raises(ConfigError):
        Settings(dsn="postgresql:///x", schema=name)


def test_the_environment_comes_before_the_profile():
    table = {"dsn": "postgresql:///profile", "required": True, "unknown": 1}

    both = settings_from(table, {"KAPITAALBOT_MIRROR_DSN": "postgresql:///environment"})
    profile = settings_from(table, {})

    assert ("local/environment", True) == (both.place, both.required)
    assert "local/profile" == profile.place


def test_a_secret_of_the_profile_is_read():
    from pydantic import SecretStr

    assert "local/x" == settings_from({"dsn": SecretStr("postgresql:///x")}, {}).place


def test_no_database_is_a_sentence():
    with pytest.raises(ConfigError, match="no database"):
        settings_from({}, {})


def test_a_missing_extra_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(ConfigError, match="asyncpg") as caught:
        driver()
    assert "kapitaalbot[postgres]" in caught.value.hint


def test_trouble_survives_a_trip_between_processes():
    there = pickle.loads(pickle.dumps(trouble("MIRROR_AUTH", "no.")))

    assert (3, "MIRROR_AUTH: no.") == (there.exit_code, there.message)


def test_every_code_that_is_bad_news_is_in_the_catalogue_of_alerts():
    codes = {
        value for name, value in vars(troubles).items() if name.startswith(("MIRROR_", "POOL_"))
    }

    assert codes - {"MIRROR_OK", "MIRROR_STARTING"} <= set(ALERTS)
    assert "MIRROR_BEHIND" in codes
