"""What no event tells: a slow counter, an edited profile, a log that is gone, another account's key.

RELIABILITY: V06, D15, P17, H07; none of the twenty that come first.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from adapters.identity import FILE_NAME
from adapters.kraken.keys import KeysOnce
from adapters.local_venue.keys import DEMO_SECRET
from adapters.local_venue.rest import account_name
from adapters.sessions import LOG
from adapters.start import Ready
from engine.errors import MismatchError, StorageError
from tests.support.fault_desk import Condition, FaultDesk, Scene, key_of


def test_v06_d15_a_full_rest_counter_and_an_edited_profile_are_told_and_it_trades_on(
    faults: FaultDesk, account: str, tmp_path: Path
) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text("[run]\ncash = 1\n")

    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and not scene.raised("CONFIG_CHANGED_ON_DISK")
        os.utime(profile, ns=(1, 1))
        scene.strike(kind="error", method="OpenOrders", text="EAPI:Rate limit exceeded", count=1)
        scene.strike(kind="abort", endpoint="private")
        yield lambda: scene.raised("RATE_REST")
        assert not scene.raised("CONFIG_CHANGED_ON_DISK"), "touched is not edited"
        params = scene.core.params.tobytes()
        profile.write_text("[run]\ncash = 2\n")
        yield lambda: scene.raised("CONFIG_CHANGED_ON_DISK")
        assert scene.core.params.tobytes() == params, "it goes on with what it began with"
        yield lambda: scene.clean and scene.protected()
        process = json.loads((scene.running.folder / "status.json").read_text())["process"]
        assert process["memory_bytes"] > 10_000_000
        assert process["open_files"] > 3

    scene = faults.session(account, story, change=lambda ready: replace(ready, path=profile))
    assert scene.struck("error") == 1
    assert scene.told_sentence("RATE_REST")
    assert scene.told_sentence("CONFIG_CHANGED_ON_DISK")
    assert scene.codes().count("CONFIG_CHANGED_ON_DISK") == 1
    faults.judge(scene)


def test_p17_a_log_that_is_taken_away_ends_the_session_and_stops_stay(
    faults: FaultDesk, account: str
) -> None:
    def story(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean and scene.protected()
        [segment] = (scene.running.folder / LOG).glob("*.arrows")
        segment.unlink()
        yield lambda: False

    scene = faults.session(account, story, fails=StorageError)
    assert scene.failure is not None
    assert "JOURNAL_REPLACED" in str(scene.failure)
    assert scene.told_sentence("JOURNAL_REPLACED")
    assert any(each.side < 0 for each in scene.open_at_venue())


def test_h07_a_key_of_another_account_starts_no_session_of_this_one(
    faults: FaultDesk, account: str, another_account: str
) -> None:
    def first(scene: Scene) -> Iterator[Condition]:
        yield lambda: scene.clean

    def never(scene: Scene) -> Iterator[Condition]:
        yield lambda: False

    def wrong_key(ready: Ready) -> Ready:
        keys = faults.folder / account / "other-keys.toml"
        keys.touch(0o600)
        keys.write_text(f'key = "{key_of(another_account)}"\nsecret = "{DEMO_SECRET}"\n')
        return replace(ready, keys=KeysOnce(f"file:{keys}"))

    faults.session(account, first)
    kept = (faults.ready(account).folder / FILE_NAME).read_text()
    assert account_name(key_of(account)) not in kept
    scene = faults.session(account, never, change=wrong_key, fails=MismatchError)
    assert scene.failure is not None
    assert scene.failure.exit_code == 5  # type: ignore[attr-defined]
    assert "expected=" in str(scene.failure)
    assert scene.running is None, "a session began on the wrong account"
    assert scene.told_sentence("ACCOUNT_CHANGED")
    assert key_of(another_account) not in faults.venue.core.clients, "it asked about that account"
    two = faults.session(account, first)
    faults.judge(two, orders=0)
