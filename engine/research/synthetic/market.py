"""How does a configuration become events? The loop over all pairs, and the way out in batches.

Memory stays flat: one output buffer, one record per pair. The buffer is handed out whenever it is
nearly full, and the loop goes on where it stopped, so the size of the batches changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from engine.events import EVENT
from engine.jit import kernel
from engine.numerics import floor_int
from engine.research.synthetic.config import GeneratorConfig
from engine.research.synthetic.flow import (
    CROSS_CHILDREN,
    decay_to,
    draw_next,
    next_flow,
    set_base_rates,
)
from engine.research.synthetic.messages import action_end, put_opening
from engine.research.synthetic.orders import execute
from engine.research.synthetic.regimes import GRID_NS, enter_regime, grid_step
from engine.research.synthetic.state import (
    MARKET_TAKE,
    MAX_ORDERS,
    QUIET,
    SLOW_DECAY,
    TRUTH,
    make_glob,
    make_markets,
)
from engine.research.synthetic.traders import learn, want, want_limit, want_prune, want_reprice

# The most events of one action: its orders, a window full of orders that come in, and the rest.
# Of one turn of the loop: a reprice is two actions.
ROOM_PER_TURN: Final = 2 * (MAX_ORDERS + 4_096)
BATCH_ROWS: Final = 65_536
TRUTH_ROWS: Final = 4_096
RUNNING: Final = 0
FULL: Final = 1
ENDED: Final = 2


@kernel
def seed_markets(glob, markets, truth):
    """Begin in the quiet regime, fill every book and draw the first arrivals."""
    for i in range(len(markets)):
        market = markets[i]
        t = market["t"]
        enter_regime(glob, truth, market, t, QUIET, 0)
        n_orders = floor_int(market["n_orders"])
        for k in range(n_orders):
            want_limit(market)
            execute(glob, market, t - (n_orders - k) * 1_000_000)
        set_base_rates(glob, market)
        draw_next(market)


@kernel
def run_markets(glob, markets, out, truth, until):
    """Let all pairs run, earliest first, until `until` or until a buffer is nearly full.

    glob : GLOB record; markets : MARKET[n]; out : EVENT[m]; truth : TRUTH[k]
    until : int64, venue time in ns, exclusive
    returns FULL if it must be called again for the same `until`, else ENDED
    """
    while True:
        if glob["n_out"] + ROOM_PER_TURN > len(out) or glob["n_truth"] + 8 > len(truth):
            return FULL
        first = 0
        for i in range(1, len(markets)):
            if markets[i]["t_next"] < markets[first]["t_next"]:
                first = i
        market = markets[first]
        t = market["t_next"]
        if t >= until:
            return ENDED
        decay_to(market, t)
        if t == market["t_grid"]:
            market["t_grid"] = t + GRID_NS
            grid_step(glob, truth, market, t)
            set_base_rates(glob, market)
            want_prune(market, t)
        else:
            flow = next_flow(market)
            want(market, flow, t)
            if flow == MARKET_TAKE:
                # Taking here makes taking elsewhere likelier; felt at the other's next draw.
                for i in range(len(markets)):
                    if i != first:
                        markets[i]["slow"][MARKET_TAKE] += CROSS_CHILDREN * SLOW_DECAY
        acting = True
        while acting:
            execute(glob, market, t)
            action_end(glob, out, market, t)
            acting = want_reprice(market)
        learn(market)
        draw_next(market)


class Market:
    """A market that is being made: iterate over it for the events, once.

    config : what to make
    batch_rows : events per batch; the last one is shorter
    `truth()` tells what the hidden state was over the part that was already handed out.
    """

    def __init__(self, config: GeneratorConfig, batch_rows: int = BATCH_ROWS) -> None:
        if batch_rows < 1:
            raise ValueError(f"batch_rows is {batch_rows}: a batch holds at least one event.")
        self.config = config
        self.batch_rows = batch_rows
        self._markets = make_markets(config)
        self._glob = make_glob(config)
        self._truth: list[np.ndarray] = []

    def _drain_truth(self, buffer: np.ndarray) -> None:
        n = int(self._glob["n_truth"][0])
        if n:
            self._truth.append(buffer[:n].copy())
            self._glob["n_truth"] = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """EVENT[n] batches, n = batch_rows but for the last, each an array of its own."""
        glob, markets = self._glob[0], self._markets
        out = np.zeros(self.batch_rows + 4 * ROOM_PER_TURN, EVENT)
        truth = np.zeros(TRUTH_ROWS, TRUTH)
        seed_markets(glob, markets, truth)
        while run_markets(glob, markets, out, truth, self.config.start_ts) == FULL:
            self._drain_truth(truth)
        self._drain_truth(truth)
        glob["emit"] = 1
        put_opening(glob, out, markets)
        state = FULL
        while state == FULL:
            state = run_markets(glob, markets, out, truth, self.config.end_ts)
            self._drain_truth(truth)
            ready = int(glob["n_out"])
            handed = 0
            while ready - handed >= self.batch_rows or (state == ENDED and handed < ready):
                batch = out[handed : min(handed + self.batch_rows, ready)].copy()
                handed += len(batch)
                yield batch
            out[: ready - handed] = out[handed:ready].copy()
            glob["n_out"] = ready - handed

    def truth(self) -> np.ndarray:
        """TRUTH[n]: regimes and jumps so far, the warm-up included, in order of time."""
        return np.concatenate([np.zeros(0, TRUTH), *self._truth])


def generate(config: GeneratorConfig, batch_rows: int = BATCH_ROWS) -> Iterator[np.ndarray]:
    """Make a market and stream its events, EVENT[n] at a time, in flat memory.

    Example: for events in generate(GeneratorConfig(seed=7, duration_s=60)): ...
    """
    return iter(Market(config, batch_rows))
