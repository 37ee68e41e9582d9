"""Random orders under random faults, then quiet: the account must end as the venue's books have it.

Frames of the private connection are lost, doubled, cut, spoiled and late, connections and tokens break,
REST answers get lost or are pages of a proxy, for some seconds; then everything works again. A failure
prints its seed.
"""

import asyncio
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from adapters.local_venue import VenueOptions
from adapters.local_venue.faults import parse_script
from engine import commands as c
from engine.events import HEALTH_ABSENT, SELL
from tests.support.account_client import Account, with_account

STORM_S = 5.0
PRIVATE = ("drop", "duplicate", "truncate", "garble", "delay", "close", "abort")
REST = ("lose_reply", "html", "error")


def storm(draw: random.Random) -> str:
    """Frame faults with small odds each, timed breaks, and REST that fails now and then."""
    lines = [f"seed = {draw.randrange(1 << 30)}"]
    for kind in PRIVATE:
        channel = draw.choice(
            ('channel = "executions"', 'channel = "balances"', 'method = "add_order"')
        )
        lines.append(
            f'[[fault]]\nkind = "{kind}"\nendpoint = "private"\n{channel}\nat = 1.0\n'
            f"lasts = {STORM_S}\nprobability = {draw.uniform(0.0, 0.2):.3f}\nms = 300"
        )
    lines.append(f'[[fault]]\nkind = "expire_tokens"\nat = {draw.uniform(1.5, STORM_S):.2f}')
    for kind in REST:
        lines.append(
            f'[[fault]]\nkind = "{kind}"\nendpoint = "rest"\nat = 1.0\nlasts = {STORM_S}\n'
            f"probability = {draw.uniform(0.0, 0.2):.3f}\nacts = true"
        )
    return "\n".join(lines)


async def one_step(mine: Account, draw: random.Random, id: int, best: int) -> None:
    """One command of any kind; some cannot leave, some are refused, some fill at once."""
    alive = [each for each in mine.session.account.open_orders() if each.id > 0]
    what = draw.choice(("rest", "rest", "take", "stop", "cancel", "amend", "too much"))
    role = draw.choice((c.ROLE_ENTRY, c.ROLE_EXIT))
    if what == "rest":
        mine.add(id, "0.01", mine.price("100.0") + draw.randrange(50), role=role)
    elif what == "take":
        mine.add(id, "0.01", int(best * 1.01), tif=draw.choice((c.IOC, c.GTC)), role=role)
    elif what == "stop":
        mine.add(id, "0.01", 0, side=SELL, type=c.STOP_LOSS, trigger=mine.price("50.0"),
                 role=c.ROLE_PROTECTION)  # fmt: skip
    elif what == "too much":
        mine.add(id, "5000", int(best))
    elif alive:
        order = draw.choice(alive)
        if what == "cancel":
            mine.cancel(order.id)
            return
        row = np.zeros(1, c.COMMAND)
        row["kind"], row["id"], row["sym"] = c.AMEND, order.id, order.sym
        row["qty"] = order.qty + draw.randrange(3) * 1000
        if order.order_type == "limit":
            row["price"] = draw.choice((order.price + 1, int(best * 1.01)))
        mine.carry(row)


async def storm_and_quiet(mine: Account, seed: int) -> None:
    draw = random.Random(seed)
    best = int(await mine.ask() / mine.table["BTC/USD"].price_increment)
    loop = asyncio.get_running_loop()
    end, id = loop.time() + STORM_S, 0
    while loop.time() < end:
        id += 1
        await one_step(mine, draw, id, best)
        await asyncio.sleep(draw.choice((0.0, 0.02, 0.05, 0.15)))
    await asyncio.sleep(1.5)
    await mine.until(lambda: mine.session.ready)
    await mine.reconciled()
    for absent, _ in mine.health(HEALTH_ABSENT):
        assert mine.order_at_venue(absent) is None, (
            f"order {absent} is there, and was called absent"
        )
    assert mine.n_written


@pytest.mark.parametrize("seed", [1, 17, 21])
def test_after_any_storm_the_account_is_as_the_venue_has_it(tmp_path: Path, seed: int) -> None:
    options = VenueOptions(
        rest_limits=False, rate_limits=False, connections_max=0,
        balances={"USD": Decimal(1_000_000), "BTC": Decimal(10)},
    )  # fmt: skip
    with_account(
        tmp_path,
        lambda mine: storm_and_quiet(mine, seed),
        venue_options=options,
        faults=parse_script(storm(random.Random(seed))),
    )
