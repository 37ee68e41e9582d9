"""The venue refuses, closes, or takes orders away: protection first, nothing is hammered, then on.

RELIABILITY 2.8: 14 (H01), 15 (V05, V10).
"""

from collections.abc import Iterator

from engine.errors import SecretError
from tests.support.fault_desk import Condition, FaultDesk, Scene


def test_h01_a_stop_that_somebody_cancels_by_hand_is_placed_again(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        [stop, *_] = [each for each in scene.open_at_venue() if each.side < 0]
        scene.by_hand("cancel_order", order_id=[stop.txid])
        yield lambda: stop.txid not in {each.txid for each in scene.open_at_venue()}
        yield lambda: scene.raised("PROTECTION_LOST")
        yield lambda: scene.protected() and scene.clean

    scene = faults.session(account, story)
    assert scene.told_sentence("PROTECTION_LOST")
    faults.judge(scene)


def test_v05_an_entry_over_the_rate_limit_waits_and_the_next_one_goes(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean
        scene.strike(
            kind="reject", endpoint="private", method="add_order",
            text="EOrder:Rate limit exceeded", count=1,
        )  # fmt: skip
        yield lambda: scene.raised("RATE_PAIR")
        yield lambda: scene.protected() and scene.clean

    scene = faults.session(account, story)
    assert scene.struck("reject") == 1
    assert scene.told_sentence("RATE_PAIR")
    faults.judge(scene)


def test_v10_a_nonce_that_is_refused_ends_private_use_and_stops_stay(
    faults: FaultDesk, account: str
) -> None:
    stops: set[str] = set()

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        stops.update(each.txid for each in scene.open_at_venue() if each.side < 0)
        scene.strike(kind="error", method="OpenOrders", text="EAPI:Invalid nonce", count=1)
        scene.strike(kind="abort", endpoint="private")
        yield lambda: False

    scene = faults.session(account, story, fails=SecretError)
    assert scene.struck("error") == 1
    assert scene.told_sentence("NONCE_REFUSED")
    # A stop that stays may be reached by the market, which goes on; nobody took one away.
    left = {each.txid: each.status for each in scene.orders_at_venue() if each.txid in stops}
    assert stops
    assert left.keys() == stops
    assert "canceled" not in left.values(), left
    faults.judge(scene)
