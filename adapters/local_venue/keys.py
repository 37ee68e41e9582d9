"""Who may do what? API keys of the venue's accounts, request signatures, nonces and tokens.

The keys are play keys, made for the venue; nothing here ever meets a real one. Token life is wall
time: a client that runs a fast market must not lose its session. Left out: money (exchange.py).

Source: Kraken, "Spot REST authentication", "GetWebSocketsToken", "WebSocket authentication".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from adapters.local_venue.text import NS_PER_S

TOKEN_LIFE_S: Final = 900
TOKEN_MARK: Final = "localvenuetoken"  # so that a search finds a token that got where it must not
RIGHTS: Final = ("websockets", "query", "trade", "cancel")
# As GetApiKeyInfo names them; the last three open nothing here, they are only shown.
PERMISSIONS: Final[dict[str, tuple[str, ...]]] = {
    "websockets": ("access-websockets",),
    "query": ("query-funds", "query-open-trades", "query-closed-trades", "query-ledger"),
    "trade": ("modify-trades",),
    "cancel": ("close-trades",),
    "withdraw": ("withdraw-funds",),
    "deposit": ("add-funds",),
    "earn": ("earn-funds",),
}

# The published example of Kraken's documentation: known to everybody, worth nothing.
DEMO_KEY: Final = "demo-key-of-the-local-venue"
DEMO_SECRET: Final = (
    "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
)


@dataclass(frozen=True)
class ApiKey:
    """One key and the account that it opens; rights are names of PERMISSIONS.

    account : keys of the same name share one; without one each key has its own
    valid_until : unix second, 0 for never; addresses : that may use it, only shown
    """

    key: str = DEMO_KEY
    secret: str = field(default=DEMO_SECRET, repr=False)
    rights: frozenset[str] = frozenset(RIGHTS)
    nonce_window: int = 0  # how far below the highest a nonce may be, in the nonce's own unit
    valid_until: int = 0
    addresses: tuple[str, ...] = ()
    account: str = ""

    @property
    def owner(self) -> str:
        """What the account goes by."""
        return self.account or self.key


def signature(secret: str, path: str, nonce: str, body: bytes) -> str:
    """base64(HMAC-SHA512(secret, path + SHA256(nonce + body)))."""
    digest = hashlib.sha256(nonce.encode() + body).digest()
    made = hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512)
    return base64.b64encode(made.digest()).decode()


@dataclass
class Token:
    key: ApiKey
    born_wall: int
    dead: bool = False
    connections: set[int] = field(default_factory=set)  # with a private subscription under it


class Keyring:
    """The venue's keys, their nonces and the tokens given out."""

    def __init__(self, keys: Iterable[ApiKey], seed: int = 1) -> None:
        self.keys = {each.key: each for each in keys}
        self._nonces: dict[str, int] = {}
        self._tokens: dict[str, Token] = {}
        self._seed = seed

    def check_request(
        self, key: str, sign: str, path: str, nonce: str, body: bytes
    ) -> str | ApiKey:
        """The key that signed this request, or the error that Kraken gives."""
        known = self.keys.get(key)
        if known is None:
            return "EAPI:Invalid key"
        try:
            right = hmac.compare_digest(signature(known.secret, path, nonce, body), sign)
        except (ValueError, TypeError, binascii.Error):
            right = False
        if not right:
            return "EAPI:Invalid signature"
        if not nonce.isdecimal() or int(nonce) >= 1 << 64:
            return "EAPI:Invalid nonce"
        highest = self._nonces.get(key, -1)
        if int(nonce) <= highest - known.nonce_window or (
            int(nonce) == highest and known.nonce_window == 0
        ):
            return "EAPI:Invalid nonce"
        self._nonces[key] = max(highest, int(nonce))
        return known

    def issue(self, key: ApiKey, wall: int) -> str:
        """A new token, recognisable as one; it depends on the seed and on how many came before."""
        n = len(self._tokens)
        digest = hashlib.sha256(f"token {self._seed} {n} {key.key}".encode()).digest()
        text = (TOKEN_MARK + base64.b64encode(digest).decode())[:43]
        self._tokens[text] = Token(key, wall)
        return text

    def check_token(self, text: object, wall: int) -> str | Token:
        """The token, or the error that Kraken gives."""
        token = self._tokens.get(text) if isinstance(text, str) else None
        if token is None or token.dead:
            return (
                "EGeneral:Invalid arguments:token" if text is None else "ESession:Invalid session"
            )
        if not token.connections and wall - token.born_wall > TOKEN_LIFE_S * NS_PER_S:
            return "ESession:Invalid session"
        return token

    def forget(self, connection: int) -> None:
        """A connection is gone: it keeps no token alive any more."""
        for token in self._tokens.values():
            token.connections.discard(connection)

    def expire_all(self) -> None:
        """What a gateway upgrade does: every token given out so far is void."""
        for token in self._tokens.values():
            token.dead = True
