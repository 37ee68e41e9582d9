"""What stands in one segment of the event log? Bytes to batches and back, and the hash chain.

A segment is an Arrow IPC stream. The metadata of its schema is the header: which log, which
segment, which instruments, and the chain of the segment before. Each record batch carries the
chain before and after it, so that a batch proves itself and its place. docs/formats.md has the
layout. Left out: files, syncing, rotation (engine/flow/log.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.events import EVENT, EVENT_SCHEMA_VERSION, arrow_schema, of_column
from engine.flow.batch import batch_bytes, form_of
from engine.flow.merge import COLUMNS, columns_to_rows, words
from engine.instruments import InstrumentTable

LOG_FORMAT_VERSION: Final = 1
CHAIN_ZERO: Final = "0" * 64  # what the first segment names as the chain before it
ROWS_MAX: Final = 1 << 17  # of one batch; a larger count is damage

_VERSION_KEY: Final = b"kapitaalbot.event"
_HEADER_KEY: Final = b"kapitaalbot.log"
_START_KEY: Final = b"kapitaalbot.chain"
_MARKER: Final = b"\xff\xff\xff\xff"
_LEAST: Final = np.int64(-(1 << 63))
# The start of a batch: marker and the length of its metadata, which is far below 64 KiB.
_BATCH_START: Final = re.compile(rb"\xff{4}(?=[^\0].\0\0|.[^\0]\0\0)", re.DOTALL)
END_OF_STREAM: Final = _MARKER + b"\0\0\0\0"
# What pyarrow raises on bytes that are not what they should be.
ARROW_ERRORS: Final = (pa.ArrowException, ValueError, OSError, KeyError, MemoryError, TypeError)


def next_chain(chain: str, rows: np.ndarray) -> str:
    """sha256 over the chain so far (32 bytes) and the records (64 bytes each), hex."""
    digest = hashlib.sha256(bytes.fromhex(chain))
    digest.update(words(rows).data)
    return digest.hexdigest()


def _start(header: bytes) -> str:
    return hashlib.sha256(b"kapitaalbot.log\0" + header).hexdigest()


@dataclass(frozen=True)
class SegmentHeader:
    """What the schema metadata of a segment says."""

    log_id: str
    segment: int  # 1, 2, 3, ...
    previous: str  # chain at the end of the segment before, hex
    instruments: InstrumentTable
    config_hash: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Canonical JSON: sorted keys, no spaces. The chain of the segment starts from it."""
        fields = {
            "format": LOG_FORMAT_VERSION,
            "log_id": self.log_id,
            "segment": self.segment,
            "previous": self.previous,
            "config_hash": self.config_hash,
            "instruments": self.instruments.to_json(),
            "meta": self.meta,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    def start(self) -> str:
        """The chain before the first batch, hex."""
        return _start(self.text().encode())

    def schema(self) -> pa.Schema:
        header = {
            _VERSION_KEY: str(EVENT_SCHEMA_VERSION).encode(),
            _HEADER_KEY: self.text().encode(),
            _START_KEY: self.start().encode(),
        }
        return arrow_schema().with_metadata(header)

    @classmethod
    def from_schema(cls, schema: pa.Schema, name: str) -> SegmentHeader:
        """Read and prove the header of the segment called `name`. Raises DataError."""
        metadata = schema.metadata or {}
        version = metadata.get(_VERSION_KEY, b"").decode("utf-8", "replace")
        if version != str(EVENT_SCHEMA_VERSION):
            raise VersionError(
                f"{name} holds events of schema version {version or 'unknown'}; this program "
                f"reads version {EVENT_SCHEMA_VERSION}.",
                "Read it with the version of the program that wrote it.",
            )
        data = metadata.get(_HEADER_KEY, b"")
        if metadata.get(_START_KEY, b"") != _start(data).encode():
            raise DataError(f"{name} has a header that does not match its own hash.")
        try:
            fields = json.loads(data)
            if fields["format"] != LOG_FORMAT_VERSION:
                raise VersionError(
                    f"{name} has log format version {fields['format']}; this program reads "
                    f"version {LOG_FORMAT_VERSION}.",
                    "Read it with the version of the program that wrote it.",
                )
            header = cls(
                log_id=fields["log_id"],
                segment=fields["segment"],
                previous=fields["previous"],
                instruments=InstrumentTable.from_json(fields["instruments"]),
                config_hash=fields["config_hash"],
                meta=fields["meta"],
            )
            whole = schema.equals(header.schema(), check_metadata=True)
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise DataError(f"{name} has a header that makes no sense: {error!r}.") from error
        if not whole:
            raise DataError(f"{name} has other columns than an event has.")
        return header


class VersionError(DataError):
    """Written by another version; refused, never guessed."""


class Batch(NamedTuple):
    """One proven record batch: EVENT rows, the chain after it, where it stands in the file."""

    rows: np.ndarray
    chain: str
    offset: int
    end: int


class BatchDamage(DataError):
    """A batch that cannot be believed. `offset` is where the believable bytes end."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class SegmentEncoder:
    """Header, batches and end mark as bytes; each call returns the bytes to append."""

    def __init__(self, header: SegmentHeader) -> None:
        schema = header.schema()
        self.header_bytes = schema.serialize().to_pybytes()
        self.chain = header.start()

    def encode(self, rows: np.ndarray) -> bytes:
        """The bytes of one batch, EVENT[1 .. ROWS_MAX]; `chain` moves on to what it names."""
        chain = next_chain(self.chain, rows)
        texts = {
            "rows": str(len(rows)),
            "seq": str(int(rows["seq"][0])),
            "previous": self.chain,
            "chain": chain,
        }
        form = form_of(len(texts["rows"]), len(texts["seq"]))
        data = batch_bytes(rows, texts) if form is None else form.fill(rows, texts)
        self.chain = chain
        return data

    def end(self) -> bytes:
        return END_OF_STREAM


class SegmentDecoder:
    """Reads one segment from memory (usually a memory map), proving each batch.

    Raises DataError (VersionError for another version) when the header cannot be believed.
    """

    def __init__(self, data: pa.Buffer, name: str) -> None:
        self.name = name
        self.data = data
        self.size = data.size
        self._source = pa.BufferReader(data)
        if self.size == 0:
            raise DataError(f"{name} is empty: its header was never written.")
        try:
            self._reader = pa.ipc.open_stream(self._source)
        except ARROW_ERRORS as error:
            raise DataError(f"{name} does not begin with an Arrow stream: {error}") from error
        self.header = SegmentHeader.from_schema(self._reader.schema, name)
        self.header_end: int = self._source.tell()
        self.chain = self.header.start()
        self.closed = False

    def batches(self) -> Iterator[Batch]:
        """All batches in order, proven. Sets `closed` if the end mark stands where it should.

        Zeros up to the end of the file are room that was not used. Raises BatchDamage at the first
        byte that cannot be believed.
        """
        offset = self.header_end
        i_batch = 0
        while True:
            if offset == self.size:
                return
            prefix = self.data.slice(offset, min(8, self.size - offset)).to_pybytes()
            if only_zeros(self.data, offset):
                return
            if prefix == END_OF_STREAM:
                if not only_zeros(self.data, offset + 8):
                    raise BatchDamage(
                        f"{self.name} goes on for {self.size - offset - 8} bytes after its end mark",
                        offset + 8,
                    )
                self.closed = True
                return
            if len(prefix) < 8 or prefix[:4] != _MARKER:
                raise BatchDamage(
                    f"{self.name} has no batch at byte {offset}, where one should begin", offset
                )
            try:
                batch, metadata = self._reader.read_next_batch_with_custom_metadata()
                rows, chain, previous = decode_batch(batch, metadata)
            except (*ARROW_ERRORS, StopIteration) as error:
                reason = str(error).partition("\n")[0] or type(error).__name__
                raise BatchDamage(
                    f"{self.name}: batch {i_batch} at byte {offset} cannot be read: {reason}",
                    offset,
                ) from error
            end = self._source.tell()
            if previous != self.chain or chain != next_chain(self.chain, rows):
                raise BatchDamage(
                    f"{self.name}: batch {i_batch} at byte {offset} does not match its chain",
                    offset,
                )
            self.chain = chain
            yield Batch(rows, chain, offset, end)
            offset = end
            i_batch += 1


def only_zeros(data: pa.Buffer, offset: int) -> bool:
    """Does nothing but zeros stand from `offset` on?"""
    if any(data.slice(min(offset, data.size), min(8, max(data.size - offset, 0))).to_pybytes()):
        return False
    return offset >= data.size or not np.frombuffer(data, np.uint8, offset=offset).any()


def find_later(data: pa.Buffer, offset: int) -> Batch | None:
    """The first batch at or beyond `offset` that proves itself: the chain that it names follows
    from the chain before and its records. So a damaged middle is told from a torn end.

    Needs no header, since all segments have the same columns.
    """
    for match in _BATCH_START.finditer(memoryview(data), offset):
        at = match.start()
        parsed = parse_batch(data.slice(at))
        if parsed is None:
            continue
        try:
            rows, chain, previous = decode_batch(parsed[0], parsed[1])
        except ARROW_ERRORS:
            continue
        if chain == next_chain(previous, rows):
            return Batch(rows, chain, at, at + parsed[2])
    return None


def rows_announced(data: pa.Buffer, offset: int) -> int | None:
    """How many records the batch at `offset` says it has, though its body is cut off."""
    if not _BATCH_START.match(memoryview(data), offset):
        return None
    # The sizes stand before the body: zeros in place of what is missing let Arrow parse them.
    for n_missing in (1 << 16, ROWS_MAX * EVENT.itemsize + 4096):
        parsed = parse_batch(pa.py_buffer(data.slice(offset).to_pybytes() + bytes(n_missing)))
        if parsed is not None:
            rows = parsed[1].get(b"rows", b"")
            return int(rows) if rows.isdigit() else None
    return None


def parse_batch(data: pa.Buffer) -> tuple[pa.RecordBatch, dict[bytes, bytes], int] | None:
    """The batch at the start of `data`, its metadata and its length in bytes, if it is one."""
    source = pa.BufferReader(data)
    try:
        pa.ipc.read_message(source)  # moves the source to the end of the message
        stream = arrow_schema().serialize().to_pybytes() + data.slice(0, source.tell()).to_pybytes()
        batch, metadata = pa.ipc.open_stream(stream).read_next_batch_with_custom_metadata()
    except (*ARROW_ERRORS, StopIteration, EOFError):
        return None
    return batch, dict(metadata or {}), source.tell()


def decode_batch(batch: pa.RecordBatch, metadata: Any) -> tuple[np.ndarray, str, str]:
    """EVENT rows, chain after and chain before of a batch as Arrow read it. Raises ValueError."""
    batch.validate()
    texts = {key.decode(): value.decode() for key, value in dict(metadata or {}).items()}
    missing = {"version", "rows", "seq", "previous", "chain"} - texts.keys()
    if missing:
        raise ValueError(f"its metadata lacks {', '.join(sorted(missing))}")
    if texts["version"] != str(EVENT_SCHEMA_VERSION):
        raise ValueError(f"it names schema version {texts['version']}")
    if len(texts["chain"]) != 64 or len(bytes.fromhex(texts["previous"])) != 32:
        raise ValueError("its chain is not 32 bytes in hex")
    if not 0 < batch.num_rows <= ROWS_MAX or str(batch.num_rows) != texts["rows"]:
        raise ValueError(f"it holds {batch.num_rows} records and names {texts['rows']}")
    if any(column.null_count for column in batch.columns):
        raise ValueError("it holds empty values")
    rows = np.empty(batch.num_rows, EVENT)
    columns = [
        of_column(column, EVENT[name]) for column, name in zip(batch.columns, COLUMNS, strict=True)
    ]
    n_ordered = columns_to_rows(rows, *columns, _LEAST, _LEAST)
    if n_ordered < len(rows):
        raise ValueError(f"its record {n_ordered} is out of order")
    return rows, texts["chain"], texts["previous"]
