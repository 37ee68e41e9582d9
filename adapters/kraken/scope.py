"""What may this key do, and is that what it is for? Asked before a session, and once a day.

A key that can move money away is refused for live trading, whatever else is right: a leak of it would
be the end of the account. A key that any address may use, or that is about to expire, is said. The
venue's names of rights are not published in full: one that is not known is shown, never guessed at.

Left out: the key's secret and how it is kept (keys.py).
Source: Kraken, REST "Get API key info".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from adapters.kraken.errors import printable
from adapters.kraken.phases import SECOND
from adapters.kraken.rest import Rest, exact, mapping
from engine.errors import SecretError

CALL: Final = "GetApiKeyInfo"
SOON_NS: Final = 14 * 86_400 * SECOND
_HOWTO: Final = "Make another key at Kraken; docs/howto-keys.md says with which rights."
Verdict = Literal["ok", "warn", "wrong"]
Purpose = Literal["trade", "watch", "kill"]

# Rights as sets of words, since their order and joints differ between Kraken's pages.
_MONEY_AWAY: Final = {
    frozenset(("withdraw", "funds")): "withdraw funds",
    frozenset(("transfer", "funds")): "transfer funds",
    frozenset(("earn", "funds")): "lock funds away in Earn",
    frozenset(("add", "funds")): "open deposit addresses",
}
_QUERIES: Final = {
    frozenset(("query", "funds")): "Query funds",
    frozenset(("query", "open", "trades")): "Query open orders and trades",
}
_CLOSED: Final = {frozenset(("query", "closed", "trades")): "Query closed orders and trades"}
_MODIFY: Final = {frozenset(("modify", "trades")): "Create and modify orders"}
_CANCEL: Final = {frozenset(("close", "trades")): "Cancel and close orders"}
_NEEDS: Final[dict[str, dict[frozenset[str], str]]] = {
    "trade": {**_QUERIES, **_CLOSED, **_MODIFY, **_CANCEL},
    "watch": {**_QUERIES, **_CLOSED},
    "kill": {frozenset(("query", "open", "trades")): "Query open orders and trades", **_CANCEL},
}
_HARMLESS: Final = (
    frozenset(("query", "ledger")),
    frozenset(("export", "data")),
    frozenset(("access", "websockets")),
)


@dataclass(frozen=True)
class Finding:
    """One thing about a key. wrong : it must not be used for this; warn : a person should know."""

    name: str
    verdict: Verdict
    text: str
    advice: str = ""


async def key_info(rest: Rest) -> Mapping[str, Any]:
    """What the venue says about the key of `rest`; raises as Rest does."""
    return mapping(await rest.call(CALL), CALL)


def findings_of(
    info: Mapping[str, Any], now: int, purpose: Purpose = "trade", *, any_address: bool = False
) -> list[Finding]:
    """What the venue's answer means; `now` in ns. Raises DataError for a time that is no number.

    any_address : a person has accepted a key without an allow-list of addresses
    """
    said = _field(info, "permissions")
    rights = [str(each) for each in said] if isinstance(said, list) else []
    found = [_rights_finding(rights)]
    words = {frozenset(each.replace("_", "-").lower().split("-")): each for each in rights}
    for right, what in _MONEY_AWAY.items():
        if right in words:
            found.append(
                Finding(
                    "money", "wrong", f"the key may {what}.",
                    f"A key that trades needs no such right. {_HOWTO}",
                )
            )  # fmt: skip
    if purpose == "kill" and frozenset(("modify", "trades")) in words:
        found.append(
            Finding("kill", "warn", "the key of the kill switch may also place orders.", _HOWTO)
        )
    known = {*_MONEY_AWAY, *_HARMLESS, *(each for needs in _NEEDS.values() for each in needs)}
    unknown = [printable(words[each]) for each in words if each not in known]
    missing = [what for right, what in _NEEDS[purpose].items() if right not in words]
    if missing:
        # A name that we do not know may be the one that is missing.
        verdict: Verdict = "warn" if unknown else "wrong"
        found.append(Finding("rights", verdict, f"the key lacks: {', '.join(missing)}.", _HOWTO))
    if unknown:
        text = f"the key has rights that are not known here: {', '.join(unknown)}."
        found.append(Finding("rights", "warn", text, "Look at the key at Kraken."))
    found.append(_addresses(info, any_address))
    found.append(_expiry(info, now))
    window = exact(_field(info, "nonceWindow") or 0, "the nonce window")
    if window:
        text = f"the key takes nonces that are {window:f} too old."
        found.append(
            Finding("nonce", "warn", text, "Set its nonce window to 0: ours always rises.")
        )
    return found


def require(findings: Iterable[Finding]) -> None:
    """Raise SecretError for what is wrong, all of it in one message."""
    wrong = [each for each in findings if each.verdict == "wrong"]
    if wrong:
        texts = " ".join(each.text for each in wrong)
        raise SecretError(f"the API key cannot be used for this: {texts}", wrong[0].advice)


def _rights_finding(rights: list[str]) -> Finding:
    if not rights:
        return Finding("rights", "wrong", "the venue names no right of this key.", _HOWTO)
    shown = ", ".join(printable(each) for each in rights)
    return Finding("rights", "ok", f"the key has: {shown}.")


def _addresses(info: Mapping[str, Any], any_address: bool) -> Finding:
    allowed = _field(info, "ipAllowlist")
    if isinstance(allowed, list) and allowed:
        return Finding("addresses", "ok", f"{len(allowed)} addresses may use the key.")
    return Finding(
        "addresses",
        "warn" if any_address else "wrong",
        "any address may use the key.",
        "Give it an allow-list of addresses at Kraken, or accept the risk once and for this key.",
    )


def _expiry(info: Mapping[str, Any], now: int) -> Finding:
    until = int(exact(_field(info, "validUntil") or 0, "the key's expiry")) * SECOND
    if not until:
        return Finding("expiry", "ok", "the key does not expire.")
    left = until - now
    days = left / (86_400 * SECOND)
    if left <= 0:
        return Finding("expiry", "wrong", "the key has expired.", _HOWTO)
    if left < SOON_NS:
        return Finding("expiry", "warn", f"the key expires in {days:.1f} days.", _HOWTO)
    return Finding("expiry", "ok", f"the key expires in {days:.0f} days.")


def _field(info: Mapping[str, Any], name: str) -> Any:
    """A field under either of its spellings, `ipAllowlist` or `ip_allowlist`."""
    if name in info:
        return info[name]
    snake = "".join(f"_{each.lower()}" if each.isupper() else each for each in name)
    return info.get(snake)
