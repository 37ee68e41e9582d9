"""The sections of a session: what they refuse, what the hash covers, and that secrets stay so."""

from pathlib import Path

import pytest

from adapters.cli.main import main
from adapters.cli.options import parse_overrides
from engine.config import (
    SECRET_KEYS,
    canonical_json,
    config_hash,
    make_profile,
    read_config,
    walk_keys,
)
from engine.errors import ConfigError, SecretError

ROOT = Path(__file__).resolve().parents[3]
CANARY = "canary-5up3r"
URL = f"pover://user@{CANARY}"
DSN = f"postgresql://bot:{CANARY}@db.example/mirror"
WITH_SECRETS = {"alerts": {"urls": [URL]}, "mirror": {"dsn": DSN}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_leaves_a_session_alone_if_nothing_is_said():
    """Each of these is the careful choice."""
    live = make_profile({}).live

    assert not live.allow_orders
    assert () == live.symbols
    assert "keep_stops" == live.switch
    assert "report" == live.foreign
    assert 5_000_000_000 == live.deadline
    assert 75_000_000_000 == live.quarantine
    assert 0 == make_profile({}).metrics.port


def test_the_example_names_every_key_of_the_session():
    """Who copies it sees all there is to decide."""
    text = (ROOT / "configs" / "live.toml").read_text()
    sections = ("live", "alerts", "mirror", "metrics", "telemetry", "status")
    keys = [each["key"] for each in walk_keys() if each["key"].split(".")[0] in sections]

    assert len(keys) > 25
    for key in keys:
        assert f"\n{key.split('.')[1]} = " in text.partition(f"[{key.split('.')[0]}]")[2], key


def test_the_rehearsal_never_leaves_this_machine_and_sends_nothing_by_itself():
    live = read_config(ROOT / "configs" / "rehearsal.toml", None, {}).live

    assert ("local", False, "rehearsal") == (live.endpoint, live.allow_orders, live.account)


def test_the_example_trades_two_pairs_of_a_local_venue_and_sends_nothing():
    live = read_config(ROOT / "configs" / "live.toml", None, {}).live

    assert ("BTC/USD", "ETH/USD") == live.symbols
    assert ("local", False) == (live.endpoint, live.allow_orders)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ({"live": {"endpoint": "https://evil.example"}}, "live.endpoint"),
        ({"live": {"depth": 11}}, "live.depth"),
        ({"live": {"tier": "off"}}, "live.tier"),
        ({"live": {"symbols": ["BTCUSD"]}}, "not of the form BASE/QUOTE"),
        ({"live": {"symbols": ["../../etc"]}}, "live.symbols"),
        ({"live": {"symbols": ["XBT/USD"]}}, "'XBT/USD' is called 'BTC/USD' here"),
        ({"live": {"symbols": ["BTC/USD", "BTC/USD"]}}, "stands in it twice"),
        ({"live": {"quarantine": "30s"}}, "is under 65s"),
        ({"live": {"deadline": "30s"}}, "live.quarantine: 75s is under 90s"),
        ({"live": {"deadline": "100ms"}}, "live.deadline"),
        ({"live": {"account": "../x"}}, "live.account"),
        ({"live": {"keys": "abcdef"}}, "live.keys"),
        ({"live": {"local_port": 65_533}}, "live.local_port"),
        ({"live": {"switch": "on"}}, "live.switch"),
        ({"live": {"allow_orders": "yes"}}, "live.allow_orders"),
        ({"metrics": {"port": 70_000}}, "metrics.port"),
        ({"status": {"every": "1ms"}}, "status.every"),
        ({"telemetry": {"interval": 30}}, "is not a duration"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(layer, says):
    with pytest.raises(ConfigError) as caught:
        make_profile(layer)

    assert says in caught.value.message


def test_a_flag_is_a_flag_and_nothing_that_looks_like_one():
    for value in (1, "1", "true", "True", "on"):
        with pytest.raises(ConfigError, match="allow_orders"):
            make_profile({"live": {"allow_orders": value}})


def test_doubt_may_be_short_at_a_local_venue_only():
    short = {"quarantine": "2s", "deadline": "1s"}

    assert 2_000_000_000 == make_profile({"live": {"endpoint": "local", **short}}).live.quarantine
    with pytest.raises(ConfigError, match="quarantine"):
        make_profile({"live": {"endpoint": "kraken", **short}})


def test_the_hash_covers_what_can_change_a_decision_and_nothing_else():
    plain = config_hash(make_profile({}))
    unchanged = {
        "live": {
            **{"local_port": 9000, "local_ca": "x", "keys": "env", "account": "other"},
            **{"state": "x", "snapshot_every": "1m"},
        },
        "alerts": {"urls": [URL], "repeat": "1m", "escalate": "1h"},
        "mirror": {"dsn": DSN},
        "metrics": {"port": 9000},
        "telemetry": {"interval": "1s"},
        "status": {"file": "x", "every": "2s"},
    }

    for section, values in unchanged.items():
        for key, value in values.items():
            assert plain == config_hash(make_profile({section: {key: value}})), key
    changed = {
        **{"allow_orders": True, "endpoint": "local", "symbols": ["BTC/USD"], "depth": 10},
        **{"level3": True, "ticker": True, "tier": "pro", "foreign": "adopt"},
        **{"switch": "cancel_all", "reconcile_every": "1m", "deadline": "4s", "quarantine": "80s"},
    }
    for key, value in changed.items():
        assert plain != config_hash(make_profile({"live": {key: value}})), key
    assert plain != config_hash(make_profile({"mirror": {"required": True}}))
    told = {f"{section}.{key}" for section, values in unchanged.items() for key in values}
    told |= {f"live.{key}" for key in changed} | {"mirror.required"}
    sections = tuple(f"{section}." for section in unchanged)
    assert told == {each["key"] for each in walk_keys() if each["key"].startswith(sections)}


# --- secrets -------------------------------------------------------------------------------------


def test_no_text_made_of_a_profile_shows_its_secrets():
    profile = make_profile(WITH_SECRETS)

    assert CANARY in profile.alerts.urls[0].get_secret_value()
    assert CANARY in profile.mirror.dsn.get_secret_value()
    for text in (canonical_json(profile), repr(profile), str(profile), profile.model_dump_json()):
        assert CANARY not in text


def test_the_command_that_shows_a_profile_says_only_that_a_secret_is_there(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(f'[alerts]\nurls = ["{URL}"]\n[mirror]\ndsn = "{DSN}"\n')

    for more in ([], ["--json"], ["--changed"]):
        assert 0 == main(["config", "show", str(path), *more])
        shown = capsys.readouterr()
        assert CANARY not in shown.out + shown.err
        assert "[secret]" in shown.out


@pytest.mark.parametrize(
    "text",
    [
        f'mirror = "{DSN}"\n',
        f'[mirror]\nurl = "{DSN}"\n',
        f'[mirror]\ndsn = ["{DSN}"]\n',
        f'[mirror]\nrequired = "{DSN}"\n',
        f'[alerts]\nurls = "{URL}"\n',
        f'[alerts]\nurls = [["{URL}"]]\n',
        f'[alerts]\nrepeat = "{URL}"\n',
        f'[alerts]\nurls = ["{URL}]\n',
    ],
)
def test_an_error_repeats_no_secret_that_stands_at_the_wrong_place(tmp_path, text, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(text)

    assert 2 == main(["-v", "config", "show", str(path)])
    shown = capsys.readouterr()
    assert "error:" in shown.err
    assert CANARY not in shown.out + shown.err


@pytest.mark.parametrize(
    "setting", [f"mirror.dsn={DSN}", f'mirror={{dsn="{DSN}"}}', f'alerts.urls=["{URL}"]']
)
def test_a_secret_is_not_taken_from_the_command_line(setting):
    with pytest.raises(SecretError) as caught:
        parse_overrides([setting])

    assert CANARY not in str(caught.value)
    assert "KAPITAALBOT__" in caught.value.hint


def test_the_environment_may_hold_a_secret():
    environ = {"KAPITAALBOT__MIRROR__DSN": DSN, "KAPITAALBOT__ALERTS__URLS": f'["{URL}"]'}
    profile = read_config(None, None, environ)

    assert DSN == profile.mirror.dsn.get_secret_value()
    assert [URL] == [each.get_secret_value() for each in profile.alerts.urls]


def test_every_secret_of_a_profile_is_known_as_one():
    import pydantic

    from engine.config import Profile

    def secrets(model, prefix=""):
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(
                field.annotation, pydantic.BaseModel
            ):
                yield from secrets(field.annotation, f"{prefix}{name}.")
            elif "SecretStr" in str(field.annotation):
                yield f"{prefix}{name}"

    assert set(SECRET_KEYS) == set(secrets(Profile))
