"""The venue's switch takes the stops, or the venue takes none: protection first, or out at the market.

RELIABILITY 2.8: 13 (V26, V27), 14 (V35).
"""

from collections.abc import Iterator

import pytest

from engine import commands as c
from engine.events import ORDER_CANCELED
from tests.support.fault_desk import SECOND, Condition, FaultDesk, Scene, commands_in, read_log

SWITCHED = {"live": {"switch": "cancel_all"}, "exits": {"time_multiple": 100.0}}
STOP = '"order_type":"stop-loss","side":"sell","symbol":"BTC/USD"'


def armed(scene: Scene) -> bool:
    return scene.clean and scene.protected() and scene.client.desk.switch_at > 0


def protection_first(scene: Scene) -> bool:
    """Was a stop the first order that was added once the stops were gone?"""
    rows = read_log(scene.running.folder)
    gone = rows[(rows["kind"] == ORDER_CANCELED) & (rows["id"] > 0)]
    fired = scene.client.desk.switch_fired[0]
    at = int(gone["seq"][gone["ts_venue"] >= fired - SECOND][0])
    after = commands_in(rows[rows["seq"] >= at])
    adds = after[after["kind"] == c.ADD]
    return len(adds) > 0 and int(adds[0]["role"]) == c.ROLE_PROTECTION


def test_v26_a_switch_that_fires_when_the_venue_is_back_costs_no_cover(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: armed(scene)
        scene.strike(kind="system", to="maintenance")
        yield lambda: scene.client.desk.switch_at < scene.now
        assert any(each.side < 0 for each in scene.open_at_venue())
        scene.strike(kind="system", to="online")
        yield lambda: bool(scene.client.desk.switch_fired)
        yield lambda: scene.told_sentence("SWITCH_FIRED") and scene.protected()
        scene.acknowledge()
        yield lambda: scene.protected() and scene.clean

    scene = faults.session(account, story, profile=SWITCHED)
    assert scene.struck("system") == 2
    assert scene.told_sentence("SWITCH_FIRED")
    assert protection_first(scene)
    faults.judge(scene)


def test_v27_a_switch_that_was_renewed_in_words_only_is_known_by_its_time(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: armed(scene)
        scene.strike(kind="ignore", endpoint="private", method="cancel_all_orders_after")
        yield lambda: bool(scene.client.desk.switch_fired)
        assert not scene.n_lost, "we were heard all the time"
        yield lambda: scene.told_sentence("SWITCH_FIRED") and scene.protected()
        scene.acknowledge()
        yield lambda: scene.protected() and scene.clean

    scene = faults.session(account, story, profile=SWITCHED)
    assert scene.struck("ignore") >= 2
    assert scene.told_sentence("SWITCH_FIRED")
    assert protection_first(scene)
    faults.judge(scene)


@pytest.mark.parametrize(
    "text",
    ["EOrder:Insufficient funds", "EOrder:Invalid price"],
    ids=["funds_held", "trigger_passed"],
)
def test_v35_a_stop_that_is_refused_twice_is_told_and_the_position_left(
    faults: FaultDesk, account: str, text: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(
            kind="reject", endpoint="private", method="add_order", contains=STOP, text=text,
            count=2,
        )  # fmt: skip
        yield lambda: scene.struck("reject") == 2
        yield lambda: scene.told_sentence("UNPROTECTED")
        yield lambda: any(
            each.side < 0 and each.order_type != "stop-loss" and each.status == "filled"
            for each in scene.orders_at_venue()
        )
        scene.acknowledge()
        yield lambda: scene.protected() and scene.clean  # the other pair, and all of it

    scene = faults.session(account, story)
    assert scene.told_sentence("UNPROTECTED")
    faults.judge(scene)
