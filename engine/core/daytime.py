"""How good is this hour of the week for trading this symbol? Learnt from its own past hours.

Each full hour leaves one number, the move per cost. Its mean by hour of the week is shrunk towards
its mean by open centres (Tokyo, London, New York, with their clock changes), and that towards 1. The
multiplier touches the rank of a symbol only, and only with `ranking.tod`. Holidays are left out.
Formulas: docs/formulas-market.md.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core.columns import FEATURE_INDEX
from engine.core.features import F_SPREAD_MEAN_BPS, F_VOL_BPS
from engine.core.tape import I_1H, SECOND_NS
from engine.jit import kernel
from engine.numerics import clip

HOUR_NS: Final = 3600 * SECOND_NS
HOUR_S: Final = 3600
DAY_S: Final = 86_400
HOURS: Final = 168
CENTRES: Final = 8  # combinations of three
TOKYO: Final = 1
LONDON: Final = 2
NEW_YORK: Final = 4
LOWEST: Final = 0.5
HIGHEST: Final = 1.5

F_VOL_1H: Final = F_VOL_BPS + I_1H
F_TOD: Final = FEATURE_INDEX["tod_multiplier"]

DAYTIME: Final = np.dtype(
    [
        ("hour", "<i8"),  # floor(now / 1 h) of the newest look, 0 none
        ("n", "<i8"),
        ("sum", "<f8"),
        ("hour_n", "<i8", (HOURS,)),
        ("hour_sum", "<f8", (HOURS,)),
        ("centre_n", "<i8", (CENTRES,)),
        ("centre_sum", "<f8", (CENTRES,)),
        ("multiplier", "<f8"),
    ]
)


@kernel
def year_of(days):
    """Gregorian year (of a year that begins in March) and day in it, from days since 1970-01-01.

    Source: Hinnant 2013, "chrono-compatible low-level date algorithms", civil_from_days.
    """
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    return year + era * 400, day_of_era - (365 * year + year // 4 - year // 100)


@kernel
def march_first(year):
    """Days since 1970-01-01 of the first of March of a year."""
    era = year // 400
    year_of_era = year - era * 400
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 - 719_468


@kernel
def weekday(days):
    """0 Monday .. 6 Sunday, from days since 1970-01-01 (a Thursday)."""
    return (days + 3) % 7


@kernel
def _sunday_from(days):
    """The first Sunday on or after that day."""
    return days + 6 - weekday(days)


@kernel
def summer_eu(second):
    """Summer time in the EU and the UK: last Sunday of March 01:00 UTC to that of October."""
    year, _ = year_of(second // DAY_S)
    march = march_first(year)
    begin = _sunday_from(march + 24) * DAY_S + HOUR_S  # on or after the 25th
    end = _sunday_from(march + 238) * DAY_S + HOUR_S  # 25 October
    return begin <= second < end


@kernel
def summer_us(second):
    """Daylight time in New York: second Sunday of March 07:00 UTC to first of November 06:00."""
    year, _ = year_of(second // DAY_S)
    march = march_first(year)
    begin = _sunday_from(march + 7) * DAY_S + 7 * HOUR_S  # on or after the 8th
    end = _sunday_from(march + 245) * DAY_S + 6 * HOUR_S  # 1 November
    return begin <= second < end


@kernel
def _open(second, offset_s, opens_s, closes_s):
    local = second + offset_s
    in_day = local % DAY_S
    return weekday(local // DAY_S) < 5 and opens_s <= in_day < closes_s


@kernel
def centres_open(second):
    """Which centres trade: TOKYO + LONDON + NEW_YORK. second : int64, s since the epoch, UTC."""
    found = 0
    if _open(second, 9 * HOUR_S, 9 * HOUR_S, 15 * HOUR_S):
        found += TOKYO
    if _open(second, HOUR_S if summer_eu(second) else 0, 8 * HOUR_S, 16 * HOUR_S + 1800):
        found += LONDON
    ahead = -4 * HOUR_S if summer_us(second) else -5 * HOUR_S
    if _open(second, ahead, 9 * HOUR_S + 1800, 16 * HOUR_S):
        found += NEW_YORK
    return found


@kernel
def hour_of_week(hour):
    """0 is Monday 00:00 UTC. hour : int64, hours since the epoch."""
    return weekday(hour // 24) * 24 + hour % 24


@kernel
def multiplier_of(daytime, hour, prior):
    """What the cells say about this hour, 0.5 .. 1.5; 1 before anything is known.

    prior : float64, > 0: so many hours of doubt stand against what was seen
    """
    n = daytime["n"]
    total = daytime["sum"]
    if n == 0 or total <= 0.0:
        return 1.0
    mean = total / float(n)
    value = 1.0
    centre = centres_open(hour * HOUR_S + HOUR_S // 2)
    n = daytime["centre_n"][centre]
    if n > 0:
        seen = daytime["centre_sum"][centre] / (float(n) * mean)
        value += (seen - value) * float(n) / (float(n) + prior)
    cell = hour_of_week(hour)
    n = daytime["hour_n"][cell]
    if n > 0:
        seen = daytime["hour_sum"][cell] / (float(n) * mean)
        value += (seen - value) * float(n) / (float(n) + prior)
    return clip(value, LOWEST, HIGHEST)


@kernel
def update_daytime(symbol, params, now):
    """At the first evaluation of each hour: learn from the hour that ended, judge the new one."""
    daytime = symbol["daytime"]
    hour = now // HOUR_NS
    before = daytime["hour"]
    if hour == before:
        return
    daytime["hour"] = hour
    features = symbol["features"]
    spread = features[F_SPREAD_MEAN_BPS]
    vol = features[F_VOL_1H]
    if before > 0 and hour == before + 1 and spread > 0.0 and vol >= 0.0:
        value = vol / spread
        cell = hour_of_week(before)
        centre = centres_open(before * HOUR_S + HOUR_S // 2)
        daytime["n"] += 1
        daytime["sum"] += value
        daytime["hour_n"][cell] += 1
        daytime["hour_sum"][cell] += value
        daytime["centre_n"][centre] += 1
        daytime["centre_sum"][centre] += value
    daytime["multiplier"] = multiplier_of(daytime, hour, params["ranking_tod_prior"])


@kernel
def daytime_features(features, observations, daytime):
    """Fill the column of the multiplier: hours behind it are its observations."""
    features[F_TOD] = daytime["multiplier"] if daytime["hour"] > 0 else 1.0
    observations[F_TOD] = daytime["n"]
