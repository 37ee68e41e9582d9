"""Which release is this, and which commit? The one place that says so.

The commit is read from the files of the checkout, or from what pip noted when it installed from a
repository: no git is needed at run time. Left out: whether files were edited since; `sources` tells two
trees apart all the same.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

VERSION = "0.1.0"
ROOT: Final = Path(__file__).resolve().parent.parent
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@cache
def commit() -> str:
    """The commit that runs, 40 or 64 hex digits; "" where nobody knows."""
    return commit_of(ROOT) or _installed_commit()


@cache
def sources() -> str:
    """sha256 over every Python file of engine and adapters, 64 hex digits: equal for equal code."""
    digest = hashlib.sha256()
    for folder in ("adapters", "engine"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def commit_of(root: Path) -> str:
    """The commit of a checkout, from its .git; "" where it is none or cannot be read.

    Source: gitrepository-layout(5): HEAD, refs, packed-refs; a worktree's .git is a file that names its
    folder, whose `commondir` names the one that holds the refs.
    """
    try:
        folder = root / ".git"
        if folder.is_file():
            folder = root / folder.read_text().removeprefix("gitdir:").strip()
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return _checked(head)
        name = head.removeprefix("ref:").strip()
        common = folder / "commondir"
        shared = folder / common.read_text().strip() if common.is_file() else folder
        for place in (folder, shared):
            if (place / name).is_file():
                return _checked((place / name).read_text().strip())
        for line in (shared / "packed-refs").read_text().splitlines():
            found, _, ref = line.partition(" ")
            if ref == name:
                return _checked(found)
    except (OSError, UnicodeDecodeError):
        pass  # a manifest without a commit is a manifest all the same
    return ""


def _checked(text: str) -> str:
    return text if _COMMIT.fullmatch(text) else ""


def _installed_commit() -> str:
    """What pip wrote into direct_url.json (PEP 610) for an install from a repository."""
    import importlib.metadata  # slow to load, and not needed in a checkout
    import json

    try:
        text = importlib.metadata.distribution("kapitaalbot").read_text("direct_url.json")
        found = json.loads(text or "{}").get("vcs_info", {}).get("commit_id", "")
    except (importlib.metadata.PackageNotFoundError, ValueError, AttributeError):
        return ""
    return _checked(str(found))
