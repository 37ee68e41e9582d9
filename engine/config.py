"""What does a run use? TOML profiles to one frozen model; every key explained, every wrong one named.

Layers, later ones win: defaults, `kapitaalbot.toml` in the working folder, the profile, environment
variables `KAPITAALBOT__SECTION__KEY`, then what the command line sets. Times are texts with a unit
("250ms", "1s", "2h"), money is in the run's quote currency. The canonical hash covers everything
that can change a decision, and nothing that cannot (where files lie, who is told). Addresses of
alerts and of the mirror hold passwords: they are secrets by type, and no text made here shows them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    ValidationError,
    create_model,
)

from engine.core.ignition import IGNITION_NAMES
from engine.core.needs import follow_what_is_read
from engine.core.params import PARAMETERS, default_params, timer_grid_ns
from engine.core.regime import (
    CHAOS_GAP,
    CHAOS_ONE_WAY,
    CHAOS_SPREAD,
    REGIME_CHAOS,
    REGIME_NAMES,
    REGIME_UNKNOWN,
)
from engine.core.routes import (
    BUILT_FAMILIES,
    FAMILY_NAMES,
    FAMILY_PLUGIN,
    HORIZONS_DEFAULT_S,
    HORIZONS_S,
    N_PLUGINS,
)
from engine.core.theses import FAMILY_PARAMETERS, default_families
from engine.errors import ConfigError
from engine.instruments import UnknownSymbolError, canonical_symbol
from engine.units import MONEY_PER_UNIT, OffGridError, from_money, to_money
from engine.venue.fees import FEE_SCHEDULES
from engine.venue.params import PARAMETERS as VENUE_PARAMETERS
from engine.venue.params import TIERS, venue_params

# Kinds of CHAOS that a profile may allow; doubtful data is none of them.
CHAOS_KEYS: Final = {"spread": CHAOS_SPREAD, "gap": CHAOS_GAP, "one_way": CHAOS_ONE_WAY}

ENV_PREFIX: Final = "KAPITAALBOT__"
FILE_NAME: Final = "kapitaalbot.toml"
UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
MONEY_MAX: Final = Decimal(1 << 60) / MONEY_PER_UNIT  # sums of a few stay within 64 bits
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d)\s*")


def parse_duration(value: Any) -> int:
    """`"250ms"` to ns. A bare number is refused: its unit would be a guess."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        ns = Decimal(match[1]) * UNITS_NS[match[2]]
        if ns == int(ns):
            return int(ns)
    raise ValueError(f'{value!r} is not a duration. Write a number with a unit, as in "250ms".')


def parse_money(value: Any) -> int:
    """Quote currency (text, int or Decimal) to money units; floats never get here."""
    if isinstance(value, bool | float) or not isinstance(value, str | int | Decimal):
        raise ValueError(f'{value!r} is not an amount. Write it as in 1000 or "1000.50".')
    try:
        amount = Decimal(value)
        if not -MONEY_MAX <= amount <= MONEY_MAX:
            raise ValueError(f"{value} lies beyond {MONEY_MAX:,.0f}.")
        return to_money(amount)
    except OffGridError:
        raise ValueError(f"{value} has more than eight decimals.") from None
    except ArithmeticError:
        raise ValueError(f'{value!r} is not an amount. Write it as in 1000 or "1000.50".') from None


def parse_time(value: Any) -> int | None:
    """ISO 8601 (UTC unless it says otherwise) to ns since the epoch."""
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = datetime.fromisoformat(value)
    else:
        raise ValueError(f'{value!r} is not a time. Write it as in "2026-01-01T12:00:00".')
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(Decimal(moment.timestamp()) * 1_000_000) * 1000


Duration = Annotated[int, BeforeValidator(parse_duration)]
Money = Annotated[int, BeforeValidator(parse_money)]
Time = Annotated[int | None, BeforeValidator(parse_time)]


class Section(BaseModel):
    """A part of a profile: frozen, unknown keys and what is no number refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


def parameter_key(parameter: Any) -> str:
    """Name in TOML: the unit stands in the value of a duration, so `_ns` goes."""
    return parameter.name.removesuffix("_ns") if parameter.unit == "ns" else parameter.name


def _parameter_field(parameter: Any) -> tuple[Any, Any]:
    bounds: dict[str, Any] = {"ge": parameter.low, "le": parameter.high}
    doc = f"{parameter.doc} ({parameter.unit})" if parameter.unit else parameter.doc
    if isinstance(parameter.default, bool):
        return bool, Field(parameter.default, description=doc)
    if isinstance(parameter.default, float):
        return float, Field(parameter.default, description=doc, **bounds)
    whole: dict[str, Any] = {"ge": int(parameter.low), "le": int(parameter.high)}
    if parameter.unit == "ns":
        return Duration, Field(duration_text(int(parameter.default)), description=doc, **whole)
    if parameter.unit == "money":
        default = str(Decimal(int(parameter.default)).scaleb(-8))
        return Money, Field(default, description=doc, **whole)
    return int, Field(parameter.default, description=doc, **whole)


def duration_text(ns: int) -> str:
    """ns as a whole number of the largest unit: what `parse_duration` reads."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if ns and ns % UNITS_NS[unit] == 0:
            return f"{ns // UNITS_NS[unit]}{unit}"
    return f"{ns}ns"


PARAMETER_SECTIONS: Final = tuple(dict.fromkeys(each.section for each in PARAMETERS))


def _parameter_section(section: str) -> type[Section]:
    fields = {
        parameter_key(each): _parameter_field(each)
        for each in PARAMETERS
        if each.section == section
    }
    return create_model(f"{section.title()}Section", __base__=Section, **fields)  # type: ignore[call-overload, no-any-return]


class RunSection(Section):
    name: str = Field("replay", description="what the run is called", pattern=r"^[\w.-]{1,64}$")
    seed: int = Field(1, description="root of every random draw", ge=0, lt=1 << 62)
    quote: str = Field("USD", description="quote currency of every money figure")
    cash: Money = Field("10000", description="quote balance to begin with", ge=0)  # type: ignore[assignment]
    out: str = Field("runs", description="folder under which the run's folder is made")


class CaptureSection(Section):
    path: str = Field("datasets/sample", description="cold store or event log to replay")
    id: str | None = Field(None, description="capture within the store; needed if it has several")
    symbols: tuple[str, ...] = Field((), description="symbols to trade; empty: all of the capture")
    start: Time = Field(None, description="first time, inclusive; empty: from the beginning")
    end: Time = Field(None, description="last time, exclusive; empty: to the end")
    depth: int | None = Field(
        None, description="cut a full-depth feed to so many levels a side", ge=1, le=1000
    )


VenueSection = create_model(  # type: ignore[call-overload]
    "VenueSection",
    __base__=Section,
    fees=(
        str,
        Field("kraken-2025-11", description="fee schedule: " + ", ".join(FEE_SCHEDULES)),
    ),
    tier=(str, Field("intermediate", description="limits of the account: " + ", ".join(TIERS))),
    **{parameter_key(each): _parameter_field(each) for each in VENUE_PARAMETERS},
)


class FamilySection(Section):
    """One route family: its switch and thresholds; `params` holds its own numbers."""

    enabled: bool = Field(True, description="may enter at all")
    half_life_s: float | None = Field(None, description="decay of its signal (s)", gt=0)
    net_min_bps: float = Field(0.0, description="added to readiness.net_min_bps (bps)")
    regimes: tuple[str, ...] | None = Field(None, description="regimes in which it may enter")
    taker: bool | None = Field(None, description="may take liquidity")
    tod: bool = Field(False, description="moves scale with the usual tradability of the hour")
    chaos: tuple[str, ...] | None = Field(
        None, description="kinds of CHAOS in which it may enter: spread, gap, one_way"
    )
    ignition: tuple[str, ...] | None = Field(
        None, description="states of ignition in which it may enter, with ignition.enabled"
    )
    params: dict[str, float] = Field(default_factory=dict, description="its own parameters")


BOOK_DEPTHS: Final = (10, 25, 100, 500, 1000)
NO_QUARANTINE_UNDER_NS: Final = 60_000_000_000  # the venue's REST lags by up to a minute


class LiveSection(Section):
    """A session that shadows, papers or trades: which venue, which pairs, how careful."""

    allow_orders: StrictBool = Field(
        False, description="the profile's half of the live gate; the other is KAPITAALBOT_LIVE"
    )
    endpoint: Literal["kraken", "local"] = Field(
        "kraken", description="which venue, by name and never by address: kraken, local"
    )
    local_port: int = Field(
        8600,
        description="public port of `venue serve`; private, level 3, REST are the next three",
        ge=1,
        le=65_532,
    )
    local_ca: str = Field(
        "", description="PEM of the authority of a local venue that serves TLS; empty: no TLS"
    )
    symbols: tuple[str, ...] = Field(
        (), description="pairs to trade, and no others; needed by every session"
    )
    depth: Literal[10, 25, 100, 500, 1000] = Field(100, description="levels a side of the book")
    level3: bool = Field(False, description="follow single orders too; needs a key")
    ticker: bool = Field(False, description="follow the ticker too")
    tier: Literal["starter", "intermediate", "pro"] = Field(
        "intermediate", description="rate limits of the account: starter, intermediate, pro"
    )
    keys: str = Field(
        "auto",
        description="where the keys are: auto, env, file, file:PATH, keyring",
        pattern=r"^(auto|env|file|file:.+|keyring)$",
    )
    foreign: Literal["report", "adopt"] = Field(
        "report", description="orders of others on the account: report, adopt"
    )
    switch: Literal["keep_stops", "cancel_all"] = Field(
        "keep_stops",
        description="venue's dead man's switch: keep_stops (off while a stop rests), cancel_all",
    )
    reconcile_every: Duration = Field(
        "5m",  # type: ignore[assignment]
        description="how often orders, fills and balances are read and compared",
        ge=1_000_000_000,
        le=86_400_000_000_000,
    )
    account: str = Field(
        "main",
        description="names the account's lock, socket, kill flag",
        pattern=r"^[a-z0-9_]{1,40}$",
    )
    state: str = Field(
        "", description="folder of the accounts' state; empty: ~/.local/state/kapitaalbot/live"
    )
    deadline: Duration = Field(
        "5s",  # type: ignore[assignment]
        description="how late the venue may still take an order of ours",
        ge=500_000_000,
        le=60_000_000_000,
    )
    quarantine: Duration = Field(
        "75s",  # type: ignore[assignment]
        description="how long an order without an answer is in doubt before it can count as absent",
        ge=1_000_000_000,
        le=3_600_000_000_000,
    )
    snapshot_every: Duration = Field(
        "10m",  # type: ignore[assignment]
        description="how often the core's state is kept, so that a restart is quick",
        ge=1_000_000_000,
        le=86_400_000_000_000,
    )


class AlertsSection(Section):
    """Who is told, and how often."""

    urls: tuple[SecretStr, ...] = Field(
        (), description="Apprise addresses that alerts go to; secret: shown nowhere, in no hash"
    )
    repeat: Duration = Field(
        "5m",  # type: ignore[assignment]
        description="how often a critical alert is told again until it is acknowledged",
        ge=1_000_000_000,
        le=86_400_000_000_000,
    )
    escalate: Duration = Field(
        "30m",  # type: ignore[assignment]
        description="age from which an alert nobody acknowledged counts as not read",
        ge=1_000_000_000,
        le=604_800_000_000_000,
    )


class MirrorSection(Section):
    """The SQL mirror of the log."""

    dsn: SecretStr = Field(
        SecretStr(""), description="PostgreSQL to mirror to; secret: shown nowhere; empty: none"
    )
    required: StrictBool = Field(
        False,
        description="a command waits until the mirror has it as well; else the mirror follows",
    )


class MetricsSection(Section):
    """Numbers for Prometheus."""

    port: int = Field(0, description="port on 127.0.0.1; 0: off", ge=0, le=65_535)


class TelemetrySection(Section):
    """What the machine is doing."""

    interval: Duration = Field(
        "30s",  # type: ignore[assignment]
        description="memory, processor, files, disk, delay of the loop; 0s: off",
        ge=0,
        le=86_400_000_000_000,
    )


class StatusSection(Section):
    """One file that says how a session stands."""

    file: str = Field("", description="where; empty: status.json in the run's folder")
    every: Duration = Field(
        "1s",  # type: ignore[assignment]
        description="how often it is written",
        ge=100_000_000,
        le=3_600_000_000_000,
    )


class ProfileBase(Section):
    run: RunSection = RunSection()
    capture: CaptureSection = CaptureSection()
    live: LiveSection = LiveSection()
    alerts: AlertsSection = AlertsSection()
    mirror: MirrorSection = MirrorSection()
    metrics: MetricsSection = MetricsSection()
    telemetry: TelemetrySection = TelemetrySection()
    status: StatusSection = StatusSection()
    venue: VenueSection = Field(default_factory=VenueSection)  # type: ignore[valid-type]
    families: dict[str, FamilySection] = Field(default_factory=dict)
    horizons_s: tuple[int, ...] = Field(
        HORIZONS_DEFAULT_S, description=f"horizons evaluated, of {list(HORIZONS_S)}"
    )
    plugins: tuple[str, ...] = Field(
        (), description="user families, as module:name or file.py:name"
    )


Profile = create_model(  # type: ignore[call-overload]
    "Profile",
    __base__=ProfileBase,
    **{
        name: (model, Field(default_factory=model))
        for name in PARAMETER_SECTIONS
        for model in (_parameter_section(name),)
    },
)


# What stands in these is not repeated in an error: it may be the secret itself, at a wrong place.
SECTIONS_WITH_SECRETS: Final = ("alerts", "mirror")
SECRET_KEYS: Final = ("alerts.urls", "mirror.dsn")


def _known_keys(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)


def _model_at(location: tuple[Any, ...]) -> type[BaseModel]:
    model: type[BaseModel] = Profile
    for part in location:
        if not isinstance(part, str):
            break
        field = model.model_fields.get(part)
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
        elif part == "families":
            model = FamilySection
    return model


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for each in error.errors():
        place = ".".join(str(part) for part in each["loc"])
        if each["type"] == "extra_forbidden":
            model = _model_at(each["loc"][:-1])
            near = difflib.get_close_matches(str(each["loc"][-1]), _known_keys(model), 1, 0.0)
            hint = (
                f" Did you mean {'.'.join([*map(str, each['loc'][:-1]), near[0]])}?" if near else ""
            )
            lines.append(f"{place}: unknown key.{hint}")
        else:
            message = _bound_text(each) or each["msg"].removeprefix("Value error, ")
            if each["loc"][0] not in SECTIONS_WITH_SECRETS and "given" not in message:
                message = f"{message} (given: {each['input']!r})"
            elif each["type"] == "value_error":
                message = (
                    "not what belongs here; it is not repeated, as secrets stand in this section"
                )
            lines.append(f"{place}: {message}")
    return lines


def _bound_text(error: Any) -> str:
    """What is said of a duration or an amount out of its bounds: as a person writes them."""
    bound = next(
        (error["ctx"][each] for each in ("ge", "le") if each in error.get("ctx", {})), None
    )
    name = error["loc"][-1]
    field = _model_at(error["loc"][:-1]).model_fields.get(name) if isinstance(name, str) else None
    readers = [] if field is None else _readers(field)
    if bound is None or not isinstance(error["input"], int):
        return ""
    if parse_duration in readers:
        least, given = duration_text(int(bound)), duration_text(error["input"])
    elif parse_money in readers:
        least, given = (
            f"{from_money(int(each)).normalize():f}" for each in (bound, error["input"])
        )
    else:
        return ""
    word = "at least" if "ge" in error["ctx"] else "at most"
    return f"must be {word} {least} (given: {given})"


def _readers(field: Any) -> list[Any]:
    return [getattr(each, "func", None) for each in field.metadata]


def merge_layers(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One nested mapping of two; `above` wins, key by key."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge_layers(dict(merged[key]), value)
        else:
            merged[key] = value
    return merged


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict; numbers with a point arrive as Decimal, never as float."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text, parse_float=Decimal)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no profile {path}.", "`ls configs/` shows the ones that come with it."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", "Correct that line.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Check its path.") from None


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        parts = name.removeprefix(ENV_PREFIX).lower().split("__")
        text = environ[name]
        try:
            value = tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
        except tomllib.TOMLDecodeError:
            value = text
        node = layer
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node[parts[-1]] = value
    return layer


def make_profile(layer: Mapping[str, Any], origin: str = "profile") -> Any:
    """A frozen Profile from plain data; every wrong key and value is reported at once."""
    try:
        profile = Profile.model_validate(_plain(layer))
    except ValidationError as error:
        lines = _explain(error)
        raise ConfigError(
            f"{origin} has {len(lines)} wrong {'key' if len(lines) == 1 else 'keys'}: "
            + "; ".join(lines),
            "`kapitaalbot config schema` lists every key with its meaning.",
        ) from None
    _cross_check(profile, origin)
    return profile


def _plain(value: Any) -> Any:
    # A Decimal is kept where money is read and becomes a float where an estimate is.
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _cross_check(profile: Any, origin: str) -> None:
    problems = []
    if profile.venue.fees not in FEE_SCHEDULES:
        problems.append(
            f"venue.fees: unknown schedule {profile.venue.fees!r}; known: {', '.join(FEE_SCHEDULES)}"
        )
    if profile.venue.tier not in TIERS:
        problems.append(
            f"venue.tier: unknown tier {profile.venue.tier!r}; known: {', '.join(TIERS)}"
        )
    for horizon in profile.horizons_s:
        if horizon not in HORIZONS_S:
            problems.append(f"horizons_s: {horizon} is not one of {list(HORIZONS_S)}")
    known = {FAMILY_NAMES[code] for code in BUILT_FAMILIES}
    for name, family in profile.families.items():
        if name not in known and not profile.plugins:
            near = difflib.get_close_matches(name, known, 1, 0.0)
            problems.append(f"families.{name}: unknown family. Did you mean families.{near[0]}?")
        elif name in known:
            slots = {each.name: each for each in FAMILY_PARAMETERS[_family_code(name)]}
            for key, value in family.params.items():
                if key not in slots:
                    near = difflib.get_close_matches(key, slots, 1, 0.0)
                    problems.append(
                        f"families.{name}.params.{key}: unknown key. Did you mean {near[0]}?"
                    )
                elif not slots[key].low <= value <= slots[key].high:
                    problems.append(
                        f"families.{name}.params.{key}: {value} does not lie in "
                        f"{slots[key].low} to {slots[key].high} {slots[key].unit}".rstrip()
                    )
        for kind in family.chaos or ():
            if kind not in CHAOS_KEYS:
                problems.append(
                    f"families.{name}.chaos: {kind!r} is not one of {', '.join(CHAOS_KEYS)}"
                )
        for state in family.ignition or ():
            if state.upper() not in IGNITION_NAMES.values():
                problems.append(
                    f"families.{name}.ignition: {state!r} is not one of "
                    f"{', '.join(IGNITION_NAMES.values())}"
                )
        for regime in family.regimes or ():
            if regime.upper() not in REGIME_NAMES.values() or regime.upper() == "UNKNOWN":
                problems.append(f"families.{name}.regimes: {regime!r} is not a regime that trades")
    if len(profile.plugins) > N_PLUGINS:
        problems.append(f"plugins: at most {N_PLUGINS}")
    if (
        profile.capture.start
        and profile.capture.end
        and profile.capture.start >= profile.capture.end
    ):
        problems.append("capture.start: not before capture.end")
    problems += _live_problems(profile.live)
    if problems:
        raise ConfigError(
            f"{origin} has {len(problems)} wrong values: " + "; ".join(problems),
            "`kapitaalbot config schema` lists every key with its meaning.",
        )


def _live_problems(live: LiveSection) -> list[str]:
    problems = []
    for symbol in live.symbols:
        try:
            name = canonical_symbol(symbol)
        except UnknownSymbolError as error:
            problems.append(f"live.symbols: {error}")
            continue
        if name != symbol:
            problems.append(f"live.symbols: {symbol!r} is called {name!r} here")
    if len(set(live.symbols)) < len(live.symbols):
        problems.append("live.symbols: a pair stands in it twice")
    # What REST says may be a minute old: an order it does not know could still have arrived.
    least = live.deadline + NO_QUARANTINE_UNDER_NS
    if live.endpoint == "kraken" and live.quarantine < least:
        problems.append(
            f"live.quarantine: {duration_text(live.quarantine)} is under {duration_text(least)}, "
            "which are live.deadline and the minute by which Kraken's REST may lag"
        )
    return problems


def _family_code(name: str) -> int:
    return next(code for code, each in FAMILY_NAMES.items() if each == name)


def read_config(
    path: Path | str | None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Any:
    """Read a profile through all layers.

    path : TOML file, None for defaults; overrides : what the command line set, nested
    raises ConfigError naming every wrong key and the nearest known one
    """
    return make_profile(read_given(path, overrides, environ), str(path or "the configuration"))


def read_given(
    path: Path | str | None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All layers above the defaults as one nested mapping, for `make_profile`; not validated."""
    merged: dict[str, Any] = {}
    for _, layer in read_layers(path, overrides, environ):
        merged = merge_layers(merged, layer)
    return merged


def read_layers(
    path: Path | str | None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The layers above the defaults as (origin, nested keys), lowest first; not validated."""
    layers = []
    if Path(FILE_NAME).exists():
        layers.append((FILE_NAME, read_toml(Path(FILE_NAME))))
    if path is not None:
        layers.append((str(path), read_toml(Path(path))))
    layers.append(("environment", _environment(os.environ if environ is None else environ)))
    layers.append(("command line", dict(overrides or {})))
    return tuple(layers)


# Where files lie, who is told, what is measured: none of it changes a decision.
OUTSIDE_THE_HASH: Final[dict[str, Any]] = {
    "run": {"out", "name"},
    "capture": {"path"},
    "live": {"local_port", "local_ca", "keys", "account", "state", "snapshot_every"},
    "alerts": True,
    "mirror": {"dsn"},
    "metrics": True,
    "telemetry": True,
    "status": True,
}


def canonical_json(profile: Any) -> str:
    """The effective configuration as one canonical text: sorted keys, exact numbers."""
    return json.dumps(
        profile.model_dump(mode="json", exclude=OUTSIDE_THE_HASH),
        sort_keys=True,
        separators=(",", ":"),
    )


def read_frozen(config: Mapping[str, Any], outside: Mapping[str, Any] | None = None) -> Any:
    """The profile that `canonical_json` wrote down, as a run's manifest has it under `config`.

    outside : nested keys that are not in it (OUTSIDE_THE_HASH), such as where the capture lies now
    raises ConfigError where it was written by a version with other keys
    """
    return make_profile(
        merge_layers(_thawed(Profile, config), outside or {}), "the run's frozen configuration"
    )


def _thawed(model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Frozen numbers of a section as a person would have written them."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        field = model.model_fields.get(name)
        readers = [] if field is None else _readers(field)
        if value is None:
            continue
        if isinstance(value, Mapping) and field is not None:
            inner = field.annotation
            if hasattr(inner, "model_fields"):
                found[name] = _thawed(inner, value)
            elif name == "families":
                found[name] = {key: _thawed(FamilySection, each) for key, each in value.items()}
            else:
                found[name] = value
        elif parse_duration in readers:
            found[name] = duration_text(int(value))
        elif parse_money in readers:
            found[name] = Decimal(int(value)) / MONEY_PER_UNIT
        elif parse_time in readers:
            moment = datetime.fromtimestamp(value // 1_000_000_000, UTC)
            found[name] = moment.replace(microsecond=value // 1000 % 1_000_000)
        else:
            found[name] = value
    return found


def config_hash(profile: Any, plugin_digests: tuple[str, ...] = ()) -> str:
    """sha256 over the canonical text and the sources of the user families; 64 hex characters."""
    text = canonical_json(profile) + "".join(f"\n{each}" for each in plugin_digests)
    return hashlib.sha256(text.encode()).hexdigest()


def make_params(profile: Any, plugins: tuple[Any, ...] = ()) -> np.ndarray:
    """PARAMS[1] of a profile. plugins : user families (engine.plugins), in their order."""
    params = default_params()
    row = params[0]
    for each in PARAMETERS:
        row[each.field] = getattr(getattr(profile, each.section), parameter_key(each))
    interval = int(row["evaluation_interval_ns"])
    if interval % timer_grid_ns(params) != 0:
        raise ConfigError(
            f"evaluation.interval: {interval / 1e9:g} s is neither below a second nor whole ones.",
            "Mids are sampled each second in between: give 2s, 5s, 60s, or less than 1s.",
        )
    default_families(params)
    for i, plugin in enumerate(plugins):
        plugin.fill(row, FAMILY_PLUGIN + i)
    names = {FAMILY_NAMES[code]: code for code in BUILT_FAMILIES}
    names |= {plugin.name: FAMILY_PLUGIN + i for i, plugin in enumerate(plugins)}
    for name, family in profile.families.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.0)
            raise ConfigError(
                f"families.{name}: unknown family. Did you mean families.{near[0]}?",
                "Families are the built-in ones and those of `plugins`.",
            )
        _fill_family(row, names[name], family, plugins)
    follow_what_is_read(params, bool(plugins))
    row["horizon_enabled"] = [int(each in profile.horizons_s) for each in HORIZONS_S]
    venue = make_venue_params(profile)[0]
    for name in ("n_fee_tiers", "fee_volume", "fee_maker_e6", "fee_taker_e6"):
        row[name] = venue[name]
    row["seed"] = profile.run.seed
    return params


def make_venue_params(profile: Any) -> np.ndarray:
    """VENUE_PARAMS[1] of a profile; the latency draws share the run's seed."""
    values = {
        each.name: getattr(profile.venue, parameter_key(each))
        for each in VENUE_PARAMETERS
        if parameter_key(each) in profile.venue.model_fields_set
    }
    values.setdefault("seed", profile.run.seed)
    return venue_params(profile.venue.fees, profile.venue.tier, **values)


def _fill_family(row: Any, code: int, family: FamilySection, plugins: tuple[Any, ...]) -> None:
    row["family_enabled"][code] = int(family.enabled)
    row["family_net_min_bps"][code] += family.net_min_bps
    if family.half_life_s is not None:
        row["family_half_life_s"][code] = family.half_life_s
    if family.taker is not None:
        row["family_taker"][code] = int(family.taker)
    row["family_tod"][code] = int(family.tod)
    if family.regimes is not None:
        allowed = {each.upper() for each in family.regimes}
        for regime, name in REGIME_NAMES.items():
            row["regime_allows"][code][regime] = int(name in allowed and regime != REGIME_UNKNOWN)
    if family.chaos is not None:
        row["regime_allows"][code][REGIME_CHAOS] = int(bool(family.chaos))
        for kind, chaos in CHAOS_KEYS.items():
            row["chaos_allows"][code][chaos] = int(kind in family.chaos)
    if family.ignition is not None:
        allowed = {each.upper() for each in family.ignition}
        for state, name in IGNITION_NAMES.items():
            row["ignition_allows"][code][state] = int(name in allowed)
    if code >= FAMILY_PLUGIN:
        slots = list(plugins[code - FAMILY_PLUGIN].params)
    else:
        slots = [each.name for each in FAMILY_PARAMETERS[code]]
    for key, value in family.params.items():
        if key not in slots:
            raise ConfigError(
                f"families params: {key!r} is not one of {', '.join(slots)}.",
                "docs/howto-add-a-family.md explains how a family names its parameters.",
            )
        row["family_params"][code][slots.index(key)] = value


def walk_keys(model: type[BaseModel] = Profile, prefix: str = "") -> Iterator[dict[str, str]]:
    """Every key with its type, default and meaning, for `config schema` and the docs."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from walk_keys(inner, f"{key}.")
        elif name == "families":
            yield from walk_keys(FamilySection, "families.<name>.")
        else:
            yield {
                "key": key,
                "default": str(field.get_default(call_default_factory=True)),
                "doc": field.description or "",
            }
