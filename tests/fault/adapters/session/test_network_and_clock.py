"""A clock is set: entries wait until it was measured again, and is right.

RELIABILITY 2.8: 20 (W26).
"""

from collections.abc import Iterator

from tests.support.fault_desk import SECOND, Condition, FaultDesk, Scene


def test_w26_a_clock_that_jumps_blocks_entries_until_it_is_right_again(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        scene.clock.step += 40 * SECOND
        yield lambda: scene.raised("CLOCK_STEP")
        yield lambda: abs(int(scene.glob["clock_offset"])) > 30 * SECOND
        n = scene.n_buys()
        yield scene.after(10)
        assert scene.n_buys() == n, "an entry by a clock that is wrong"
        scene.clock.step -= 40 * SECOND
        yield lambda: abs(int(scene.glob["clock_offset"])) < SECOND
        yield lambda: scene.clean

    scene = faults.session(account, story)
    assert scene.told_sentence("CLOCK_STEP")
    faults.judge(scene)
