"""Signatures against the example that Kraken's documentation publishes, and vectors beside it."""

import json
from pathlib import Path

import pytest

from adapters.kraken.keys import Secret
from adapters.kraken.sign import sign
from engine.errors import SecretError

# Kraken, "Spot REST authentication": a published example key, of no account.
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
BODY = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"


def test_the_published_example_has_the_published_signature() -> None:
    made = sign(Secret(SECRET), "/0/private/AddOrder", "1616492376594", BODY)

    assert made == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )


def test_all_vectors_agree(shared_kraken: Path) -> None:
    vectors = json.loads((shared_kraken / "samples" / "rest_sign_vectors.json").read_text())

    assert len(vectors) == 3
    for each in vectors:
        made = sign(Secret(each["secret"]), each["path"], each["nonce"], each["body"].encode())
        assert made == each["api_sign"], each["name"]


@pytest.mark.parametrize(
    ("path", "nonce", "body"),
    [
        ("/0/private/AddOrdeR", "1616492376594", BODY),
        ("/0/private/AddOrder", "1616492376595", BODY),
        ("/0/private/AddOrder", "1616492376594", BODY + b" "),
    ],
)
def test_path_nonce_and_body_are_all_signed(path: str, nonce: str, body: bytes) -> None:
    right = sign(Secret(SECRET), "/0/private/AddOrder", "1616492376594", BODY)

    assert sign(Secret(SECRET), path, nonce, body) != right


def test_a_secret_that_is_not_base64_is_not_shown() -> None:
    with pytest.raises(SecretError) as caught:
        sign(Secret("not-base-64!"), "/0/private/Balance", "1", b"nonce=1")

    assert "not-base" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
