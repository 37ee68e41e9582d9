"""Print the hash of all that a few venue stories came to: `python -m tests.support.print_venue N`."""

from __future__ import annotations

import hashlib
import sys

from engine.venue.fees import FeeSchedule
from engine.venue.latency import entry_latency, response_latency
from tests.support.venue_story import new_exchange, play

SCHEDULE = FeeSchedule((0, 1, 2), (2500, 1400, -200), (4000, 2400, 1000), "falls fast")


def story_world(seed: int) -> dict:
    """Rules that differ with the seed, so that a few stories visit every switch."""
    return {
        "schedule": SCHEDULE,
        "cash": (1000, 15)[seed % 2],
        "base": 10**6,
        "depth": (0, 3)[seed // 2 % 2],
        "seed": seed,
        "length": 400,
        "steps_of": ((0, 4), (2, 4), (2, 8), (3, 8))[seed % 4],
        "params": {
            "queue_model": seed % 2,
            "queue_power": 1 + seed % 3,
            "trade_first": seed % 3 != 0,
            "touch_fill": 1 + (seed % 5 == 0),
            "through_fill": seed % 3,
            "cross_fill": (seed + 1) % 3,
            "need_snapshot": seed % 4 != 1,
            "fee_round_up": seed % 2,
            "rate_on": seed % 2,
        },
    }


def story_hash(n: int) -> str:
    """sha256 over the state of the venue and its answers after each of `n` stories, and draws."""
    digest = hashlib.sha256()
    for seed in range(n):
        exchange = new_exchange(story_world(seed))
        for _ in play(exchange, story_world(seed)):
            pass
        digest.update(repr(exchange.log).encode())
        digest.update(exchange.venue.glob.tobytes())
        digest.update(exchange.venue.symbols.tobytes())
        exchange.params["entry_sigma"] = exchange.params["response_sigma"] = 0.4
        for counter in range(500):
            draw = entry_latency(exchange.params, counter)
            digest.update(
                repr((int(draw), int(response_latency(exchange.params, counter)))).encode()
            )
    return digest.hexdigest()


if __name__ == "__main__":
    print(story_hash(int(sys.argv[1])))
