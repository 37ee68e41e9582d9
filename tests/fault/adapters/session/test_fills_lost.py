"""A fill is lost, late, or told twice: it counts once, and what it brought is covered.

RELIABILITY 2.8: 2 (W02, W03), 5 (V16), 7 (W04, W05). The venue's books say what was filled.
"""

from collections.abc import Iterator

import pytest

from engine import commands as c
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
