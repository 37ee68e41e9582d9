"""How does the command line speak? Data to stdout, talk to stderr, JSON where asked for.

Tables are drawn by rich on a terminal and are plain aligned columns everywhere else, so that a
pipe gets text that stays the same. rich is loaded only when it draws.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TextIO

JSON_VERSION: Final = 1
WORD_MAX: Final = 12


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at `stream`."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str = "") -> None:
    """Talk: progress, remarks and errors, on stderr."""
    print(text, file=sys.stderr, flush=True)


def write(text: str = "") -> None:
    """Data for a person, on stdout."""
    print(text)


def write_json(kind: str, value: Mapping[str, Any]) -> None:
    """One JSON object on stdout: `kind` and its version first, then `value`."""
    document = {"kind": f"kapitaalbot.{kind}", "version": JSON_VERSION, **value}
    print(json.dumps(_plain(document), ensure_ascii=False, default=str, allow_nan=False))


def _plain(value: Any) -> Any:
    # JSON knows no NaN and no infinity; null says that there is no number.
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def as_text(value: Any) -> str:
    """A cell: numbers with separators, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None
) -> None:
    """A table on stdout; columns that hold numbers only are right-aligned."""
    given = [list(row) for row in rows]
    cells = [[as_text(value) for value in row] for row in given]
    numeric = [
        bool(given) and all(_is_number(row[i]) for row in given) for i in range(len(columns))
    ]
    if is_terminal(sys.stdout):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console()
        least = _least_widths([list(columns), *cells], numeric)
        # Where even that has no room the terminal wraps whole lines: a number is never torn in two.
        if sum(least) + 3 * len(least) + 1 <= console.width:
            drawn = Table(
                title=None if title is None else Text(title),
                title_justify="left",
                header_style="bold",
            )
            for name, right, width in zip(columns, numeric, least, strict=True):
                justify: Literal["left", "right"] = "right" if right else "left"
                drawn.add_column(Text(name), justify=justify, overflow="fold", min_width=width)
            for row in cells:
                drawn.add_row(*map(Text, row))
            console.print(drawn)
            return
    if title:
        write(title)
    for line in aligned([list(columns), *cells], numeric):
        write(line)


def _least_widths(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[int]:
    """How narrow each column may be: numbers stay whole, and so do words up to `WORD_MAX` letters."""
    words = [
        min(max(map(len, " ".join(each).split() or [""])), WORD_MAX)
        for each in zip(*rows, strict=True)
    ]
    numbers = [max((len(row[i]) for row in rows[1:]), default=0) for i in range(len(numeric))]
    return [
        max(word, number) if right else word
        for word, number, right in zip(words, numbers, numeric, strict=True)
    ]


def write_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """`name  text` lines on stdout, the texts under each other."""
    rows = [list(pair) for pair in pairs]
    for line in aligned(rows, [False, False]) if rows else []:
        write(line)


def _is_number(value: Any) -> bool:
    if value is None or isinstance(value, int | float):
        return True
    first = str(value).replace(",", "").removesuffix("%").strip().partition(" ")[0]
    try:
        float(first)
    except ValueError:
        return first == ""
    return True


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows of text as lines with columns of equal width, two blanks apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(right))]
    return [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
