"""Which secrets do tests use, and did one of them get where it must not? Every form of each is looked for.

The suite's keys, passwords and tokens are recognisable: each holds one of the MARKS. A mark is searched
for raw, reversed, in hex, quoted for a URL, and inside base64 at each of its three alignments, so that it is
also found in a longer text that was encoded as a whole. What is found is named by file, secret and form;
its text is not shown. Left out: compressed columns of Parquet, which hold numbers.
"""

from __future__ import annotations

import base64
import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET, TOKEN_MARK

# For tests that need a secret of their own: a password or key that begins with this is looked for.
CANARY: Final = "canary-5up3r"
MARKS: Final[Mapping[str, bytes]] = {
    "demo key": DEMO_KEY.encode(),
    "demo secret": DEMO_SECRET[:30].encode(),
    "demo secret, decoded": base64.b64decode(DEMO_SECRET)[:30],
    "kill key": b"kill-key-of-the-local-venue",
    "stream token": TOKEN_MARK.encode(),
    "canary": CANARY.encode(),
    "canary key": b"CANARYpublicKEY",
    "canary secret": base64.b64encode(b"canary: the private half"),
}
# Files that hold secrets because that is what they are for.
MEANT: Final = (
    "*kraken*.toml",  # key files
    "*kill*.toml",
    "*keys*.toml",
    "mine.toml",  # profiles with passwords, of the tests that show how they are hidden
)
PLANTED: Final = "planted"  # a folder in which tests of this very search put secrets
FILE_BYTES: Final = 8_000_000  # looked at of one file: so much of its beginning and of its end
ALL_BYTES: Final = 600_000_000  # looked at in one process


def forms(mark: bytes) -> dict[str, bytes]:
    """`mark` in every form, by the form's name."""
    found = {
        "raw": mark,
        "reversed": mark[::-1],
        "hex": mark.hex().encode(),
        "HEX": mark.hex().upper().encode(),
        "URL": quote(mark, safe="").encode(),
    }
    for shift in range(3):
        # Letters that depend on what is before and behind are cut off.
        text = base64.b64encode(b"\0" * shift + mark)
        first = (0, 2, 3)[shift]
        last = len(text) - (0, 3, 2)[(shift + len(mark)) % 3]
        last -= last == len(text) and text.endswith(b"=")
        found[f"base64 at {shift}"] = text[first:last]
        found[f"base64url at {shift}"] = text[first:last].translate(bytes.maketrans(b"+/", b"-_"))
    return found


FORMS: Final = {
    form: f"{name}, {how}"
    for name, mark in MARKS.items()
    for how, form in reversed(forms(mark).items())
}


def secrets_in(data: bytes) -> list[str]:
    """What `data` holds: "secret, form" of each; empty where it holds none."""
    return [name for form, name in FORMS.items() if form in data]


def is_meant(path: Path, more: Iterable[str] = ()) -> bool:
    return any(fnmatch.fnmatch(path.name, pattern) for pattern in (*MEANT, *more))


def files_below(root: Path, since: float) -> Iterator[Path]:
    """Files below `root` that were written after `since` (seconds); links are not followed."""
    for folder, _, names in os.walk(root, onerror=None):
        for name in sorted(names):
            path = Path(folder, name)
            try:
                stat = path.lstat()
            except OSError:
                continue  # gone meanwhile
            if (stat.st_mode & 0o170000) == 0o100000 and stat.st_mtime >= since:
                yield path


def leaks_below(root: Path, since: float = 0.0, more: Iterable[str] = ()) -> list[str]:
    """Every file below `root` that holds a secret and is not meant to: "path: secret, form"."""
    found: list[str] = []
    left = ALL_BYTES
    for path in files_below(root, since):
        if PLANTED in path.relative_to(root).parts:
            continue
        if secrets_in(str(path.relative_to(root)).encode()):
            found.append(f"{path.parent}: a file's name")
        if is_meant(path, more) or left <= 0:
            continue
        try:
            data = _beginning_and_end(path)
        except OSError:
            continue
        left -= len(data)
        found += [f"{path.relative_to(root)}: {each}" for each in secrets_in(data)]
    return found


def _beginning_and_end(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(FILE_BYTES)
        size = os.fstat(file.fileno()).st_size
        if size > 2 * FILE_BYTES:
            file.seek(-FILE_BYTES, os.SEEK_END)
        return data + file.read(FILE_BYTES)
