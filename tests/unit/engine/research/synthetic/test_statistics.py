"""Can the hidden truth be seen in what was sent? Regimes, self-excitation, jumps, correlation.

One market of several hours, all thresholds far from where a Poisson process or a market without
regimes would end up; the seed is fixed, so nothing here is a matter of luck.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine import events as ev
from engine.jit import JIT_ENABLED
from engine.research.synthetic import GeneratorConfig, Market
from engine.research.synthetic.flow import FAST_CHILDREN, SLOW_CHILDREN
from engine.research.synthetic.regimes import BRANCHING, REGIMES
from engine.research.synthetic.state import (
    BURST,
    QUIET,
    THIN,
    TREND,
    TRUTH_JUMP,
    TRUTH_REGIME,
)

pytestmark = pytest.mark.skipif(not JIT_ENABLED, reason="hours of market take the compiler")

S = 1_000_000_000
CONFIG = GeneratorConfig(seed=11, duration_s=6 * 3600.0, intensity=0.7, jumps_per_hour=3.0)


class Seen:
    """Second by second what one pair showed, and what was true."""

    def __init__(self, rows: np.ndarray, truth: np.ndarray, sym: int) -> None:
        mine = rows[rows["sym"] == sym]
        book = mine[mine["kind"] == ev.BOOK_LEVEL]
        self.trades = mine[mine["kind"] == ev.TRADE]
        self.truth = truth[truth["sym"] == sym]
        ts, bids, asks = self.touch(book)
        self.grid = np.arange(CONFIG.start_ts + 60 * S, CONFIG.end_ts, S)
        at = np.searchsorted(ts, self.grid, side="right") - 1
        self.mid = (bids[at] + asks[at]) / 2
        self.spread = (asks - bids)[at]
        self.returns = np.diff(np.log(self.mid))
        regimes = self.truth[self.truth["what"] == TRUTH_REGIME]
        self.regimes = regimes
        known = np.searchsorted(regimes["ts_venue"], self.grid, side="right") - 1
        self.regime = regimes["regime"][known]
        self.direction = regimes["direction"][known]
        # Seconds within ten of a jump tell of the jump, not of the regime.
        self.calm = np.ones(len(self.grid), bool)
        for jump in self.truth[self.truth["what"] == TRUTH_JUMP]["ts_venue"]:
            self.calm &= np.abs(self.grid - jump) > 10 * S
        venue_s = (mine["ts_venue"] - self.grid[0]) // S
        messages = mine["flags"] & ev.LAST > 0
        self.messages = np.bincount(venue_s[messages & (venue_s >= 0)], minlength=len(self.grid))[
            : len(self.grid)
        ]

    @staticmethod
    def touch(book: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Time, best bid and best ask after every book message, from dicts."""
        sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        out = []
        for ts, price, qty, side, flags in book[
            ["ts_venue", "price", "qty", "side", "flags"]
        ].tolist():
            if qty:
                sides[side][price] = qty
            else:
                sides[side].pop(price, None)
            if flags & ev.LAST:
                for each in (1, -1):
                    for gone in sorted(sides[each], reverse=each == 1)[10:]:
                        del sides[each][gone]
                out.append((ts, max(sides[1]), min(sides[-1])))
        columns = np.array(out)
        return columns[:, 0], columns[:, 1], columns[:, 2]


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    market = Market(CONFIG)
    rows = np.concatenate(list(market))
    truth = market.truth()
    return [Seen(rows, truth, sym) for sym in range(3)]


@pytest.fixture(scope="module", params=range(3), ids=["BTC", "ETH", "DOGE"])
def pair(request, seen) -> Seen:
    return seen[request.param]


def of(pair: Seen, values: np.ndarray, regime: int) -> np.ndarray:
    n = len(values)
    return values[(pair.regime[:n] == regime) & pair.calm[:n]]


def test_every_regime_occurs_and_the_truth_tells_when(pair):
    assert set(pair.regimes["regime"]) == {QUIET, TREND, BURST, THIN}
    assert np.all(np.diff(pair.regimes["ts_venue"]) > 0)
    trends = pair.regimes["regime"] == TREND
    assert np.all(np.abs(pair.regimes["direction"]) == trends)


def test_returns_vary_more_in_a_burst(pair):
    assert np.var(of(pair, pair.returns, BURST)) > 6 * np.var(of(pair, pair.returns, QUIET))


def test_more_is_sent_in_a_burst(pair):
    assert of(pair, pair.messages, BURST).mean() > 3 * of(pair, pair.messages, QUIET).mean()


def test_the_spread_is_wider_when_liquidity_is_thin(pair):
    assert of(pair, pair.spread, THIN).mean() > 1.8 * of(pair, pair.spread, QUIET).mean()


def test_trends_go_their_way(pair):
    """Drift against direction, in standard errors."""
    n = len(pair.returns)
    chosen = (pair.regime[:n] == TREND) & pair.calm[:n]
    signed = pair.returns[chosen] * pair.direction[:n][chosen]
    assert signed.mean() > 4 * signed.std() / np.sqrt(len(signed))


def test_arrivals_are_overdispersed_even_within_the_quiet_regime(pair):
    """Poisson counts have a variance equal to their mean; self-excitation makes it larger.

    The rate itself also follows the fair price, so the ratio is taken of counts per second with
    the mean of each minute removed.
    """
    quiet = (pair.regime == QUIET) & pair.calm
    ratios = []
    for start in range(0, len(quiet) - 60, 60):
        minute = slice(start, start + 60)
        if quiet[minute].all():
            counts = pair.messages[minute] / 3  # about three messages per action
            if counts.mean() > 0.3:
                ratios.append(counts.var(ddof=1) / counts.mean())
    assert len(ratios) > 30
    assert np.mean(ratios) > 1.6


def test_takers_come_in_clusters(pair):
    """Waiting times between taking orders have a far heavier tail than the exponential."""
    times = np.unique(pair.trades["ts_venue"]).astype(np.float64)
    waits = np.diff(times)
    assert waits.std() > 1.3 * waits.mean()  # 1 for Poisson
    assert np.median(waits) < 0.5 * waits.mean()  # 0.69 for Poisson


def test_signs_of_takers_persist(pair):
    first = np.concatenate([[True], np.diff(pair.trades["ts_venue"]) != 0])
    signs = pair.trades["side"][first].astype(np.float64)
    assert np.corrcoef(signs[1:], signs[:-1])[0, 1] > 0.15


def test_the_mid_follows_a_jump(pair):
    jumps = pair.truth[pair.truth["what"] == TRUTH_JUMP]
    followed = []
    for jump in jumps:
        at = int(np.searchsorted(pair.grid, jump["ts_venue"]))
        if 5 < at < len(pair.grid) - 40:
            moved = np.log(pair.mid[at + 30] / pair.mid[at - 1])
            followed.append(moved / np.log1p(jump["size"]))
    assert len(followed) >= 8
    assert 0.6 < np.median(followed) < 1.4


def test_the_mid_stays_with_the_fair_price(pair):
    fair = pair.truth["fair"]
    at = np.searchsorted(pair.grid, pair.truth["ts_venue"]) - 1
    inside = (at > 0) & (pair.truth["what"] == TRUTH_REGIME)
    gap = np.abs(np.log(pair.mid[at[inside]] / fair[inside]))
    assert np.median(gap) < 3e-4


def test_pairs_move_together(seen):
    step = 30
    returns = [np.diff(np.log(pair.mid[::step])) for pair in seen]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.corrcoef(returns[a], returns[b])[0, 1] > 0.25


def test_returns_have_heavy_tails_and_volatility_clusters(pair):
    returns = pair.returns
    kurtosis = np.mean((returns - returns.mean()) ** 4) / returns.var() ** 2
    assert kurtosis > 8  # 3 for a normal
    size = np.minimum(np.abs(returns), 5 * np.abs(returns).mean())
    assert np.corrcoef(size[10:], size[:-10])[0, 1] > 0.05


def test_order_flow_cannot_explode():
    """Children per arrival, at the most excited regime, have a spectral radius below 1."""
    worst = REGIMES[:, BRANCHING].max()
    children = (FAST_CHILDREN + SLOW_CHILDREN) * worst
    assert np.abs(np.linalg.eigvals(children)).max() < 0.95
