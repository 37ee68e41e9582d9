import errno
import gc
import json
import subprocess
import sys

import pytest

from adapters.cli import main as command_line
from adapters.cli.main import as_error, main, take_verbose
from engine import errors
from engine.instruments import InstrumentError, UnknownSymbolError
from engine.units import OffGridError
from engine.version import VERSION
from tests.support.small_run import write_run


@pytest.fixture
def raising(monkeypatch):
    """Make `kapitaalbot run ls` raise."""

    def make(error):
        def raise_it(*_):
            raise error

        monkeypatch.setattr("engine.reports.manifest.list_runs", raise_it)

    return make


def test_the_version(capsys):
    assert 0 == main(["--version"])
    said = capsys.readouterr().out
    assert said.startswith(f"kapitaalbot {VERSION}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["run"], ["data"], ["config"], ["check"]])
def test_a_group_without_a_verb_shows_its_help_and_is_a_usage_error(arguments, capsys):
    assert 2 == main(arguments)
    printed = capsys.readouterr()

    assert "" == printed.out
    assert printed.err.startswith(f"Usage: {' '.join(['kapitaalbot', *arguments])}")
    assert "error:" not in printed.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run", "replai"], "Did you mean 'replay'"),
        (["run", "show"], "Missing argument"),
        (["run", "ls", "--rnus"], "No such option"),
        (["run", "explain", "latest", "--symbol", "BTC/USD"], "Missing option '--at'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_a_next_step(arguments, says, capsys):
    assert 2 == main(arguments)
    printed = capsys.readouterr()

    assert "" == printed.out
    assert says in printed.err
    assert "--help` shows how it is used" in printed.err
    assert "Traceback" not in printed.err


KINDS = [each for each in vars(errors).values() if isinstance(each, type)]
KINDS = [each for each in KINDS if issubclass(each, errors.KapitaalbotError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_of_ours_leaves_with_its_code_its_sentence_and_its_hint(kind, raising, capsys):
    raising(kind("it went wrong.", "Do this."))

    assert kind.exit_code == main(["run", "ls"])
    assert "error: it went wrong.\n  next: Do this.\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 9, "runs/x: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "y"), 9, "y: Permission denied"),
        (UnknownSymbolError("unknown symbol 'A/B'."), 2, "unknown symbol 'A/B'."),
        (InstrumentError("increment finer than precision"), 4, "increment finer"),
        (OffGridError("price 1.05 is not a whole number"), 4, "price 1.05"),
        (MemoryError(), 1, "not enough memory"),
        (ZeroDivisionError("division by zero"), 1, "this is a defect of ours: ZeroDivisionError"),
        (RuntimeError("cannot cache function 'f': no locator available"), 9, "cache of compiled"),
    ],
)
def test_other_errors_become_a_sentence_too(error, code, says, raising, capsys):
    raising(error)

    assert code == main(["run", "ls"])
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert says in printed
    assert "Traceback" not in printed


def test_verbose_shows_where_it_happened(raising, capsys):
    raising(ZeroDivisionError("division by zero"))

    assert 1 == main(["run", "ls", "-v"])
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_leaves_with_130_and_says_that_nothing_was_kept(raising, capsys):
    raising(KeyboardInterrupt())

    assert 130 == main(["run", "ls"])
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "kept", "verbose"),
    [
        (["-v", "run", "ls"], ["run", "ls"], True),
        (["run", "ls", "--verbose"], ["run", "ls"], True),
        (["run", "ls"], ["run", "ls"], False),
        (["data", "sql", "--", "-v"], ["data", "sql", "--", "-v"], False),
    ],
)
def test_verbose_may_stand_anywhere_before_the_double_dash(given, kept, verbose):
    assert (kept, verbose) == take_verbose(given)


def test_a_sentence_of_a_module_keeps_its_class():
    assert 4 == as_error(errors.DataError("x."))[0]


# --- the group `run`, on the run written by hand -------------------------------------------------


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path)
    return ["--runs", str(tmp_path)]


def printed_json(capsys):
    return json.loads(capsys.readouterr().out)


def test_ls_lists(runs, capsys):
    assert 0 == main(["run", "ls", *runs])
    assert "20260101-120000-small-0a1b2c3d" in capsys.readouterr().out
    assert 0 == main(["run", "ls", "--json", *runs])
    listed = printed_json(capsys)
    assert ("kapitaalbot.run.ls", 1) == (listed["kind"], listed["version"])
    assert ["small"] == [each["name"] for each in listed["runs"]]


def test_ls_of_nothing_says_how_to_make_one_and_is_no_error(tmp_path, capsys):
    assert 0 == main(["run", "ls", "--runs", str(tmp_path / "none")])
    printed = capsys.readouterr()
    assert "" == printed.out
    assert "run replay" in printed.err


def test_show_prints_the_words_and_the_data(runs, capsys):
    assert 0 == main(["run", "show", "latest", *runs])
    text = capsys.readouterr().out
    for expected in ("3 (2 maker, 1 taker)", "-5.84 USD", "THESIS_INACTIVE", "ab" * 32):
        assert expected in text
    assert 0 == main(["run", "show", "latest", "--json", *runs])
    assert "ab" * 32 == printed_json(capsys)["manifest"]["digest"]


def test_explain_and_its_data_agree(runs, capsys):
    where = ["--at", "2026-01-01T12:00:02", "--symbol", "btc/usd", *runs]
    assert 0 == main(["run", "explain", "latest", *where])
    assert "winner: mean_reversion 60s join" in capsys.readouterr().out
    assert 0 == main(["run", "explain", "latest", "--json", *where])
    assert "mean_reversion 60s join" == printed_json(capsys)["decision"]["route_name"]


def test_funnel_and_blockers(runs, capsys):
    assert 0 == main(["run", "funnel", "latest", "--json", *runs])
    assert {"stage": "chosen", "n": 1}.items() <= printed_json(capsys)["stages"][6].items()
    assert 0 == main(["run", "funnel", "latest", *runs])
    assert "12.50 %" in capsys.readouterr().out
    assert 0 == main(["run", "blockers", "latest", "--symbol", "DOGE/USD", "--json", *runs])
    assert ["NOT_ENOUGH_HISTORY"] == [each["reason"] for each in printed_json(capsys)["reasons"]]
    assert 0 == main(["run", "blockers", "latest", *runs])
    assert "45.2 %" in capsys.readouterr().out
    assert 2 == main(["run", "blockers", "latest", "--symbol", "ETH/USD", *runs])
    assert "unknown symbol" in capsys.readouterr().err


def test_edge_compares_the_two_models(runs, capsys):
    assert 0 == main(["run", "edge", "latest", "--json", *runs])
    printed = printed_json(capsys)
    assert (1, 1.0) == (printed["judged"], printed["agreed"])
    assert 0 == main(["run", "edge", "latest", *runs])
    assert "100.00 %" in capsys.readouterr().out


def test_compare_of_equals_is_0_and_of_others_5(runs, tmp_path, capsys):
    assert 0 == main(["run", "compare", "latest", "latest", *runs])
    capsys.readouterr()
    other = write_run(tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["digest"] = manifest["table_digests"]["fills"] = "00" * 32
    (other / "manifest.json").write_text(json.dumps(manifest))

    assert 5 == main(["run", "compare", "latest", str(other), *runs])
    assert "the runs differ in fills" in capsys.readouterr().err
    assert 5 == main(["run", "compare", "latest", str(other), "--json", *runs])
    assert printed_json(capsys)["same"] is False


# --- as a process --------------------------------------------------------------------------------


def test_help_loads_nothing_heavy():
    """Start-up is paid by every command: what one of them needs is loaded by that one."""
    code = (
        "import sys, adapters.cli.main as m; m.main(['--help']); "
        "print([each for each in sys.modules if each.partition('.')[0] in "
        "('numba', 'numpy', 'pyarrow', 'polars', 'duckdb', 'pydantic', 'plotly', 'rich')], "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stderr.strip().splitlines()[-1]


def test_garbage_is_looked_for_as_before_once_a_command_is_done(capsys):
    before = gc.get_threshold()

    assert 0 == main(["config", "schema"])
    assert before == gc.get_threshold()
    assert main(["no such command"])
    assert before == gc.get_threshold()


def test_a_reader_that_leaves_early_is_no_traceback(runs):
    code = "import sys; from adapters.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, "config", "schema"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors_printed = process.stderr.read().decode()

    assert "Traceback" not in errors_printed
    assert "defect" not in errors_printed


def test_every_command_has_an_example_that_parses():
    """The examples in the help are arguments that their command takes."""
    import shlex

    from typer.main import get_command

    root = get_command(command_line.app)
    found = 0
    for name, group in root.commands.items():
        for verb, command in group.commands.items():
            text = " ".join((command.help or "").split())
            assert "Example: kapitaalbot " in text, f"{name} {verb} has no example"
            example = shlex.split(text.partition("Example: ")[2])
            assert ["kapitaalbot", name, verb] == example[:3]
            command.make_context(verb, list(example[3:]), resilient_parsing=False)
            found += 1
    assert found >= 14


def test_a_session_that_has_not_ended_is_listed_with_what_to_do(tmp_path, capsys):
    (tmp_path / "died").mkdir()
    (tmp_path / "died" / "session.json").write_text("{}")

    assert 0 == main(["run", "ls", "--runs", str(tmp_path)])

    said = capsys.readouterr().err
    assert "died: died" in said
    assert "run finish RUN" in said
