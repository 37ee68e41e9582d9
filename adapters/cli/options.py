"""Which arguments and options do several commands share? Their types and texts, once."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import ConfigError, SecretError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's folder, its id under --runs, or `latest`.", show_default=False
    ),
]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="No talk on stderr.")]
OnlySymbols = Annotated[
    list[str] | None, typer.Option(help="Only this symbol; may repeat.", show_default=False)
]
MovedStore = Annotated[
    str | None,
    typer.Option(help="Where the run's capture lies now, if it moved.", show_default=False),
]
VenueSpeed = Annotated[
    float, typer.Option(help="Pace of a local venue's market, as `venue serve --speed` has it.")
]
CaptureId = Annotated[
    str | None,
    typer.Option("--id", help="Only this capture: its id, or how it begins.", show_default=False),
]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one key of the profile, as in capture.end=2026-01-01T01:00:00; may repeat.",
        show_default=False,
    ),
]
RUNS = Path("runs")


def parse_overrides(settings: list[str] | None) -> dict[str, Any]:
    """`["a.b=1", "c=x"]` to `{"a": {"b": 1}, "c": "x"}`; values are TOML, bare words are text.

    raises ConfigError for a setting without a key or a value, and for a key set twice;
        SecretError for a key whose value is a secret: other users see a command line
    """
    layer: dict[str, Any] = {}
    for setting in settings or ():
        key, separator, text = setting.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not separator or not all(parts):
            raise ConfigError(
                f"--set {setting!r} is not of the form KEY=VALUE.",
                "Write it as in --set run.cash=5000.",
            )
        _must_not_be_secret(parts)
        node = layer
        for part in parts[:-1]:
            inner = node.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {key.strip()}: {part} is set already.", "Set it once.")
            node = inner
        if parts[-1] in node:
            raise ConfigError(f"--set {key.strip()} is given twice.", "Set it once.")
        node[parts[-1]] = _value(text.strip())
    return layer


def _must_not_be_secret(parts: list[str]) -> None:
    """Refuse a secret, and the whole table that it stands in."""
    from engine.config import ENV_PREFIX, SECRET_KEYS

    for secret in (each.split(".") for each in SECRET_KEYS):
        if parts[: len(secret)] == secret or parts == secret[:1]:
            raise SecretError(
                f"--set {'.'.join(parts)} shows a secret to everybody on this machine.",
                f"Set {ENV_PREFIX}{'__'.join(secret).upper()}, or write it into the profile.",
            )


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    except tomllib.TOMLDecodeError:
        return text
