import json
from dataclasses import replace

import numpy as np
import pytest

from adapters.cli import data
from adapters.cli.main import main
from adapters.parquet.manifest import list_captures
from adapters.parquet.reader import open_events
from engine.events import TRADE
from engine.research.synthetic import bundled

# Kraken's time-and-sales archive: seconds, price, volume. One row is damaged on purpose.
ARCHIVE = """\
1700000000.5,37000.1,0.01000000
1700000001,37000.2,0.50000000
1700000001.25,nonsense,0.5
1700000002,36999.9,1.00000000
"""


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "XBTUSD.csv"
    path.write_text(ARCHIVE)
    return path


def said(capsys):
    return json.loads(capsys.readouterr().out)


def test_an_import_accounts_for_every_row(archive, tmp_path, capsys):
    store = str(tmp_path / "store")
    arguments = ["import", "kraken-trades", str(archive), "--store", store, "--id", "mine"]

    assert 0 == main(["data", *arguments, "--json", "--quiet"])
    account = said(capsys)["account"]
    assert 4 == account["rows_in"]
    assert 3 == sum(account["rows_used"].values())
    assert 1 == sum(account["rejects"].values())
    (manifest,) = list_captures(store)
    assert ("mine", 3) == (manifest.capture_id, manifest.n_events)
    assert account["rejects"] == manifest.account["rejects"]
    rows = np.concatenate(list(open_events(store).batches()))
    assert [370_001, 370_002, 369_999] == rows["price"].tolist()
    assert {TRADE} == set(rows["kind"].tolist())


def test_an_import_in_words(archive, tmp_path, capsys):
    store = str(tmp_path / "store")

    assert 0 == main(["data", "import", "auto", str(archive), "--store", store])
    printed = capsys.readouterr()
    assert "the format is kraken-trades" in printed.err
    for expected in ("XBTUSD in", "BTC/USD", "rows in", "3 trade", "rows rejected"):
        assert expected in printed.out


def test_the_same_name_twice_is_refused_and_changes_nothing(archive, tmp_path, capsys):
    arguments = ["data", "import", "kraken-trades", str(archive), "--store", str(tmp_path / "s")]

    assert 0 == main(arguments)
    before = list_captures(tmp_path / "s")
    assert 6 == main(arguments)
    assert "already has a capture" in capsys.readouterr().err
    assert before == list_captures(tmp_path / "s")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["kraken-trade", "x.csv"], 2, "nearest is 'kraken-trades'"),
        (["kraken-trades", "none.csv"], 4, "none.csv"),
        (["kraken-trades", "x.csv", "--option", "dept=10"], 2, "no option 'dept'"),
        (["coinbase-l2", "x.csv", "--option", "depth=ten"], 2, "no whole number"),
        (["kraken-trades", "x.csv", "--crossed", "hide"], 2, "count, gap or refuse"),
        (["auto", "x.csv"], 4, "format of"),
    ],
)
def test_a_wrong_import_is_a_sentence(arguments, code, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("a,b,c\n")

    assert code == main(["data", "import", *arguments, "--store", "store"])
    assert says in capsys.readouterr().err
    assert not (tmp_path / "store").exists() or [] == list_captures(tmp_path / "store")


def test_options_become_the_kind_that_the_format_has():
    from adapters.imports.formats import FORMATS

    tardis = FORMATS["tardis-book"]
    assert ["BTC/USD", "ETH/USD"] == data._option(tardis, "symbols", "BTC/USD, ETH/USD")
    assert 25 == data._option(tardis, "depth", "25")
    assert data.Path("a/b") == data._option(tardis, "instruments", "a/b")


def test_formats_are_listed_with_their_options(capsys):
    assert 0 == main(["data", "formats", "--json"])
    listed = {each["format"]: each for each in said(capsys)["formats"]}
    assert "nominal_qty" in {each["name"] for each in listed["kraken-trades-bbo"]["options"]}
    assert 0 == main(["data", "formats"])
    assert "bitstamp-l3" in capsys.readouterr().out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one short synthetic capture."""
    store = tmp_path_factory.mktemp("made") / "store"
    arguments = ["--seed", "5", "--hours", "0.01", "--store", str(store), "--id", "short"]
    assert 0 == main(["data", "generate", *arguments, "--quiet"])
    return store


def test_the_same_seed_makes_the_same_events(made, tmp_path, capsys):
    for seed, same in (("5", True), ("6", False)):
        arguments = ["--seed", seed, "--hours", "0.01", "--store", str(tmp_path / seed), "--json"]
        assert 0 == main(["data", "generate", *arguments])
        again = said(capsys)
        assert same == (again["events_sha256"] == list_captures(made)[0].events_sha256)
    assert "synthetic-6" == again["capture"]


def test_a_generated_capture_says_that_it_is_synthetic(made):
    (manifest,) = list_captures(made)

    assert any("prove nothing about markets" in note for note in manifest.notes)
    assert {"book", "level3", "trade", "ticker"} <= set(manifest.channels)
    assert 0 == sum(each.failed for each in manifest.checksums)
    assert sum(each.verified for each in manifest.checksums) > 0


def test_ls_lists_captures(made, capsys):
    assert 0 == main(["data", "ls", str(made)])
    assert "short" in capsys.readouterr().out
    assert 0 == main(["data", "ls", str(made), "--json"])
    (capture,) = said(capsys)["captures"]
    assert list_captures(made)[0].digest == capture["digest"]


def test_ls_of_a_place_that_is_no_store(tmp_path, capsys):
    assert 0 != main(["data", "ls", str(tmp_path / "none")])
    assert "error:" in capsys.readouterr().err


def test_gaps(made, archive, tmp_path, capsys):
    assert 0 == main(["data", "gaps", str(made)])
    assert "no gaps" in capsys.readouterr().err
    assert 0 == main(["data", "gaps", str(made), "--id", "short", "--json"])
    assert [] == said(capsys)["gaps"]
    assert 4 == main(["data", "gaps", str(made), "--id", "other"])


def test_the_sample_is_made_once_and_replaced_only_when_it_differs(tmp_path, monkeypatch):
    place = tmp_path / "datasets" / "sample"
    small = replace(bundled.BUNDLED, duration_s=5.0, warmup_s=5.0)
    monkeypatch.setattr(bundled, "BUNDLED", small)

    manifest, _, verdict = data.make_sample(place, True)
    assert "was made" in verdict
    files = {each: each.stat().st_mtime_ns for each in place.rglob("*") if each.is_file()}
    _, _, verdict = data.make_sample(place, True)
    assert "the same to the byte" in verdict
    assert files == {each: each.stat().st_mtime_ns for each in place.rglob("*") if each.is_file()}

    (place / "_manifests" / "sample.json").write_text("{")
    again, _, verdict = data.make_sample(place, True)
    assert manifest == again
    assert [manifest] == list_captures(place)
    assert ["sample"] == [each.name for each in place.parent.iterdir()]


# --- check and sql -------------------------------------------------------------------------------


@pytest.fixture
def stored(archive, tmp_path):
    store = tmp_path / "stored"
    arguments = [str(archive), "--store", str(store), "--id", "mine", "--quiet", "--json"]
    assert 0 == main(["data", "import", "kraken-trades", *arguments])
    return store


def test_a_whole_store_is_said_to_be(stored, capsys):
    capsys.readouterr()
    assert 0 == main(["data", "check", str(stored)])
    assert "no defect" in capsys.readouterr().out
    assert 0 == main(["data", "check", str(stored), "--quick", "--json"])
    report = said(capsys)
    assert (True, 3, False) == (report["ok"], report["n_events"], report["deep"])


def test_a_damaged_store_is_named_and_leaves_with_4(stored, capsys):
    (file,) = stored.rglob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    capsys.readouterr()

    assert 4 == main(["data", "check", str(stored), "--json"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ok"] is False
    assert file.name in printed.err


def test_sql_over_the_views(stored, capsys):
    capsys.readouterr()
    query = "SELECT symbol, count(*) AS n, max(price_ticks) FROM trades GROUP BY 1"

    assert 0 == main(["data", "sql", str(stored), query])
    assert ["BTC/USD", "3", "370002"] == capsys.readouterr().out.splitlines()[1].split()
    assert 0 == main(["data", "sql", str(stored), query, "--json"])
    assert [["BTC/USD", 3, 370_002]] == said(capsys)["rows"]


def test_sql_prints_no_more_than_its_limit_and_says_so(stored, capsys):
    capsys.readouterr()
    arguments = ["data", "sql", str(stored), "SELECT seq FROM trades ORDER BY seq"]

    assert 0 == main([*arguments, "--limit", "2", "--json"])
    answer = said(capsys)
    assert ([[0], [1]], True) == (answer["rows"], answer["more"])
    assert 0 == main([*arguments, "--limit", "0", "--json"])
    assert [[0], [1], [2]] == said(capsys)["rows"]


@pytest.mark.parametrize("query", ["SELEC", "SELECT * FROM nothing", "SELECT nope FROM trades"])
def test_a_wrong_query_is_a_sentence(stored, capsys, query):
    capsys.readouterr()
    assert 2 == main(["data", "sql", str(stored), query])
    printed = capsys.readouterr().err
    assert "the query cannot be answered" in printed
    assert "Traceback" not in printed
