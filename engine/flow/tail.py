"""How is a log read that is still being written? Batch by batch, proven, from where one stopped.

`LogTail.poll` gives what was flushed since the last time. A batch that is not whole yet waits for the
next poll; one that is whole and does not continue the chain is damage. Left out: who writes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.flow.segment import (
    ARROW_ERRORS,
    CHAIN_ZERO,
    END_OF_STREAM,
    SegmentDecoder,
    SegmentHeader,
    decode_batch,
    next_chain,
    parse_batch,
)


class LogTail:
    """Follows the log in a folder; begins at its front. `closed`: its writer ended it in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: SegmentHeader | None = None  # of the first segment, once it is there
        self.closed = False
        self._number = 1
        self._offset = 0
        self._chain = CHAIN_ZERO

    def poll(self) -> list[np.ndarray]:
        """EVENT batches since the last call. Raises DataError where the log cannot be believed."""
        found: list[np.ndarray] = []
        while not self.closed:
            path = self.path / f"{self._number:08d}.arrows"
            if not path.exists():
                return found
            data = pa.memory_map(str(path)).read_buffer()
            if self._offset == 0:
                self._open(data, path.name)
            if not self._read(data, path.name, found):
                return found
        return found

    def _open(self, data: pa.Buffer, name: str) -> None:
        decoder = SegmentDecoder(data, name)
        if decoder.header.previous != self._chain:
            raise DataError(f"{name} does not continue the segment before it.")
        self.header = self.header or decoder.header
        self._offset, self._chain = decoder.header_end, decoder.chain

    def _read(self, data: pa.Buffer, name: str, found: list[np.ndarray]) -> bool:
        """Take whole batches; True: the segment has ended and the next one may be there."""
        while self._offset < data.size:
            rest = data.slice(self._offset)
            if rest.slice(0, min(8, rest.size)).to_pybytes() == END_OF_STREAM:
                following = self.path / f"{self._number + 1:08d}.arrows"
                if not following.exists():
                    # The last of the log, or the writer is about to begin another.
                    self.closed = not (self.path / "writer.lock").exists()
                    return False
                self._number, self._offset = self._number + 1, 0
                return True
            parsed = parse_batch(rest)
            if parsed is None:
                return False  # not whole yet
            try:
                rows, chain, previous = decode_batch(parsed[0], parsed[1])
            except ARROW_ERRORS as error:
                raise DataError(f"{name} at byte {self._offset}: {error}") from error
            if previous != self._chain or chain != next_chain(self._chain, rows):
                raise DataError(f"{name} at byte {self._offset} does not match its chain.")
            self._chain = chain
            self._offset += parsed[2]
            found.append(rows)
        return False
