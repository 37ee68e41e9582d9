"""The venue takes orders no more, announced or not: nothing is added, stops stay, and then it goes on.

RELIABILITY 2.8: 16 (V22, V23, V24).
"""

from collections.abc import Iterator

from engine.commands import ROLE_ENTRY
from engine.instruments import STATUS_CODES, STATUS_MAINTENANCE, STATUS_ONLINE, STATUS_REDUCE_ONLY
from tests.support.fault_desk import Condition, FaultDesk, Scene

# In and out again within seconds, so that there is always something to be bought.
BUSY = {"horizons_s": [10], "exits": {"time_multiple": 0.2}}
SWITCHED = {**BUSY, "live": {"switch": "cancel_all"}}


def knows(scene: Scene, status: int) -> bool:
    return int(scene.glob["system_status"]) == status


def trading(scene: Scene) -> bool:
    """It bought, and sold again, and bought."""
    return scene.clean and scene.n_buys() > 2


def test_v22_before_announced_maintenance_entries_end_and_the_switch_is_off(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: trading(scene) and scene.client.desk.switch_at > 0
        scene.strike(kind="announce", ms=60_000, lasts=120)
        yield lambda: scene.client.desk.switch_at == 0 and knows(scene, STATUS_REDUCE_ONLY)
        # Also none that is on its way, which no venue has heard of yet.
        yield (
            lambda: (
                not any(each.side > 0 for each in scene.open_at_venue())
                and not len(scene.orders(ROLE_ENTRY, open_only=True))
            )
        )
        n = scene.n_buys()
        yield scene.after(20)
        assert scene.n_buys() == n, "an entry right before the venue closes"
        scene.strike(kind="system", to="maintenance")
        yield lambda: knows(scene, STATUS_MAINTENANCE)
        everything = len(scene.orders_at_venue())
        yield scene.after(20)
        assert len(scene.orders_at_venue()) == everything, "an order while the venue is closed"
        scene.strike(kind="system", to="online")
        yield lambda: scene.clean and knows(scene, STATUS_ONLINE)
        yield lambda: scene.n_buys() > n and scene.client.desk.switch_at > 0
        assert not scene.client.desk.switch_fired

    scene = faults.session(account, story, profile=SWITCHED)
    assert scene.struck("announce") == 1
    assert scene.struck("system") == 2
    assert scene.told_sentence("VENUE_MODE")
    assert not scene.raised("SWITCH_FIRED")
    faults.judge(scene)


def test_v23_while_only_cancels_are_taken_nothing_is_added_until_it_opens_and_was_read(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: trading(scene)
        scene.strike(kind="system", to="cancel_only")
        yield lambda: knows(scene, STATUS_CODES["cancel_only"])
        n, everything = scene.n_buys(), len(scene.orders_at_venue())
        yield scene.after(20)
        assert len(scene.orders_at_venue()) == everything, "an order that no venue takes"
        yield lambda: scene.told_sentence("VENUE_CANCEL_ONLY")
        scene.acknowledge()
        scene.strike(kind="system", to="online")
        yield lambda: scene.clean and scene.n_buys() > n
        yield lambda: scene.protected()

    scene = faults.session(account, story, profile=BUSY)
    assert scene.struck("system") == 2
    assert scene.told_sentence("VENUE_CANCEL_ONLY")
    faults.judge(scene)


def test_v24_while_the_venue_takes_post_only_orders_nothing_is_bought(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: trading(scene)
        scene.strike(kind="system", to="post_only")
        yield lambda: knows(scene, STATUS_CODES["post_only"])
        n = scene.n_buys()
        yield scene.after(20)
        assert scene.n_buys() == n, "it could not place a stop for what it buys"
        assert not scene.raised("VENUE_CANCEL_ONLY")
        scene.strike(kind="system", to="online")
        if scene.raised("UNPROTECTED"):  # it was bought when the venue closed
            yield lambda: scene.told_sentence("UNPROTECTED")
            scene.acknowledge()
        yield lambda: scene.clean and scene.n_buys() > n

    scene = faults.session(account, story, profile=BUSY)
    assert scene.struck("system") == 2
    assert scene.told_sentence("VENUE_MODE")
    faults.judge(scene)
