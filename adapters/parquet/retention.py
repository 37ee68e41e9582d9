"""What may leave a store, by age and size? A plan first, whole captures or whole channels of them.

`plan_retention` says what a policy would delete and touches nothing; `apply_retention` does it, each
deletion recorded (deletions.py). Captures that hold orders, fills or balances are never chosen, nor
what is named to be kept. A channel goes by writing the capture again without it, so that what stays
is still proven whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapters.parquet.compact import rewrite
from adapters.parquet.deletions import delete_capture, finish
from adapters.parquet.manifest import Manifest, capture_ids, read_manifest
from adapters.parquet.store import Store, need_store
from engine.errors import ConfigError

DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class Policy:
    """older_ns : delete what ended longer ago; bytes_max : then the oldest until so much is left

    channel : only this channel of the captures; keep : ids that stay, or how they begin
    At least one of age and size must be given; 0 is none.
    """

    older_ns: int = 0
    bytes_max: int = 0
    channel: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """One capture that the policy looked at. goes : would be deleted; why : either way, in words"""

    manifest: Manifest
    n_bytes: int
    goes: bool
    why: str


def plan_retention(url: str | Path, policy: Policy, now: int) -> list[Choice]:
    """Every capture, oldest first, and what the policy means for it."""
    if not policy.older_ns and not policy.bytes_max:
        raise ConfigError(
            "a policy needs an age or a size.", "Give --older-than, --larger-than, or both."
        )
    store = Store(url)
    need_store(store)
    found = [read_manifest(store, each) for each in capture_ids(store)]
    found.sort(key=lambda each: (each.ts_last, each.capture_id))
    sizes = {each.capture_id: _bytes(each, policy.channel) for each in found}
    total = sum(sizes.values())
    choices = []
    for each in found:
        n_bytes = sizes[each.capture_id]
        stays = _stays(each, n_bytes, policy)
        age = now - each.ts_last
        too_old = policy.older_ns and age > policy.older_ns
        too_much = policy.bytes_max and total > policy.bytes_max
        if stays:
            choices.append(Choice(each, n_bytes, False, stays))
        elif too_old or too_much:
            why = (
                f"ended {age / DAY_NS:,.1f} days ago"
                if too_old
                else f"the store holds {total / 1e9:,.3f} GB"
            )
            choices.append(Choice(each, n_bytes, True, why))
            total -= n_bytes
        else:
            choices.append(Choice(each, n_bytes, False, "young enough, and there is room"))
    return choices


def _stays(manifest: Manifest, n_bytes: int, policy: Policy) -> str:
    if any(manifest.capture_id.startswith(each) for each in policy.keep):
        return "named to be kept"
    if "account" in manifest.channels or any(each.channel == "account" for each in manifest.files):
        return "holds orders or fills, which are never deleted"
    if policy.channel and n_bytes == 0:
        return f"has no {policy.channel}"
    return ""


def _bytes(manifest: Manifest, channel: str) -> int:
    return sum(each.bytes for each in manifest.files if channel in ("", each.channel))


def apply_retention(
    url: str | Path,
    policy: Policy,
    now: int,
    talk: Callable[[str], None] = lambda _: None,
) -> list[Choice]:
    """Do what `plan_retention` says; returns what went."""
    store = Store(url)
    done = []
    for each in plan_retention(url, policy, now):
        if not each.goes:
            continue
        manifest, why = each.manifest, f"retention: {each.why}"
        if policy.channel:
            capture_id = _new_id(store, manifest.capture_id, policy.channel)
            rewrite(url, (manifest,), capture_id, without=frozenset((policy.channel,)))
            delete_capture(store, manifest, f"{why}, channel {policy.channel}", now, by=capture_id)
            talk(f"{manifest.capture_id} is now {capture_id}, without {policy.channel}.")
        else:
            delete_capture(store, manifest, why, now)
            talk(f"deleted {manifest.capture_id}: {each.why}.")
        done.append(each)
    left = finish(store)
    if left:
        talk(f"removed {left} files that an earlier deletion had left.")
    return done


def _new_id(store: Store, capture_id: str, channel: str) -> str:
    stem = f"{capture_id}-no-{channel}"
    taken, name, n = set(capture_ids(store)), stem, 1
    while name in taken:
        n += 1
        name = f"{stem}-{n}"
    return name
