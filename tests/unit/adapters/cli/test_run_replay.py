"""`kapitaalbot run replay` and `check ready` on the first minutes of the bundled capture."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters.cli import progress, warm
from adapters.cli.main import main
from adapters.parquet.reader import open_events
from engine.config import canonical_json, read_config
from engine.core.routes import BUILT_FAMILIES
from engine.errors import InvariantError
from engine.flow.recorder import RECORDED_TABLES
from engine.reports.frames import Run
from tests.support.small_run import write_run

ROOT = Path(__file__).resolve().parents[4]
END = "capture.end=2026-01-01T00:10:00"
S = 1_000_000_000
TEN_MINUTES = (1_767_225_600 + 600) * S


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """Profiles name their captures from the folder of the project."""
    monkeypatch.chdir(ROOT)
    for name in os.environ:
        if name.startswith("KAPITAALBOT__"):
            monkeypatch.delenv(name)


def replay(out, *arguments, profile="configs/sample.toml"):
    return main(["run", "replay", profile, "--out", str(out), "--set", END, *arguments])


def test_a_replay_prints_what_it_wrote(tmp_path, capsys):
    assert 0 == replay(tmp_path)
    text = capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    run = Run.open(folder)

    assert run.digest in text
    assert str(folder) in text
    for expected in ("BTC/USD, ETH/USD, DOGE/USD", "evaluations", "why candidates were blocked"):
        assert expected in text
    assert {f"{name}.parquet" for name in RECORDED_TABLES} | {"manifest.json"} == {
        each.name for each in folder.iterdir()
    }
    for name in RECORDED_TABLES:
        assert run.manifest["rows"][name] == len(run.raw(name)), name
    events = open_events(ROOT / "datasets" / "sample", end=TEN_MINUTES).batches()
    stamps = np.concatenate([batch["ts"] for batch in events])
    # One evaluation at every whole second between the first event and the last.
    assert stamps[-1] // S - stamps[0] // S == len(run.evaluations)
    assert len(stamps) == run.summary["events"]
    assert run.summary["evaluations"] == len(run.evaluations)


def test_the_same_again_is_the_same_to_the_bit_and_a_change_is_found(tmp_path, capsys):
    assert 0 == replay(tmp_path / "a", "--json", "--quiet")
    first = json.loads(capsys.readouterr().out)
    assert 0 == replay(tmp_path / "b", "--json", "--quiet")
    second = json.loads(capsys.readouterr().out)

    assert first["digest"] == second["digest"]
    assert first["config_hash"] == second["config_hash"]
    assert 0 == main(["run", "compare", first["folder"], second["folder"]])
    arguments = ["--json", "--quiet", "--set", "costs.buffer_bps=5.0"]
    assert 0 == replay(tmp_path / "c", *arguments)
    capsys.readouterr()
    assert 5 == main(["run", "compare", first["folder"], str(tmp_path / "c" / "latest")])
    assert "candidates" in capsys.readouterr().err


def test_nothing_is_written_if_so_asked(tmp_path, capsys):
    assert 0 == replay(tmp_path / "none", "--no-record", "--json")
    printed = json.loads(capsys.readouterr().out)

    assert printed["folder"] is None
    assert not (tmp_path / "none").exists()
    assert 64 == len(printed["digest"])


def test_quiet_says_nothing_on_stderr_and_others_a_json_line_per_ten_seconds(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(progress, "HEARTBEAT_S", 0.0)
    assert 0 == replay(tmp_path, "--quiet")
    assert "" == capsys.readouterr().err
    assert 0 == replay(tmp_path)
    beats = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert beats
    assert {"replay"} == {each["progress"] for each in beats}
    assert beats[-1]["done"] == beats[-1]["total"]


def test_a_wrong_setting_is_refused_before_anything_is_made(tmp_path, capsys):
    assert 2 == replay(tmp_path, "--set", "run.sede=1")
    assert "Did you mean run.seed" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "code", "says"),
    [
        ("capture.path=no/where", 4, "no/where"),
        ("capture.id=other", 4, "no capture 'other'"),
        ('capture.symbols=["XYZ/USD"]', 2, "XYZ/USD"),
        ("run.quote=EUR", 2, "no symbol quoted in EUR"),
        ("capture.start=2026-01-01T00:09:59.999999", 4, "no events"),
        ('plugins=["none.py:mine"]', 2, "none.py"),
    ],
)
def test_what_cannot_run_is_a_sentence_and_leaves_no_folder(tmp_path, capsys, setting, code, says):
    assert code == replay(tmp_path, "--set", setting)
    printed = capsys.readouterr().err
    assert says in printed
    assert "Traceback" not in printed
    assert [] == list(tmp_path.iterdir())


def test_a_replay_that_stops_half_way_leaves_no_run(tmp_path, capsys, monkeypatch):
    import adapters.replay

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters.replay, "drive", stop)
    assert 130 == replay(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_ready_says_what_it_found(capsys):
    assert 0 == main(["check", "ready", "configs/sample.toml", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["ready"]
    assert ["profile", "families", "capture", "symbols", "output", "kernels"] == [
        each["check"] for each in report["checks"]
    ]
    assert 0 == main(["check", "ready", "configs/sample.toml"])
    assert "every key is known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "code", "check"),
    [
        ("run.sede=1", 2, "profile"),
        ('plugins=["none.py:mine"]', 2, "families"),
        ("capture.path=no/where", 4, "capture"),
        ('capture.symbols=["XYZ/USD"]', 2, "capture"),
    ],
)
def test_ready_names_the_first_thing_that_is_wrong(setting, code, check, capsys):
    assert code == main(["check", "ready", "configs/sample.toml", "--set", setting, "--json"])
    report = json.loads(capsys.readouterr().out)
    verdicts = {each["check"]: each["verdict"] for each in report["checks"]}
    assert not report["ready"]
    assert "wrong" == verdicts[check]
    assert "not tried" == verdicts["kernels"]


@pytest.mark.parametrize("profile", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.stem)
def test_every_profile_is_valid(profile, capsys):
    assert 0 == main(["config", "show", str(profile), "--json"])
    shown = {each["key"]: each for each in json.loads(capsys.readouterr().out)["keys"]}
    assert str(profile) == shown["run.name"]["origin"]


def test_two_profiles_differ_in_these_keys(tmp_path, capsys):
    text = "[run]\ncash = 10000\n[evaluation]\ninterval = '2s'\n"
    (tmp_path / "one.toml").write_text(text)
    (tmp_path / "two.toml").write_text(text.replace("2s", "500ms") + "[families.momentum]\n")

    names = [str(tmp_path / each) for each in ("one.toml", "two.toml")]
    assert 0 == main(["config", "diff", *names, "--json"])
    keys = {each["key"]: each for each in json.loads(capsys.readouterr().out)["keys"]}

    assert ('"2s"', '"500ms"') == tuple(keys["evaluation.interval"][n] for n in ("first", "second"))
    assert ("", "true") == tuple(keys["families.momentum.enabled"][n] for n in ("first", "second"))
    assert "run.cash" not in keys
    assert 0 == main(["config", "diff", names[0], names[0]])
    assert "nothing differs" in capsys.readouterr().err


def test_a_profile_beside_a_run_is_held_to_what_the_run_remembers(tmp_path, capsys):
    """Names and places are no part of a configuration's hash, so no manifest has them."""
    profile = tmp_path / "mine.toml"
    profile.write_text('[run]\nname = "mine"\ncash = 77\n')
    folder = write_run(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["config"] = json.loads(canonical_json(read_config(profile)))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    profile.write_text('[run]\nname = "other"\nout = "elsewhere"\ncash = 78\n')

    assert 0 == main(["config", "diff", str(profile), str(folder), "--json"])
    keys = json.loads(capsys.readouterr().out)["keys"]

    assert [{"key": "run.cash", "first": '"78"', "second": '"77"'}] == keys


def test_a_value_is_shown_as_it_would_be_written(capsys):
    arguments = ["--set", "run.cash=1234.5", "--set", "evaluation.interval=1500ms"]
    arguments += ["--set", "capture.end=2026-01-01T12:00:00", "--set", "horizons_s=[60]"]
    assert 0 == main(["config", "show", "--changed", "--json", *arguments])
    shown = {each["key"]: each["value"] for each in json.loads(capsys.readouterr().out)["keys"]}
    assert {
        "run.cash": '"1234.5"',
        "evaluation.interval": '"1500ms"',
        "capture.end": '"2026-01-01T12:00:00"',
        "horizons_s": "[60]",
    } == shown
    again = [f"--set={key}={value}" for key, value in shown.items()]
    assert 0 == main(["config", "show", "--changed", "--json", *again])
    keys = json.loads(capsys.readouterr().out)["keys"]
    assert shown == {each["key"]: each["value"] for each in keys}


def test_the_schema_has_every_key_for_people_and_editors(capsys):
    assert 0 == main(["config", "schema", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert "venue.fees" in {each["key"] for each in printed["keys"]}
    assert "properties" in printed["schema"]
    assert 0 == main(["config", "schema", "venue.fe"])
    assert "run.cash" not in capsys.readouterr().out


# --- compiling ahead -----------------------------------------------------------------------------


def test_with_the_jit_off_there_is_nothing_to_compile():
    code = "from adapters.cli.warm import is_warm; print(is_warm())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "True" == done.stdout.strip()


def test_the_first_run_says_that_it_compiles_and_for_how_long(monkeypatch):
    said = []
    monkeypatch.setattr(warm, "is_warm", lambda without: False)
    monkeypatch.setattr(warm, "warm_all", lambda talk, without: {"seconds": 12.3})
    warm.warm_if_cold(said.append)
    assert "once per version" in said[0]
    assert "compiled in 12 s." == said[1]
    warm.warm_if_cold(None)
    assert 2 == len(said)


def test_what_was_compiled_for_a_replay_is_not_enough_for_a_session(tmp_path, monkeypatch):
    """A session would compile the rest inside its loop, and stand still meanwhile."""
    asked: list[str] = []

    def start(lane):
        asked.extend(lane)
        return subprocess.Popen(
            [sys.executable, "-c", f"print({json.dumps(json.dumps(dict.fromkeys(lane, 1.0)))})"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    monkeypatch.setattr("engine.jit.CACHE_FOLDER", tmp_path)
    monkeypatch.setattr("engine.jit.JIT_ENABLED", True)
    monkeypatch.setattr(warm, "_start", start)
    warm.warm_if_cold(None)
    assert {warm.FEED, warm.PAPER, warm.GENERATOR}.isdisjoint(asked)
    assert warm.is_warm()
    assert not warm.is_warm(warm.NOT_FOR_SESSIONS)
    first = len(asked)
    warm.warm_if_cold(None, warm.NOT_FOR_SESSIONS)
    assert {warm.FEED, warm.PAPER} == set(asked[first:])
    assert warm.is_warm(warm.NOT_FOR_SESSIONS)


def test_a_kernel_that_does_not_compile_is_named():
    with pytest.raises(InvariantError, match="did not compile"):
        warm._finish(warm._start(("no such part",)))


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "adapters.cli.main", "config", "warm"],
        env=os.environ | {"KAPITAALBOT_CACHE_DIR": str(tmp_path / "file" / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 9 == done.returncode
    assert "KAPITAALBOT_CACHE_DIR" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_after_warming_nothing_is_compiled_by_a_replay_or_the_generator(tmp_path):
    environ = os.environ | {"KAPITAALBOT_CACHE_DIR": str(tmp_path / "cache")}

    def run(*arguments):
        command = [sys.executable, "-m", "adapters.cli.main", *arguments]
        subprocess.run(command, env=environ, check=True, capture_output=True)
        return {each.name for each in (tmp_path / "cache").rglob("*.nbc")}

    compiled = run("config", "warm")
    out = ["--out", str(tmp_path / "runs")]
    assert compiled == run("run", "replay", "configs/sample.toml", "--set", END, *out)
    store = ["--store", str(tmp_path / "store")]
    assert compiled == run("data", "generate", "--hours", "0.01", *store)


def test_everything_switched_on_replays_the_sample_with_orders(tmp_path, capsys):
    """All families of configs/full.toml are asked, and what they say becomes orders and fills."""
    assert 0 == main(["run", "replay", "configs/full.toml", "--out", str(tmp_path), "--quiet"])
    run = Run.open(tmp_path / "latest")

    assert len(BUILT_FAMILIES) == run.candidates["family"].n_unique()
    assert {"join", "improve", "take", "then_take"} == set(run.candidates["entry_mode_name"])
    assert len(run.orders) > 30
    assert len(run.fills) > 10
