import io
import json
import sys

import pytest

from adapters.cli.output import aligned, as_text, write_json, write_pairs, write_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_json_is_one_line_with_kind_and_version_and_no_nan(capsys):
    value = {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": None, "text": "é"}}
    write_json("run.ls", value)
    line = capsys.readouterr().out

    assert 1 == line.count("\n")
    assert {
        "kind": "kapitaalbot.run.ls",
        "version": 1,
        "a": None,
        "b": [None, 1.5],
        "c": {"d": None, "text": "é"},
    } == json.loads(line)


def test_numbers_stand_on_the_right_words_on_the_left(capsys):
    write_table(("name", "n", "share"), [("one", 1, "5.0 %"), ("thousand", 1000, "95.0 %")])

    assert (
        "name          n   share\none           1   5.0 %\nthousand  1,000  95.0 %\n"
        == capsys.readouterr().out
    )


def test_a_table_without_rows_is_its_head(capsys):
    write_table(("name", "n"), [])

    assert "name  n\n" == capsys.readouterr().out


def test_a_terminal_gets_a_drawn_table_and_text_is_never_markup(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    write_table(("name", "n"), [("[bold]x[/bold]", 1)], title="[red]title")

    assert "[bold]x[/bold]" in screen.getvalue()
    assert "[red]title" in screen.getvalue()
    assert "│" in screen.getvalue()


def test_a_narrow_terminal_folds_an_id_and_never_cuts_it(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    write_table(("run", "text"), [("20260101-120000-small-0a1b2c3d", "many words of text here")])

    assert "…" not in screen.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_no_terminal_is_so_narrow_that_a_number_is_torn(monkeypatch, width):
    """-28.34 on two lines reads as -28."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    write_table(
        ("family", "trips", "USD", "expected", "realised", "parts"),
        [("momentum", 12, "-28.34", "+8.7", "-15.7", "-2.6 (+22.4)")],
    )

    for number in ("12", "-28.34", "+8.7", "-15.7", "-2.6 (+22.4)"):
        assert number in screen.getvalue()


def test_a_dumb_terminal_gets_plain_text(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    write_table(("name",), [("x",)])

    assert "name\nx\n" == screen.getvalue()


def test_pairs_stand_under_each_other(capsys):
    write_pairs([("a", "one"), ("bcd", "two")])
    write_pairs([])

    assert "a    one\nbcd  two\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (False, "no"), (1234567, "1,234,567"), (1.5, "1.5"), ("x", "x")],
)
def test_cells(value, text):
    assert text == as_text(value)


def test_lines_have_no_blanks_at_their_end():
    assert ["a   b", "cd"] == aligned([["a", "b"], ["cd", ""]], [False, False])
