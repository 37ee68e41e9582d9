"""What costs turned out to be, from whole lists instead of running sums."""

from __future__ import annotations


def weighted(values: list[float], half_life: float) -> tuple[float, float]:
    """(weight, weighted sum) of observations, oldest first; each counts half after `half_life`."""
    weights = [0.5 ** (age / half_life) for age in range(len(values) - 1, -1, -1)]
    return sum(weights), sum(w * v for w, v in zip(weights, values, strict=True))


def adverse(
    mids: dict[int, int], sold: set[int], bought: set[int], last: int
) -> tuple[list[float], list[float]]:
    """Moves against the bids and the asks that were hit, in bps, of the seconds up to `last`.

    mids : half ticks by second; sold, bought : seconds whose prints hit bids, asks
    """
    against: tuple[list[float], list[float]] = ([], [])
    for second in range(min(mids), last - 9):
        before, after = mids.get(second - 1, 0), mids.get(second + 10, 0)
        if before <= 0 or after <= 0:
            continue
        fall = (before - after) / before * 1e4
        if second in sold:
            against[0].append(fall)
        if second in bought:
            against[1].append(-fall)
    return against
