"""Elementary functions against decimal arithmetic, random numbers against published vectors."""

from __future__ import annotations

import math
import random
from decimal import Decimal, localcontext
from statistics import NormalDist

import numpy as np
import pytest

from engine.jit import JIT_ENABLED
from engine.numerics import (
    NAN,
    bits_float,
    canonical,
    clip,
    erfc,
    exp,
    exponential,
    float_bits,
    floor_int,
    high_bit,
    integer,
    is_nan,
    log,
    low_bit,
    normal,
    normal_cdf,
    normal_quantile,
    power_of_two,
    random_bits,
    random_bits_keyed,
    random_key,
    ratio,
    sqrt,
    tanh,
    uniform,
    wrap_add,
    wrap_multiply,
)

N = 4_000 if JIT_ENABLED else 800


def points(*ranges: tuple[float, float]) -> list[float]:
    rng = random.Random(7)
    return [rng.uniform(lo, hi) for lo, hi in ranges for _ in range(N // len(ranges))]


def worst_ulp(function, reference, xs: list[float]) -> float:
    """Largest error in units of the last place of the true value, found with 50 digits."""
    worst = 0.0
    with localcontext() as context:
        context.prec = 50
        for x in xs:
            true = reference(Decimal(x))
            worst = max(
                worst,
                float(abs(Decimal(float(function(x))) - true) / Decimal(math.ulp(float(true)))),
            )
    return worst


def decimal_tanh(x: Decimal) -> Decimal:
    power = (2 * x).exp()
    return (power - 1) / (power + 1)


def decimal_erfc(x: Decimal) -> Decimal:
    """1 - 2/sqrt(pi) * sum of (-1)^n x^(2n+1) / (n! (2n+1)), with digits to spare for |x| < 6."""
    with localcontext() as context:
        context.prec = 90
        pi = Decimal(
            "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899"
        )
        total, term, n = Decimal(0), x, 0
        while abs(term) > Decimal(10) ** -80:
            total += term / (2 * n + 1)
            n += 1
            term = -term * x * x / n
        return 1 - 2 * total / pi.sqrt()


def test_exp_is_within_one_ulp():
    assert worst_ulp(exp, Decimal.exp, points((-700.0, 700.0), (-1.0, 1.0), (-1e-9, 1e-9))) < 1.0


def test_exp_at_its_ends():
    assert exp(0.0) == 1.0
    assert exp(710.0) == math.inf
    assert exp(-746.0) == 0.0
    assert exp(math.inf) == math.inf
    assert exp(-math.inf) == 0.0
    assert is_nan(exp(NAN))
    assert exp(-745.0) == 5e-324
    assert 0.0 < exp(-720.0) < 2.3e-308


def test_log_is_within_one_ulp():
    xs = [math.exp(x) for x in points((-700.0, 700.0))] + points((0.5, 2.0), (0.999, 1.001))
    assert worst_ulp(log, Decimal.ln, xs) < 1.0


def test_log_at_its_ends():
    assert log(1.0) == 0.0
    assert log(0.0) == -math.inf
    assert is_nan(log(-1.0))
    assert is_nan(log(NAN))
    assert log(math.inf) == math.inf
    assert abs(log(5e-324) - -744.4400719213812) < 1e-12


def test_tanh_is_within_two_ulp():
    assert worst_ulp(tanh, decimal_tanh, points((-20.0, 20.0), (-1.0, 1.0), (-1e-6, 1e-6))) < 2.0


def test_tanh_at_its_ends():
    assert (tanh(0.0), tanh(30.0), tanh(-30.0)) == (0.0, 1.0, -1.0)
    assert is_nan(tanh(NAN))


def test_erfc_is_within_four_ulp():
    assert worst_ulp(erfc, decimal_erfc, points((-6.0, 6.0), (-1.5, 1.5))[: N // 4]) < 4.0


def test_normal_cdf_keeps_its_relative_error_in_the_tail():
    for x in points((-8.0, 8.0))[: N // 8]:
        with localcontext() as context:
            context.prec = 50
            true = decimal_erfc(-Decimal(x) / Decimal(2).sqrt()) / 2
        error = abs(Decimal(float(normal_cdf(x))) - true) / Decimal(math.ulp(float(true)))
        assert float(error) < 4 + 1.5 * x * x


def test_normal_cdf_at_known_points():
    assert normal_cdf(0.0) == 0.5
    assert abs(normal_cdf(1.96) - 0.9750021048517795) < 1e-15
    assert normal_cdf(-40.0) == 0.0
    assert normal_cdf(40.0) == 1.0


def test_normal_quantile_inverts():
    reference = NormalDist()
    for p in [1e-300, 1e-20, 1e-5, 0.02, 0.075, 0.5, 0.925, 0.9999, *points((0.0, 1.0))]:
        assert math.isclose(normal_quantile(p), reference.inv_cdf(p), rel_tol=4e-15, abs_tol=1e-15)
    assert is_nan(normal_quantile(0.0))
    assert is_nan(normal_quantile(1.0))


def test_sqrt_is_correctly_rounded():
    xs = [0.0, 2.0, 5e-324, 1e308, *points((0.0, 10.0))]
    assert [sqrt(x) for x in xs] == [math.sqrt(x) for x in xs]
    assert is_nan(sqrt(-1.0))


def test_ratio_never_divides_by_zero():
    assert ratio(1, 4) == 0.25
    assert is_nan(ratio(1.0, 0.0))
    assert is_nan(ratio(1, 0))
    assert ratio(np.int64(-3), np.int64(2)) == -1.5


def test_canonical_leaves_one_pattern_per_value():
    other_nan = np.array([0x7FF8000000000001], np.int64).view(np.float64)[0]
    assert float_bits(canonical(other_nan)) == 0x7FF8000000000000
    assert float_bits(canonical(-0.0)) == 0
    assert canonical(-1.5) == -1.5


def test_clip():
    assert (clip(5.0, 0.0, 1.0), clip(-5.0, 0.0, 1.0), clip(0.5, 0.0, 1.0)) == (1.0, 0.0, 0.5)
    assert is_nan(clip(NAN, 0.0, 1.0))


def test_floor_int():
    assert [floor_int(x) for x in (-1.5, -1.0, -0.0, 0.5, 7.0)] == [-2, -1, 0, 0, 7]


def test_bits_there_and_back():
    for x in [1.0, -2.5, 5e-324, math.inf, *points((-1e9, 1e9))[:100]]:
        assert bits_float(float_bits(x)) == x
    assert [power_of_two(k) for k in (-1022, -1, 0, 1, 1023)] == [
        2.0**k for k in (-1022, -1, 0, 1, 1023)
    ]


@pytest.mark.parametrize("bit", [0, 1, 5, 31, 32, 51])
def test_ends_of_a_word(bit):
    assert low_bit(1 << bit) == bit
    assert high_bit(1 << bit) == bit
    assert high_bit((1 << (bit + 1)) - 1) == bit
    assert low_bit(((1 << 52) - 1) & ~((1 << bit) - 1)) == bit


def signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def splitmix64(state: int) -> int:
    mask = (1 << 64) - 1
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_random_bits_are_splitmix64():
    """The first outputs of SplitMix64 for seed 1234567, as published with the algorithm."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    gamma, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    assert [splitmix64((1234567 + i * gamma) & mask) for i in range(1, 5)] == published

    drawn = [random_bits_keyed(1234567, i) for i in range(1, 5)]

    assert [value & ((1 << 63) - 1) for value in published] == drawn


def test_random_bits_with_any_key_equal_unbounded_integers():
    mask = (1 << 64) - 1
    gamma = 0x9E3779B97F4A7C15
    rng = random.Random(3)
    for _ in range(300):
        seed, stream, counter = (signed(rng.getrandbits(64)) for _ in range(3))
        key = splitmix64((splitmix64((seed + gamma) & mask) + stream * gamma) & mask)
        assert random_key(seed, stream) == signed(key)
        expected = splitmix64((key + counter * gamma) & mask) & (mask >> 1)
        assert random_bits(seed, stream, counter) == expected


def test_wrapping_arithmetic():
    rng = random.Random(5)
    for _ in range(300):
        a, b = signed(rng.getrandbits(64)), signed(rng.getrandbits(64))
        assert wrap_multiply(a, b) == signed((a * b) & ((1 << 64) - 1))
        assert wrap_add(a, b) == signed((a + b) & ((1 << 64) - 1))


def test_uniform_is_open_and_flat():
    draws = [uniform(1, 2, i) for i in range(N)]
    assert min(draws) > 0.0
    assert max(draws) < 1.0
    counts = np.bincount([int(u * 10) for u in draws], minlength=10)
    assert float(np.sum((counts - N / 10) ** 2) / (N / 10)) < 33.7  # chi2, 9 degrees, p = 1e-4


def test_normal_and_exponential_have_their_moments():
    x = np.array([normal(1, 3, i) for i in range(N)])
    e = np.array([exponential(1, 4, i) for i in range(N)])
    assert abs(x.mean()) < 4 / math.sqrt(N)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / N)
    assert abs(e.mean() - 1) < 4 / math.sqrt(N)
    assert e.min() > 0


def test_integer_covers_its_range():
    draws = [integer(1, 5, i, 6) for i in range(N)]
    assert set(draws) == set(range(6))


def test_streams_and_counters_differ():
    draws = {
        random_bits(seed, stream, counter)
        for seed in range(8)
        for stream in range(8)
        for counter in range(8)
    }
    assert len(draws) == 512
