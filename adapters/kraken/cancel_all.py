"""How does everything that rests go away, also when the session hangs? A client that can do only that.

The kill switch: its own key, its own nonces, one HTTP client, two calls. CancelAll ends every order of
the account, stops and other programs' orders included; OpenOrders then says what is left. It needs
no session, no log and no event loop, and shares no state with them. CancelAll may be repeated
without harm, so it is, until nothing rests or the tries are used up.

The only file that changes something at the venue over REST; rest.py only reads.
Source: Kraken, REST "Cancel all orders", "Get open orders".
"""

from __future__ import annotations

import os
import ssl as ssl_module
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.kraken.errors import Reaction, Said, parse_error, printable
from adapters.kraken.keys import (
    KILL_KEY,
    KILL_SECRET,
    Keys,
    Redactor,
    key_pair,
    read_key_file,
)
from adapters.kraken.nonce import NonceFile, state_folder
from adapters.kraken.rest import REST_URL, USER_AGENT, VERSION, checked_url
from adapters.kraken.sign import sign
from engine.clock import Clock, WallClock
from engine.errors import SecretError, VenueError

ENV_KEY: Final = KILL_KEY
ENV_SECRET: Final = KILL_SECRET
ENV_FILE: Final = "KAPITAALBOT_KILL_KEYS"  # path of the file, where it is not the usual one
FILE_NAME: Final = "kraken-kill.toml"
NONCES: Final = "kill"  # folder of its nonces, beside those of other keys
TIMEOUT_S: Final = 4.0
TRIES: Final = 8
PAUSE_S: Final = 0.25  # doubled with each failure in a row
PAUSE_MAX_S: Final = 2.0


def kill_keys(environ: Mapping[str, str] | None = None) -> Keys:
    """The keys of the kill switch: from the environment, else from a file of their own.

    raises SecretError where there are none, half of them, or they are exposed
    """
    env = os.environ if environ is None else environ
    if ENV_KEY in env or ENV_SECRET in env:
        names = f"{ENV_KEY} and {ENV_SECRET}"
        return key_pair(env.get(ENV_KEY), env.get(ENV_SECRET), "the environment", names)
    named = env.get(ENV_FILE)
    config = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "~")) / ".config")
    return read_key_file(
        Path(named) if named else Path(config).expanduser() / "kapitaalbot" / FILE_NAME
    )


@dataclass(frozen=True)
class Cleared:
    """What became of it. left : order ids that are open still, None: the venue did not say

    n_canceled : as the venue counted them, over all tries; said : what went wrong on the way
    """

    n_canceled: int
    left: tuple[str, ...] | None
    said: tuple[str, ...] = ()

    @property
    def clear(self) -> bool:
        """Does the venue say that nothing rests?"""
        return self.left == ()


class _Answer(msgspec.Struct):
    error: list[str] = []
    result: Any = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


@dataclass
class _Desk:
    """The two calls, signed and answered."""

    url: str
    keys: Keys
    nonces: NonceFile
    client: Any
    said: list[str] = field(default_factory=list)
    redactor: Redactor = field(default_factory=Redactor)
    blind: bool = False  # the key may not see what is open

    def call(self, name: str) -> Any:
        """The result, or None where it is not known; raises SecretError where the key is no good."""
        import httpx

        path = f"{VERSION}/private/{name}"
        nonce = str(self.nonces.draw())
        body = f"nonce={nonce}".encode()
        headers = {
            "User-Agent": USER_AGENT,
            "Content-Type": "application/x-www-form-urlencoded",
            "API-Key": self.keys.key.reveal(),
            "API-Sign": sign(self.keys.secret, path, nonce, body),
        }
        try:
            response = self.client.post(f"{self.url}{path}", headers=headers, content=body)
            answer = _ANSWER.decode(response.content)
        except httpx.HTTPError as error:
            self.said.append(f"{name}: no answer ({type(error).__name__})")
            return None
        except (msgspec.DecodeError, UnicodeError):
            self.said.append(f"{name}: answered with status {response.status_code}")
            return None
        errors = [parse_error(self.redactor.clean(each)) for each in answer.error]
        errors = [each for each in errors if not each.is_warning]
        if not errors:
            return answer.result
        self._must_be_passing(name, errors)
        self.said.append(f"{name}: {', '.join(each.text for each in errors)}")
        return None

    @staticmethod
    def _must_be_passing(name: str, errors: list[Said]) -> None:
        if any(each.reaction is Reaction.STOP for each in errors):
            texts = ", ".join(each.text for each in errors)
            raise SecretError(
                f"the key of the kill switch was refused: {name} was answered with {texts}.",
                "Cancel by hand at Kraken now; then look at the key's rights (cancel orders, query "
                "open orders), and whether another program uses it (Invalid nonce).",
            ) from None


def cancel_all(
    keys: Keys | None = None,
    *,
    url: str = REST_URL,
    folder: Path | None = None,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
    ssl: ssl_module.SSLContext | None = None,
    tries: int = TRIES,
) -> Cleared:
    """Cancel every order of the account and say what is left. Blocks for some seconds at most.

    keys : instead of `kill_keys()`; folder : of the nonces
    raises SecretError where the key is missing or refused, VenueError where the venue was not
    reached once in `tries`
    """
    import httpx

    url = checked_url(url)
    chosen = keys or kill_keys()
    nonces = NonceFile(folder or state_folder() / NONCES, chosen.fingerprint, clock or WallClock())
    verify = ssl if ssl is not None and url != REST_URL else True
    n_canceled, done, left, pause_s = 0, False, None, PAUSE_S
    with httpx.Client(
        timeout=TIMEOUT_S, trust_env=False, verify=verify, follow_redirects=False
    ) as client:
        desk = _Desk(url, chosen, nonces, client, redactor=Redactor((chosen.key, chosen.secret)))
        for i in range(tries):
            if i:
                sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
            result = desk.call("CancelAll")
            if isinstance(result, dict):
                done, n = True, result.get("count")
                n_canceled += n if isinstance(n, int) else 0
            left = _open(desk)
            if done and (left == () or desk.blind):
                break
    if not done:
        raise VenueError(
            f"nothing was cancelled: {'; '.join(map(printable, desk.said[-3:]))}.",
            "Cancel by hand at Kraken, and look at status.kraken.com.",
        )
    return Cleared(n_canceled, left, tuple(map(printable, desk.said)))


def _open(desk: _Desk) -> tuple[str, ...] | None:
    """Order ids that are open; None where that is not known, as for a key that may only cancel."""
    try:
        result = desk.call("OpenOrders")
    except SecretError as error:
        desk.said.append(error.message)
        desk.blind = True
        return None
    rows = result.get("open") if isinstance(result, dict) else None
    return tuple(rows) if isinstance(rows, dict) else None
