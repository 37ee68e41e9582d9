"""Nested keys as the text of a profile: for tests whose session is a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml(facts: Mapping[str, Any], path: str = "") -> str:
    plain = {name: each for name, each in facts.items() if not isinstance(each, Mapping)}
    text = "".join(f"{name} = {json.dumps(each)}\n" for name, each in plain.items())
    if path and plain:
        text = f"[{path}]\n{text}"
    for name, each in facts.items():
        if isinstance(each, Mapping):
            text += toml(each, f"{path}.{name}" if path else name)
    return text
