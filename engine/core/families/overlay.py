"""How does the hour of the week change what a family expects? The time-of-day overlay.

Moves, their spread and what disproves them grow and shrink with the hour's usual tradability.
Left out: how that is learnt (feature `tod_multiplier`), and the rank, which has its own gate: where
it multiplies already, no family is scaled, so that an hour never counts twice.
"""

from __future__ import annotations

from engine.core.columns import OUT_INVALIDATION_BPS, OUT_MOVE_BPS, OUT_SD_BPS
from engine.jit import kernel


@kernel
def scale_by_hour(out, multiplier):
    """Scale an active thesis in place; an unknown multiplier (NAN) changes nothing.

    out : float64[N_OUT]; multiplier : float64, 1 is an hour as any other. The confidence stays:
    move and spread scale alike. Source: own; hours differ in volatility as in Andersen, Bollerslev
    1997, "Intraday periodicity and volatility persistence in financial markets".
    """
    if not multiplier > 0.0:
        return
    out[OUT_MOVE_BPS] *= multiplier
    out[OUT_SD_BPS] *= multiplier
    out[OUT_INVALIDATION_BPS] *= multiplier
