"""Latency draws: a pure function of their number, log-normal around the median, cut at both ends."""

import math

import numpy as np

from engine.jit import kernel
from engine.venue.latency import entry_latency, latency_draw, response_latency
from engine.venue.params import venue_params

MS = 1_000_000
N = 20_000


@kernel
def draws(median, sigma, least, most, seed, stream, out):
    for k in range(len(out)):
        out[k] = latency_draw(median, sigma, least, most, seed, stream, k)


def drawn(sigma=0.25, least=1, most=10_000 * MS, seed=3, stream=101) -> np.ndarray:
    out = np.zeros(N, np.int64)
    draws(20 * MS, sigma, least, most, seed, stream, out)
    return out


def normal_cdf(z: float) -> float:
    return 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))


def test_the_logs_are_normal_around_the_median():
    """Kolmogorov-Smirnov: the distance stays below the 0.1 % point, 1.95 / sqrt(n)."""
    z = np.sort((np.log(drawn().astype(float)) - math.log(20 * MS)) / 0.25)
    expected = np.array([normal_cdf(each) for each in z])
    steps = np.arange(N + 1) / N
    distance = max(np.max(steps[1:] - expected), np.max(expected - steps[:-1]))
    assert distance < 1.95 / math.sqrt(N)


def test_draws_of_two_streams_and_of_two_seeds_have_nothing_in_common():
    for other in (drawn(stream=102), drawn(seed=4)):
        together = np.corrcoef(np.log(drawn()), np.log(other))[0, 1]
        assert abs(together) < 4 / math.sqrt(N)


def test_neighbouring_draws_have_nothing_in_common():
    logs = np.log(drawn())
    assert abs(np.corrcoef(logs[:-1], logs[1:])[0, 1]) < 4 / math.sqrt(N)


def test_a_draw_is_cut_at_both_ends():
    out = drawn(sigma=2.0, least=5 * MS, most=40 * MS)
    assert out.min() == 5 * MS
    assert out.max() == 40 * MS


def test_without_spread_it_is_the_median():
    assert set(drawn(sigma=0.0)) == {20 * MS}
    assert set(drawn(sigma=0.0, least=30 * MS)) == {30 * MS}


def test_a_draw_depends_on_its_number_alone():
    params = venue_params("zero")
    forwards = [
        (int(entry_latency(params, k)), int(response_latency(params, k))) for k in range(50)
    ]
    backwards = [
        (int(entry_latency(params, k)), int(response_latency(params, k)))
        for k in reversed(range(50))
    ]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 50
