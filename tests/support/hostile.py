"""A family whose answers are not to be believed: which of them is wrong, and how, its parameters say."""

import math

from engine.plugins import OUT, F, family, parameters

P = parameters(slot=0.0, what=0.0)


@family(
    name="hostile",
    params=P,
    half_life_s=60.0,
    regimes=("RANGE", "TREND", "HIGH_VOLATILITY", "LOW_LIQUIDITY", "CHAOS"),
    taker=True,
    needs=(),
)
def hostile(f, p, out):
    out[OUT.active] = 1.0
    out[OUT.move_bps] = 40.0 + 0.0 * f[F.horizon]
    out[OUT.sd_bps] = 5.0
    out[OUT.confidence] = 0.9
    out[OUT.invalidation_bps] = 60.0
    what = p[P.what]
    value = what
    if what == 1.0:
        value = math.nan
    elif what == 2.0:
        value = math.inf
    elif what == 3.0:
        value = -math.inf
    elif what == 4.0:
        value = 1e30
    elif what == 5.0:
        value = -1e30
    elif what == 6.0:
        value = -0.0
    slot = int(p[P.slot])
    if slot == 1:
        out[OUT.move_bps] = value
    elif slot == 2:
        out[OUT.sd_bps] = value
    elif slot == 3:
        out[OUT.confidence] = value
    elif slot == 4:
        out[OUT.invalidation_bps] = value
    elif slot == 5:
        out[OUT.half_life_s] = value
    elif slot == 6:
        out[OUT.active] = value
