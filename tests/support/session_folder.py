"""The run folder of a session, written as a session writes it: market in, log, tables, manifest out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adapters.runs import table_sink, write_json
from adapters.sessions import (
    LOG,
    Built,
    Started,
    build_core,
    build_paper,
    save_opening,
    session_manifest,
)
from engine.config import config_hash, make_params, make_profile, make_venue_params
from engine.core.params import timer_grid_ns
from engine.flow.log import LogWriter
from engine.flow.recorder import Recorder
from engine.instruments import InstrumentTable
from engine.jit import KERNEL_DIGEST
from engine.reports.manifest import MANIFEST_NAME
from engine.reports.summary import RunSummary
from engine.session.loop import Session, ShadowGateway
from engine.session.verify import Followed
from tests.support.sessions import feed


def write_session(
    folder: Path,
    instruments: InstrumentTable,
    batches: Iterable[np.ndarray],
    given: Mapping[str, Any],
    mode: str = "paper",
    previous: str = "",
    dies: bool = False,
) -> Path:
    """A session of `mode` (paper or shadow) over the whole market; returns its folder.

    given : its profile; previous : what it states as the run before (its core is new all the same)
    dies : nothing is written after the last flush of the log, not even its end
    """
    profile = make_profile(given)
    params, venue_params = make_params(profile), make_venue_params(profile)
    started = Started(
        mode=mode, name="test", account="main", config_hash=config_hash(profile),
        given=dict(given), instruments=instruments, depth=10,
        timer_ns=timer_grid_ns(params), started=1, kernels=KERNEL_DIGEST, previous=previous,
    )  # fmt: skip
    folder.mkdir(parents=True)
    started.write(folder)
    cash = int(profile.run.cash)
    core = build_core(started, params, cash, ())
    core.glob[0]["volume"] = venue_params[0]["volume_start"]
    paper = build_paper(started, core, venue_params, cash)
    kept = paper if mode == "paper" else None
    save_opening(folder, started, core, kept, venue_params, np.zeros(0, np.int64))
    summary = RunSummary(instruments.symbols, profile.run.quote)
    recorder = Recorder(lambda name, dtype: table_sink(folder, name, dtype), summary.observe)
    log = LogWriter(folder / LOG, instruments, log_id=folder.name, assign_seq=True)
    session = Session(
        core, log, recorder, kept or ShadowGateway(),
        timer_ns=started.timer_ns, measure=lambda: 0,
    )  # fmt: skip
    feed(session, batches)
    if dies:
        log.flush()
        recorder.abort()
        return folder
    session.close()
    recorder.close()
    first = int(next(iter(batches))["ts"][0]) if isinstance(batches, list) else 0
    found = Followed(
        n_events=log.n_events, n_commands=session.n_commands, seq_last=log.seq_last,
        ts_first=first, ts_last=session.ts_last,
    )  # fmt: skip
    built = Built(started, profile, (), core, kept)
    write_json(
        folder / MANIFEST_NAME, session_manifest(folder, built, recorder, summary, found, 0.0)
    )
    return folder
