"""The tables of a session that has not ended come from a fresh core that reads its log again."""

import asyncio

import numpy as np

from adapters.cli.mirror import run_sources
from adapters.postgres.rebuild import rebuild
from adapters.sessions import Started, build_core, save_opening
from engine.config import config_hash, make_params, make_profile, make_venue_params
from engine.events import (
    LAST,
    MODE,
    MODE_EXIT_ONLY,
    MODE_REDUCED,
    NO_SYMBOL,
    WHO_OPERATOR,
    WHY_COMMAND,
)
from engine.flow.log import LogWriter
from engine.jit import KERNEL_DIGEST
from tests.support.mirror_story import INSTRUMENTS, START, S, _row

GIVEN = {"run": {"name": "story"}}


def session(folder):
    """A session that was told of two modes, and died."""
    profile = make_profile(GIVEN)
    started = Started(
        mode="shadow", name="story", account="none", config_hash=config_hash(profile, ()),
        given=GIVEN, instruments=INSTRUMENTS, depth=10, timer_ns=250_000_000, started=START,
        kernels=KERNEL_DIGEST,
    )  # fmt: skip
    folder.mkdir(parents=True)
    started.write(folder)
    core = build_core(started, make_params(profile), int(profile.run.cash), ())
    save_opening(folder, started, core, None, make_venue_params(profile), np.zeros(0, np.int64))
    writer = LogWriter(folder / "log", INSTRUMENTS, log_id=folder.name, assign_seq=True)
    for n, mode in enumerate((MODE_REDUCED, MODE_EXIT_ONLY), 1):
        told = {"id": WHO_OPERATOR, "aux": mode, "qty": WHY_COMMAND, "sym": NO_SYMBOL}
        writer.append(_row(START + n * S, MODE, flags=LAST, **told))
    writer.sync()
    return folder


def test_a_session_that_died_is_mirrored_with_the_tables_that_its_core_would_write(place, tmp_path):
    folder = session(tmp_path / "runs" / "20260101-120000-story-0a1b2c3d")

    log, derive, families = run_sources(folder.name, tmp_path / "runs")
    done = asyncio.run(rebuild(place.settings, log, derive, families=families))

    assert (2, 2) == (done.rows["modes"], done.audited["modes"])

    async def look():
        async with place.connected() as connection:
            return await connection.fetch(
                "SELECT ts, mode_name, who, why FROM modes ORDER BY row_n"
            )

    rows = asyncio.run(look())
    assert [(START + S, "reduced"), (START + 2 * S, "exit_only")] == [tuple(r)[:2] for r in rows]
    assert {(WHO_OPERATOR, WHY_COMMAND)} == {tuple(r)[2:] for r in rows}


def test_who_stops_reading_early_stops_the_core_as_well(tmp_path):
    import threading

    folder = session(tmp_path / "one")
    made = run_sources(str(folder), tmp_path)[1]()

    next(made)
    made.close()

    assert "replay" not in [each.name for each in threading.enumerate()]
