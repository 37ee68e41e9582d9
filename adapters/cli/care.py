"""Commands of `kapitaalbot data` that keep a store in order: gaps, compact, retain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.capture import parse_duration
from adapters.cli.options import CaptureId, JsonFlag, QuietFlag
from adapters.cli.output import say, write_json, write_table
from adapters.cli.progress import ProgressReport
from engine.errors import ConfigError

if TYPE_CHECKING:
    from adapters.parquet.manifest import Manifest

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(kB|MB|GB|TB)")
_BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

StoreName = Annotated[
    str, typer.Argument(metavar="[STORE]", help="Cold store: a folder or an address.")
]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without this it is only shown.")]


def parse_size(text: str) -> int:
    """`100GB` as bytes; raises ConfigError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is not a size.", "Write it as in 500MB, 100GB or 1.5TB.")
    return int(float(found[1]) * _BYTES[found[2]])


def _wanted(store: str, capture_id: str | None) -> list[Manifest]:
    from adapters.parquet.manifest import find_capture, list_captures
    from adapters.parquet.store import Store

    return list_captures(store) if capture_id is None else [find_capture(Store(store), capture_id)]


def gaps(
    store: StoreName = "store",
    capture_id: CaptureId = None,
    outages: Annotated[
        bool,
        typer.Option(
            "--outages", help="Per channel, until its data counted again (own captures only)."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the gaps of captures: where something is missing, for how long, and why.

    A gap is said when the loss is noticed; an outage ends where the channel's data counts again.
    Example: kapitaalbot data gaps datasets/sample
    """
    import msgspec

    from engine.clock import utc_text

    found: list[dict[str, Any]] = []
    for manifest in _wanted(store, capture_id):
        if outages:
            given = [{"note": ""} | each for each in manifest.account.get("outages", [])]
        else:
            given = [msgspec.to_builtins(gap) for gap in manifest.gaps]
        found += [{"capture": manifest.capture_id, "channel": ""} | each for each in given]
    if as_json:
        write_json("data.gaps", {"store": store, "gaps": found})
        return
    if not found:
        say("no outages." if outages else "no gaps.")
        return
    write_table(
        ("capture", "symbol", "channel", "from", "to", "seconds", "cause", "note"),
        [
            (
                each["capture"],
                each["symbol"] or "all",
                each["channel"] or "all",
                utc_text(each["ts_from"]),
                utc_text(each["ts_to"]),
                f"{(each['ts_to'] - each['ts_from']) / 1e9:,.3f}",
                each["cause"],
                each["note"],
            )
            for each in found
        ],
    )


def compact(
    store: StoreName = "store",
    by: Annotated[
        str, typer.Option(metavar="day|lineage", help="What becomes one capture.")
    ] = "day",
    apply: Apply = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Join the parts of a recording into one capture a day, proven before the parts go.

    Shows what it would do; --apply does it. Example: kapitaalbot data compact store --apply
    """
    from adapters.parquet.compact import compact as join
    from adapters.parquet.compact import plan
    from engine.clock import WallClock

    if by not in ("day", "lineage"):
        raise ConfigError(f"--by {by!r} is not known.", "Use day or lineage.")
    joints = plan(store, by)
    made: list[dict[str, Any]] = []
    for joint in joints:
        facts: dict[str, Any] = {
            "capture": joint.capture_id,
            "parts": [each.capture_id for each in joint.parts],
            "files": joint.n_files,
            "events": joint.n_events,
            "bytes": joint.n_bytes,
        }
        if apply:
            with ProgressReport("compact", "events", quiet) as shown:
                done = join(
                    store,
                    joint,
                    WallClock().now(),
                    lambda n, total=joint.n_events: shown.update(n, total),  # type: ignore[misc]
                )
            facts |= {
                "files_after": len(done.files),
                "bytes_after": sum(each.bytes for each in done.files),
            }
        made.append(facts)
    if as_json:
        write_json("data.compact", {"store": store, "applied": apply, "joints": made})
        return
    if not made:
        say("nothing to join: no parts of one recording follow each other.")
        return
    write_table(
        ("capture", "parts", "events", "files", "MB", "files after", "MB after"),
        [
            (
                each["capture"],
                len(each["parts"]),
                each["events"],
                each["files"],
                round(each["bytes"] / 1e6, 1),
                each.get("files_after"),
                round(each["bytes_after"] / 1e6, 1) if "bytes_after" in each else None,
            )
            for each in made
        ],
    )
    if not apply:
        say("nothing was changed: --apply does it.")


def retain(
    store: StoreName = "store",
    older_than: Annotated[
        str | None, typer.Option(help="What ended longer ago, as in 90d.", show_default=False)
    ] = None,
    larger_than: Annotated[
        str | None,
        typer.Option(
            help="The oldest, until the store is smaller, as in 100GB.", show_default=False
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(help="Only this channel of the captures, as in level3.", show_default=False),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="Captures that stay, by id or how it begins.", show_default=False),
    ] = None,
    apply: Apply = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete old captures, or a channel of them, by age or size. Never orders or fills.

    Shows what it would do; --apply does it, and each deletion is recorded in the store. Example:
    kapitaalbot data retain store --older-than 90d --channel level3
    """
    from adapters.parquet.manifest import CHANNELS
    from adapters.parquet.retention import Policy, apply_retention, plan_retention
    from engine.clock import WallClock, utc_text

    if channel is not None and (channel not in CHANNELS or channel in ("status", "account")):
        raise ConfigError(
            f"--channel {channel!r} cannot be deleted by itself.",
            f"Use one of {', '.join(c for c in CHANNELS if c not in ('status', 'account'))}.",
        )
    policy = Policy(
        older_ns=int(parse_duration(older_than) * 1e9) if older_than else 0,
        bytes_max=parse_size(larger_than) if larger_than else 0,
        channel=channel or "",
        keep=tuple(filter(None, (each.strip() for each in (keep or "").split(",")))),
    )
    now = WallClock().now()
    choices = plan_retention(store, policy, now)
    if apply:
        apply_retention(store, policy, now, (lambda text: None) if as_json else say)
    rows: list[dict[str, Any]] = [
        {
            "capture": each.manifest.capture_id,
            "ended": utc_text(each.manifest.ts_last),
            "bytes": each.n_bytes,
            "goes": each.goes,
            "why": each.why,
        }
        for each in choices
    ]
    if as_json:
        write_json("data.retain", {"store": store, "applied": apply, "captures": rows})
        return
    verdict = "deleted" if apply else "would go"
    write_table(
        ("capture", "ended", "MB", "verdict", "why"),
        [
            (
                each["capture"],
                each["ended"],
                round(each["bytes"] / 1e6, 1),
                verdict if each["goes"] else "stays",
                each["why"],
            )
            for each in rows
        ],
    )
    if not apply and any(each["goes"] for each in rows):
        say("nothing was deleted: --apply does it.")
