"""May this session read a key, and may it send an order? Decided once, at its start.

Two locks, kept by two hands: `live.allow_orders` in the profile, and the environment variable
KAPITAALBOT_LIVE, which is set for one call to exactly `1`. Whoever works with venues on this machine
may set it to `local` instead: then it arms those and never Kraken. No other spelling counts, and
none is guessed at. Left out: what is true of the moment (mode, epoch,
reconciliation, lease), which every command is asked for in core and gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engine.errors import ConfigError, KapitaalbotError, RefusedError

FLAG: Final = "KAPITAALBOT_LIVE"
# What each spelling arms.
ARMS: Final = {"1": ("kraken", "local"), "local": ("local",)}
MODES: Final = ("shadow", "paper", "live")


class NotRecognisedError(ConfigError):
    """LIVE_FLAG_NOT_RECOGNISED: the variable is set, to nothing that we know."""


class EndpointMismatchError(ConfigError):
    """ENDPOINT_MODE_MISMATCH: armed for one endpoint, and the profile names the other."""


@dataclass(frozen=True)
class Gate:
    """What a session may do. problems : why it must not start; remarks : what a person should know."""

    mode: str
    endpoint: str
    may_send: bool
    may_read_keys: bool
    problems: tuple[KapitaalbotError, ...] = ()
    remarks: tuple[str, ...] = ()

    def require(self) -> None:
        """Raise the first problem, if there is one."""
        for problem in self.problems:
            raise problem


def armed_for(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The endpoints that the environment is armed for; none where the variable is not set.

    raises NotRecognisedError for any other value; it is not repeated: it may be anything
    """
    value = environ.get(FLAG)
    if value is None:
        return ()
    if value in ARMS:
        return ARMS[value]
    raise NotRecognisedError(
        f"LIVE_FLAG_NOT_RECOGNISED: {FLAG} is set, and its value ({len(value)} characters) is none "
        "that we know.",
        "It is exactly 1, or exactly local for a venue on this machine alone, or not set.",
    )


def decide(
    mode: str,
    endpoint: str,
    allow_orders: bool,
    environ: Mapping[str, str],
    level3: bool = False,
    asserts: bool = __debug__,
) -> Gate:
    """Whether a session of this mode may start, read keys, send.

    mode : shadow, paper or live; endpoint, allow_orders, level3 : of the profile
    asserts : whether the interpreter checks `assert` (it does not under -O)
    """
    problems: list[KapitaalbotError] = []
    remarks: list[str] = []
    armed: tuple[str, ...] = ()
    try:
        armed = armed_for(environ)
    except NotRecognisedError as error:
        # In shadow and paper it changes nothing, but whoever set it believes that it does.
        if mode == "live":
            problems.append(error)
        else:
            remarks.append(error.message)
    if armed and endpoint not in armed:
        problems.append(
            EndpointMismatchError(
                f"ENDPOINT_MODE_MISMATCH: {FLAG} arms a venue on this machine, and live.endpoint is "
                f"{endpoint}.",
                f"Set live.endpoint to local, or unset {FLAG}.",
            )
        )
    if mode not in MODES:
        problems.append(ConfigError(f"{mode!r} is not a mode.", f"Modes are {', '.join(MODES)}."))
    if mode == "live":
        if not armed and not problems:
            problems.append(
                RefusedError(
                    f"live mode is not armed: {FLAG} is not set.",
                    f"For this call: {FLAG}=1. Or run it as paper.",
                )
            )
        if not allow_orders:
            problems.append(
                RefusedError(
                    "the profile does not allow orders: live.allow_orders is false.",
                    "Set it to true in the profile, once shadow and paper did what you expect.",
                )
            )
        if not asserts:
            problems.append(
                RefusedError(
                    "Python runs without assertions (-O), and live mode needs them.",
                    "Start it without -O and without PYTHONOPTIMIZE.",
                )
            )
    if level3 and not armed and mode != "live":
        problems.append(
            RefusedError(
                f"live.level3 needs a key, and no key is read unless {FLAG} is set.",
                f"Set live.level3 to false, or {FLAG}=1 for this call.",
            )
        )
    fine = not problems
    return Gate(
        mode,
        endpoint,
        may_send=fine and mode == "live",
        may_read_keys=fine and (mode == "live" or level3),
        problems=tuple(problems),
        remarks=tuple(remarks),
    )
