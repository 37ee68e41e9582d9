"""The venue is out of reach, or a clock is set: entries wait until all is known again, and is right.

RELIABILITY 2.8: 20 (W23, W26).
"""

from collections.abc import Iterator

import numpy as np

from engine.core.orderstates import ORDER_STATE_SUSPECT
from tests.support.fault_desk import SECOND, Condition, FaultDesk, Scene


def test_w26_a_clock_that_jumps_blocks_entries_until_it_is_right_again(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        scene.clock.step += 40 * SECOND
        yield lambda: scene.raised("CLOCK_STEP")
        yield lambda: abs(int(scene.glob["clock_offset"])) > 30 * SECOND
        yield scene.after(5)  # what left before that may still be on its way
        n = scene.n_buys()
        yield scene.after(10)
        assert scene.n_buys() == n, "an entry by a clock that is wrong"
        scene.clock.step -= 40 * SECOND
        yield lambda: abs(int(scene.glob["clock_offset"])) < SECOND
        yield lambda: scene.clean

    scene = faults.session(account, story)
    assert scene.told_sentence("CLOCK_STEP")
    faults.judge(scene)


def test_w23_a_venue_out_of_reach_leaves_every_order_unknown_and_none_is_dropped(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        scene.strike(kind="refuse")
        scene.strike(kind="abort")
        yield lambda: scene.n_lost > 0
        # Those that the venue has: what was decided just then never left, and is refused as such.
        working = scene.orders(open_only=True)
        working = working["id"][working["ts_acked"] > 0].tolist()
        yield lambda: scene.raised("VENUE_UNREACHABLE")
        n, resting = scene.n_buys(), [each.txid for each in scene.open_at_venue()]
        orders = scene.orders(open_only=True)
        assert working, "nothing was open when the venue went away"
        assert np.isin(working, orders["id"]).all(), "an order was dropped"
        assert (orders["state"] == ORDER_STATE_SUSPECT).all()
        yield scene.after(60)
        assert scene.n_buys() == n
        assert [each.txid for each in scene.open_at_venue()] == resting
        assert (scene.orders(open_only=True)["state"] == ORDER_STATE_SUSPECT).all()
        reconciled = scene.n_reconciled
        scene.heal()
        yield lambda: scene.n_reconciled > reconciled and scene.clean
        yield lambda: scene.protected()
        yield lambda: all(scene.core.symbols["verified"])

    scene = faults.session(account, story)
    assert scene.struck("refuse") > 3, "nobody tried to connect"
    assert scene.told_sentence("VENUE_UNREACHABLE")
    [facts] = [facts for code, facts in scene.told if code == "VENUE_UNREACHABLE"]
    assert '"orders_unknown": 0' not in facts
    faults.judge(scene)
