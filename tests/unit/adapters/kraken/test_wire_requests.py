"""Requests byte for byte, as the documentation writes them."""

from decimal import Decimal

import pytest

from adapters.kraken.requests import number, ping, request, subscribe, unsubscribe


def test_a_subscription_names_its_symbols_and_what_identifies_it():
    assert subscribe("book", ["BTC/USD", "ETH/USD"], 7, depth=25) == (
        b'{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD"],'
        b'"depth":25},"req_id":7}'
    )
    assert unsubscribe("book", ["BTC/USD"], 8, depth=25) == (
        b'{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":25},'
        b'"req_id":8}'
    )


def test_a_channel_without_symbols_has_no_symbol_field():
    assert subscribe("instrument", [], 1, snapshot=True, include=None) == (
        b'{"method":"subscribe","params":{"channel":"instrument","snapshot":true},"req_id":1}'
    )


def test_a_ping_has_no_params():
    assert ping(101) == b'{"method":"ping","req_id":101}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(("5", b"5.0"), ("0.10000000", b"0.10000000"), ("1E-8", b"0.00000001")),
        *(("6E+4", b"60000.0"), ("-0.5", b"-0.5")),
    ],
)
def test_numbers_are_plain_decimals_with_a_point(value, text):
    assert bytes(number(Decimal(value))) == text


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_number_that_no_order_can_carry_is_refused(value):
    with pytest.raises(ValueError, match="not a number that an order can carry"):
        number(Decimal(value))


def test_numbers_at_any_depth_are_plain():
    frame = request(
        "add_order",
        {
            "order_qty": Decimal("1E-8"),
            "triggers": {"price": Decimal("58500"), "reference": None},
            "orders": [{"limit_price": Decimal("0.5")}],
        },
        13,
    )
    assert frame == (
        b'{"method":"add_order","params":{"order_qty":0.00000001,"triggers":{"price":58500.0},'
        b'"orders":[{"limit_price":0.5}]},"req_id":13}'
    )


def test_one_name_in_place_of_a_list_is_told():
    with pytest.raises(TypeError, match="list of names"):
        subscribe("trade", "BTC/USD", 1)
