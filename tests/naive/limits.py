"""Kraken's transaction counter of one pair in fractions, one step of the page after the other."""

from fractions import Fraction

DECAY = {"starter": Fraction(1), "intermediate": Fraction("2.34"), "pro": Fraction("3.75")}
THRESHOLD = {"starter": 60, "intermediate": 125, "pro": 180}
# Kraken's table, row by row: below 5, 10, 15, 45, 90, 300 seconds.
AMEND = (3, 2, 1, 0, 0, 0)
EDIT = (6, 5, 4, 2, 1, 0)
CANCEL = (8, 6, 5, 4, 2, 1)
AGES = (5, 10, 15, 45, 90, 300)


def penalty(row: tuple[int, ...], age: Fraction) -> int:
    for end, points in zip(AGES, row, strict=True):
        if age < end:
            return points
    return 0


class VenueCounter:
    """The venue's side: told what arrives and when, it accepts or refuses."""

    def __init__(self, tier: str, strict: bool = False) -> None:
        """strict : what would pass the threshold is refused as well; which it is, is not published"""
        self.tier, self.strict = tier, strict
        self.points = Fraction(0)
        self.t = Fraction(0)
        self.touched: dict[object, Fraction] = {}

    def at(self, t: Fraction) -> Fraction:
        self.points = max(Fraction(0), self.points - (t - self.t) * DECAY[self.tier])
        self.t = t
        return self.points

    def take(self, action: str, key: object, t: Fraction) -> bool:
        """Is the request accepted? The fixed part is charged either way."""
        fixed = 0 if action == "cancel" else 1
        rows = {"amend": AMEND, "edit": EDIT, "cancel": CANCEL}
        aged = penalty(rows[action], t - self.touched[key]) if action in rows else 0
        full = self.at(t) + (fixed + aged if self.strict else 0) > THRESHOLD[self.tier]
        self.points += fixed + (0 if full else aged)
        if full:
            return False
        if action == "cancel":
            self.touched.pop(key)
        else:
            self.touched[key] = t
        return True
