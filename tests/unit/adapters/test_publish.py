"""Documents for other programs: told by hand, whole, private unless allowed, and as their schema says."""

import hashlib
import json
from pathlib import Path

import fsspec
import msgspec
import polars as pl
import pytest

from adapters.cli.main import main
from adapters.publish import publish
from adapters.sofar import run_tables
from engine.errors import StorageError
from engine.reports.export import DOCUMENTS, POINTS_MAX, schema_of
from tests.support.session_folder import write_session
from tests.support.short_market import short_market
from tests.support.small_run import write_run
from tests.support.worlds import EAGER, split


@pytest.fixture
def run(tmp_path) -> Path:
    return write_run(tmp_path / "runs")


def read(place: Path) -> dict[str, dict]:
    return {name: json.loads((place / f"{name}.json").read_bytes()) for name in DOCUMENTS}


def test_documents_of_a_small_run_told_by_hand(run, tmp_path):
    publish(run, tmp_path / "site", amounts=True)
    made = read(tmp_path / "site")

    status = made["status"]
    assert list(status)[:3] == ["kind", "version", "run"]
    assert status["kind"] == "kapitaalbot.document.status"
    assert (status["run"], status["mode"], status["ended"]) == (run.name, "replay", True)
    assert status["time"] == "2026-01-01T12:00:03.000Z"
    assert (status["evaluations"], status["symbols"], status["symbols_ready"]) == (4, 2, 1)
    assert (status["entries"], status["fills"], status["round_trips"], status["won"]) == (
        1,
        3,
        1,
        0,
    )
    assert (status["volume"], status["fees"], status["net"]) == pytest.approx(
        (997.4, 3.2396, -5.8396)
    )
    assert status["digest"] == "ab" * 32

    universe = {each["symbol"]: each for each in made["universe"]["pairs"]}
    assert universe["BTC/USD"]["member"] is True
    assert universe["DOGE/USD"]["member"] is False
    assert universe["DOGE/USD"]["rank"] == 2
    assert made["universe"]["universe_version"] == 1

    assert made["positions"]["positions"] == []  # it was closed
    first, last = made["equity"]["points"]
    assert (first["index"], first["equity"]) == (1.0, 10_000.0)
    assert last["index"] == pytest.approx(0.999416040)
    assert last["drawdown"] == pytest.approx(5.8396 / 10_000)
    assert {each["family"] for each in made["routes"]["routes"]} == {"mean_reversion", "momentum"}
    health = made["health"]["feeds"]
    assert [each["symbol"] for each in health] == ["BTC/USD", "DOGE/USD"]
    assert (health[0]["messages"], health[0]["trades"], health[0]["regime"]) == (400, 20, "RANGE")


def test_an_open_position_is_told_with_its_stop(run, tmp_path):
    path = run / "positions.parquet"
    pl.read_parquet(path).head(1).write_parquet(path)
    publish(run, tmp_path / "site", amounts=True)
    (held,) = read(tmp_path / "site")["positions"]["positions"]

    assert held == {
        "symbol": "BTC/USD",
        "state": "open",
        "since": "2026-01-01T12:00:04.000Z",
        "coverage": "protected",
        "stop": pytest.approx(49_750.0),
        "target": pytest.approx(50_300.0),
        "qty": pytest.approx(0.01),
        "cost": pytest.approx(501.25),
    }


def test_amounts_are_in_no_file_unless_they_are_allowed(run, tmp_path):
    path = run / "positions.parquet"
    pl.read_parquet(path).head(1).write_parquet(path)
    publish(run, tmp_path / "open", amounts=True)
    publish(run, tmp_path / "shut")
    amounts = ("997.4", "3.2396", "-5.8396", "9994.1604", "501.25")

    shown = b"".join(each.read_bytes() for each in (tmp_path / "open").glob("*.json")).decode()
    hidden = b"".join(each.read_bytes() for each in (tmp_path / "shut").glob("*.json")).decode()
    for amount in amounts:
        assert f": {amount}" in shown, amount
        assert f": {amount}" not in hidden, amount
    assert json.loads((tmp_path / "shut" / "equity.json").read_bytes())["points"][1]["index"] < 1


def test_a_size_that_a_reason_would_tell_is_left_out_too(run, tmp_path):
    path = run / "candidates.parquet"
    frame = pl.read_parquet(path)
    thin = pl.Series("blocker", [38, 38, 38], frame.schema["blocker"])  # THIN_TOUCH
    frame.with_columns(thin).write_parquet(path)
    publish(run, tmp_path / "open", amounts=True)
    publish(run, tmp_path / "shut")
    told = [each["nearest"] for each in read(tmp_path / "open")["routes"]["routes"]]
    untold = [each["nearest"] for each in read(tmp_path / "shut")["routes"]["routes"]]

    assert all("BTC" in each for each in told)
    assert untold == [None, None]


def test_each_document_is_of_its_type_and_its_schema_says_so(run, tmp_path):
    place = tmp_path / "site"
    publish(run, place, amounts=True)
    for name, kind in DOCUMENTS.items():
        data = (place / f"{name}.json").read_bytes()
        again = msgspec.json.decode(data, type=kind)
        assert msgspec.to_builtins(again) == json.loads(data)
        schema = json.loads((place / "schema" / f"{name}.json").read_bytes())
        assert schema == schema_of(name)
        conforms(json.loads(data), schema, schema)


def conforms(value, schema, root):
    """Enough of JSON Schema to hold our documents to it, written from its specification."""
    if "$ref" in schema:
        conforms(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
        return
    if "anyOf" in schema:
        fits = []
        for each in schema["anyOf"]:
            try:
                conforms(value, each, root)
                fits.append(each)
            except AssertionError:
                pass
        assert fits, (value, schema)
        return
    kinds = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None),
        "array": list, "object": dict,
    }  # fmt: skip
    assert isinstance(value, kinds[schema["type"]]), (value, schema)
    if schema["type"] in ("integer", "number"):
        assert not isinstance(value, bool)
    for item in value if schema["type"] == "array" else ():
        conforms(item, schema["items"], root)
    if schema["type"] == "object":
        assert set(schema["required"]) <= set(value)
        for name, inner in value.items():
            conforms(inner, schema["properties"][name], root)


def test_the_schema_refuses_what_is_not_as_it_says():
    schema = schema_of("status")
    with pytest.raises(AssertionError):
        conforms({"kind": 5}, schema, schema)


def test_the_index_names_every_file_with_its_hash_and_comes_last(run, tmp_path):
    place = tmp_path / "site"
    done = publish(run, place)
    index = json.loads((place / "index.json").read_bytes())

    assert index == done.index
    assert set(index["documents"]) == set(DOCUMENTS)
    for each in index["documents"].values():
        data = (place / each["file"]).read_bytes()
        assert (each["bytes"], each["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    youngest = max(place.rglob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    assert youngest.name == "index.json"


def test_again_is_the_same_to_the_byte_and_replaces_what_was_there(run, tmp_path):
    place = tmp_path / "site"
    publish(run, place)
    before = {each: each.read_bytes() for each in place.rglob("*.json")}
    publish(run, place)

    assert before == {each: each.read_bytes() for each in place.rglob("*")
                      if each.is_file()}  # fmt: skip


def test_an_address_is_a_place_too(run):
    publish(run, "memory://site")

    with fsspec.open("memory://site/status.json") as file:
        assert json.load(file)["run"] == run.name


def test_a_long_curve_is_thinned_evenly_and_keeps_its_newest_point(run, tmp_path):
    path = run / "equity.parquet"
    n = 4_000
    one = pl.read_parquet(path).head(1)
    ts = pl.Series("ts", [one["ts"][0] + i * 60 * 10**9 for i in range(n)])
    pl.concat([one] * n).with_columns(ts).write_parquet(path)
    publish(run, tmp_path / "site")
    points = read(tmp_path / "site")["equity"]["points"]

    assert POINTS_MAX // 2 < len(points) <= POINTS_MAX
    minutes = [each["time"][11:16] for each in points]
    assert points[-1]["time"] == "2026-01-04T06:39:00.000Z"  # 3,999 minutes after noon
    assert minutes[1] != minutes[0]


def test_a_session_that_has_not_ended_is_told_from_its_log(tmp_path):
    instruments, events = short_market(700, symbols=2)
    folder = write_session(
        tmp_path / "20260101-120000-dead-0a1b2c3d",
        instruments,
        split(events, [700] * 1000),
        EAGER,
        dies=True,
    )
    done = publish(folder, tmp_path / "site")
    status = read(tmp_path / "site")["status"]

    assert "not ended" in done.notes[0]
    assert (status["mode"], status["ended"], status["digest"]) == ("paper", False, None)
    fills = len(run_tables(folder, wanted=("fills",)).tables("fills").collect())
    assert status["fills"] == fills > 0


def test_a_place_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="file"):
        publish(run, tmp_path / "file")


def test_the_command_says_whether_amounts_are_shown(run, tmp_path, capsys):
    assert 0 == main(["run", "publish", str(run), "--to", str(tmp_path / "site"), "-q"])
    assert "left out" in capsys.readouterr().out
    assert 0 == main(
        ["run", "publish", str(run), "--to", str(tmp_path / "site"), "--amounts", "--json", "-q"]
    )
    assert json.loads(capsys.readouterr().out)["index"]["amounts"] is True
