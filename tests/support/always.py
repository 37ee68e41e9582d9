"""A family that always wants to buy, so that a session has orders, fills and stops within seconds."""

from engine.plugins import OUT, F, family


@family(
    name="always",
    half_life_s=60.0,
    regimes=("RANGE", "TREND", "HIGH_VOLATILITY", "LOW_LIQUIDITY", "CHAOS"),
    taker=True,
    needs=(),
)
def always(f, p, out):
    out[OUT.active] = 1.0
    out[OUT.move_bps] = 40.0 + 0.0 * f[F.horizon]
    out[OUT.sd_bps] = 5.0
    out[OUT.confidence] = 0.9
    out[OUT.invalidation_bps] = 60.0
