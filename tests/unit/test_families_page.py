"""The page of families says what their cards say, and every card is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.columns import FEATURE_INDEX
from engine.core.routes import BUILT_FAMILIES, FAMILY_NAMES
from engine.core.theses import FAMILY_CARDS, FAMILY_PARAMETERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "families.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", BUILT_FAMILIES)
def test_every_family_has_a_card_and_its_section(family: int) -> None:
    card = FAMILY_CARDS[family]
    section = PAGE.split(f"\n## {FAMILY_NAMES[family]}\n")[1].split("\n## ")[0]

    assert "| inputs | " + ", ".join(f"`{each}`" for each in card.inputs) + " |" in section
    for label, text in (("half-life", card.half_life), ("exits", card.exits)):
        assert f"| {label} | {text} |" in section
    assert f"| source | {card.source} |" in section
    assert not set(card.inputs) - set(FEATURE_INDEX)
    assert FAMILY_PARAMETERS[family]
