"""Do the pages point at things that exist? Links, files of the status table, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from adapters.cli.main import app
from adapters.cli.reference import exit_codes
from engine.alerts import ALERTS, CRIT

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
STATUS = ROOT / "docs" / "status.md"
STATES = {"done", "served", "part", "open"}

FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1[^\n]*$", re.M | re.S)
SPAN = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
# The words that follow the program's name; options, arguments and prose end them.
CALL = re.compile(r"\bkapitaalbot((?:[ \t]+[a-z][a-z0-9-]*)+)")
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?)`")


def links(text: str) -> Iterator[str]:
    """Targets of the links to files; code is not a link, an anchor is no file."""
    prose = SPAN.sub("", FENCE.sub("", text))
    for target in LINK.findall(prose):
        path = target.partition("#")[0]
        if path and not ELSEWHERE.match(target):
            yield path


def broken_links(page: Path, text: str) -> list[str]:
    return [target for target in links(text) if not (page.parent / target).exists()]


def code(text: str) -> Iterator[str]:
    """What a page shows as code: blocks whole, spans one by one."""
    yield from (match.group() for match in FENCE.finditer(text))
    yield from SPAN.findall(FENCE.sub("", text))


def unknown_commands(text: str) -> list[str]:
    """Calls in code whose group, or whose verb, the program does not have."""
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    wrong = []
    for piece in code(text):
        for call in CALL.findall(piece):
            group, *rest = call.split()
            found = program.commands.get(group)
            fine = found is not None and (
                not rest or not isinstance(found, TyperGroup) or rest[0] in found.commands
            )
            if not fine:
                wrong.append(f"kapitaalbot {' '.join([group, *rest[:1]])}")
    return wrong


def status_rows(text: str) -> list[list[str]]:
    """Cells of the rows of capabilities: capability, state, where, note."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row in cells if len(row) != 2 and row[0] != "capability"]


def missing_files(text: str) -> list[str]:
    return [path for path in FILE.findall(text) if not (ROOT / path).exists()]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_exists(page: Path) -> None:
    assert unknown_commands(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_nothing_of_this_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root)/", page.read_text(encoding="utf-8"))


def test_every_file_of_the_status_exists() -> None:
    assert missing_files(STATUS.read_text(encoding="utf-8")) == []


def test_every_row_of_the_status_has_a_state_and_what_is_done_has_a_file() -> None:
    rows = status_rows(STATUS.read_text(encoding="utf-8"))

    assert len(rows) > 100
    for row in rows:
        assert len(row) == 4, row
        assert row[1] in STATES, row
        assert row[1] != "done" or FILE.search(row[2]), row
        assert row[1] not in {"part", "served"} or row[3], row


def test_the_index_names_every_page() -> None:
    """A page that nothing points at is not found by anyone."""
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / each).resolve() for each in links(index.read_text(encoding="utf-8"))}

    assert {page for page in PAGES if page.parent != ROOT and page != index} <= named


def test_the_runbook_knows_every_critical_alert_and_every_exit_code() -> None:
    """Whoever is woken finds the code that woke them; a code that no longer exists is not there."""
    page = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ")[0] for line in page.splitlines() if line.startswith("| ")]
    told = {row.strip("`") for row in rows if row.startswith("`") and row.isupper()}

    assert {each.code for each in ALERTS.values() if each.severity == CRIT} == told
    assert {str(code) for code in exit_codes()} <= set(rows)


# ---- each of these can fail ----


def test_a_broken_link_is_found_and_what_is_no_link_is_not() -> None:
    text = (
        "[a](README.md) [b](nowhere.md) [c](https://example.org/x.md) [d](#here) ![e](gone.png)\n"
        "[f](docs/#part) [g](lost.md#part) `[h](code.md)`\n```\n[i](block.md)\n```\n"
    )

    assert broken_links(ROOT / "README.md", text) == ["nowhere.md", "gone.png", "lost.md"]


def test_an_unknown_command_is_found() -> None:
    text = (
        "`kapitaalbot run replay configs/sample.toml`, `kapitaalbot --help`, `kapitaalbot data`, "
        "`kapitaalbot run repaly`, `kapitaalbot fly high`, and kapitaalbot in prose\n"
        "```\nkapitaalbot data chekc store\nkapitaalbot check ready PROFILE\n```\n"
    )

    assert sorted(unknown_commands(text)) == [
        "kapitaalbot data chekc",
        "kapitaalbot fly high",
        "kapitaalbot run repaly",
    ]


def test_a_missing_file_is_found() -> None:
    assert missing_files("| x | done | `engine/book.py`, `engine/bok.py` | |") == ["engine/bok.py"]
