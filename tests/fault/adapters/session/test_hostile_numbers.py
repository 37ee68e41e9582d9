"""Numbers that are none, and flags that are not the flag: nothing leaves, and a person is told.

RELIABILITY 2.8: 19 (D01, D02, D03, D11). What the gate makes of two hundred spellings:
tests/unit/engine/test_live_gate.py; what a thesis may say: tests/unit/engine/core/test_theses.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.local_venue.account import Order
from adapters.start import Ready, plan_session
from engine.core.routes import FAMILY_NAMES, FAMILY_PLUGIN
from engine.errors import ConfigError
from engine.live_gate import FLAG
from tests.support.fault_desk import PROFILE, Condition, FaultDesk, Scene, key_of, merged

FAMILY = f"{Path(__file__).parents[3] / 'support' / 'hostile.py'}:hostile"
SLOTS = {"move": 1, "spread": 2, "confidence": 3, "invalidation": 4, "half_life": 5, "active": 6}
NAN, HUGE, MINUS_HUGE = 1, 4, 5


def hostile(slot: str, what: int, alone: bool = False) -> dict[str, Any]:
    mine = {"enabled": True, "params": {"slot": float(SLOTS[slot]), "what": float(what)}}
    families: dict[str, Any] = {"rehearsal": {"enabled": True}}
    if alone:
        built_in = [name for code, name in FAMILY_NAMES.items() if 0 < code < FAMILY_PLUGIN]
        families = {name: {"enabled": False} for name in ("rehearsal", *built_in)}
    families["hostile"] = mine
    return {"plugins": [*PROFILE["plugins"], FAMILY], "families": families}


@pytest.mark.parametrize(
    ("slot", "what"),
    [("move", NAN), ("confidence", MINUS_HUGE)],
)
def test_d01_d02_an_answer_that_is_no_number_is_refused_and_told_and_others_trade_on(
    faults: FaultDesk, account: str, slot: str, what: int
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.told_sentence("INTENT_REFUSED")
        scene.acknowledge()
        yield lambda: scene.protected()

    scene = faults.session(account, story, profile=hostile(slot, what))
    assert scene.told_sentence("INTENT_REFUSED")
    assert any("hostile" in facts for code, facts in scene.told if code == "INTENT_REFUSED")
    faults.judge(scene)


def test_d01_a_family_of_hostile_answers_alone_sends_nothing(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.told_sentence("INTENT_REFUSED")
        scene.acknowledge()
        yield scene.after(20)

    scene = faults.session(account, story, profile=hostile("half_life", NAN, alone=True))
    assert scene.orders_at_venue() == []
    faults.judge(scene, orders=0)


def test_d02_d03_an_expectation_beyond_all_bounds_buys_within_them_and_on_the_grid(
    faults: FaultDesk, account: str
) -> None:
    """A move of 1e30 is a number: what leaves is of the size that the caps allow, digit by digit."""
    asked: list[Order] = []

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        asked.extend(scene.orders_at_venue())

    scene = faults.session(account, story, profile=hostile("move", HUGE, alone=True))
    table = faults.venue.core.source.instruments
    equity = 10_000
    for order in asked:
        pair = table[order.sym]
        price = pair.price(order.price or order.trigger)
        assert 0 < order.qty < 10**15
        assert price % pair.price_increment == 0
        assert pair.qty(order.qty) % pair.qty_increment == 0
        assert price * pair.qty(order.qty) < equity, "more than there is"
    # The venue's own gateway looks at every digit: it refused none.
    assert not scene.raised("QUANTISER")
    faults.judge(scene)


@pytest.mark.parametrize("spelling", ["True", "1 ", "yes", "１", "Local", ""])
def test_d11_a_flag_that_is_not_the_flag_starts_no_live_session_and_reads_no_key(
    faults: FaultDesk, account: str, spelling: str
) -> None:
    ready = faults.ready(account)
    given = merged(PROFILE, {"live": {"keys": "file:/nowhere", "state": str(ready.folder.parent)}})
    with pytest.raises(ConfigError, match="LIVE_FLAG_NOT_RECOGNISED") as raised:
        plan_session(None, "live", given, {FLAG: spelling})
    assert raised.value.exit_code == 2


def test_d11_a_session_in_shadow_under_a_wrong_flag_opens_nothing_private(
    faults: FaultDesk, account: str
) -> None:
    opened: list[int] = []

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: bool(scene.core.symbols["verified"].all())
        core = faults.venue.core
        opened.append(sum(each.endpoint == "private" for each in core.connections.values()))
        yield scene.after(20)

    told: list[str] = []

    def look(ready: Ready) -> Ready:
        told.extend(ready.gate.remarks)
        return ready

    faults.session(account, story, mode="shadow", flag="True", change=look)
    assert opened == [0]
    assert key_of(account) not in faults.venue.core.clients, "the venue was asked about the account"
    assert any("LIVE_FLAG_NOT_RECOGNISED" in each for each in told)
