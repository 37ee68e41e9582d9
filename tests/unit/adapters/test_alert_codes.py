"""Every code that people can be told is raised somewhere, and four of those that lie beside the loop."""

import ast
from pathlib import Path

import pytest

from engine.alerts import ALERTS

ROOT = Path(__file__).parents[3]
SOURCES = [
    path
    for place in ("engine", "adapters")
    for path in (ROOT / place).rglob("*.py")
    if path != ROOT / "engine/alerts.py"
]


def said_in(path: Path) -> set[str]:
    """Codes of alerts in the texts of a file that run: docstrings and comments raise nothing."""
    tree = ast.parse(path.read_text())
    silent = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
    ]
    # As a code by itself, or before the colon of a note or message.
    return {text.partition(":")[0] for text in texts} & set(ALERTS)


@pytest.fixture(scope="module")
def raised() -> set[str]:
    return set().union(*(said_in(path) for path in SOURCES))


@pytest.mark.parametrize("code", ALERTS)
def test_some_code_path_raises_it(raised: set[str], code: str) -> None:
    assert code in raised, f"engine/alerts.py names {code}, and nothing ever says it"


def test_a_code_that_only_a_docstring_names_counts_as_silent(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text('"""RATE_REST: told."""\n# RATE_REST\nx = "TLS_REFUSED: no"\n')
    assert said_in(path) == {"TLS_REFUSED"}
