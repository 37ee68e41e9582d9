import re

import pytest

from adapters.cli.reference import DOCS, PAGES, TABLE_MEANINGS, exit_codes
from engine.reports.frames import RUN_TABLES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name):
    """If this fails, a command or a table changed: run `make docs` and commit the page."""
    assert PAGES[name]() == (DOCS / name).read_text(encoding="utf-8")


def test_every_exit_code_has_one_meaning():
    assert [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130] == list(exit_codes())


def test_every_table_is_described():
    assert set(RUN_TABLES) == set(TABLE_MEANINGS)


def test_pages_name_nothing_of_this_machine():
    for name in PAGES:
        assert not re.search(r"/(work|tmp|home|root)/", (DOCS / name).read_text(encoding="utf-8"))
