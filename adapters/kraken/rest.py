"""How is Kraken asked over REST? A list of allowed calls, their requests, what the answers mean.

`RestCore` thinks: it builds and signs requests, decodes answers exactly, turns error texts into
exceptions, and says when the next call may be made. `Rest` carries: one HTTP client, the clock, a
pause where the core asks for one. A call that is not in CALLS is refused; none of them changes
anything at the venue. Keys are read at the first private call and not before.

An invalid nonce, key or signature, a missing permission or a lockout ends private use: each of
them says that going on makes it worse (a second program on the key, a ban). Left out: orders.
Source: Kraken, "Spot REST API".
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlencode, urlsplit

import msgspec

from adapters.kraken.errors import (
    BusyError,
    NotAllowedError,
    OutcomeUnknownError,
    PrivateStoppedError,
    Reaction,
    RefusedByVenueError,
    Said,
    parse_error,
    printable,
)
from adapters.kraken.keys import Keys, Redactor, Secret
from adapters.kraken.limits import SECOND, TIERS, RestCounter, Tier
from adapters.kraken.names import Names, holding_of_name
from adapters.kraken.rest_trades import ROWS_MAX, TradePage, read_trade_page
from adapters.kraken.sign import sign
from engine.clock import Clock, WallClock, machine_seconds
from engine.errors import ConfigError, DataError, VenueError

if TYPE_CHECKING:
    import httpx

REST_URL: Final = "https://api.kraken.com"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
VERSION: Final = "/0"
USER_AGENT: Final = "kapitaalbot"
BYTES_MAX: Final = 32 << 20  # of one answer; AssetPairs, the longest, has about two million
TIMEOUT_S: Final = 15.0
TRIES: Final = 5  # of one call, the first included
TOLD_NS: Final = SECOND  # a wait for the counter that is worth a word
PAUSE_NS: Final = SECOND  # between public calls of one kind and pair
BACKOFF_NS: Final = 2 * SECOND  # doubled with each failure in a row
BACKOFF_MAX_NS: Final = 60 * SECOND
LOCKOUT_NS: Final = 900 * SECOND  # Kraken says minutes; we wait the longest that was told
TOKEN_SPARE_NS: Final = 60 * SECOND  # a token is not used in the last of its life


@dataclass(frozen=True)
class Call:
    """One thing that may be asked. All of them only read, so all may be repeated."""

    name: str
    private: bool

    @property
    def path(self) -> str:
        return f"{VERSION}/{'private' if self.private else 'public'}/{self.name}"


_PUBLIC: Final = (
    "Time",
    "SystemStatus",
    "Assets",
    "AssetPairs",
    "Ticker",
    "OHLC",
    "Depth",
    "Trades",
)
_PRIVATE: Final = (
    *("GetWebSocketsToken", "GetApiKeyInfo", "Balance", "BalanceEx", "TradeVolume"),
    *("OpenOrders", "ClosedOrders", "QueryOrders", "TradesHistory", "QueryTrades"),
    *("Ledgers", "QueryLedgers", "OrderAmends"),
)
CALLS: Final[dict[str, Call]] = {
    **{name: Call(name, private=False) for name in _PUBLIC},
    **{name: Call(name, private=True) for name in _PRIVATE},
}


def allowed(name: str) -> Call:
    """The call of that name; raises NotAllowedError for any that is not on the list."""
    if name not in CALLS:
        raise NotAllowedError(
            f"the REST call {printable(name)!r} is not on the list of what may be asked.",
            "Calls that change something at the venue do not go through here.",
        )
    return CALLS[name]


@dataclass(frozen=True)
class Request:
    """What goes over the wire. Its repr leaves out headers and body: they may be secret."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"


@dataclass(frozen=True)
class StreamToken:
    """What opens private WebSocket channels; whoever holds it can trade."""

    token: Secret
    until_ns: int  # not to be used for a new subscription after this


class _Answer(msgspec.Struct):
    error: list[str] = []
    result: Any = None


# Numbers in strings stay strings for `exact`; bare ones become Decimal, digit by digit.
_ANSWER: Final = msgspec.json.Decoder(_Answer, float_hook=Decimal)


def exact(value: Any, what: str) -> Decimal:
    """A number of an answer, from its text; raises DataError where it is none."""
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except ArithmeticError:
            number = Decimal("NaN")
        if number.is_finite() and abs(number.adjusted()) <= 40:
            return number
    raise DataError(f"{what} is {printable(str(value))!r}, which is no number.", "Ask again.")


class RestCore:
    """Requests out, answers in. It has no socket and no clock, and is told the time.

    nonce : the next nonce of the keys; keys : reads them, called at the first private call
    redactor : is told every secret that is met, and takes them out of what the venue says
    """

    def __init__(
        self,
        tier: Tier = TIERS["starter"],
        nonce: Callable[[Keys], int] | None = None,
        keys: Callable[[], Keys] | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._read_keys = keys
        self._nonce = nonce
        self._keys: Keys | None = None
        self.redactor = redactor or Redactor()
        self.who, self.advice = "Kraken", "Check the network and Kraken's status page."
        self._counter = RestCounter(tier)
        self._stopped: tuple[str, int, tuple[Said, ...]] | None = None
        self._public_next: dict[tuple[str, str], int] = {}
        self._pause_until = 0  # nobody is asked before this
        self._n_busy = 0
        self.warnings: list[str] = []

    # ---- before a call ----

    def wait_ns(self, name: str, params: Mapping[str, Any], now_ns: int) -> int:
        """Nanoseconds until the call may be made; 0: now. Raises like `request`."""
        call = allowed(name)
        pause = max(0, self._pause_until - now_ns)
        if call.private:
            self._must_not_be_stopped(now_ns)
            return max(pause, self._counter.wait_ns(name, now_ns))
        return max(pause, self._public_next.get(_public_key(name, params), 0) - now_ns)

    def counter_wait_ns(self, name: str, now_ns: int) -> int:
        """Nanoseconds that our count of the venue's counter alone makes this call wait."""
        return self._counter.wait_ns(name, now_ns) if allowed(name).private else 0

    def request(self, name: str, params: Mapping[str, Any], now_ns: int) -> Request:
        """Build one request and count it. A private one draws a nonce, so it is built to be sent.

        raises NotAllowedError, PrivateStoppedError, and SecretError where there are no keys
        """
        call = allowed(name)
        given = {key: _param(value) for key, value in params.items() if value is not None}
        if not call.private:
            self._public_next[_public_key(name, params)] = now_ns + PAUSE_NS
            return Request("GET", call.path, urlencode(given), {"User-Agent": USER_AGENT}, b"")
        self._must_not_be_stopped(now_ns)
        keys = self._private_keys()
        assert self._nonce is not None
        self._counter.charge(name, now_ns)
        nonce = str(self._nonce(keys))
        body = urlencode({"nonce": nonce, **given}).encode()
        headers = {
            "User-Agent": USER_AGENT,
            "Content-Type": "application/x-www-form-urlencoded",
            "API-Key": keys.key.reveal(),
            "API-Sign": sign(keys.secret, call.path, nonce, body),
        }
        return Request("POST", call.path, "", headers, body)

    def _private_keys(self) -> Keys:
        if self._keys is None:
            if self._read_keys is None or self._nonce is None:
                raise NotAllowedError(
                    "a private call was made where only public ones are expected.",
                    "This command uses no API keys.",
                )
            self._keys = self._read_keys()
            self.redactor.add(self._keys.key)
            self.redactor.add(self._keys.secret)
        return self._keys

    def _must_not_be_stopped(self, now_ns: int) -> None:
        if self._stopped is None:
            return
        text, until_ns, said = self._stopped
        if until_ns and now_ns >= until_ns:
            self._stopped = None
            return
        self._raise_stopped(text, until_ns, said)

    def _raise_stopped(self, text: str, until_ns: int, said: tuple[Said, ...]) -> NoReturn:
        error = PrivateStoppedError(f"private calls have stopped: {text}", _STOP_HINT)
        error.until_ns, error.said = until_ns, said
        raise error from None

    # ---- after a call ----

    def answer(self, name: str, status: int, body: bytes, now_ns: int) -> Any:
        """The `result` of an answer; numbers that stood bare are Decimal or int.

        raises BusyError, RefusedByVenueError, OutcomeUnknownError, PrivateStoppedError
        """
        call = allowed(name)
        try:
            answer = _ANSWER.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            # A page of the network in between: it never reached the venue, or its answer is lost.
            return self._not_an_answer(call, status, now_ns)
        said = tuple(self._said(text) for text in answer.error)
        self.warnings += [each.text for each in said if each.is_warning]
        errors = tuple(each for each in said if not each.is_warning)
        if errors:
            self._raise_for(call, errors, now_ns)
        if status != 200:
            return self._not_an_answer(call, status, now_ns)
        self._n_busy = 0
        return answer.result

    def failed(self, name: str, reason: str, now_ns: int) -> NoReturn:
        """There was no answer at all: `reason` is a word for people."""
        call = allowed(name)
        wait_ns = self._back_off(now_ns)
        self._raise_lost(call, f"{name} had no answer ({printable(reason)}).", wait_ns, ())

    def _said(self, text: str) -> Said:
        return parse_error(self.redactor.clean(text))

    def _not_an_answer(self, call: Call, status: int, now_ns: int) -> NoReturn:
        wait_ns = self._back_off(now_ns)
        self._raise_lost(call, f"{call.name} was answered with status {status}.", wait_ns, ())

    def _raise_lost(self, call: Call, text: str, wait_ns: int, said: tuple[Said, ...]) -> NoReturn:
        kind = OutcomeUnknownError if call.private else BusyError
        error = kind(f"{self.who} cannot be used: {text}", self.advice)
        error.said = said
        if isinstance(error, BusyError):
            error.wait_ns = wait_ns
        raise error from None

    def _back_off(self, now_ns: int) -> int:
        wait_ns = min(BACKOFF_NS << min(self._n_busy, 10), BACKOFF_MAX_NS)
        self._n_busy += 1
        self._pause_until = max(self._pause_until, now_ns + wait_ns)
        return wait_ns

    def _raise_for(self, call: Call, errors: tuple[Said, ...], now_ns: int) -> NoReturn:
        texts = ", ".join(each.text for each in errors)
        reactions = {each.reaction for each in errors}
        if Reaction.STOP in reactions:
            locked = any("lockout" in each.message for each in errors)
            until_ns = now_ns + LOCKOUT_NS if locked else 0
            text = f"{call.name} was answered with {texts}."
            self._stopped = (text, until_ns, errors)
            self._raise_stopped(text, until_ns, errors)
        if Reaction.LATER in reactions:
            if call.private:
                self._counter.refused(now_ns)
            until_ns = max(each.until_s for each in errors) * SECOND
            wait_ns = max(self._back_off(now_ns), until_ns - now_ns)
            self._pause_until = max(self._pause_until, now_ns + wait_ns)
            busy = BusyError(f"Kraken asks to slow down: {call.name} was answered with {texts}.")
            busy.said, busy.wait_ns = errors, wait_ns
            raise busy
        if Reaction.UNKNOWN in reactions:
            wait_ns = self._back_off(now_ns)
            self._raise_lost(call, f"{call.name} was answered with {texts}.", wait_ns, errors)
        refused = RefusedByVenueError(f"Kraken refused {call.name}: {texts}.")
        refused.said = errors
        raise refused


_STOP_HINT: Final = (
    "Look at the key at Kraken: its rights, and whether another program uses it. "
    "docs/howto-keys.md says what each text means."
)


def _public_key(name: str, params: Mapping[str, Any]) -> tuple[str, str]:
    # Trades and OHLC are counted per pair, everything else by address.
    return (name, str(params.get("pair", ""))) if name in ("Trades", "OHLC") else ("", "")


def _param(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        raise TypeError("a parameter is a text or an integer: a float would lose digits.")
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _is_untrusted(error: BaseException | None) -> bool:
    """Did the other side fail to prove who it is? Asking again would not change it."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def checked_url(url: str) -> str:
    """The base address: Kraken's own, or one on this machine; raises ConfigError for another.

    Keys must not go elsewhere, nor over an open line except to this machine.
    """
    parts = urlsplit(url)
    if url == REST_URL or (parts.scheme in ("http", "https") and parts.hostname in LOOPBACK):
        return url.rstrip("/")
    raise ConfigError(
        f"{url} is not an address of Kraken's REST, nor on this machine.",
        f"Use {REST_URL}, or the address that the local venue prints.",
    )


def mapping(value: Any, name: str) -> dict[str, Any]:
    """The result of a call that answers with an object; raises DataError for anything else."""
    if not isinstance(value, dict):
        raise DataError(f"Kraken's answer to {name} is not an object.", "Ask again.")
    return value


Sleep = Callable[[float], Awaitable[None]]


class Rest:
    """Carries requests and answers. Use as an async context manager.

    url : REST_URL or an address on this machine; nonce, keys, redactor : see RestCore
    ssl_context : trusts a test certificate, for addresses on this machine only
    say : (level, text) for people, where calls have to wait for long
    """

    def __init__(
        self,
        url: str = REST_URL,
        *,
        tier: Tier = TIERS["starter"],
        nonce: Callable[[Keys], int] | None = None,
        keys: Callable[[], Keys] | None = None,
        redactor: Redactor | None = None,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        ssl_context: ssl.SSLContext | None = None,
        tries: int = TRIES,
        say: Callable[[str, str], None] = lambda level, text: None,
    ) -> None:
        self._url = checked_url(url)
        self._say = say
        if ssl_context is not None and self._url == REST_URL:
            raise ConfigError(
                "another certificate authority is not accepted for Kraken's own address.",
                "Leave it out.",
            )
        self.core = RestCore(tier, nonce, keys, redactor)
        if self._url != REST_URL:
            self.core.who = "The venue on this machine"
            self.core.advice = "Is it running? `kapitaalbot venue serve` starts one."
        self._clock = clock or WallClock()
        self._sleep = sleep
        self._ssl_context = ssl_context
        self._tries = tries
        self._client: httpx.AsyncClient | None = None
        # Private calls go one after another: overtaking would turn nonces around.
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Rest:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def call(self, name: str, **params: Any) -> Any:
        """Make one call and give its `result`; waits for the counter, repeats what may be.

        All calls on the list only read, so a lost answer is asked for again, up to `tries` times.
        """
        return await self._call(name, params, lambda body, result: result)

    async def _call(
        self, name: str, params: Mapping[str, Any], view: Callable[[bytes, Any], Any]
    ) -> Any:
        private = allowed(name).private
        for left in range(self._tries - 1, -1, -1):
            try:
                if private:
                    async with self._lock:
                        body, result = await self._once(name, params)
                else:
                    body, result = await self._once(name, params)
                return view(body, result)
            except (BusyError, OutcomeUnknownError) as error:
                if private and any(each.text.startswith("EAPI:Rate limit") for each in error.said):
                    self._say("warning", f"RATE_REST: {error.message}")
                # The core has noted how long to wait; `_once` does.
                if left == 0:
                    raise
        raise AssertionError("unreachable: tries is at least one")

    async def _once(self, name: str, params: Mapping[str, Any]) -> tuple[bytes, Any]:
        told = False
        while wait_ns := self.core.wait_ns(name, params, self._clock.now()):
            if not told and self.core.counter_wait_ns(name, self._clock.now()) >= TOLD_NS:
                told = True
                self._say(
                    "warning",
                    f"RATE_REST: {name} waits {wait_ns / SECOND:.0f} s for room in the REST counter",
                )
            await self._sleep(machine_seconds(self._clock, wait_ns))
        request = self.core.request(name, params, self._clock.now())
        status, body = await self._send(name, request)
        return body, self.core.answer(name, status, body, self._clock.now())

    async def _send(self, name: str, request: Request) -> tuple[int, bytes]:
        import httpx

        client = self._connected()
        query = f"?{request.query}" if request.query else ""
        try:
            async with client.stream(
                request.method,
                f"{self._url}{request.path}{query}",
                headers=dict(request.headers),
                content=request.body or None,
            ) as response:
                parts, size = [], 0
                async for part in response.aiter_bytes():
                    size += len(part)
                    if size > BYTES_MAX:
                        raise VenueError(
                            f"the answer to {name} is longer than {BYTES_MAX} bytes.",
                            "Something other than Kraken may have answered.",
                        )
                    parts.append(part)
                return response.status_code, b"".join(parts)
        except httpx.HTTPError as error:
            reason, untrusted = type(error).__name__, _is_untrusted(error)
        if untrusted:
            raise VenueError(
                f"TLS_REFUSED: the certificate of {self._url} is not trusted.",
                "Something stands between here and there; for a local venue name its certificate.",
            )
        # Outside the except: the client's error holds the request, and with it the key.
        self.core.failed(name, reason, self._clock.now())

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            # No proxy, no certificate file and no .netrc of the environment: keys pass through.
            self._client = httpx.AsyncClient(
                timeout=TIMEOUT_S,
                trust_env=False,
                verify=self._ssl_context if self._ssl_context is not None else True,
                follow_redirects=False,
            )
        return self._client

    # ---- what we use, in our own words ----

    async def _object(self, name: str, **params: Any) -> dict[str, Any]:
        return mapping(await self.call(name, **params), name)

    async def time_ns(self) -> int:
        """The venue's clock; it tells whole seconds."""
        return int(exact((await self._object("Time")).get("unixtime"), "the venue's time")) * SECOND

    async def system_status(self) -> str:
        """online, maintenance, cancel_only or post_only."""
        return str((await self._object("SystemStatus")).get("status"))

    async def asset_pairs(self, *pairs: str) -> dict[str, dict[str, Any]]:
        """AssetPairs by the venue's key; all of them if none is named."""
        return await self._object("AssetPairs", pair=pairs or None)

    async def names(self) -> Names:
        """Every spelling of every pair."""
        return Names(await self.asset_pairs())

    async def trades(
        self, pair: str, since_ns: int, count: int = ROWS_MAX
    ) -> tuple[bytes, TradePage]:
        """One page of trades after `since_ns`: the answer's bytes, and what it says."""
        params = {"pair": pair, "since": since_ns, "count": count}
        where = f"the page of {pair} after {since_ns}"
        page: tuple[bytes, TradePage] = await self._call(
            "Trades", params, lambda body, result: (body, read_trade_page(body, where))
        )
        return page

    async def stream_token(self) -> StreamToken:
        """A fresh token for private WebSocket channels."""
        asked_ns = self._clock.now()
        result = await self._object("GetWebSocketsToken")
        token, expires_s = result.get("token"), result.get("expires")
        if not isinstance(token, str) or not token or not isinstance(expires_s, int):
            raise VenueError("Kraken's answer to GetWebSocketsToken holds no token.", "Try again.")
        found = Secret(token)
        self.core.redactor.add_token(found)
        return StreamToken(found, asked_ns + expires_s * SECOND - TOKEN_SPARE_NS)

    async def balances(self) -> dict[str, dict[str, Decimal]]:
        """Holdings by asset and how they are held ("" for plain spot), exactly."""
        found: dict[str, dict[str, Decimal]] = {}
        for key, value in (await self._object("Balance")).items():
            asset, held = holding_of_name(key)
            amounts = found.setdefault(asset, {})
            amounts[held] = amounts.get(held, Decimal(0)) + exact(value, f"balance of {key}")
        return found

    async def available(self) -> dict[str, Decimal]:
        """What may be spent of each asset held plainly: balance, credit and holds considered."""
        found: dict[str, Decimal] = {}
        for key, row in (await self._object("BalanceEx")).items():
            asset, held = holding_of_name(key)
            if held:
                continue
            row = mapping(row, f"BalanceEx of {key}")
            part = {
                name: exact(row.get(name, 0), f"{name} of {key}")
                for name in ("balance", "credit", "credit_used", "hold_trade")
            }
            found[asset] = (
                part["balance"] + part["credit"] - part["credit_used"] - part["hold_trade"]
            )
        return found
