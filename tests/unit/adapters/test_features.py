"""A run is made again and its feature vectors written down, or nothing is written."""

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from adapters.cli.main import main
from adapters.features import take_features
from adapters.parquet.vectors import vector_facts
from adapters.replay import replay
from engine.config import canonical_json, config_hash, make_profile, read_config, read_frozen
from engine.core.columns import FEATURE_VERSION, FEATURES
from engine.errors import ConfigError, DataError, MismatchError
from engine.reports.frames import Run
from engine.research.snapshots import content_hash
from tests.support.print_all_gates import all_gates
from tests.support.session_folder import write_session
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, split

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "datasets" / "sample"
NAMES = [each.name for each in FEATURES]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Twelve minutes of the bundled capture, eager enough to be filled."""
    profile = make_profile(
        {
            **EAGER,
            "capture": {"path": str(SAMPLE), "end": "2026-01-01T00:12:00"},
            "run": {"out": str(tmp_path_factory.mktemp("runs")), "cash": 5000},
        }
    )
    folder = replay(profile).folder
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def taken(run):
    return take_features(run)


def test_the_table_has_every_column_by_its_name_and_unit(taken):
    schema = pq.read_schema(taken.path)

    assert schema.names[-len(NAMES) :] == NAMES
    for each in FEATURES:
        stated = schema.field(each.name).metadata
        assert stated[b"doc"].decode() == each.doc
    assert set(schema.names) - set(NAMES) == {
        *("ts", "symbol", "generation", "why", "age_ns", "regime", "member", "version", "hash")
    }


def test_each_hash_can_be_computed_from_its_own_row(taken):
    frame = pl.read_parquet(taken.path)
    values = frame.select(NAMES).to_numpy()

    assert frame["hash"].to_list() == [content_hash(each) for each in values]
    assert set(frame["version"]) == {FEATURE_VERSION}


def test_the_file_agrees_with_the_decisions_and_fills_of_the_run(run, taken):
    """By another program: DuckDB joins the tables that the run wrote."""
    joined = duckdb.sql(
        f"""
        SELECT count(*) AS n, count(*) FILTER (d.n_active > 0) AS active,
            count(*) FILTER (f.why LIKE '%decision%') AS said,
            max(abs(2 * f.mid - d.mid_half_ticks)) AS mid,
            max(abs(f.spread_ticks - (d.ask - d.bid))) AS spread
        FROM '{taken.path}' f JOIN '{run}/decisions.parquet' d
        ON f.generation = d.generation AND f.ts = d.ts
            AND f.symbol = ['BTC/USD', 'ETH/USD', 'DOGE/USD'][d.sym + 1]
        WHERE f.why != 'fill' AND d.bid > 0 AND d.ask > d.bid
        """
    ).fetchall()[0]
    active = duckdb.sql(
        f"SELECT count(*) FROM '{run}/decisions.parquet' WHERE n_active > 0"
    ).fetchall()[0]
    fills = duckdb.sql(f"SELECT count(*) FROM '{run}/fills.parquet'").fetchall()[0]
    stated = taken.facts["quality"]["taken"]

    assert joined[0] > 500
    assert joined[1] == joined[2] == active[0] == stated["decision"]
    assert joined[3:] == (0.0, 0.0)
    assert fills[0] == stated["fill"] > 0


def test_quality_in_the_metadata_counts_what_is_in_the_file(taken):
    frame = pl.read_parquet(taken.path)
    facts = vector_facts(taken.path)
    gone = {name: int(frame[name].is_nan().sum()) for name in NAMES if frame[name].is_nan().any()}
    del gone["horizon"]  # belongs to a thesis, never to a symbol

    assert facts == json.loads(json.dumps(taken.facts))
    assert facts["quality"]["missing"] == gone
    assert facts["quality"]["rows"] == len(frame)
    assert facts["run"]["digest"] == Run.open(taken.path.parent).digest
    any_gone = frame.select(pl.any_horizontal(pl.col(list(gone)).is_nan())).to_series()
    assert facts["quality"]["incomplete"] == int(any_gone.sum())


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(run, taken, tmp_path):
    shutil.copytree(run, tmp_path / "elsewhere")
    again = take_features(tmp_path / "elsewhere", out=tmp_path / "again.parquet")

    assert again.path.read_bytes() == taken.path.read_bytes()


def test_whole_fills_the_columns_that_the_run_did_not_follow(run, taken, tmp_path):
    whole = take_features(run, every="60s", whole=True, out=tmp_path / "whole.parquet")
    before, after = pl.read_parquet(taken.path), pl.read_parquet(whole.path)

    assert before["bar_high_20"].is_nan().all()
    assert before["sweep_levels_buy"].is_nan().all()
    assert not after["sweep_levels_buy"].is_nan().all()
    both = before.join(after, on=["ts", "symbol"], how="inner")
    assert len(both) > 20
    for name in ("mid", "vol_bps_1m", "imbalance_10", "drift_t_5m"):
        assert both[name].fill_nan(None).equals(both[f"{name}_right"].fill_nan(None)), name


def test_a_run_of_the_notebook_reads_them_as_a_frame(run, taken):
    opened = Run.open(run)
    frame = opened.features

    assert frame.columns[:2] == ["time", "symbol"]
    assert frame["mid"].null_count() == taken.facts["quality"]["missing"].get("mid", 0)
    assert frame["time"][0].isoformat() == "2026-01-01T00:00:01+00:00"
    assert opened.sql("SELECT count(*) AS n FROM features")["n"].to_list() == [len(frame)]


def test_a_run_without_them_says_how_to_get_them(run, tmp_path):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("features.parquet"))

    with pytest.raises(ConfigError, match="nobody wrote"):
        _ = Run.open(tmp_path / "run").features


def test_a_run_that_does_not_come_out_the_same_leaves_no_table(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("features*"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["digest"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    before = sorted(each.name for each in copy.iterdir())

    with pytest.raises(MismatchError, match="does not come out the same"):
        take_features(copy, every="60s")
    assert sorted(each.name for each in copy.iterdir()) == before


def test_what_fails_leaves_an_older_table_as_it_was(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("features*"))
    (copy / "features.parquet").write_bytes(b"older")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["digest"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(MismatchError):
        take_features(copy, every="60s")
    assert (copy / "features.parquet").read_bytes() == b"older"


def test_another_capture_in_the_place_of_the_old_one_is_named(run, tmp_path):
    assert 0 == main(
        ["data", "generate", "--hours", "0.02", "--store", str(tmp_path), "--id", "sample", "-q"]
    )

    with pytest.raises(DataError, match="is not the one"):
        take_features(run, store=str(tmp_path))


def test_a_frozen_configuration_comes_to_the_same_profile_again():
    for given in (
        {},
        all_gates(),
        {"capture": {"start": "2026-01-01T00:00:01.5"}, "run": {"cash": "1000.50"}},
        {"families": {"momentum": {"enabled": False, "half_life_s": 12.5}}},
    ):
        profile = make_profile(given)
        again = read_frozen(json.loads(canonical_json(profile)))

        assert config_hash(again) == config_hash(profile)


def test_every_profile_of_the_project_can_be_frozen_and_read_again():
    for path in sorted((ROOT / "configs").glob("*.toml")):
        try:
            profile = read_config(path)
        except ConfigError:
            continue  # rules of other programs
        assert canonical_json(read_frozen(json.loads(canonical_json(profile)))) == canonical_json(
            profile
        ), path.name


@pytest.mark.parametrize("mode", ["paper", "shadow"])
@pytest.mark.parametrize("dies", [False, True])
def test_a_session_is_read_from_its_own_log(tmp_path, mode, dies):
    instruments, events = short_market(700, symbols=2)
    folder = write_session(
        tmp_path / "20260101-120000-test-0a1b2c3d",
        instruments,
        split(events, [700] * 1000),
        EAGER,
        mode,
        dies=dies,
    )
    taken = take_features(folder, every="10s", at=["fills"])
    frame = pl.read_parquet(taken.path)

    assert taken.facts["run"]["mode"] == mode
    assert (taken.facts["run"]["digest"] is None) == dies
    assert taken.facts["quality"]["late"] == 0
    seconds = np.unique(frame.filter(pl.col("why") == "cadence")["ts"].to_numpy() // 10**9)
    assert (np.diff(seconds)[1:] == 10).all()
    if not dies:
        decisions = Run.open(folder).raw("decisions").rename({"sym": "i"})
        names = pl.Series(instruments.symbols)
        decisions = decisions.with_columns(symbol=names.gather(decisions["i"]))
        bare = frame.with_columns(pl.col("symbol", "why").cast(pl.String))
        both = bare.filter(pl.col("why") != "fill").join(decisions, on=["generation", "symbol"])
        known = both.filter((pl.col("bid") > 0) & (pl.col("ask") > pl.col("bid")))
        assert len(known) > 40
        assert (known["mid"] * 2 == known["mid_half_ticks"]).all()
        fills = len(Run.open(folder).raw("fills"))
        assert (fills > 0) == (mode == "paper")
        assert taken.facts["quality"]["taken"]["fill"] == fills


def test_the_command_tells_what_it_took_and_what_is_missing(run, tmp_path, capsys):
    out = tmp_path / "told.parquet"
    arguments = ["run", "features", str(run), "--every", "30s", "--symbol", "ETH/USD"]
    assert 0 == main([*arguments, "--out", str(out), "--quiet"])
    text = capsys.readouterr().out

    assert "ETH/USD" in text
    assert "--whole" in text
    assert str(out) in text
    assert set(pl.read_parquet(out)["symbol"].cast(pl.String)) == {"ETH/USD"}
    assert 2 == main([*arguments, "--every", "700ms", "--out", str(out)])
    assert "not a multiple" in capsys.readouterr().err
    assert 2 == main(["run", "features", str(run), "--symbol", "XYZ/USD"])
    assert 2 == main(["run", "features", str(run), "--at", "noon"])
