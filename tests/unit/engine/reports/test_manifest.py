import json

import pytest

from engine.errors import ConfigError, DataError
from engine.reports.manifest import RUN_SCHEMA_VERSION, find_run, list_runs, read_manifest
from tests.support.small_run import write_run


def test_latest_is_the_run_that_started_last_not_the_last_by_name(tmp_path):
    old = write_run(tmp_path, "z-started-first")
    new = write_run(tmp_path, "a-started-last")
    manifest = json.loads((new / "manifest.json").read_text())
    manifest["started"] += 1
    (new / "manifest.json").write_text(json.dumps(manifest))

    assert [old, new] == [folder for folder, _ in list_runs(tmp_path)]
    assert new == find_run("latest", tmp_path) == find_run(tmp_path / "latest")


def test_a_run_is_found_by_folder_and_by_id(tmp_path):
    folder = write_run(tmp_path)

    assert folder == find_run(folder) == find_run(folder.name, tmp_path)


def test_a_folder_whose_manifest_is_missing_is_a_run_that_did_not_end(tmp_path):
    folder = write_run(tmp_path)
    (folder / "manifest.json").unlink()

    assert [] == list_runs(tmp_path)
    with pytest.raises(DataError, match="did not end"):
        find_run(folder)


def test_a_wrong_id_is_answered_with_the_nearest(tmp_path):
    folder = write_run(tmp_path)

    with pytest.raises(ConfigError) as caught:
        find_run(folder.name[:-1] + "x", tmp_path)

    assert folder.name in caught.value.hint


def test_no_runs_at_all_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError) as caught:
        find_run("latest", tmp_path)

    assert "run replay" in caught.value.hint


def test_the_folder_of_many_runs_is_not_a_run(tmp_path):
    folder = write_run(tmp_path)

    with pytest.raises(ConfigError, match="holds 1 runs") as caught:
        find_run(tmp_path)

    assert str(folder) in caught.value.hint


@pytest.mark.parametrize("version", [RUN_SCHEMA_VERSION + 1, 0, None, "1"])
def test_another_schema_version_is_refused(tmp_path, version):
    folder = write_run(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["schema"] = version
    (folder / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(DataError, match=f"has run schema {version}"):
        read_manifest(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"text"', "\xff"])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    folder = write_run(tmp_path)
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(DataError):
        read_manifest(folder)
