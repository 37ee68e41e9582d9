"""SQL is fixed text: read in the sources, since a review forgets."""

import ast
import re
from pathlib import Path

import pytest

from adapters.postgres.tables import INSERTS, SELECTS, names_written

FOLDER = Path(__file__).resolve().parents[4] / "adapters" / "postgres"
ASKS = ("execute", "executemany", "fetch", "fetchrow", "fetchval", "cursor", "prepare")
# Texts that the server made of a name with format('%I'), or a file of migrations/.
MADE_BY_SERVER = ("create", "granted", "each.text", "statement")


def built_by_hand(text: str) -> list[str]:
    """Calls that hand SQL over which is not a constant of the module or of a fixed table."""
    wrong = []
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in ASKS or not node.args:
            continue
        first = node.args[0]
        name = ast.unparse(first.value if isinstance(first, ast.Subscript) else first)
        if not re.fullmatch(r"_?[A-Z][A-Z_]*", name) and name not in MADE_BY_SERVER:
            wrong.append(f"line {node.lineno}: {name}")
    return wrong


def test_every_statement_is_a_constant():
    files = sorted(FOLDER.glob("*.py"))

    wrong = {path.name: built_by_hand(path.read_text(encoding="utf-8")) for path in files}

    assert len(files) > 8
    assert not {name: each for name, each in wrong.items() if each}


@pytest.mark.parametrize(
    "text",
    [
        "c.execute(f'DROP TABLE {x}')",
        "c.fetch('SELECT ' + x)",
        "c.fetchval('SELECT %s' % x)",
        "c.execute(sql)",
        "c.fetchrow('SELECT {}'.format(x))",
    ],
)
def test_the_rule_finds_what_is_built_by_hand(text):
    assert built_by_hand(text)


def test_names_of_columns_and_tables_are_plain_words():
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names_written())


def test_every_value_is_a_parameter():
    for statement in (*INSERTS.values(), *SELECTS.values()):
        assert "'" not in statement
        assert "$1" in statement
