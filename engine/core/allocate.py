"""How is capital shared among candidates of one moment? By edge, with a floor and ceilings.

Where more than one entry may leave per evaluation (`evaluation.max_entries`) and `capital.allocator` is
on, each of the best gets a share of free capital in proportion to its score, at least the floor and at
most the ceiling, and a family at most its own ceiling. What the ceilings leave over stays unallocated.
The share caps what sizing (capital.py) would offer; without one the code is CAPITAL_EXHAUSTED.
"""

from __future__ import annotations

from engine.core.capital import share_money
from engine.core.routes import N_FAMILIES, route_family
from engine.jit import kernel


@kernel
def share_out(scores, families, n, floor, ceiling, family_ceiling, used, weights):
    """Weights of n candidates, best first.

    scores : float64[>= n], bps; families : int64[>= n]; floor, ceiling, family_ceiling : 0..1
    used : float64[N_FAMILIES], scratch; weights : float64[>= n], written; their sum is at most 1
    """
    total = 0.0
    for family in range(N_FAMILIES):
        used[family] = 0.0
    for k in range(n):
        if scores[k] > 0.0:
            total += scores[k]
    left = 1.0
    for k in range(n):
        weights[k] = 0.0
        if not scores[k] > 0.0:
            continue
        weight = scores[k] / total
        if weight < floor:
            weight = floor
        if weight > ceiling:
            weight = ceiling
        room = family_ceiling - used[families[k]]
        if weight > room:
            weight = room
        if weight > left:
            weight = left
        if weight <= 0.0:
            continue
        weights[k] = weight
        used[families[k]] += weight
        left -= weight


@kernel
def allot(core, n_ranked):
    """Write into each symbol the money that its candidate may use, -1 where nobody limits it."""
    params = core.params[0]
    work = core.work[0]
    for i in range(len(core.symbols)):
        core.symbols[i]["allotted"] = -1
    if params["capital_allocator"] != 1:
        return
    n = min(n_ranked, params["evaluation_max_entries"])
    for place in range(n):
        i = work["order"][place]
        work["share_scores"][place] = core.symbols[i]["winner_score"]
        work["share_families"][place] = route_family(work["winner_rows"][i]["route"])
    share_out(
        work["share_scores"],
        work["share_families"],
        n,
        params["capital_share_min"],
        params["capital_share_max"],
        params["capital_family_share_max"],
        work["share_used"],
        work["shares"],
    )
    for place in range(n):
        i = work["order"][place]
        core.symbols[i]["allotted"] = share_money(core.glob[0]["free"], work["shares"][place])
