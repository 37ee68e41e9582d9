"""How does a session write its log? JSON lines to a file, short lines for people on stderr.

Set up once, through structlog; nothing global is changed but the handler for what libraries say at
WARNING. Every line has time, level, component and run; values are filtered by the names of their keys
and by the secrets that are known, control characters are escaped, lines are bounded, the file is
rotated. A log that cannot be written is counted and never stops its caller.
Left out: which lines there are (engine/reports/markers.py), alerts (adapters/alerts.py).
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from engine.clock import Clock, utc_text

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
HIDDEN: Final = "[secret]"
# A key that holds one of these words never shows its value, whatever it is.
SECRET_WORDS: Final = (
    *("secret", "password", "passwd", "token", "api_key", "apikey", "api-key", "private_key"),
    *("signature", "api_sign", "api-sign", "nonce", "dsn", "authorization", "cookie", "urls"),
)
VALUE_MAX: Final = 500  # characters of one value
KEYS_MAX: Final = 40
LINE_MAX: Final = 8192
FILE_MAX: Final = 64 << 20
FILES_KEPT: Final = 4


def is_secret_key(key: str) -> bool:
    """Whether a value under this name is never shown."""
    low = key.lower()
    return any(word in low for word in SECRET_WORDS)


def plain(value: Any, depth: int = 0) -> Any:
    """A value that JSON can hold, bounded; what is nested too deep becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, float) or value == value else None
    if isinstance(value, Mapping) and depth < 3:
        return {
            str(key)[:100]: HIDDEN if is_secret_key(str(key)) else plain(each, depth + 1)
            for key, each in list(value.items())[:KEYS_MAX]
        }
    if isinstance(value, list | tuple) and depth < 3:
        return [plain(each, depth + 1) for each in value[:KEYS_MAX]]
    if isinstance(value, Mapping | list | tuple):
        return f"{type(value).__name__} of {len(value)}"  # its text could be of any length
    if isinstance(value, bytes | bytearray):
        value = bytes(value[:VALUE_MAX])
    text = str(value)
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}..."


def escaped(text: str) -> str:
    """`text` on one line that a terminal shows as it is."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


class _File:
    """The log file: appended to, rotated by size, for its owner only."""

    def __init__(self, path: Path, size_max: int) -> None:
        self._path, self._size_max = path, size_max
        self._fd = -1
        self._size = 0
        # The session and the alerts' thread write: a file that one of them changes under the other
        # would take its line to whatever was opened under that number meanwhile.
        self._lock = threading.Lock()
        self.n_failed = 0

    def write(self, line: bytes) -> bool:
        """Append one line; says whether that worked. Never raises OSError."""
        with self._lock:
            try:
                if self._fd < 0:
                    self._open()
                elif self._size + len(line) > self._size_max:
                    self._rotate()
                self._size += os.write(self._fd, line)
            except OSError:
                self.n_failed += 1
                return False
        return True

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self._end()
        for i in range(FILES_KEPT - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{i}")
            newer = self._path.with_name(f"{self._path.name}.{i - 1}") if i > 1 else self._path
            if newer.exists():
                os.replace(newer, older)
        self._open()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class Logs:
    """The log of one session. `get` gives a logger per component; `close` ends it."""

    def __init__(
        self,
        run: str,
        clock: Clock,
        file: Path | None = None,
        stream: TextIO | None = None,
        level: str = "info",
        components: Mapping[str, str] | None = None,
        clean: Callable[[str], str] = str,
        on_secret: Callable[[], None] = lambda: None,
        file_max: int = FILE_MAX,
    ) -> None:
        """run : its id, on each line; file : JSON lines, None: none; stream : short lines, None: none
        level, components : from which level lines are kept, in all and per component
        clean : takes known secrets out of a text; on_secret : called where it had to
        """
        self._run, self._clock, self._clean, self._on_secret = run, clock, clean, on_secret
        self._file = None if file is None else _File(file, file_max)
        self._stream = stream
        self._level = LEVELS[level]
        self._components = {name: LEVELS[each] for name, each in (components or {}).items()}
        self._loggers: dict[str, Any] = {}
        self.n_secrets = 0
        self.n_cut = 0
        self._foreign = _Foreign(self)
        logging.getLogger().addHandler(self._foreign)

    @property
    def n_failed(self) -> int:
        """Lines that could not be written to the file."""
        return 0 if self._file is None else self._file.n_failed

    def get(self, component: str) -> Any:
        """The structlog logger of a component: `.info("name", fact=1)`."""
        logger = self._loggers.get(component)
        if logger is None:
            logger = structlog.wrap_logger(
                _Nowhere(),
                processors=[self._keep, self._write],
                wrapper_class=structlog.make_filtering_bound_logger(
                    self._components.get(component, self._level)
                ),
                component=component,
            )
            self._loggers[component] = logger
        return logger

    def write(self, level: str, component: str, event: str, facts: Mapping[str, Any]) -> None:
        """One line, for whoever has its parts already (markers)."""
        if LEVELS[level] >= self._components.get(component, self._level):
            self._line({**facts, "component": component, "event": event, "level": level})

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        logging.getLogger().removeHandler(self._foreign)
        if self._file is not None:
            self._file.close()

    # ---- the chain of structlog ----

    def _keep(self, _: Any, method: str, fields: MutableMapping[str, Any]) -> Any:
        fields["level"] = "warning" if method == "warn" else method
        return fields

    def _write(self, _: Any, method: str, fields: MutableMapping[str, Any]) -> Any:
        self._line(fields)
        raise structlog.DropEvent

    def _line(self, fields: Mapping[str, Any]) -> None:
        ts = self._clock.now()
        level, component = str(fields.get("level", "info")), str(fields.get("component", ""))
        event = plain(str(fields.get("event", "")))
        facts = plain(
            {k: v for k, v in fields.items() if k not in ("level", "component", "event", "run")}
        )
        head = {"ts": ts, "level": level, "component": component, "run": self._run}
        text = json.dumps({**head, "event": event, **facts}, default=str)
        if len(text) > LINE_MAX:
            self.n_cut += 1
            text = json.dumps({**head, "event": event, "cut": len(text)})
        if self._file is not None:
            self._file.write(self._without_secrets(text).encode("utf-8", "replace") + b"\n")
        if self._stream is not None:
            shown = " ".join(
                f"{key}={_short(value)}" for key, value in facts.items() if value != ""
            )
            line = f"{utc_text(ts)[11:23]} {level[:4].upper()} {component} {event} {shown}"
            self._show(escaped(self._without_secrets(line))[:LINE_MAX])

    def _without_secrets(self, text: str) -> str:
        cleaned = self._clean(text)
        if cleaned != text:
            self.n_secrets += 1
            self._on_secret()
        return cleaned

    def _show(self, line: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None  # nobody looks any more: a closed pipe, a terminal that is gone


def _short(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)


class _Nowhere:
    """What structlog would write to: never reached, since `_write` drops each event as done."""


class _Foreign(logging.Handler):
    """What libraries say at WARNING and above takes the same way: filtered, bounded, in the file."""

    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.WARNING)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            message = record.getMessage()
        except Exception as error:
            # Their words and values do not fit together, in whatever way: nothing of ours ends by it.
            message = f"{record.msg!s:.{VALUE_MAX}} ({type(error).__name__} in its values)"
        facts: dict[str, Any] = {"message": message}
        if record.exc_info and record.exc_info[1] is not None:
            # The type only: a traceback shows local values and payloads.
            facts["error"] = type(record.exc_info[1]).__name__
        self._logs.write(level, record.name.partition(".")[0], "library", facts)
