"""The market is heard wrongly or not at all: entries wait, stops stay, and what is told is true again.

RELIABILITY 2.8: 10 (W11, W13).
"""

from collections.abc import Iterator

import pytest

from tests.support.fault_desk import Condition, FaultDesk, Scene

BTC = 0


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
