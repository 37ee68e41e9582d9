"""Every assumption of the venue has a name, and the how-to tells it."""

import dataclasses
from pathlib import Path

import pytest

from adapters.local_venue import VenueOptions
from adapters.local_venue.faults import Fault, Kind
from engine.errors import ConfigError

PAGE = Path(__file__).resolve().parents[4] / "docs/howto-venue-server.md"


def test_every_option_stands_in_the_how_to() -> None:
    text = PAGE.read_text()
    missing = [
        each.name
        for each in dataclasses.fields(VenueOptions)
        if f"`{each.name}" not in text and each.name != "seed"
    ]
    assert [] == missing


def test_every_fault_and_every_key_of_one_stands_in_the_how_to() -> None:
    text = PAGE.read_text()
    names = [*Kind.__args__, *Fault.__struct_fields__]  # type: ignore[attr-defined]
    assert [] == [each for each in names if f"`{each}`" not in text and each != "kind"]


@pytest.mark.parametrize("wrong", [{"tier": "gold"}, {"fee_schedule": "x"}, {"queue_model": 2}])
def test_an_unknown_name_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="not known to the venue"):
        VenueOptions(**wrong)  # type: ignore[arg-type]
