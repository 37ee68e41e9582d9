"""The page of formulas says what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

from engine.core.params import PARAMETERS
from engine.core.records import ECONOMICS, REASONS
from engine.core.routes import FAMILY_NAMES
from engine.core.theses import FAMILY_PARAMETERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formulas-economics.md").read_text(
    encoding="utf-8"
)


def test_every_parameter_of_a_family_stands_there_with_its_default() -> None:
    wanted = []
    for family, parameters in FAMILY_PARAMETERS.items():
        wanted.append(f"| **{FAMILY_NAMES[family]}** |")
        for each in parameters:
            unit = f" {each.unit}" if each.unit else ""
            wanted.append(f"| `{each.name}` | {each.default:g} |{unit} | {each.doc} |")
    lines = PAGE.splitlines()
    places = []
    for each in wanted:
        places.append(
            next(
                (i for i, line in enumerate(lines) if line.startswith(each) and i not in places),
                None,
            )
        )

    assert [] == [each for each, place in zip(wanted, places, strict=True) if place is None]
    assert places == sorted(places)


def test_every_reason_and_key_it_names_exists() -> None:
    names = {name for name, _ in REASONS.values()}
    codes = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)+\b", PAGE)) - {"HIGH_VOLATILITY"}
    keys = {f"{each.section}.{each.name.removesuffix('_ns')}" for each in PARAMETERS}
    sections = "|".join({each.section for each in PARAMETERS})

    assert set() == codes - names
    named = set(re.findall(rf"\b(?:{sections})\.(?!py\b)[a-z_0-9]+", PAGE))
    assert set() == named - keys


def test_every_computed_column_is_explained() -> None:
    given = {"move_bps", "move_sd_bps", "confidence", "fill_prob", "fill_method"}

    assert [] == [
        each.name for each in ECONOMICS if each.name not in given and f"`{each.name}`" not in PAGE
    ]
