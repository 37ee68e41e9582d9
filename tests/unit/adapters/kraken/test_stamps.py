"""Times of the wire to nanoseconds; expected values from `date -u -d ... +%s` and by hand."""

import pytest

from adapters.kraken.stamps import Ns, ns_of, to_ns

GOOD = [
    ("1970-01-01T00:00:00Z", 0),
    ("2026-01-01T00:00:00Z", 1_767_225_600_000_000_000),
    ("2026-01-01T00:00:00.5Z", 1_767_225_600_500_000_000),
    ("2026-01-01T00:00:00.637700Z", 1_767_225_600_637_700_000),
    ("2026-01-01T00:00:00.541105556Z", 1_767_225_600_541_105_556),
    ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999_999),
]
BAD = [
    *("", "Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-1-1T00:00:00Z"),
    *("2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00.1_0Z"),
    *("2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "1969-12-31T23:59:59Z", "2026-W01-1T00:00Z"),
    *("9999-12-31T23:59:59Z", "2026-01-01T00:00:00+0Z", "2026-01-01T00:00:00.١Z"),
]


@pytest.mark.parametrize(("text", "ns"), GOOD)
def test_every_number_of_decimals_is_exact(text, ns):
    assert ns_of(text) == ns
    assert to_ns(text) == Ns(ns)


@pytest.mark.parametrize("text", BAD)
def test_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"time|isoformat|year|month|day|hour|range"):
        ns_of(text)
