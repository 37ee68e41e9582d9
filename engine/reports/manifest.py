"""Where is a run and what does its manifest say? Found and read with the standard library only.

A run folder holds `manifest.json`, written last: a folder without one is a run that never ended.
Left out: the tables (engine/reports/frames.py) and who writes them (adapters/replay.py).
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError, DataError

RUN_SCHEMA_VERSION: Final = 1
MANIFEST_NAME: Final = "manifest.json"
LATEST: Final = "latest"
FEATURES_NAME: Final = "features.parquet"  # what `run features` adds, made from the run again


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the run in `folder`.

    raises DataError if there is none, it is damaged, or its schema version is another one
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder} holds no {MANIFEST_NAME}: it is not a run, or the run did not end.",
            "`kapitaalbot run ls` lists the runs there are.",
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}.", "Replay the profile again; runs are cheap."
        ) from error
    version = manifest.get("schema") if isinstance(manifest, dict) else None
    if version != RUN_SCHEMA_VERSION:
        raise DataError(
            f"{path} has run schema {version}, this program reads {RUN_SCHEMA_VERSION}.",
            "Read it with the program that wrote it, or replay its profile with this one.",
        )
    return dict(manifest)


def list_runs(runs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Folders under `runs` with their manifests, oldest first; what cannot be read is left out."""
    found = []
    if runs.is_dir():
        for folder in sorted(runs.iterdir()):
            if (folder / MANIFEST_NAME).is_file():
                try:
                    found.append((folder, read_manifest(folder)))
                except DataError:
                    continue
    return sorted(found, key=lambda run: (int(run[1].get("started", 0)), run[0].name))


def list_unended(runs: Path) -> list[Path]:
    """Folders of sessions without a manifest: they run still, or died."""
    if not runs.is_dir():
        return []
    return sorted(
        each
        for each in runs.iterdir()
        if not each.is_symlink()
        and (each / "session.json").is_file()
        and not (each / MANIFEST_NAME).is_file()
    )


def find_run(name: Path | str, runs: Path | str = "runs") -> Path:
    """The folder that `name` means: a run folder, the id of one under `runs`, or `latest`.

    name : `runs/<id>`, `<id>`, `latest`, or `<folder>/latest`
    raises ConfigError naming the nearest ids
    """
    given = Path(name)
    if given.name == LATEST and not given.exists():
        place = given.parent if given.parent != Path(".") else Path(runs)
        known = list_runs(place)
        if not known:
            raise ConfigError(
                f"there is no run under {place}.",
                "Make one: `kapitaalbot run replay configs/sample.toml`.",
            )
        return known[-1][0]
    for folder in (given, Path(runs) / given):
        if (folder / MANIFEST_NAME).is_file():
            return folder
    if given.is_dir():
        inside = list_runs(given)
        if inside:
            raise ConfigError(
                f"{given} holds {len(inside)} runs and is none itself.",
                f"Name one, as in {inside[-1][0]}, or the newest: {given / LATEST}.",
            )
        read_manifest(given)  # says what is missing
    ids = [folder.name for folder, _ in list_runs(Path(runs))]
    near = difflib.get_close_matches(given.name, ids, 3, 0.3)
    raise ConfigError(
        f"there is no run {str(name)!r}, neither as a folder nor under {runs}.",
        f"Nearest: {', '.join(near)}."
        if near
        else "`kapitaalbot run ls` lists the runs there are.",
    )
