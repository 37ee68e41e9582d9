"""The search for secrets in what tests leave finds each form, and spares what is meant."""

import base64
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from adapters.local_venue.keys import DEMO_SECRET, ApiKey, Keyring
from tests.support.canaries import CANARY, PLANTED, leaks_below, secrets_in

ROOT = Path(__file__).resolve().parents[2]
ENCODINGS = {
    "raw": lambda text: text,
    "reversed": lambda text: text[::-1],
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "URL": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of more": lambda text: base64.b64encode(f"u:{text}!".encode()).decode(),
    "base64 of a header": lambda text: base64.urlsafe_b64encode(f"a{text}\n".encode()).decode(),
}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder that the search after this run spares."""
    folder = tmp_path / PLANTED
    folder.mkdir()
    return folder


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("secret", [DEMO_SECRET, f"postgresql://bot:{CANARY}@db/x"])
def test_every_form_is_found_and_the_secret_is_not_shown(secret, encode, planted):
    (planted / "deep").mkdir()
    (planted / "deep" / "session.log").write_bytes(b"\0\xff" + encode(secret).encode() + b"\n")

    found = leaks_below(planted)

    assert found
    assert all(each.startswith("deep/session.log: ") for each in found)
    assert [] == secrets_in("".join(found).encode())


def test_a_token_of_the_local_venue_is_recognised():
    key = ApiKey()
    token = Keyring([key]).issue(key, 0)

    assert ["stream token, raw"] == secrets_in(token.encode())
    assert 43 == len(token)


def test_what_is_meant_to_hold_keys_or_is_older_is_spared(planted):
    (planted / "kraken.toml").write_text(DEMO_SECRET)
    (planted / "old.log").write_text(DEMO_SECRET)

    assert [] == leaks_below(planted, since=(planted / "old.log").stat().st_mtime + 1)
    assert 1 <= len(leaks_below(planted))
    assert [] == secrets_in(b"what is no secret, of 0123456789 words")


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_a_run_of_tests_that_leaves_or_prints_a_secret_fails(workers, planted):
    """Planted once for the whole way: conftest.py of this suite over a test that leaks."""
    (planted / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (planted / "test_it.py").write_text(
        "from adapters.local_venue.keys import DEMO_SECRET\n"
        "def test_writes(tmp_path): (tmp_path / 'session.json').write_text(DEMO_SECRET[::-1])\n"
        "def test_prints(): print(DEMO_SECRET)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers,
         f"--basetemp={planted / 'base'}", f"--rootdir={planted}", str(planted / "test_it.py")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip

    assert 1 == done.returncode, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "session.json: demo secret, reversed" in done.stdout
    assert "test_prints, Captured stdout call: demo secret, raw" in done.stdout
    assert DEMO_SECRET not in done.stdout
