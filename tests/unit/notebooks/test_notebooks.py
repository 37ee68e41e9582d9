"""The notebooks run from top to bottom, on two hours of the bundled capture."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURE = "application/vnd.plotly.v1+json"


def read(path):
    import nbformat

    return nbformat.read(path, as_version=4)


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Execute a notebook; its runs go to a folder of the test."""
    nbclient = pytest.importorskip("nbclient", reason="the extra `notebook` is not installed")
    monkeypatch.setenv("KAPITAALBOT__CAPTURE__END", "2026-01-01T02:00:00")
    monkeypatch.setenv("KAPITAALBOT__RUN__OUT", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # The kernel of this environment, whatever else is registered on the machine.
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))

    def execute(name):
        book = read(ROOT / "notebooks" / name)
        resources = {"metadata": {"path": str(ROOT / "notebooks")}}
        return nbclient.NotebookClient(book, timeout=600, resources=resources).execute()

    return execute


def outputs(book):
    return [each for cell in book.cells for each in cell.get("outputs", [])]


def printed(book):
    return "".join(each["text"] for each in outputs(book) if each["output_type"] == "stream")


def test_there_are_notebooks():
    assert {"01-replay-and-explain.ipynb", "02-your-own-family.ipynb"} <= {
        each.name for each in NOTEBOOKS
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs_and_asks_a_question(path):
    book = read(path)

    assert [] == outputs(book)
    assert all(cell.get("execution_count") is None for cell in book.cells)
    assert book.cells[0].source.startswith("# ")
    assert "?" in book.cells[0].source.splitlines()[0]
    assert "markdown" == book.cells[-1].cell_type


def test_replay_and_explain(executed, tmp_path):
    book = executed("01-replay-and-explain.ipynb")

    figures = [each["data"][FIGURE] for each in outputs(book) if FIGURE in each.get("data", {})]
    assert 8 == len(figures)
    assert all(any(trace.get("y") is not None for trace in each["data"]) for each in figures)
    explained = printed(book)
    for expected in ("decision: execute", "winner: ", "what followed: order", "cost "):
        assert expected in explained
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "manifest.json").is_file()


def test_your_own_family(executed):
    book = executed("02-your-own-family.ipynb")

    assert "'move_bps': 16.0" in str(outputs(book))
    assert "vwap_snap" in str(outputs(book)[-1])
