"""What has the log said since I last looked? Proven batches of a log that is still being written.

`LogReader` reads a log from its front each time; this keeps its place and its link in the hash
chain, so a look costs what is new. Left out: writing, recovery (log.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.flow.log import LOCK_NAME, is_log, segment_name
from engine.flow.segment import (
    ARROW_ERRORS,
    CHAIN_ZERO,
    END_OF_STREAM,
    SegmentDecoder,
    SegmentHeader,
    decode_batch,
    next_chain,
    only_zeros,
)


class LogFollower:
    """Reads on in a log, as far as it can be believed.

    `header` is that of the first segment. Raises DataError where the chain breaks; an end that is
    not whole is left for the next look.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not is_log(self.path):
            raise DataError(f"{self.path} is not an event log.", "It holds no segment *.arrows.")
        self.seq_to = -1
        self._number = 0
        self._chain = CHAIN_ZERO
        self._start = b""  # schema message of the segment
        self._offset = 0
        self._ended = True
        self.header: SegmentHeader = self._decoder(1).header

    @property
    def closed(self) -> bool:
        """All of it was read, and its writer ended it in order."""
        if not self._ended or self._number == 0 or (self.path / LOCK_NAME).exists():
            return False
        return not (self.path / segment_name(self._number + 1)).exists()

    def _decoder(self, number: int) -> SegmentDecoder:
        """For its header, which is never cut: a map of the file costs what is looked at."""
        segment = self.path / segment_name(number)
        empty = segment.stat().st_size == 0
        data = pa.py_buffer(b"") if empty else pa.memory_map(str(segment)).read_buffer()
        return SegmentDecoder(data, segment.name)

    def read(self) -> Iterator[np.ndarray]:
        """All batches that are new since the last call, as EVENT arrays."""
        while True:
            if self._ended and not self._next_segment():
                return
            yield from self._rest_of_segment()
            if not self._ended:
                return

    def _next_segment(self) -> bool:
        number = self._number + 1
        if not (self.path / segment_name(number)).exists():
            return False
        decoder = self._decoder(number)
        header = decoder.header
        if header.segment != number or header.previous != self._chain:
            raise self._broken(f"{segment_name(number)} does not continue the segment before it")
        if header.log_id != self.header.log_id:
            raise self._broken(f"{segment_name(number)} belongs to log {header.log_id!r}")
        self._number, self._chain, self._ended = number, decoder.chain, False
        self._offset = decoder.header_end
        self._start = decoder.data.slice(0, decoder.header_end).to_pybytes()
        return True

    def _rest_of_segment(self) -> Iterator[np.ndarray]:
        name = segment_name(self._number)
        data = _bytes_from(self.path / name, self._offset)
        at = 0
        if only_zeros(data, at):
            return
        source = pa.BufferReader(self._start + data.to_pybytes())
        try:
            stream = pa.ipc.open_stream(source)
        except ARROW_ERRORS as error:
            raise self._broken(f"{name} cannot be read: {error}") from error
        while not only_zeros(data, at):
            if data.slice(at).size >= 8 and data.slice(at, 8).to_pybytes() == END_OF_STREAM:
                self._ended = True
                return
            try:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                rows, chain, previous = decode_batch(batch, metadata)
            except (*ARROW_ERRORS, StopIteration) as error:
                if (self.path / segment_name(self._number + 1)).exists():
                    raise self._broken(f"{name} is damaged at byte {self._offset}") from error
                return  # it is being written
            end = source.tell() - len(self._start)
            if previous != self._chain or chain != next_chain(self._chain, rows):
                if end < data.size and only_zeros(data, end):
                    return  # it is being written, over the zeros that were there
                raise self._broken(f"{name} does not match its chain at byte {self._offset}")
            self._offset += end - at
            self._chain, at = chain, end
            self.seq_to = int(rows["seq"][-1])
            yield rows

    def _broken(self, text: str) -> DataError:
        return DataError(
            f"event log {self.path}: {text}.", "`check_log` names its first defect; cut nothing."
        )


def _bytes_from(segment: Path, offset: int) -> pa.Buffer:
    """What stands there now. Not a map: its writer cuts zeros off, and a map would end this process."""
    with segment.open("rb") as file:
        file.seek(offset)
        return pa.py_buffer(file.read())
