"""Rules that keep money safe: held by a run written by hand, broken one at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.commands import COMMAND
from engine.core.orderstates import ORDER_STATE_SUSPECT
from engine.core.protection import COVER_NONE
from engine.core.records import table_dtype
from engine.core.recoveries import RECOVERY_ADOPTED, RECOVERY_CASH_ACCEPTED, RECOVERY_STOPPING
from engine.events import (
    EPOCH_DEGRADED,
    LAST,
    MODE_EXIT_ONLY,
    MODE_HALT,
    ORDER_SENT,
    WHO_OPERATOR,
    WHY_COMMAND,
    WHY_KILL,
    empty,
)
from engine.flow.journal import command_rows
from engine.flow.log import LogWriter
from engine.reports.frames import Run
from engine.reports.safety import BREACH, HELD, LOG, UNCERTAIN, Rule, safety_page
from tests.support.small_run import BTC, INSTRUMENTS, START, S, tables, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = write_run(tmp_path)
    set_limit(found, 5 * S)
    return found


def set_limit(folder: Path, limit: int | None) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["exits"] = {} if limit is None else {"unprotected_max": limit}
    path.write_text(json.dumps(manifest))


def write(folder: Path, table: str, rows: np.ndarray) -> None:
    columns = {each: np.ascontiguousarray(rows[each]) for each in rows.dtype.names or ()}
    pq.write_table(pa.table(columns), folder / f"{table}.parquet")


def rule(folder: Path, name: str) -> Rule:
    return next(each for each in safety_page(Run.open(folder)).rules if each.name == name)


def test_a_run_that_kept_every_rule_is_held(folder):
    page = safety_page(Run.open(folder))

    assert page.verdict == HELD
    assert {each.verdict for each in page.rules} == {HELD}
    looked = {each.name: each.n for each in page.rules}
    assert (looked["decided"], looked["ids"], looked["executions"]) == (1, 2, 3)


def changed(table: str, row: int, **values: Any) -> tuple[str, np.ndarray]:
    rows = tables()[table]
    for name, value in values.items():
        rows[row][name] = value
    return table, rows


def with_row(table: str, like: int, **values: Any) -> tuple[str, np.ndarray]:
    rows = tables()[table]
    more = rows[like : like + 1].copy()
    for name, value in values.items():
        more[name] = value
    return table, np.concatenate((rows, more))


@pytest.mark.parametrize(
    ("name", "table", "example"),
    [
        ("decided", changed("decisions", 4, command=0), "entry 1"),
        ("mode", changed("modes", 1, mode=MODE_EXIT_ONLY), "entry 1"),
        ("epoch", changed("evaluations", 2, epoch_status=EPOCH_DEGRADED), "entry 1"),
        ("ids", changed("commands", 1, id=1), "id 1 "),
        ("executions", changed("fills", 1, exec=14), "execution 14 "),
        ("quantity", changed("orders", 5, filled=1_000_001), "1000001 of 1000000 lots"),
        ("holdings", changed("fills", 2, position=-1), "BTC/USD"),
        ("one sell", with_row("orders", 4, id=3), "BTC/USD"),
        ("cover", changed("positions", 0, coverage=COVER_NONE, ts=START + 3 * S), "BTC/USD for 6"),
        ("cash", changed("equity", 1, cash=999_416_040_001), "+1 units"),
    ],
)
def test_each_rule_that_is_broken_is_a_breach_with_an_example(folder, name, table, example):
    write(folder, *table)
    if name == "one sell":  # the first has ended in the run as it is
        rows = table[1]
        write(folder, "orders", rows[[0, 1, 2, 3, 4, 6]])

    found = rule(folder, name)

    assert found.verdict == BREACH
    assert found.breaches >= 1
    assert example in found.example
    assert safety_page(Run.open(folder)).verdict == BREACH


@pytest.mark.parametrize(("stopping", "verdict"), [(0, UNCERTAIN), (4, HELD), (6, UNCERTAIN)])
def test_cover_that_is_only_in_doubt_is_uncertain_and_an_ended_session_leaves_its_stop(
    folder, stopping, verdict
):
    """The stop is SUSPECT from the fifth second to the end; the session stops at second `stopping`."""
    orders = tables()["orders"]
    orders[5]["state"], orders[5]["ts"] = ORDER_STATE_SUSPECT, START + 5 * S
    write(folder, "orders", orders)
    positions = tables()["positions"][:1]
    positions[0]["coverage"], positions[0]["ts"] = COVER_NONE, START + 5 * S
    write(folder, "positions", positions)
    evaluations = tables()["evaluations"]
    evaluations[3]["ts"] = START + 20 * S
    write(folder, "evaluations", evaluations)
    if stopping:
        rows = np.zeros(1, table_dtype("recoveries"))
        rows[0]["ts"], rows[0]["sym"] = START + stopping * S, -1
        rows[0]["recovery"] = RECOVERY_STOPPING
        write(folder, "recoveries", rows)

    assert rule(folder, "cover").verdict == verdict


@pytest.mark.parametrize(
    ("killed", "ended", "bare", "verdict"),
    [
        (0, None, 9, BREACH),
        (3, None, 0, UNCERTAIN),
        (3, 5, 7, BREACH),
        (3, 8, 4, UNCERTAIN),
        (9, None, 6, BREACH),
    ],
)
def test_cover_that_the_operators_own_kill_took_away_is_named_so_and_not_held(
    folder, killed, ended, bare, verdict
):
    """BTC/USD is bare from the third second to the 12th, 5 s are allowed; killed at second `killed`."""
    positions = tables()["positions"][:1]
    positions[0]["coverage"], positions[0]["ts"] = COVER_NONE, START + 3 * S
    write(folder, "positions", positions)
    evaluations = tables()["evaluations"]
    evaluations[3]["ts"] = START + 12 * S
    write(folder, "evaluations", evaluations)
    modes = np.zeros(4, table_dtype("modes"))
    modes[:2] = tables()["modes"]
    modes[2:]["mode_before"], modes[2:]["mode"], modes[2:]["asked"] = (
        MODE_HALT,
        MODE_HALT,
        MODE_HALT,
    )
    modes[2:]["who"], modes[2:]["accepted"] = WHO_OPERATOR, 1
    modes["ts"][2:] = START + killed * S, START + (ended or 0) * S
    modes["why"][2:] = WHY_KILL, WHY_COMMAND
    write(folder, "modes", modes[: 2 + bool(killed) + bool(ended)])

    found = rule(folder, "cover")

    assert found.verdict == verdict
    assert ("operator's kill" in found.example) == (verdict == UNCERTAIN)
    # What is told of a breach is the time that the kill does not answer for.
    assert verdict == UNCERTAIN or f"BTC/USD for {bare}.0 s" in found.example


@pytest.mark.parametrize(
    ("sym", "apart", "adopted", "n"),
    [
        (-1, 1_000_000, 0, 0),  # one cent: what rounding may come to
        (-1, -1_000_001, 0, 1),
        (BTC, 1, 0, 1),
        (BTC, 1, 2, 1),
        (-1, 9_000_000_000, 4, 0),  # the account as it was found
    ],
)
def test_a_balance_differs_from_our_books_beyond_rounding_and_once_the_account_is_known(
    folder, sym, apart, adopted, n
):
    balances = tables()["balances"][:1]
    balances["ts"], balances["sym"], balances["told"] = START + 3 * S, sym, 500 + apart
    balances["own"], balances["foreign_part"] = 400, 100
    write(folder, "balances", balances)
    recoveries = np.zeros(int(adopted > 0), table_dtype("recoveries"))
    recoveries["ts"], recoveries["sym"] = START + adopted * S, -1
    recoveries["recovery"] = RECOVERY_ADOPTED
    write(folder, "recoveries", recoveries)

    facts = dict(safety_page(Run.open(folder)).facts)

    assert facts["balances told"] == f"1, of which {n} were not as our books"


def test_cover_without_its_limit_is_uncertain_and_uncertain_is_not_held(folder):
    set_limit(folder, None)

    assert rule(folder, "cover").verdict == UNCERTAIN
    assert safety_page(Run.open(folder)).verdict == UNCERTAIN


def test_cash_that_was_corrected_on_record_is_uncertain_and_no_breach(folder):
    write(folder, *changed("equity", 1, cash=999_416_040_001))
    rows = np.zeros(1, table_dtype("recoveries"))
    rows[0]["ts"], rows[0]["sym"], rows[0]["recovery"] = START, -1, RECOVERY_CASH_ACCEPTED
    write(folder, "recoveries", rows)

    found = rule(folder, "cash")

    assert found.verdict == UNCERTAIN
    assert "1 corrections" in found.example


@pytest.mark.parametrize("journaled", [True, False])
def test_an_order_that_was_sent_must_stand_in_the_log_before(folder, journaled):
    command = np.zeros(1, COMMAND)
    command["id"], command["sym"], command["ts"] = 1, BTC, START
    sent = empty(1)
    sent["kind"], sent["id"], sent["sym"], sent["ts"] = ORDER_SENT, 1, BTC, START
    sent["flags"] = LAST
    log = LogWriter(folder / LOG, INSTRUMENTS, log_id=folder.name, assign_seq=True)
    if journaled:
        log.append(command_rows(command))
    log.append(sent)
    if not journaled:
        log.append(command_rows(command))
    log.close()

    found = rule(folder, "journal")

    assert (found.verdict, found.n) == ((HELD, 1) if journaled else (BREACH, 1))
