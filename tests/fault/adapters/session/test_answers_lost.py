"""An order's answer is lost, late or out of order: it counts as unknown, is never sent again, and settles.

RELIABILITY 2.8: 1 (V11, V13), 3 (V14), 6 (V19). The venue's books say what really happened.
"""

from collections.abc import Iterator

import pytest

from engine.core.orderstates import ORDER_STATE_SUSPECT
from engine.events import MODE_NORMAL
from tests.support.fault_desk import Condition, FaultDesk, Scene

TRADE = '"exec_type":"trade"'
# Entries too large for the best level: they fill in parts, and the rest of them waits.
LARGE = {"run": {"cash": 4_000_000}}


def deaf(scene: Scene) -> None:
    """From the next order on nothing private reaches us, until the line is cut."""
    scene.strike(kind="drop", endpoint="private", method="add_order", count=1)
    scene.strike(kind="drop", endpoint="private", channel="executions")
    scene.strike(kind="drop", endpoint="private", channel="balances")


def suspects(scene: Scene) -> bool:
    return bool((scene.orders()["state"] == ORDER_STATE_SUSPECT).any())


@pytest.mark.parametrize("late_ms", [0, 4000], ids=["v11", "v13"])
def test_v11_v13_an_order_whose_answer_is_lost_is_doubted_found_and_placed_once(
    faults: FaultDesk, account: str, late_ms: int
) -> None:
    """v13: and the venue takes it four seconds after it was sent."""

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        deaf(scene)
        if late_ms:
            scene.strike(kind="hold", endpoint="private", method="add_order", ms=late_ms, count=1)
        yield lambda: scene.struck("drop") >= 1
        yield lambda: suspects(scene)
        scene.heal()
        scene.strike(kind="abort", endpoint="private")
        yield lambda: scene.raised("SUBMIT_RESOLVED") and scene.clean
        yield lambda: scene.protected()

    scene = faults.session(account, story)
    assert scene.struck("hold") == (1 if late_ms else 0)
    assert scene.codes().index("SUBMIT_UNKNOWN") < scene.codes().index("SUBMIT_RESOLVED")
    assert scene.told_sentence("SUBMIT_UNKNOWN")
    faults.judge(scene)


def test_v14_a_fill_before_the_acknowledgement_is_booked_and_covered(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(kind="reorder", endpoint="private", method="add_order", until=TRADE, count=1)
        scene.strike(
            kind="reorder", endpoint="private", channel="executions", contains='"exec_type":"new"',
            until=TRADE, renumber=True, count=1,
        )  # fmt: skip
        yield lambda: scene.struck("reorder") == 2
        yield lambda: scene.protected()
        yield scene.after(5)

    scene = faults.session(account, story)
    assert not scene.raised("EXEC_GAP"), "the sequence was whole"
    assert scene.mode == MODE_NORMAL
    faults.judge(scene)


def test_v19_an_order_that_filled_at_once_and_was_never_open_is_found_by_its_trades(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        deaf(scene)
        yield lambda: scene.struck("drop") >= 1
        yield lambda: any(each.status == "filled" for each in scene.orders_at_venue())
        yield lambda: suspects(scene)
        scene.heal()
        scene.strike(kind="abort", endpoint="private")
        yield lambda: scene.raised("FILLS_BACKFILL") and scene.clean
        yield lambda: scene.protected()

    scene = faults.session(account, story)
    assert scene.raised("SUBMIT_UNKNOWN")
    assert scene.told_sentence("FILLS_BACKFILL")
    faults.judge(scene)
