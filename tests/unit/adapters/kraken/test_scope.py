"""What a key may do, and whether that is what it is for. The answers are the local venue's."""

from typing import Any

import pytest

from adapters.kraken.scope import Finding, Purpose, findings_of, require
from adapters.local_venue.keys import RIGHTS, ApiKey
from adapters.local_venue.rest import _key_info
from engine.errors import SecretError

S = 1_000_000_000
NOW = 1_767_225_600 * S
DAY = 86_400


def info(*more: str, without: str = "", **fields: Any) -> dict[str, Any]:
    rights = frozenset((*RIGHTS, *more)) - {without}
    given = {"addresses": ("192.0.2.1",), **fields}
    return _key_info(ApiKey(rights=rights, **given), "1", NOW // S)


def verdicts(answer: dict[str, Any], purpose: Purpose = "trade", **how: bool) -> dict[str, str]:
    order = ("ok", "warn", "wrong")
    found: dict[str, str] = {}
    for each in findings_of(answer, NOW, purpose, **how):
        found[each.name] = max(found.get(each.name, "ok"), each.verdict, key=order.index)
    return found


def test_a_key_that_trades_and_nothing_else_is_fine() -> None:
    found = findings_of(info(), NOW)
    assert {each.verdict for each in found} == {"ok"}
    require(found)


@pytest.mark.parametrize("right", ["withdraw", "earn", "deposit"])
@pytest.mark.parametrize("purpose", ["trade", "watch", "kill"])
def test_a_key_that_can_move_money_is_refused(right: str, purpose: Purpose) -> None:
    found = findings_of(info(right), NOW, purpose)
    assert verdicts(info(right), purpose)["money"] == "wrong"
    with pytest.raises(SecretError, match="the key may"):
        require(found)


def test_the_words_of_the_other_page_of_the_venue_mean_the_same() -> None:
    answer = {
        "permissions": ["funds_query", "trades_query_open", "trades_query_closed",
                        "trades_modify", "trades_close", "funds_withdraw"],
        "ip_allowlist": ["192.0.2.0/24"], "valid_until": "0", "nonce_window": 0,
    }  # fmt: skip
    assert verdicts(answer) == {
        "rights": "ok", "money": "wrong", "addresses": "ok", "expiry": "ok"
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["query", "trade", "cancel"])
def test_a_right_that_is_missing_is_wrong_and_named(missing: str) -> None:
    found = findings_of(info(without=missing), NOW)
    [lacks] = [each for each in found if "lacks" in each.text]
    assert lacks.verdict == "wrong"


def test_a_right_of_an_unknown_name_is_shown_and_may_be_the_one_that_is_missing() -> None:
    answer = info(without="cancel")
    answer["permissions"].append("cancel-everything")
    found = [each for each in findings_of(answer, NOW) if each.name == "rights"]
    assert [each.verdict for each in found] == ["ok", "warn", "warn"]
    assert "cancel-everything" in found[2].text


def test_a_key_for_watching_needs_no_right_to_trade() -> None:
    answer = info(without="trade")
    assert verdicts(answer, "watch")["rights"] == "ok"
    assert verdicts(answer, "trade")["rights"] == "wrong"
    assert verdicts(info(), "kill")["kill"] == "warn"


def test_a_key_for_any_address_is_refused_unless_a_person_accepted_it() -> None:
    answer = info(addresses=())
    assert verdicts(answer)["addresses"] == "wrong"
    assert verdicts(answer, any_address=True)["addresses"] == "warn"


@pytest.mark.parametrize(
    ("days", "verdict"), [(-1, "wrong"), (1, "warn"), (13, "warn"), (15, "ok"), (400, "ok")]
)
def test_expiry(days: int, verdict: str) -> None:
    assert verdicts(info(valid_until=NOW // S + days * DAY))["expiry"] == verdict


def test_an_answer_without_rights_is_wrong() -> None:
    assert Finding("rights", "wrong", "the venue names no right of this key.").text in {
        each.text for each in findings_of({"permissions": None}, NOW)
    }
    assert verdicts(info(nonce_window=1000))["nonce"] == "warn"
