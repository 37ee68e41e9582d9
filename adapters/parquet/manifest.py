"""What is in a capture, and can it be believed? The manifest: one JSON file per capture.

It is written last, so a capture without one does not exist for a reader. It names every data file
with its hash, and itself carries a hash over all it says. Left out: reading the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from adapters.parquet.store import MANIFESTS, Store, data_path, manifest_path, need_store
from engine.errors import ConfigError, DataError
from engine.events import (
    BOOK_LEVEL,
    CANDLE,
    EVENT_SCHEMA_VERSION,
    GAP_BACKWARDS,
    GAP_CHECKSUM,
    GAP_CROSSED,
    GAP_DISCONNECT,
    GAP_DROPPED,
    GAP_SOURCE,
    INSTRUMENT,
    KIND_NAMES,
    L3_ADD,
    L3_DELETE,
    L3_MODIFY,
    ORDER_SENT,
    TICKER,
    TRADE,
)
from engine.instruments import InstrumentTable

MANIFEST_VERSION: Final = 1

CHANNELS: Final = (
    "book",
    "level3",
    "trade",
    "ticker",
    "candle",
    "instrument",
    "account",
    "status",
)
_CHANNEL_OF: Final[dict[int, str]] = {
    BOOK_LEVEL: "book",
    L3_ADD: "level3",
    L3_MODIFY: "level3",
    L3_DELETE: "level3",
    TRADE: "trade",
    TICKER: "ticker",
    CANDLE: "candle",
    INSTRUMENT: "instrument",
}
_FIRST_OF_ACCOUNT: Final = ORDER_SENT
_LAST_OF_ACCOUNT: Final = 39  # orders and balances; modes and operators follow from 40

GAP_CAUSES: Final[dict[int, str]] = {
    GAP_DISCONNECT: "disconnect",
    GAP_CHECKSUM: "checksum",
    GAP_DROPPED: "dropped",
    GAP_SOURCE: "source",
    GAP_CROSSED: "crossed",
    GAP_BACKWARDS: "backwards",
}
EPOCH_STATUS: Final = {1: "valid", 2: "degraded", 3: "invalid", 4: "closed"}


def channel_of_kind(kind: int) -> str:
    """The channel that events of a kind are stored under; connections, gaps, modes: status."""
    if _FIRST_OF_ACCOUNT <= kind <= _LAST_OF_ACCOUNT:
        return "account"
    return _CHANNEL_OF.get(kind, "status")


class ChannelLike(Protocol):
    """What a source says about one kind of its data."""

    @property
    def name(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def derived(self) -> bool: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...


class _Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of a manifest: immutable, and an unknown field is an error."""


class Channel(_Facts, frozen=True):
    """One kind of data. As an argument of the writer, and as the answer of the manifest.

    name : one of CHANNELS; depth : levels a side that the venue sent, 0 = the whole book
    derived : computed from another feed; symbols : which pairs, empty = all of the capture
    """

    name: str
    depth: int = 0
    derived: bool = False
    symbols: tuple[str, ...] = ()


class ChannelFacts(_Facts, frozen=True):
    """A channel over all symbols: depths (symbol -> levels a side, 0 = whole), derived symbols."""

    depths: dict[str, int]
    derived: tuple[str, ...] = ()


class Checksums(_Facts, frozen=True):
    """Messages of one symbol and channel by verdict; crossed ones as the writer counted them."""

    channel: str
    symbol: str
    verified: int = 0
    failed: int = 0
    unchecked: int = 0  # carried a checksum that nobody compared
    absent: int = 0  # carried none
    crossed: int = 0  # left a trusted book crossed


class Gap(_Facts, frozen=True):
    """A stretch in which something is missing; symbol "" means all. Times in ns."""

    seq: int
    symbol: str
    ts_from: int
    ts_to: int
    cause: str
    note: str = ""


class Epoch(_Facts, frozen=True):
    """From `seq` on the capture has this status (valid, degraded, invalid, closed)."""

    seq: int
    ts: int
    number: int
    status: str
    verdict: str = ""


class DataFile(_Facts, frozen=True):
    """One Parquet file; path relative to the store, times in ns, both ends included."""

    path: str
    channel: str
    symbol: str
    date: str
    rows: int
    seq_first: int
    seq_last: int
    ts_first: int
    ts_last: int
    bytes: int
    sha256: str


class Manifest(_Facts, frozen=True):
    """Everything that is known about a capture without reading its data."""

    manifest_version: int
    schema_version: int
    capture_id: str
    venue: str
    source: str
    software: str
    clock: str  # a sentence: what ts and ts_venue are
    ts_is_receive_time: bool
    ts_venue_known: bool
    instruments: list[dict[str, Any]]
    channels: dict[str, ChannelFacts]
    n_events: int
    seq_first: int
    seq_last: int
    ts_first: int
    ts_last: int
    kinds: dict[str, int]  # events per kind
    events_sha256: str  # over all records in order: the same however they are stored
    epochs: tuple[Epoch, ...]
    gaps: tuple[Gap, ...]
    checksums: tuple[Checksums, ...]
    files: tuple[DataFile, ...]
    notes: tuple[str, ...] = ()
    licence: str = ""
    account: dict[str, Any] = {}  # of an import: rows read, used, rejected
    digest: str = ""

    def table(self) -> InstrumentTable:
        return InstrumentTable.from_json(self.instruments)

    @property
    def has_timers(self) -> bool:
        return "timer" in self.kinds

    def sealed(self) -> Manifest:
        """The same manifest with its digest: sha256 over its canonical JSON without the digest."""
        bare = msgspec.structs.replace(self, digest="")
        digest = hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
        return msgspec.structs.replace(bare, digest=digest)

    def to_json(self) -> bytes:
        """Readable JSON with sorted keys, as it stands in the store."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1) + b"\n"


_PARSE_ERRORS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Versions(msgspec.Struct):
    """Read first, and tolerant: another version has other fields."""

    manifest_version: int = 0
    schema_version: int = 0


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read and prove a manifest. Raises DataError that names the place and the defect."""
    try:
        versions = msgspec.json.decode(data, type=_Versions)
    except _PARSE_ERRORS as error:
        raise DataError(
            f"{where} is not a manifest: {error}.", "Capture or import it again."
        ) from error
    read = (versions.manifest_version, versions.schema_version)
    if read != (MANIFEST_VERSION, EVENT_SCHEMA_VERSION):
        raise DataError(
            f"{where} has manifest version {read[0]} and schema version {read[1]}; this program "
            f"reads {MANIFEST_VERSION} and {EVENT_SCHEMA_VERSION}.",
            "Read it with the version of the program that wrote it, or import the source again.",
        )
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except _PARSE_ERRORS as error:
        raise DataError(f"{where} is damaged: {error}.", "Capture or import it again.") from error
    if manifest.sealed().digest != manifest.digest:
        raise DataError(
            f"{where} was altered: it does not match its own digest.",
            "Restore it from a copy, or capture or import it again.",
        )
    _hold_together(manifest, where)
    return manifest


def _hold_together(manifest: Manifest, where: str) -> None:
    """Refuse instruments that make no sense, unknown names, and paths outside their place."""
    try:
        symbols = {"", *manifest.table().symbols}
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise DataError(
            f"{where} has an instrument that makes no sense: {error!r}.", "Import it again."
        ) from error
    named = {each.symbol for each in manifest.files} | {each.symbol for each in manifest.gaps}
    named.update(
        (each.symbol for each in manifest.checksums),
        *(facts.depths for facts in manifest.channels.values()),
    )
    if named - symbols:
        raise DataError(
            f"{where} names {', '.join(sorted(named - symbols))}, which its instrument table lacks.",
            "Import it again.",
        )
    for file in manifest.files:
        expected = data_path(
            manifest.venue, file.channel, file.symbol, file.date, manifest.capture_id
        )
        if file.channel not in CHANNELS or file.path != expected:
            raise DataError(
                f"{where} names the file {file.path}, which is not the place of what it should "
                f"hold ({expected}).",
                "Import it again.",
            )


def read_manifest(store: Store, capture_id: str) -> Manifest:
    """The manifest of a capture by its full id."""
    path = manifest_path(capture_id)
    if not store.exists(path):
        known = ", ".join(capture_ids(store)) or "none"
        raise DataError(
            f"the store {store.url} has no capture {capture_id!r}.", f"It holds: {known}."
        )
    manifest = parse_manifest(store.read(path), store.full(path))
    if manifest.capture_id != capture_id:
        raise DataError(
            f"{store.full(path)} is the manifest of capture {manifest.capture_id!r}.",
            "A manifest keeps the name that it was written with: rename it back.",
        )
    return manifest


def capture_ids(store: Store) -> list[str]:
    """Ids of all captures of a store, sorted."""
    names = store.names(MANIFESTS)
    return [name[:-5] for name in names if name.endswith(".json") and not name.startswith(".")]


def list_captures(url: str | Path) -> list[Manifest]:
    """The manifests of a store in the order of their ids. Raises DataError for a damaged one."""
    store = Store(url)
    need_store(store)
    return [read_manifest(store, each) for each in capture_ids(store)]


def find_capture(store: Store, wanted: str | None) -> Manifest:
    """One capture by id, by the beginning of its id, by its first UTC day, or "latest".

    None means the only one there is. Two that fit are refused, and both are named.
    """
    need_store(store)
    ids = capture_ids(store)
    if wanted in ids:
        assert wanted is not None
        return read_manifest(store, wanted)
    if not ids:
        raise DataError(f"the store {store.url} holds no capture.", "Import or capture one first.")
    if wanted == "latest":
        return max(
            (read_manifest(store, each) for each in ids),
            key=lambda each: (each.ts_last, each.capture_id),
        )
    fitting = [each for each in ids if wanted is None or each.startswith(wanted)]
    if not fitting and wanted is not None:
        fitting = [each for each in ids if wanted in _days(read_manifest(store, each))]
    if len(fitting) == 1:
        return read_manifest(store, fitting[0])
    if not fitting:
        raise DataError(
            f"the store {store.url} has no capture {wanted!r}.", f"It holds: {', '.join(ids)}."
        )
    asked = "no capture was named" if wanted is None else f"{wanted!r} is not one capture"
    raise ConfigError(
        f"{asked}: the store {store.url} has {', '.join(fitting)}.", "Give the id of one of them."
    )


def _days(manifest: Manifest) -> set[str]:
    return {each.date for each in manifest.files}


def merge_channels(
    channels: Iterable[ChannelLike], symbols: tuple[str, ...]
) -> dict[str, ChannelFacts]:
    """Channels as a source lists them to one entry per name."""
    merged: dict[str, ChannelFacts] = {}
    for each in channels:
        if each.name not in CHANNELS:
            raise ConfigError(
                f"there is no channel {each.name!r}.", f"Channels are {', '.join(CHANNELS)}."
            )
        covered = each.symbols or symbols
        before = merged.get(each.name, ChannelFacts(depths={}))
        merged[each.name] = ChannelFacts(
            depths={**before.depths, **dict.fromkeys(covered, each.depth)},
            derived=(*before.derived, *(covered if each.derived else ())),
        )
    return merged


def gap_of_row(row: np.void, instruments: InstrumentTable, note: str = "") -> Gap:
    """A GAP event as the manifest says it."""
    sym = int(row["sym"])
    return Gap(
        seq=int(row["seq"]),
        symbol="" if sym < 0 else instruments[sym].symbol,
        ts_from=int(row["aux"]),
        ts_to=int(row["ts"]),
        cause=GAP_CAUSES[int(row["id"])],
        note=note,
    )


def epoch_of_row(row: np.void, verdict: str = "") -> Epoch:
    """An EPOCH event as the manifest says it."""
    return Epoch(
        seq=int(row["seq"]),
        ts=int(row["ts"]),
        number=int(row["id"]),
        status=EPOCH_STATUS[int(row["aux"])],
        verdict=verdict,
    )


def kind_names(counts: dict[int, int]) -> dict[str, int]:
    return {KIND_NAMES[kind]: n for kind, n in sorted(counts.items())}
