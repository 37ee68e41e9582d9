"""How do we compute exp, log and random numbers so that every machine gets the same bits?

libm and numpy pick their code by CPU, so their last digit differs between machines and between
compiled and plain Python. Everything here is range reduction and polynomials in plain IEEE
arithmetic, in one fixed order, plus square root, which IEEE 754 defines to the last bit.
`docs/numerics.md` has the errors that were measured. Left out: powers (multiply), trigonometry,
sums over arrays (write the loop).

Source of the polynomials: FDLIBM 5.3 (e_exp.c, e_log.c, s_erf.c; Sun Microsystems 1993),
Cephes 2.8 (tanh.c; Moshier 2000), Wichura 1988, Algorithm AS 241 (normal quantile).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.jit import JIT_ENABLED, kernel

NAN: Final = float("nan")  # the one NaN: 0x7ff8000000000000
INFINITY: Final = float("inf")

# --- small helpers -----------------------------------------------------------------------------


@kernel
def is_nan(x):
    """Is `x` not a number? float64 -> bool."""
    return x != x


@kernel
def canonical(x):
    """`x` with one bit pattern per value: every NaN becomes `NAN`, -0.0 becomes 0.0."""
    if x != x:
        return NAN
    return x + 0.0


@kernel
def ratio(a, b):
    """a / b as float64, or NAN when b is 0. Integers are converted first."""
    divisor = float(b)
    if divisor == 0.0:
        return NAN
    return float(a) / divisor


@kernel
def clip(x, lo, hi):
    """`x` held between `lo` and `hi` (lo <= hi); a NaN stays a NaN."""
    if x < lo:
        return lo
    if x > hi:
        return hi
    return x


@kernel
def floor_int(x):
    """The largest int64 not above the finite float64 `x`, |x| < 2**62."""
    whole = int(x)
    if x < whole:
        return whole - 1
    return whole


@kernel
def float_bits(x):
    """The 64 bits of a float64, as int64."""
    return np.float64(x).view(np.int64)


@kernel
def bits_float(bits):
    """The float64 that the 64 bits of an int64 stand for."""
    return np.int64(bits).view(np.float64)


@kernel
def power_of_two(k):
    """2.0 ** k, exact. int64 k in -1022 .. 1023."""
    return np.int64((k + 1023) << 52).view(np.float64)


@kernel
def low_bit(word):
    """Index of the lowest set bit of an int64 in 1 .. 2**52 - 1."""
    # The exponent of a power of two is its index: no bit scan exists that runs without the JIT.
    return (np.float64(word & -word).view(np.int64) >> 52) - 1023


@kernel
def high_bit(word):
    """Index of the highest set bit of an int64 in 1 .. 2**52 - 1."""
    return (np.float64(word).view(np.int64) >> 52) - 1023


# --- elementary functions ----------------------------------------------------------------------

_LN2_HI: Final = 6.93147180369123816490e-01  # ln 2, upper 32 bits of the mantissa
_LN2_LO: Final = 1.90821492927058770002e-10  # ln 2 - _LN2_HI
_INV_LN2: Final = 1.44269504088896338700e00
_EXP_MAX: Final = 7.09782712893383973096e02  # above: infinity
_EXP_MIN: Final = -7.45133219101941108420e02  # below: zero


@kernel
def exp(x):
    """e ** x; error below 1 ulp. Overflows to infinity, underflows through subnormals to 0."""
    x = float(x)
    if x != x:
        return NAN
    if x > _EXP_MAX:
        return INFINITY
    if x < _EXP_MIN:
        return 0.0
    k = floor_int(x * _INV_LN2 + 0.5)
    hi = x - k * _LN2_HI
    lo = k * _LN2_LO
    r = hi - lo
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t
            * (
                6.61375632143793436117e-05
                + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
            )
        )
    )
    y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi)
    if k > 1023:
        return y * 2.0 * power_of_two(k - 1)
    if k < -1021:
        # Two exact steps, so that a subnormal result is rounded once.
        return y * power_of_two(k + 1000) * power_of_two(-1000)
    return y * power_of_two(k)


@kernel
def log(x):
    """Natural logarithm; error below 1 ulp. log(0) is -infinity, log(negative) is NAN."""
    x = float(x)
    if x != x or x < 0.0:
        return NAN
    if x == 0.0:
        return -INFINITY
    if x == INFINITY:
        return INFINITY
    k = 0
    if x < 2.2250738585072014e-308:
        k = -54
        x = x * 1.8014398509481984e16  # 2 ** 54 lifts a subnormal, exactly
    bits = float_bits(x)
    k += (bits >> 52) - 1023
    m = bits_float((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    if m > 1.4142135623730951:
        m = m * 0.5
        k += 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (
        3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    )
    even = z * (
        6.666666666666735130e-01
        + w
        * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    return k * _LN2_HI - ((half - (s * (half + odd + even) + k * _LN2_LO)) - f)


@kernel
def sqrt(x):
    """Square root, correctly rounded as IEEE 754 asks; NAN for a negative."""
    x = float(x)
    if x < 0.0:
        return NAN
    return math.sqrt(x)


@kernel
def tanh(x):
    """Hyperbolic tangent; error below 2 ulp."""
    x = float(x)
    if x != x:
        return NAN
    size = -x if x < 0.0 else x
    if size > 22.0:
        return 1.0 if x > 0.0 else -1.0
    if size < 0.625:
        z = x * x
        top = (
            -9.64399179425052238628e-1 * z - 9.92877231001918586564e1
        ) * z - 1.61468768441708447952e3
        bottom = (
            (z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3
        ) * z + 4.84406305325125486048e3
        return x + x * (z * (top / bottom))
    y = 1.0 - 2.0 / (exp(2.0 * size) + 1.0)
    return y if x > 0.0 else -y


@kernel
def _erf_small(x):
    """erf(x) - x for |x| < 0.84375."""
    z = x * x
    top = 1.28379167095512558561e-01 + z * (
        -3.25042107247001499370e-01
        + z
        * (
            -2.84817495755985104766e-02
            + z * (-5.77027029648944159157e-03 + z * -2.37630166566501626084e-05)
        )
    )
    bottom = 1.0 + z * (
        3.97917223959155352819e-01
        + z
        * (
            6.50222499887672944485e-02
            + z
            * (
                5.08130628187576562776e-03
                + z * (1.32494738004321644526e-04 + z * -3.96022827877536812320e-06)
            )
        )
    )
    return x * (top / bottom)


@kernel
def _erf_middle(s):
    """erf(1 + s) - 0.8450629 for -0.15625 <= s < 0.25."""
    top = -2.36211856075265944077e-03 + s * (
        4.14856118683748331666e-01
        + s
        * (
            -3.72207876035701323847e-01
            + s
            * (
                3.18346619901161753674e-01
                + s
                * (
                    -1.10894694282396677476e-01
                    + s * (3.54783043256182359371e-02 + s * -2.16637559486879084300e-03)
                )
            )
        )
    )
    bottom = 1.0 + s * (
        1.06420880400844228286e-01
        + s
        * (
            5.40397917702171048937e-01
            + s
            * (
                7.18286544141962662868e-02
                + s
                * (
                    1.26171219808761642112e-01
                    + s * (1.36370839120290507362e-02 + s * 1.19844998467991074170e-02)
                )
            )
        )
    )
    return top / bottom


@kernel
def _erfc_tail(x):
    """erfc(x) for 1.25 <= x < 28."""
    s = 1.0 / (x * x)
    if x < 1.0 / 0.35:
        top = -9.86494403484714822705e-03 + s * (
            -6.93858572707181764372e-01
            + s
            * (
                -1.05586262253232909814e01
                + s
                * (
                    -6.23753324503260060396e01
                    + s
                    * (
                        -1.62396669462573470355e02
                        + s
                        * (
                            -1.84605092906711035994e02
                            + s * (-8.12874355063065934246e01 + s * -9.81432934416914548592e00)
                        )
                    )
                )
            )
        )
        bottom = 1.0 + s * (
            1.96512716674392571292e01
            + s
            * (
                1.37657754143519042600e02
                + s
                * (
                    4.34565877475229228821e02
                    + s
                    * (
                        6.45387271733267880336e02
                        + s
                        * (
                            4.29008140027567833386e02
                            + s
                            * (
                                1.08635005541779435134e02
                                + s * (6.57024977031928170135e00 + s * -6.04244152148580987438e-02)
                            )
                        )
                    )
                )
            )
        )
    else:
        top = -9.86494292470009928597e-03 + s * (
            -7.99283237680523006574e-01
            + s
            * (
                -1.77579549177547519889e01
                + s
                * (
                    -1.60636384855821916062e02
                    + s
                    * (
                        -6.37566443368389627722e02
                        + s * (-1.02509513161107724954e03 + s * -4.83519191608651397019e02)
                    )
                )
            )
        )
        bottom = 1.0 + s * (
            3.03380607434824582924e01
            + s
            * (
                3.25792512996573918826e02
                + s
                * (
                    1.53672958608443695994e03
                    + s
                    * (
                        3.19985821950859553908e03
                        + s
                        * (
                            2.55305040643316442583e03
                            + s * (4.74528541206955367215e02 + s * -2.24409524465858183362e01)
                        )
                    )
                )
            )
        )
    # exp(-x * x) with x split, so that the square of the upper half is exact.
    z = bits_float(float_bits(x) & -0x100000000)
    return exp(-z * z - 0.5625) * exp((z - x) * (z + x) + top / bottom) / x


@kernel
def erfc(x):
    """Complementary error function; error below 4 ulp while the result is a normal float."""
    x = float(x)
    if x != x:
        return NAN
    size = -x if x < 0.0 else x
    if size < 0.84375:
        if x < 0.25:
            return 1.0 - (x + _erf_small(x))
        return 0.5 - (x - 0.5 + _erf_small(x))
    if size < 1.25:
        middle = _erf_middle(size - 1.0)
        if x > 0.0:
            return (1.0 - 8.45062911510467529297e-01) - middle
        return 1.0 + (8.45062911510467529297e-01 + middle)
    if size < 28.0:
        tail = _erfc_tail(size)
        return tail if x > 0.0 else 2.0 - tail
    return 0.0 if x > 0.0 else 2.0


@kernel
def normal_cdf(x):
    """Probability that a standard normal is below `x`; relative error below 4 + 1.5 * x * x ulp."""
    return 0.5 * erfc(float(x) * -0.70710678118654752440)


@kernel
def normal_quantile(p):
    """The x with normal_cdf(x) = p, 0 < p < 1, to about 16 digits; NAN outside.

    Source: Wichura 1988, "Algorithm AS 241", PPND16.
    """
    p = float(p)
    if not 0.0 < p < 1.0:
        return NAN
    q = p - 0.5
    if -0.425 <= q <= 0.425:
        r = 0.180625 - q * q
        top = (
            (
                (
                    (
                        (
                            (2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r
                            + 6.7265770927008700853e4
                        )
                        * r
                        + 4.5921953931549871457e4
                    )
                    * r
                    + 1.3731693765509461125e4
                )
                * r
                + 1.9715909503065514427e3
            )
            * r
            + 1.3314166789178437745e2
        ) * r + 3.3871328727963666080e0
        bottom = (
            (
                (
                    (
                        (
                            (5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r
                            + 3.9307895800092710610e4
                        )
                        * r
                        + 2.1213794301586595867e4
                    )
                    * r
                    + 5.3941960214247511077e3
                )
                * r
                + 6.8718700749205790830e2
            )
            * r
            + 4.2313330701600911252e1
        ) * r + 1.0
        return q * (top / bottom)
    r = sqrt(-log(p if q < 0.0 else 1.0 - p))
    if r <= 5.0:
        r = r - 1.6
        top = (
            (
                (
                    (
                        (
                            (7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r
                            + 2.41780725177450611770e-1
                        )
                        * r
                        + 1.27045825245236838258e0
                    )
                    * r
                    + 3.64784832476320460504e0
                )
                * r
                + 5.76949722146069140550e0
            )
            * r
            + 4.63033784615654529590e0
        ) * r + 1.42343711074968357734e0
        bottom = (
            (
                (
                    (
                        (
                            (1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r
                            + 1.51986665636164571966e-2
                        )
                        * r
                        + 1.48103976427480074590e-1
                    )
                    * r
                    + 6.89767334985100004550e-1
                )
                * r
                + 1.67638483018380384940e0
            )
            * r
            + 2.05319162663775882187e0
        ) * r + 1.0
    else:
        r = r - 5.0
        top = (
            (
                (
                    (
                        (
                            (2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r
                            + 1.24266094738807843860e-3
                        )
                        * r
                        + 2.65321895265761230930e-2
                    )
                    * r
                    + 2.96560571828504891230e-1
                )
                * r
                + 1.78482653991729133580e0
            )
            * r
            + 5.46378491116411436990e0
        ) * r + 6.65790464350110377720e0
        bottom = (
            (
                (
                    (
                        (
                            (2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r
                            + 1.84631831751005468180e-5
                        )
                        * r
                        + 7.86869131145613259100e-4
                    )
                    * r
                    + 1.48753612908506148525e-2
                )
                * r
                + 1.36929880922735805310e-1
            )
            * r
            + 5.99832206555887937690e-1
        ) * r + 1.0
    return -(top / bottom) if q < 0.0 else top / bottom


# --- random numbers ----------------------------------------------------------------------------

_GAMMA: Final = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15: 2**64 / golden ratio, odd
_MIX_1: Final = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_MIX_2: Final = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB

if JIT_ENABLED:

    @kernel
    def wrap_multiply(a, b):
        """a * b modulo 2**64, as int64."""
        return a * b

    @kernel
    def wrap_add(a, b):
        """a + b modulo 2**64, as int64."""
        return a + b

else:
    # Compiled integers wrap by themselves; Python's grow and numpy's warn. Same bits, said openly.

    def wrap_multiply(a: int, b: int) -> int:
        """a * b modulo 2**64, as int64."""
        return ((int(a) * int(b) + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)

    def wrap_add(a: int, b: int) -> int:
        """a + b modulo 2**64, as int64."""
        return ((int(a) + int(b) + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


@kernel
def _mix(z):
    """The finalizer of SplitMix64: a bijection of 64 bits in which each bit moves half of all."""
    z = wrap_multiply(z ^ ((z >> 30) & 0x3FFFFFFFF), _MIX_1)
    z = wrap_multiply(z ^ ((z >> 27) & 0x1FFFFFFFFF), _MIX_2)
    return z ^ ((z >> 31) & 0x1FFFFFFFF)


@kernel
def random_key(seed, stream):
    """The int64 key of one stream of one seed, for `random_bits_keyed` in a tight loop."""
    return _mix(wrap_add(_mix(wrap_add(seed, _GAMMA)), wrap_multiply(stream, _GAMMA)))


@kernel
def random_bits_keyed(key, counter):
    """63 random bits, int64 >= 0, number `counter` of the stream with this key."""
    return _mix(wrap_add(key, wrap_multiply(counter, _GAMMA))) & 0x7FFFFFFFFFFFFFFF


@kernel
def random_bits(seed, stream, counter):
    """63 random bits, int64 >= 0: a pure function of three int64, so that any draw can be redone.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"
    (SplitMix64), started at a key that is itself mixed from seed and stream.
    """
    return random_bits_keyed(random_key(seed, stream), counter)


@kernel
def uniform_keyed(key, counter):
    """float64 in the open interval (0, 1): (52 bits + 1/2) / 2**52, every value exact."""
    return ((random_bits_keyed(key, counter) >> 11) + 0.5) * 2.220446049250313e-16


@kernel
def uniform(seed, stream, counter):
    """float64 in the open interval (0, 1), every value exact."""
    return uniform_keyed(random_key(seed, stream), counter)


@kernel
def normal(seed, stream, counter):
    """Standard normal float64, by inversion: one counter, one draw, |x| < 8.3."""
    return normal_quantile(uniform(seed, stream, counter))


@kernel
def exponential(seed, stream, counter):
    """Exponential float64 of mean 1, by inversion."""
    return -log(uniform(seed, stream, counter))


@kernel
def integer(seed, stream, counter, n):
    """int64 in 0 .. n - 1, n >= 1. The bias is n / 2**63."""
    return random_bits(seed, stream, counter) % n
