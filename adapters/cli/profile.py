"""How is an effective profile shown? Every key with its value as TOML writes it, and its origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from engine.config import (
    canonical_json,
    duration_text,
    parse_duration,
    parse_money,
    parse_time,
    read_config,
    read_frozen,
)
from engine.reports.summary import money_text

DEFAULT: Final = "default"
HIDDEN: Final = "[secret]"


@dataclass(frozen=True)
class Setting:
    """One key of an effective profile. text : as one would write it in TOML."""

    key: str
    text: str
    origin: str


def settings(profile: BaseModel, layers: tuple[tuple[str, dict[str, Any]], ...]) -> list[Setting]:
    """Every key of `profile` with its value and the highest layer that set it."""
    origins: dict[str, str] = {}
    for origin, layer in layers:
        origins |= dict.fromkeys(_leaves(layer), origin)
    return [Setting(key, text, origins.get(key, DEFAULT)) for key, text in _walk(profile, "")]


def differences(first: str, second: str, runs: Path) -> list[tuple[str, str, str]]:
    """(key, value in the first, value in the second) where two profiles or runs differ.

    first, second : a profile's file, or a run; "" stands where one of them has no such key
    A run's manifest has what its hash covers; beside a run a profile is held to that too.
    """
    from engine.reports.manifest import find_run, read_manifest

    given: list[BaseModel] = []
    are_files = [Path(each).suffix == ".toml" or Path(each).is_file() for each in (first, second)]
    for name, is_file in zip((first, second), are_files, strict=True):
        if not is_file:
            given.append(read_frozen(read_manifest(find_run(name, runs))["config"]))
        elif all(are_files):
            given.append(read_config(name))
        else:
            given.append(read_frozen(json.loads(canonical_json(read_config(name)))))
    ours, theirs = (dict(_walk(each, "")) for each in given)
    return [
        (key, ours.get(key, ""), theirs.get(key, ""))
        for key in dict.fromkeys((*ours, *theirs))
        if ours.get(key, "") != theirs.get(key, "")
    ]


def _leaves(layer: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _walk(model: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                if isinstance(inner, BaseModel):
                    yield from _walk(inner, f"{prefix}{name}.{key}.")
                else:
                    yield f"{prefix}{name}.{key}", toml_text(inner)
        elif value is None:
            yield f"{prefix}{name}", ""
        elif _is_read_by(field, parse_duration):
            yield f"{prefix}{name}", toml_text(duration_text(value))
        elif _is_read_by(field, parse_money):
            yield f"{prefix}{name}", toml_text(money_text(value).rstrip("0").rstrip("."))
        elif _is_read_by(field, parse_time):
            moment = datetime.fromtimestamp(value // 1_000_000_000, UTC).replace(
                microsecond=value // 1000 % 1_000_000, tzinfo=None
            )
            yield f"{prefix}{name}", toml_text(moment.isoformat())
        else:
            yield f"{prefix}{name}", toml_text(value)


def _is_read_by(field: FieldInfo, parser: Callable[[Any], Any]) -> bool:
    return any(getattr(each, "func", None) is parser for each in field.metadata)


def toml_text(value: Any) -> str:
    """A value as TOML writes it; of a secret only whether there is one."""
    if isinstance(value, SecretStr):
        return toml_text(HIDDEN if value.get_secret_value() else "")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return str(value)
