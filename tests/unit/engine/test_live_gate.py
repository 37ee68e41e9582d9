"""Two locks, one spelling each: what is not exactly right is not live."""

import itertools

import pytest

from engine.errors import ConfigError, RefusedError
from engine.live_gate import (
    FLAG,
    EndpointMismatchError,
    NotRecognisedError,
    armed_for,
    decide,
)

# What people type when they mean yes: words, cases, blanks, quotes, other digits, other alphabets.
WORDS = [
    *(
        "true",
        "True",
        "TRUE",
        "yes",
        "Yes",
        "YES",
        "y",
        "Y",
        "on",
        "On",
        "ON",
        "t",
        "T",
        "ok",
        "live",
    ),
    *(
        "Live",
        "LIVE",
        "enable",
        "enabled",
        "armed",
        "arm",
        "go",
        "real",
        "prod",
        "kraken",
        "Kraken",
    ),
    *(
        "01",
        "1.0",
        "+1",
        "-1",
        "0x1",
        "1e0",
        "0b1",
        "11",
        "2",
        "0",
        "10",
        "1l",
        "1L",
        "true1",
        "1true",
    ),
    *(
        "１",
        "¹",
        "①",
        "١",
        "१",
        "Ⅰ",
        "l",
        "I",
        "|",
        "!",
        "1\u200b",
        "\ufeff1",
        "1\u00a0",
        "1\u0301",
    ),
    *(
        "Local",
        "LOCAL",
        "loca1",
        "locale",
        "local host",
        "localhost",
        "127.0.0.1",
        "ｌocal",
        "lоcal",
    ),
    *(
        "",
        "null",
        "None",
        "none",
        "nil",
        "false",
        "False",
        "no",
        "off",
        "y1",
        "1y",
        "TRUE ",
        "wahr",
    ),
]
AROUND = [
    "{} ",
    " {}",
    "\t{}",
    "{}\n",
    '"{}"',
    "'{}'",
    "{};",
    "{},",
    "={}",
    "{}\x00",
    "{}\r",
    "[{}]",
]
SPELLINGS = sorted(
    {*WORDS, *(a.format(w) for a, w in itertools.product(AROUND, ("1", "local")))}
) + [
    a.format(w)
    for a, w in itertools.product(AROUND, ("true", "yes", "on", "TRUE", "True", "live", "y"))
]


def test_there_are_enough_ways_to_misspell_it():
    assert len(set(SPELLINGS)) >= 180
    assert {"1", "local"}.isdisjoint(SPELLINGS)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=repr)
def test_any_other_spelling_is_not_live_and_is_told_so(spelling):
    for endpoint in ("kraken", "local"):
        gate = decide("live", endpoint, True, {FLAG: spelling})

        assert not gate.may_send
        assert not gate.may_read_keys
        with pytest.raises(NotRecognisedError, match="LIVE_FLAG_NOT_RECOGNISED") as caught:
            gate.require()
        assert 2 == caught.value.exit_code


def test_the_value_is_not_repeated():
    """Somebody may have put the key there."""
    gate = decide("live", "kraken", True, {FLAG: "canary-5up3r"})

    assert "canary" not in str(gate.problems[0]) + repr(gate)


@pytest.mark.parametrize(
    ("endpoint", "spelling"), [("kraken", "1"), ("local", "1"), ("local", "local")]
)
def test_live_needs_both_locks(endpoint, spelling):
    both = decide("live", endpoint, True, {FLAG: spelling})

    both.require()
    assert both.may_send
    assert both.may_read_keys
    for allow, environ in ((False, {FLAG: spelling}), (True, {}), (False, {})):
        gate = decide("live", endpoint, allow, environ)
        assert (False, False) == (gate.may_send, gate.may_read_keys)
        with pytest.raises(RefusedError):
            gate.require()


@pytest.mark.parametrize("mode", ["shadow", "paper", "live"])
def test_armed_for_this_machine_and_pointed_at_kraken(mode):
    gate = decide(mode, "kraken", True, {FLAG: "local"})

    assert (False, False) == (gate.may_send, gate.may_read_keys)
    with pytest.raises(EndpointMismatchError, match="ENDPOINT_MODE_MISMATCH") as caught:
        gate.require()
    assert 2 == caught.value.exit_code


@pytest.mark.parametrize("mode", ["shadow", "paper"])
@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("environ", [{}, {FLAG: "1"}, {FLAG: "true"}])
def test_shadow_and_paper_send_nothing_and_read_no_key(mode, allow, environ):
    gate = decide(mode, "kraken", allow, environ)

    gate.require()
    assert (False, False) == (gate.may_send, gate.may_read_keys)


def test_a_misspelt_flag_is_remarked_upon_where_it_changes_nothing():
    assert "LIVE_FLAG_NOT_RECOGNISED" in decide("paper", "kraken", False, {FLAG: "yes"}).remarks[0]
    assert () == decide("paper", "kraken", False, {}).remarks


def test_level_3_reads_a_key_only_if_armed():
    with pytest.raises(RefusedError, match="needs a key"):
        decide("shadow", "kraken", False, {}, level3=True).require()

    gate = decide("shadow", "kraken", False, {FLAG: "1"}, level3=True)
    gate.require()
    assert (False, True) == (gate.may_send, gate.may_read_keys)


def test_everything_that_is_wrong_is_named_at_once():
    gate = decide("live", "kraken", False, {}, asserts=False)

    assert 3 == len(gate.problems)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="not a mode"):
        decide("Live", "kraken", True, {FLAG: "1"}).require()


def test_without_assertions_nothing_is_sent():
    assert not decide("live", "kraken", True, {FLAG: "1"}, asserts=False).may_send


def test_what_the_environment_is_armed_for():
    assert ("kraken", "local") == armed_for({FLAG: "1"})
    assert ("local",) == armed_for({FLAG: "local"})
    assert () == armed_for({})
