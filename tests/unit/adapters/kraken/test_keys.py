"""Keys come from three places, refuse what is exposed, and are seen nowhere."""

import base64
import copy
import logging
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.kraken.keys import (
    ENV_FILE,
    ENV_KEY,
    ENV_SECRET,
    HIDDEN,
    Keys,
    Redactor,
    Secret,
    key_file,
    read_key_file,
    read_keys,
)
from engine.errors import ConfigError, SecretError

KEY = "CANARYpublicKEY0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
SECRET = base64.b64encode(
    b"canary: the private half, 64 bytes of it, so that it looks right"
).decode()
TOML = f'key = "{KEY}"\nsecret = "{SECRET}"\n'
ENV = {ENV_KEY: KEY, ENV_SECRET: SECRET}


def stored(folder: Path, text: str = TOML, mode: int = 0o600) -> Path:
    path = folder / "kraken.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def no_keyring(service: str, name: str) -> str | None:
    return None


def assert_are_the_keys(found: Keys, origin: str) -> None:
    assert (found.key.reveal(), found.secret.reveal()) == (KEY, SECRET)
    assert origin in found.origin


# ---- where they come from ----


def test_keys_of_the_environment() -> None:
    assert_are_the_keys(read_keys("env", ENV), "environment")
    assert_are_the_keys(read_keys("auto", ENV), "environment")


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = stored(tmp_path)

    assert_are_the_keys(read_keys(f"file:{path}", {}), str(path))
    assert_are_the_keys(read_keys("file", {ENV_FILE: str(path)}), str(path))
    assert_are_the_keys(read_keys("auto", {ENV_FILE: str(path)}), str(path))


def test_keys_of_a_keyring(tmp_path: Path) -> None:
    kept = {("kapitaalbot-kraken", "key"): KEY, ("kapitaalbot-kraken", "secret"): SECRET}

    for source in ("keyring", "auto"):
        found = read_keys(source, {"HOME": str(tmp_path)}, lambda *names: kept.get(names))
        assert_are_the_keys(found, "keyring")


def test_the_usual_file_is_below_the_users_configuration() -> None:
    assert key_file({"HOME": "/h"}) == Path("/h/.config/kapitaalbot/kraken.toml")
    assert key_file({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == Path("/x/kapitaalbot/kraken.toml")


def test_no_keys_anywhere_says_where_they_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no API keys in the keyring") as caught:
        read_keys("auto", {"HOME": str(tmp_path)}, no_keyring)
    assert caught.value.exit_code == 3
    with pytest.raises(SecretError, match=r"no API keys in the environment \(KAPITAALBOT_"):
        read_keys("env", {})
    with pytest.raises(SecretError, match="no key file"):
        read_keys(f"file:{tmp_path / 'missing.toml'}", {})
    with pytest.raises(ConfigError, match="not a source of keys"):
        read_keys("vault", {})


def test_half_a_pair_is_named() -> None:
    with pytest.raises(SecretError, match="holds no private key"):
        read_keys("auto", {ENV_KEY: KEY})
    with pytest.raises(SecretError, match="holds no public key"):
        read_keys("env", {ENV_SECRET: SECRET})


# ---- what is exposed is refused ----


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644, 0o700, 0o610, 0o601])
def test_a_file_that_others_may_use_is_refused_with_its_rights(tmp_path: Path, mode: int) -> None:
    path = stored(tmp_path, mode=mode)

    with pytest.raises(SecretError) as caught:
        read_key_file(path)

    assert f"{mode:04o}" in caught.value.message
    assert f"chmod 600 {path}" in caught.value.hint


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_the_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert_are_the_keys(read_key_file(stored(tmp_path, mode=mode)), "kraken.toml")


def test_a_link_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    target = stored(tmp_path)
    link = tmp_path / "link.toml"
    link.symlink_to(target)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)

    with pytest.raises(SecretError, match="cannot be opened"):
        read_key_file(link)
    for path in (pipe, folder):
        with pytest.raises(SecretError, match="is not a file"):
            read_key_file(path)


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path)
    tmp_path.chmod(0o770)
    try:
        with pytest.raises(SecretError, match="others may write to the folder"):
            read_key_file(path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path)
    os.chown(path, 12345, -1)

    with pytest.raises(SecretError, match="belongs to another user"):
        read_key_file(path)


# ---- they are seen nowhere ----


def shown(keys: Keys) -> list[str]:
    """Everything that usually prints an object."""
    texts = [repr(keys), str(keys), f"{keys}", f"{keys!r}", f"{keys.secret:>40}"]
    texts += [repr(vars(keys)), repr([keys.secret]), repr({"s": keys.secret}), keys.fingerprint]
    return [*texts, ascii(keys), str(dir(keys.secret))]


def test_a_secret_is_hidden_wherever_it_is_printed() -> None:
    keys = read_keys("env", ENV)

    for text in shown(keys):
        assert KEY not in text
        assert SECRET not in text
        assert KEY[:12] not in text
    assert repr(keys.secret) == str(keys.key) == HIDDEN


@pytest.mark.parametrize("move", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_pickled_or_copied(move: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="not copied or pickled"):
        move(Secret(SECRET))
    with pytest.raises(TypeError):
        move(read_keys("env", ENV).secret)


def test_equality_tells_nothing_but_a_comparison_in_constant_time_does() -> None:
    assert Secret(SECRET) != Secret(SECRET)
    assert Secret(SECRET).same_as(Secret(SECRET))
    assert not Secret(SECRET).same_as(Secret(KEY))


BROKEN = [
    TOML.replace('"', "", 1),
    TOML.replace("=", "", 1),
    f'key = "{KEY}"\nsecret = "{SECRET[:-3]}!!!"\n',
    f'key = "{KEY}"\nsecret = "{SECRET[:40]} {SECRET[40:]}"\n',
    f'key = "{SECRET}"\nsecret = "{KEY}"\n',
    f'key = "{KEY}"\n',
    f'secret = "{SECRET}"\n',
    f'key = ["{KEY}"]\nsecret = "{SECRET}"\n',
    f'key = "{KEY[:10]}"\nsecret = "{SECRET}"\n',
    "\0" + TOML,
]


@pytest.mark.parametrize("text", BROKEN)
def test_no_error_or_traceback_shows_a_part_of_a_secret(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = stored(tmp_path, text)
    caplog.set_level(logging.DEBUG)

    with pytest.raises(SecretError) as caught:
        read_key_file(path)

    error = caught.value
    chain = traceback.format_exception(error)  # follows causes and contexts, as a crash does
    for said in (*chain, str(error), repr(error), error.hint, caplog.text):
        for part in (KEY[:10], SECRET[:10], SECRET[20:30], KEY[-10:]):
            assert part not in said


def test_the_desktops_own_error_text_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.errors import KeyringLocked

    def locked(service: str, name: str) -> str:
        raise KeyringLocked(SECRET)

    monkeypatch.setattr(keyring, "get_password", locked)

    with pytest.raises(SecretError, match="KeyringLocked") as caught:
        read_keys("keyring", {})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# ---- the second net ----


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.replace("=", "%3D").replace("/", "%2F").replace("+", "%2B"),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        SECRET[::-1],
        SECRET[:12],
    ],
)
def test_every_form_of_a_secret_is_taken_out(form: str) -> None:
    cleaned = Redactor([Secret(SECRET), Secret(KEY)]).clean(f"before {form} after")

    assert form not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert HIDDEN in cleaned


def test_a_redactor_shows_and_spares_what_is_no_secret() -> None:
    redactor = Redactor([Secret("short")])

    assert redactor.clean("a short text") == "a short text"
    assert SECRET not in repr(Redactor([Secret(SECRET)]))


def test_a_fingerprint_names_a_key_and_does_not_hold_it() -> None:
    one, other = read_keys("env", ENV), read_keys("env", {**ENV, ENV_KEY: KEY + "x"})

    assert one.fingerprint == read_keys("env", ENV).fingerprint != other.fingerprint
    assert len(one.fingerprint) == 16
