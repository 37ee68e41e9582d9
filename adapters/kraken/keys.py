"""Where do API keys come from, and how do they stay secret?

From the environment, from a file that only its owner may read, or from the desktop's keyring.
Nothing here runs unless a command needs a private call. A `Secret` shows itself to nobody who
does not ask by name: not in repr, str, a format, a pickle or a comparison. `Redactor` is the
second net, for texts that come from elsewhere. Left out: signing (sign.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import stat
import tomllib
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from engine.errors import ConfigError, SecretError

HIDDEN: Final = "[secret]"
TOKENS_KEPT: Final = 16  # of a stream, known to a Redactor
ENV_KEY: Final = "KAPITAALBOT_KRAKEN_KEY"
ENV_SECRET: Final = "KAPITAALBOT_KRAKEN_SECRET"
ENV_FILE: Final = "KAPITAALBOT_KRAKEN_KEYS"  # path of the file, where it is not the usual one
KILL_KEY: Final = "KAPITAALBOT_KILL_KEY"  # the kill switch's own pair, read by cancel_all.py
KILL_SECRET: Final = "KAPITAALBOT_KILL_SECRET"
ENV_KEYS: Final = (ENV_KEY, ENV_SECRET, KILL_KEY, KILL_SECRET)
# Settings that hold passwords; a child process of ours needs neither these nor a key.
ENV_PASSWORDS: Final = ("KAPITAALBOT__ALERTS__URLS", "KAPITAALBOT__MIRROR__DSN")
KEYRING_SERVICE: Final = "kapitaalbot-kraken"
_FILE_BYTES_MAX: Final = 4096
_PRINTABLE: Final = re.compile(r"[!-~]{16,200}")
_HOWTO: Final = "docs/howto-keys.md says how to store keys."


class Secret:
    """A text that is shown only by `reveal()`. Two secrets are equal only to themselves."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A pickle would carry it to a file or another process.
        raise TypeError("a secret is not copied or pickled: hand over the object itself.")

    def same_as(self, other: Secret) -> bool:
        """Compare without telling by the time it takes how much was equal."""
        return hmac.compare_digest(self._text.encode(), other._text.encode())


@dataclass(frozen=True, eq=False)
class Keys:
    """A pair of API keys. `origin` says where they came from, `fingerprint` which they are."""

    key: Secret
    secret: Secret
    origin: str

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name the public key and do not give it away."""
        return hashlib.sha256(b"kraken " + self.key.reveal().encode()).hexdigest()[:16]


def read_keys(
    source: str = "auto",
    environ: Mapping[str, str] | None = None,
    keyring: Callable[[str, str], str | None] | None = None,
) -> Keys:
    """The keys of `source`; with "auto" the first of environment, file and keyring that has any.

    source : auto, env, file, file:PATH or keyring
    environ : instead of the process's environment; keyring : instead of the desktop's,
        (service, name) -> text
    raises SecretError where there are none, half of them, or they are exposed
    """
    env = os.environ if environ is None else environ
    ask = _desktop_keyring if keyring is None else keyring
    kind, _, path = source.partition(":")
    if kind == "file":
        return read_key_file(Path(path) if path else key_file(env))
    if path or kind not in ("auto", "env", "keyring"):
        raise ConfigError(
            f"{kind!r} is not a source of keys.", "Use auto, env, file, file:PATH or keyring."
        )
    if kind == "auto":
        # What is nearest to this call wins: a variable set for it, then what is kept for all.
        if ENV_KEY in env or ENV_SECRET in env:
            kind = "env"
        elif key_file(env).exists() or ENV_FILE in env:
            return read_key_file(key_file(env))
        else:
            kind = "keyring"
    if kind == "env":
        return key_pair(
            env.get(ENV_KEY), env.get(ENV_SECRET), "the environment", f"{ENV_KEY} and {ENV_SECRET}"
        )
    found = ask(KEYRING_SERVICE, "key"), ask(KEYRING_SERVICE, "secret")
    return key_pair(*found, "the keyring", f"`key` and `secret` of the service {KEYRING_SERVICE}")


class KeysOnce:
    """The keys of `source`, read at the first call and kept: the environment may be cleared then."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._keys: Keys | None = None

    def __call__(self) -> Keys:
        if self._keys is None:
            self._keys = read_keys(self._source)
        return self._keys


def forget_keys(environ: MutableMapping[str, str] | None = None) -> None:
    """Take every variable that holds a key out of the process's environment: no child gets it.

    What the process was started with stays readable in /proc for its owner; a key file does not.
    """
    env = os.environ if environ is None else environ
    for name in ENV_KEYS:
        env.pop(name, None)


def child_environ() -> dict[str, str]:
    """The environment for a child process of ours: this one's without keys and passwords."""
    hidden = {*ENV_KEYS, *ENV_PASSWORDS}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def key_file(environ: Mapping[str, str]) -> Path:
    """Where the file with the keys is looked for."""
    if named := environ.get(ENV_FILE):
        return Path(named)
    config = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")) / ".config")
    return Path(config).expanduser() / "kapitaalbot" / "kraken.toml"


def read_key_file(path: Path) -> Keys:
    """Keys of a TOML file with `key` and `secret`, which nobody but its owner may read.

    The rights are looked at on the open file, so that it cannot be changed in between. Raises
    SecretError for any other rights or owner, a link, a folder that others may write to.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SecretError(f"there is no key file {path}.", _HOWTO) from None
    except OSError as error:
        raise SecretError(
            f"the key file {path} cannot be opened: {error.strerror}.",
            "It must be a file of yours, not a link.",
        ) from None
    try:
        _must_be_private(path, os.fstat(fd), path.parent.stat())
        data = os.read(fd, _FILE_BYTES_MAX)
    finally:
        os.close(fd)
    try:
        values = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        # Neither the text nor the parser's view of it may reach a message.
        raise SecretError(
            f"the key file {path} is not TOML.",
            'It holds two lines: key = "..." and secret = "...".',
        ) from None
    return key_pair(values.get("key"), values.get("secret"), str(path), "`key` and `secret`")


def _must_be_private(path: Path, file: os.stat_result, folder: os.stat_result) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise SecretError(f"the key file {path} is not a file.", _HOWTO)
    if file.st_uid != os.geteuid():
        raise SecretError(
            f"the key file {path} belongs to another user.", "Make a copy that is yours."
        )
    mode = stat.S_IMODE(file.st_mode)
    if mode & 0o177:
        raise SecretError(
            f"the key file {path} has the rights {mode:04o}: others than you may use it.",
            f"Run `chmod 600 {path}`; if others may have read it, make a new key at Kraken.",
        )
    # Who may write to the folder may put another file in its place. /tmp is sticky: not there.
    if folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX:
        raise SecretError(
            f"others may write to the folder of the key file {path}.",
            f"Run `chmod 700 {path.parent}`.",
        )


def key_pair(key: Any, secret: Any, origin: str, names: str) -> Keys:
    """Both halves, of a form that can be right. No message shows what was found."""
    halves = {"public": key, "private": secret}
    if not key and not secret:
        raise SecretError(f"there are no API keys in {origin} ({names}).", _HOWTO)
    texts = {}
    for name, value in halves.items():
        if not value or not isinstance(value, str):
            raise SecretError(f"{origin} holds no {name} key, only the other one.", _HOWTO)
        texts[name] = value.strip()
        if not _PRINTABLE.fullmatch(texts[name]):
            raise SecretError(
                f"the {name} key in {origin} is not a key of Kraken's.",
                "Copy it again, whole, without quotes and blanks.",
            )
    try:
        raw = base64.b64decode(texts["private"], validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < 16:
        raise SecretError(
            f"the private key in {origin} is not base64.",
            "Copy it again, whole; the two keys may have been exchanged.",
        )
    return Keys(Secret(texts["public"]), Secret(texts["private"]), origin)


def _desktop_keyring(service: str, name: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise SecretError(
            "no API keys were found, and the keyring cannot be asked: it is not installed.",
            f"`pip install kapitaalbot[keyring]`, or use another place: {_HOWTO}",
        ) from None
    try:
        return keyring.get_password(service, name)
    except KeyringError as error:
        raise SecretError(
            f"the keyring cannot be asked: {type(error).__name__}.",
            f"Unlock it, or use another place: {_HOWTO}",
        ) from None


class Redactor:
    """Takes known secrets out of a text, in whichever form they appear.

    The forms: raw, base64, URL, JSON and hex, repr, reversed, and the first twelve characters.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._kept: set[str] = set()
        self._tokens: deque[set[str]] = deque(maxlen=TOKENS_KEPT)
        self._forms: tuple[str, ...] = ()
        for each in secrets:
            self.add(each)

    def add(self, secret: Secret) -> None:
        """Know one more; a text under eight characters would take ordinary words out."""
        self._kept |= forms_of(secret)
        self._sort()

    def add_token(self, secret: Secret) -> None:
        """Know a token of a stream; of those the newest few are known, since they come for ever."""
        self._tokens.append(forms_of(secret))
        self._sort()

    def _sort(self) -> None:
        # The longest first: a form may be a piece of another.
        known = self._kept.union(*self._tokens)
        self._forms = tuple(sorted(known, key=lambda form: (-len(form), form)))

    def clean(self, text: str) -> str:
        """`text` without any of the known secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"


def forms_of(secret: Secret) -> set[str]:
    """Every form in which a secret may appear in a text; none of one under eight characters."""
    text = secret.reveal()
    if len(text) < 8:
        return set()
    raw = text.encode()
    forms = {
        text,
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        urllib.parse.quote(text, safe=""),
        urllib.parse.quote_plus(text),
        json.dumps(text)[1:-1],
        repr(text)[1:-1],
        raw.hex(),
        raw.hex().upper(),
        text[::-1],
    }
    if len(text) > 24:
        forms.add(text[:12])
    return forms
