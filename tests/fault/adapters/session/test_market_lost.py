"""The market is heard wrongly or not at all: entries wait, stops stay, and what is told is true again.

RELIABILITY 2.8: 10 (W11, W12, W13), 11 (W14, W15).
"""

from collections.abc import Iterator

import pytest

from tests.support.fault_desk import Condition, FaultDesk, Scene

BTC, ETH = 0, 1
# Reasons of the core that say: what is known of the market is too old.
OLD = {"CONNECTION_SILENT", "DATA_STALE", "BOOK_UNVERIFIED", "EPOCH_NOT_VALID", "RECONCILE_PENDING"}


def verified(scene: Scene) -> bool:
    return bool(scene.core.symbols[BTC]["verified"])


@pytest.mark.parametrize("kind", ["checksum", "cross"], ids=["w11", "w13"])
def test_w11_w13_a_book_that_cannot_be_believed_begins_anew(
    faults: FaultDesk, account: str, kind: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and verified(scene)
        if kind == "cross":
            scene.strike(kind=kind, symbol="BTC/USD")
        else:
            scene.strike(kind=kind, channel="book", kind_of="update", symbol="BTC/USD", count=1)
        yield lambda: scene.struck(kind) == 1
        yield lambda: scene.raised("BOOK_RESYNC")
        yield lambda: verified(scene) and scene.clean
        yield lambda: scene.protected()

    scene = faults.session(account, story)
    assert scene.told_sentence("BOOK_RESYNC")
    faults.judge(scene)


def test_w12_a_pair_whose_book_is_wrong_for_ever_is_put_aside_and_others_trade_on(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.n_events > 0
        scene.strike(kind="checksum", channel="book", symbol="BTC/USD")
        yield lambda: scene.raised("PAIR_QUARANTINED")
        since = scene.now
        yield lambda: scene.reasons(since, "ETH/USD")["OK"] > 0
        yield lambda: scene.protected()
        assert scene.held().tolist() == [ETH]
        assert not verified(scene)
        yield scene.after(100)
        assert scene.codes().count("BOOK_RESYNC") < 12, "asked for a book again and again"
        scene.heal()
        yield lambda: verified(scene) and scene.clean

    scene = faults.session(account, story, profile={"exits": {"time_multiple": 0.5}})
    btc = faults.venue.core.source.instruments.index("BTC/USD")
    assert all(each.sym != btc for each in scene.orders_at_venue()), (
        "traded on a book that is wrong"
    )
    assert scene.codes().count("PAIR_QUARANTINED") == 1
    assert scene.told_sentence("PAIR_QUARANTINED")
    faults.judge(scene)


def test_w14_a_line_that_says_nothing_is_given_up_and_nothing_is_bought_blindly(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        scene.strike(kind="stall", endpoint="public", lasts=1_000_000)
        yield scene.after(20)  # a second of the machine
        since, n = scene.now, scene.n_buys()
        yield lambda: scene.raised("CONN_SILENT")
        silent = scene.reasons(since)
        assert silent, "nothing was decided"
        assert silent.keys() <= OLD, silent
        assert scene.n_buys() == n
        scene.heal()
        yield lambda: all(scene.core.symbols["verified"])
        yield lambda: scene.clean and scene.protected()

    scene = faults.session(account, story)
    assert scene.told_sentence("CONN_SILENT")
    faults.judge(scene)


def test_w15_a_channel_that_is_silent_while_hearts_beat_is_asked_again(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        scene.strike(kind="drop", endpoint="public", channel="book", kind_of="update")
        yield scene.after(20)  # a second of the machine
        since, n = scene.now, scene.n_buys()
        yield lambda: scene.raised("CHANNEL_SILENT")
        silent = scene.reasons(since)
        assert silent, "nothing was decided"
        assert silent.keys() <= OLD, silent
        assert scene.n_buys() == n
        assert not scene.raised("CONN_SILENT"), "hearts beat"
        scene.heal()
        yield lambda: all(scene.core.symbols["verified"])
        yield lambda: scene.clean and scene.protected()

    scene = faults.session(account, story)
    assert scene.struck("drop") > 10
    assert scene.told_sentence("CHANNEL_SILENT")
    faults.judge(scene)
