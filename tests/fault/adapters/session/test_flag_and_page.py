"""What lies beside a session: the kill flag however it was set, a page for people that cannot be written."""

from collections.abc import Iterator

import pytest

from adapters.lease import KillFlag
from adapters.start import Ready
from engine.events import MODE_HALT, WHY_COMMAND, WHY_KILL
from tests.support.fault_desk import Condition, FaultDesk, Scene


def test_a_kill_flag_that_is_set_while_a_session_starts_halts_it(
    faults: FaultDesk, account: str
) -> None:
    """`ops kill` finds nobody at the socket yet, and the session has looked for the flag already."""

    flags: list[KillFlag] = []

    def kill(ready: Ready) -> Ready:
        assert not ready.plan.killed
        flags.append(KillFlag(ready.folder))
        flags[0].set(1, "test")
        return ready

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.mode == MODE_HALT
        yield scene.after(30)
        assert scene.n_buys() == 0
        assert scene.glob["mode_why"] == WHY_KILL
        # Taken away again: it stays in HALT, as any HALT that a person asked for.
        flags[0].clear()
        yield lambda: scene.glob["mode_why"] == WHY_COMMAND
        assert scene.mode == MODE_HALT

    faults.session(account, story, change=kill)


def test_a_status_file_that_cannot_be_written_is_said_once_and_ends_nothing(
    faults: FaultDesk, account: str
) -> None:
    where = {"status": {"file": str(faults.folder / "is not there" / "status.json")}}

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: any("status file" in each for each in scene.said)
        yield scene.after(60)

    scene = faults.session(account, story, mode="shadow", profile=where)
    assert 1 == sum("status file" in each for each in scene.said)


@pytest.mark.parametrize("mode", ["shadow", "paper"])
def test_a_session_that_was_stopped_does_not_keep_the_next_one_from_entries(
    faults: FaultDesk, account: str, mode: str
) -> None:
    """Its core was told that the session ends; the one that takes it up begins."""

    def first(scene: Scene) -> Iterator[Condition]:
        yield scene.after(5)

    def second(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.reasons(0).total() > 20
        assert scene.reasons(0)["STOPPING"] == 0
        assert not scene.glob["stopping"]

    stopped = faults.session(account, first, mode=mode)
    assert stopped.glob["stopping"]
    faults.session(account, second, mode=mode)
