"""What of the market is followed, and that nothing is lost where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from engine.config import make_params, make_profile
from engine.core.columns import FEATURE_INDEX
from engine.core.needs import FOLLOWED
from engine.core.routes import BUILT_FAMILIES, FAMILY_NAMES
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world

READERS = {
    "breakout": {"minutes"},
    "atr_breakout": {"minutes"},
    "pullback": {"minutes"},
    "fade": {"refill"},
    "sweep": {"bursts", "refill"},
}


def followed(**sections) -> set[str]:
    row = make_params(make_profile(sections))[0]
    return {switch for switch in FOLLOWED if row[f"features_{switch}"] == 1}


def test_nothing_more_is_followed_for_the_families_that_are_on_by_default():
    assert set() == followed()


@pytest.mark.parametrize("family", [FAMILY_NAMES[code] for code in BUILT_FAMILIES])
def test_a_family_that_is_on_has_what_it_reads(family):
    assert READERS.get(family, set()) == followed(families={family: {"enabled": True}})


def test_a_profile_may_follow_what_no_family_reads():
    assert {"refill"} == followed(features={"refill": True})


def test_decisions_are_the_same_and_only_unread_columns_are_unknown():
    instruments, events = short_market(400, symbols=1)
    seen = {}
    for on in (False, True):
        features = dict.fromkeys(FOLLOWED, on)
        world = make_world(instruments, {**EAGER, "features": features})
        _, seen[on] = run_world(world, [events])
        values = world.core.symbols[0]["features"]
        for switch, columns in FOLLOWED.items():
            known = [name for name in columns if not np.isnan(values[FEATURE_INDEX[name]])]
            assert bool(known) == on, switch
    for name, rows in seen[True].items():
        assert rows.tobytes() == seen[False][name].tobytes(), name
    assert len(seen[True]["orders"]) > 0
