"""What Kraken's texts mean, against the table of its documentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kraken.errors import TEXT_MAX, Reaction, parse_error
from engine import events


@pytest.mark.parametrize(
    ("text", "reaction"),
    [
        ("EOrder:Insufficient funds", Reaction.REFUSED),
        ("EOrder:Unknown order", Reaction.REFUSED),
        ("EGeneral:Invalid arguments", Reaction.REFUSED),
        ("EGeneral:Invalid arguments:volume minimum not met", Reaction.REFUSED),
        ("EOrder:Rate limit exceeded", Reaction.LATER),
        ("EOrder:Domain rate limit exceeded", Reaction.LATER),
        ("EAPI:Rate limit exceeded", Reaction.LATER),
        ("EGeneral:Too many requests", Reaction.LATER),
        ("EService:Busy", Reaction.LATER),
        ("EService:Throttled: 1767607200", Reaction.LATER),
        ("EService:Deadline elapsed", Reaction.LATER),
        ("EService:Unavailable", Reaction.UNKNOWN),
        ("EService:Something new", Reaction.UNKNOWN),
        ("EGeneral:Internal error", Reaction.UNKNOWN),
        ("EGeneral:Internal error:42", Reaction.UNKNOWN),
        ("EService:Market in cancel_only mode", Reaction.STATUS),
        ("EService:Market in post_only mode", Reaction.STATUS),
        ("ESession:Invalid session", Reaction.TOKEN),
        ("Token(s) not found", Reaction.TOKEN),
        ("EAPI:Invalid nonce", Reaction.STOP),
        ("EAPI:Invalid key", Reaction.STOP),
        ("EAPI:Invalid signature", Reaction.STOP),
        ("EGeneral:Permission denied", Reaction.STOP),
        ("EGeneral:Temporary lockout", Reaction.STOP),
        ("EAuth:Account temporary disabled", Reaction.STOP),
        ("Limit_price field must be a number_float", Reaction.REFUSED),
        ("ENew:Never seen", Reaction.REFUSED),
    ],
)
def test_every_text_has_a_reaction(text: str, reaction: Reaction) -> None:
    assert parse_error(text).reaction is reaction


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("EOrder:Insufficient funds", events.REJECT_FUNDS),
        ("EOrder:Order minimum not met", events.REJECT_MINIMUM),
        ("EOrder:Cost minimum not met", events.REJECT_MINIMUM),
        ("EGeneral:Invalid arguments:volume minimum not met", events.REJECT_MINIMUM),
        ("EOrder:Tick size check failed", events.REJECT_PRICE),
        ("EOrder:Rate limit exceeded", events.REJECT_RATE),
        ("EOrder:Orders limit exceeded", events.REJECT_FULL),
        ("EOrder:Unknown order", events.REJECT_UNKNOWN_ORDER),
        ("EOrder:Post only order", events.REJECT_POST_ONLY),
        ("EService:Market in post_only mode", events.REJECT_STATUS),
        ("ENew:Never seen", events.REJECT_UNSUPPORTED),
    ],
)
def test_texts_of_orders_have_reject_codes(text: str, code: int) -> None:
    assert parse_error(text).reject_code == code


def test_a_text_is_taken_apart() -> None:
    said = parse_error("EGeneral:Invalid arguments:volume minimum not met")

    assert (said.severity, said.category) == ("E", "General")
    assert (said.message, said.detail) == ("Invalid arguments", "volume minimum not met")
    assert parse_error("WGeneral:Danger").is_warning
    assert parse_error("Currency pair not supported XBT/USD").severity == ""


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("EService:Throttled: 1767607200", 1767607200),
        ("EService:Throttled", 0),
        ("EService:Throttled: soon", 0),
        ("EService:Throttled: 99999999999999999999", 0),
        ("EService:Busy: 1767607200", 0),
    ],
)
def test_a_throttled_caller_is_told_until_when(text: str, until: int) -> None:
    assert parse_error(text).until_s == until


@given(st.text(max_size=2000))
def test_any_text_becomes_one_line_of_bounded_length(text: str) -> None:
    said = parse_error(text)

    assert said.text.isprintable()
    assert len(said.text) <= TEXT_MAX
    assert isinstance(said.reaction, Reaction)
    assert events.REJECT_POST_ONLY <= said.reject_code <= events.REJECT_NO_LIQUIDITY
