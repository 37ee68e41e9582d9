"""A family for rehearsals: it always wants to buy, so that a session has orders, fills and stops within seconds.

It knows nothing and loses money by its fees. configs/rehearsal.toml names it, for the local venue only.
"""

from engine.plugins import OUT, F, family, parameters

SIZES = parameters(move_bps=400.0, invalidation_bps=60.0)


@family(
    name="rehearsal",
    params=SIZES,
    half_life_s=60.0,
    regimes=("RANGE", "TREND", "HIGH_VOLATILITY", "LOW_LIQUIDITY", "CHAOS"),
    taker=True,
    needs=(),
)
def rehearsal(f, p, out):
    out[OUT.active] = 1.0
    out[OUT.move_bps] = p[SIZES.move_bps] + 0.0 * f[F.horizon]
    out[OUT.sd_bps] = 5.0
    out[OUT.confidence] = 0.9
    out[OUT.invalidation_bps] = p[SIZES.invalidation_bps]
