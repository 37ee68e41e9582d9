"""What did the account's line really say? Its frames as they came, beside the log of the session.

The log has what our decoder made of them; here are the frames themselves, so that a better decoder can
run over them, and a person has what the venue said word by word. One JSON object a line: `ts` (ns),
`what` (frame, opened, closed, dropped or sent), `frame` or `code` and `reason`. Tokens, keys and
secrets are taken out before anything is kept. Lines wait in memory and are written by the session's
writing thread; a disk that refuses them ends the keeping and is said, never the session.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from adapters.kraken.private_line import Heard
from engine.errors import DataError

FILE: Final = "private-frames.jsonl"
WAITING_MAX: Final = (
    100_000  # lines that wait: beyond them the disk is far behind, and they are dropped
)
_TOKEN: Final = re.compile(r'("token"\s*:\s*)"[^"]*"')


class PrivateFrames:
    """Keeps the frames of one session.

    folder : of the run; clean : takes known secrets out of a text
    later : runs a job in the writing thread; say : (level, text) for people
    """

    def __init__(
        self,
        folder: Path,
        clean: Callable[[str], str],
        later: Callable[[Callable[[], None]], None],
        say: Callable[[str, str], None],
    ) -> None:
        self.path = folder / FILE
        self._clean, self._later, self._say = clean, later, say
        self._lines: list[dict[str, Any]] = []
        self._failed = False
        self.n_dropped = 0

    def heard(self, heard: Heard) -> None:
        """One thing that happened to the connection; a tick is none."""
        if heard.what == "tick":
            return
        line: dict[str, Any] = {"ts": heard.ts, "what": heard.what}
        if heard.what == "frame":
            line["frame"] = heard.frame
        else:
            line |= {"code": heard.code, "reason": heard.reason}
        self._keep(line)

    def sent(self, frame: bytes, ts: int) -> None:
        """A request of ours."""
        self._keep({"ts": ts, "what": "sent", "frame": frame})

    def _keep(self, line: dict[str, Any]) -> None:
        if self._failed or len(self._lines) >= WAITING_MAX:
            self.n_dropped += 1
            return
        self._lines.append(line)

    def flush(self) -> None:
        """Hand what waits to the writing thread."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._later(lambda: self._write(lines))

    def _write(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(self._text(each) for each in lines)
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "ab") as file:
                file.write(text.encode())
        except OSError as error:
            self._failed = True
            self._say(
                "warning", f"private frames are not kept any more: {self.path}: {error.strerror}"
            )

    def _text(self, line: dict[str, Any]) -> str:
        if "frame" in line:
            frame = line["frame"].decode("utf-8", "backslashreplace")
            line["frame"] = _TOKEN.sub(r'\1"***"', self._clean(frame))
        else:
            line["reason"] = self._clean(line["reason"])
        return json.dumps(line) + "\n"


def read_frames(path: Path) -> Iterator[Heard]:
    """What the line heard, for `follow`: the same connection once more. What was sent is left out.

    A last line that is torn ends it; raises DataError for any other that cannot be read.
    """
    lines = path.read_bytes().split(b"\n")[:-1]  # what has no end was torn
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            what, ts = line["what"], int(line["ts"])
            if what == "sent":
                continue
            frame = str(line.get("frame", "")).encode()
            heard = Heard(ts, what, frame, int(line.get("code", 0)), str(line.get("reason", "")))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: not a frame of a private line ({error}).",
                "The session's log is whole without it; look at the file.",
            ) from error
        yield heard
