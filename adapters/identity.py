"""Is the account that this key opens the one that this folder's sessions have traded?

The venue names the account of a key (Kraken's `GetApiKeyInfo`, `iban`). A digest of that name is
kept in the account's folder from the first session on, never the name; a new key of the same account
is welcome. Left out: what the key may do (adapters/kraken/scope.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from engine.errors import DataError, MismatchError

FILE_NAME: Final = "account.json"
FIELD: Final = "iban"


def fingerprint_of(info: Mapping[str, Any]) -> str:
    """16 hex digits of the account behind a key, from what the venue says; "" if it does not say."""
    name = info.get(FIELD)
    if not isinstance(name, str) or not name.strip():
        return ""
    told = f"kapitaalbot account {''.join(name.split()).upper()}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def known_fingerprint(folder: Path) -> str:
    """The account that this folder belongs to; "" before its first session. Raises DataError."""
    path = folder / FILE_NAME
    try:
        return str(json.loads(path.read_bytes())["account"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}.",
            "Look at it; where the key is right for this account, remove it.",
        ) from error


def must_be_the_same(folder: Path, found: str) -> None:
    """Raise MismatchError (exit 5) where the key opens another account than before."""
    known = known_fingerprint(folder)
    if known and found and known != found:
        raise MismatchError(
            f"ACCOUNT_CHANGED: the key opens another account than the sessions of {folder.name} "
            f"traded: expected={known} got={found}.",
            "Use the key of that account, or another live.account for this one.",
        )


def remember(folder: Path, found: str, write: Callable[[Path, bytes], None]) -> None:
    """From now on this folder belongs to that account. write : puts a small file on the disk"""
    if found and known_fingerprint(folder) != found:
        write(folder / FILE_NAME, json.dumps({"account": found}).encode() + b"\n")
