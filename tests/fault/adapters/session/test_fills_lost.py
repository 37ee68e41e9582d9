"""A fill is lost, late, or told twice: it counts once, and what it brought is covered.

RELIABILITY 2.8: 2 (W02, W03), 4 (V15), 5 (V16), 7 (W04, W05), 12 (W29, W30). The venue's books say what was filled.
"""

import json
from collections.abc import Iterator

import pytest

from adapters.kraken.orders import order_key
from engine import commands as c
from engine.events import ORDER_FILL
from tests.support.fault_desk import Condition, FaultDesk, Scene

TRADE = '"exec_type":"trade"'
FILLED = '"exec_type":"filled"'
# Entries too large for the best level: they fill in parts, and the rest of them waits.
LARGE = {"run": {"cash": 4_000_000}}


def test_w02_a_missing_report_is_a_gap_until_all_was_read_and_compared(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(kind="drop", endpoint="private", channel="executions", contains=TRADE, count=1)
        yield lambda: scene.struck("drop") == 1
        yield lambda: scene.raised("EXEC_GAP")
        assert scene.glob["reconcile"], "entries are allowed while reports are missing"
        yield lambda: scene.clean
        yield lambda: scene.protected()

    scene = faults.session(account, story)
    assert scene.told_sentence("EXEC_GAP")
    faults.judge(scene)


@pytest.mark.parametrize("lost", [(TRADE,), (TRADE, FILLED)], ids=["fill", "fill_and_end"])
def test_w03_a_fill_that_the_stream_never_tells_comes_over_rest(
    faults: FaultDesk, account: str, lost: tuple[str, ...]
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        for each in lost:
            scene.strike(
                kind="drop", endpoint="private", channel="executions", contains=each,
                renumber=True, count=1,
            )  # fmt: skip
        yield lambda: scene.struck("drop") == len(lost)
        yield lambda: scene.raised("FILLS_BACKFILL")
        yield lambda: scene.protected() and scene.clean

    scene = faults.session(account, story)
    assert scene.told_sentence("FILLS_BACKFILL")
    faults.judge(scene)


@pytest.mark.parametrize("after", ["answer", "end"])
def test_v15_a_fill_that_is_told_after_its_cancel_is_booked_and_covered(
    faults: FaultDesk, account: str, after: str
) -> None:
    """answer: of a cancel that came too late; end: told as canceled with nothing filled."""
    until = '"method":"cancel_order"' if after == "answer" else '"exec_type":"canceled"'

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(
            kind="reorder", endpoint="private", channel="executions", contains=TRADE, until=until,
            renumber=True, unsaid=after == "end", count=1,
        )  # fmt: skip
        yield lambda: scene.struck("reorder") == 1
        assert not told(scene)
        yield lambda: told(scene)
        yield lambda: scene.protected() and scene.clean

    def told(scene: Scene) -> bool:
        """Has the session heard of the fill that was held back?"""
        [frame] = [each.text for each in scene.done("reorder")]
        fills = {order_key(each["exec_id"]) for each in json.loads(frame)["data"]}
        return fills <= set(scene.events(ORDER_FILL)["aux"].tolist())

    scene = faults.session(account, story)
    if after == "end":
        assert scene.told_sentence("LATE_FILL")
    faults.judge(scene)


def test_v16_after_a_break_in_a_partial_fill_the_stop_covers_what_was_filled(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(
            kind="abort", endpoint="private", channel="executions", contains=TRADE, count=1
        )
        yield lambda: scene.struck("abort") == 1
        part = [each for each in scene.orders_at_venue() if 0 < each.filled]
        assert part, "nothing was filled when the line broke"
        yield lambda: scene.raised("FILLS_BACKFILL") and scene.clean
        yield lambda: scene.protected()

    scene = faults.session(account, story, profile=LARGE)
    assert scene.raised("EXEC_GAP")
    faults.judge(scene)


def test_w04_w05_fills_told_twice_by_two_sources_and_after_a_restart_count_once(
    faults: FaultDesk, account: str
) -> None:
    def first(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(kind="duplicate", endpoint="private", channel="executions")
        yield lambda: scene.struck("duplicate") > 3
        yield lambda: scene.protected()
        scene.strike(kind="abort", endpoint="private")
        yield lambda: scene.n_lost > 0
        yield lambda: scene.clean and scene.protected()

    def second(scene: Scene) -> Iterator[Condition]:
        scene.strike(kind="duplicate", endpoint="private", channel="executions")
        yield lambda: scene.clean
        yield scene.after(25)  # one more pass over REST

    one = faults.session(account, first)
    fills = len(one.books.fills)
    assert fills > 0
    two = faults.session(account, second)
    assert two.raised("RECOVERED")
    assert two.running.left is not None
    assert c.ROLE_ENTRY in two.orders()["role"]
    faults.judge(two)


def test_w29_rest_that_is_behind_takes_nothing_back(faults: FaultDesk, account: str) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(kind="rest_lag", ms=60_000)
        yield lambda: scene.protected()
        n_lost = scene.n_lost
        yield lambda: scene.raised("REST_BEHIND")
        yield scene.after(40)
        assert scene.struck("rest_lag") > 3, "REST was not asked while it was behind"
        assert scene.n_lost == n_lost, "the stream was given up for what REST said"
        assert not scene.raised("FILLS_BACKFILL"), "a fill was told twice"
        scene.heal()
        yield lambda: scene.clean and scene.protected()

    scene = faults.session(account, story)
    assert not scene.raised("BALANCE_UNEXPLAINED")
    assert not scene.raised("RECONCILE_REPAIRED")
    faults.judge(scene)


def test_w30_over_fifty_fills_that_nobody_heard_are_paged_and_count_once(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(kind="split", parts=120)
        for channel in ("executions", "balances"):
            scene.strike(kind="drop", endpoint="private", channel=channel)
        yield lambda: scene.struck("drop") > 0
        yield lambda: len(scene.books.fills) >= 120
        assert len(scene.events(ORDER_FILL)) == 0, "a fill was heard"
        scene.heal()
        scene.strike(kind="abort", endpoint="private")
        yield lambda: scene.raised("FILLS_BACKFILL") and scene.clean
        yield lambda: scene.protected()
        assert any("are read page by page" in each for each in scene.said)

    scene = faults.session(account, story)
    assert scene.told_sentence("FILLS_BACKFILL")
    faults.judge(scene)
