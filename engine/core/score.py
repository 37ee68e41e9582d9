"""What is a symbol's microstructure worth? One rankable number with its four parts.

Tight spread, lean of the microprice, density near the touch, refill of emptied levels: each 0..1,
each a column of its own, weights are parameters. A part that is unknown leaves the symbol unranked.
Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

from engine.core.columns import FEATURE_INDEX
from engine.core.features import F_DEPTH_ASK_5, F_DEPTH_BID_5, F_SPREAD_BPS
from engine.core.shape import F_MICROPRICE_5
from engine.jit import kernel
from engine.numerics import ratio

F_SCORE_SPREAD: Final = FEATURE_INDEX["score_spread"]
F_SCORE_LEAN: Final = FEATURE_INDEX["score_lean"]
F_SCORE_DENSITY: Final = FEATURE_INDEX["score_density"]
F_SCORE_REFILL: Final = FEATURE_INDEX["score_refill"]
F_EDGE_SCORE: Final = FEATURE_INDEX["edge_score"]
F_REFILL_5S: Final = FEATURE_INDEX["refill_5s_bid"]


@kernel
def score_features(features, observations, params):
    """Fill the parts and the score; what they are made of is filled already, NAN where unknown."""
    spread = features[F_SPREAD_BPS]
    features[F_SCORE_SPREAD] = 1.0 / (1.0 + spread / params["score_spread_half_bps"])
    lean = abs(features[F_MICROPRICE_5])
    features[F_SCORE_LEAN] = ratio(lean, lean + spread)
    bid = features[F_DEPTH_BID_5]
    ask = features[F_DEPTH_ASK_5]
    depth = bid if bid < ask else ask
    if bid != bid:
        depth = bid
    features[F_SCORE_DENSITY] = depth / (depth + params["score_density_half"])
    bid = features[F_REFILL_5S]
    ask = features[F_REFILL_5S + 1]
    refill = bid if bid < ask else ask
    if bid != bid:
        refill = bid
    features[F_SCORE_REFILL] = refill
    total = params["score_weight_spread"] * features[F_SCORE_SPREAD]
    total += params["score_weight_lean"] * features[F_SCORE_LEAN]
    total += params["score_weight_density"] * features[F_SCORE_DENSITY]
    total += params["score_weight_refill"] * refill
    weights = params["score_weight_spread"] + params["score_weight_lean"]
    weights += params["score_weight_density"] + params["score_weight_refill"]
    features[F_EDGE_SCORE] = ratio(total, weights)
    for i in range(F_SCORE_SPREAD, F_EDGE_SCORE + 1):
        observations[i] = 1
