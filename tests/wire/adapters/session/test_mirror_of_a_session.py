"""A session with a mirror: what the database holds is what the log and the tables say."""

import asyncio
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from adapters.mirroring import Mirroring
from adapters.sessions import LOG, verify
from engine.events import ORDER_FILL
from engine.flow.log import LogReader
from tests.support.live_session import (
    bought,
    commands,
    demo_keys,  # noqa: F401
    market,
    ready_for,
    run_for,
)
from tests.support.postgres import place, server  # noqa: F401

MOST_S = 120.0


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.usefixtures("demo_keys")
def test_the_database_holds_the_orders_and_fills_of_the_run(tmp_path, place, required) -> None:  # noqa: F811
    said: list[tuple[str, ...]] = []
    with market() as venue:
        ready = ready_for(venue, tmp_path, "live")
        mirror = Mirroring(
            ready.plan.profile,
            lambda *text: said.append(text),
            lambda code, **facts: None,
            replace(place.settings, required=required),
        )
        mirror.required = required
        condition = mirror.committed if required else None
        ran = run_for(ready, MOST_S, attending=mirror, condition=condition, until=bought)

    async def rows(text: str) -> list[tuple[object, ...]]:
        async with place.connected() as connection:
            return [tuple(each) for each in await connection.fetch(text)]

    assert verify(ran.folder).ok
    told = pl.read_parquet(ran.folder / "fills.parquet").select("order", "price", "qty").rows()
    assert len(told) > 0
    fills = asyncio.run(rows("select order_id, price, qty from fills order by row_n"))
    # Also what it said in its last moments, when its loop had ended.
    assert fills == told, said
    log = np.concatenate(list(LogReader(ran.folder / LOG)))
    assert (log["kind"] == ORDER_FILL).sum() == len(told)
    commands = pl.read_parquet(ran.folder / "commands.parquet").select("id", "qty").rows()
    assert asyncio.run(rows("select id, qty from commands order by seq")) == commands


@pytest.mark.usefixtures("demo_keys")
def test_a_mirror_that_is_required_and_gone_keeps_entries_back(tmp_path, place) -> None:  # noqa: F811
    """No database, no entry; the session itself goes on and its log is whole."""
    said: list[tuple[str, ...]] = []
    with market() as venue:
        ready = ready_for(venue, tmp_path, "live")
        gone = place.made(dsn="postgresql://nobody@127.0.0.1:1/none")
        mirror = Mirroring(
            ready.plan.profile,
            lambda *text: said.append(text),
            lambda code, **facts: None,
            replace(gone, required=True),
        )
        ran = run_for(
            ready, MOST_S, attending=mirror, condition=mirror.committed,
            until=lambda running: commands(running) >= 3 and any("mirror is off" in each[1] for each in said),
        )  # fmt: skip

    assert verify(ran.folder).ok
    assert ran.manifest["rows"]["commands"] > 0
    assert ran.manifest["rows"]["fills"] == 0
    assert any("mirror is off" in text for _, text in said)
