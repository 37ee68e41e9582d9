"""`kapitaalbot check`: can this be done, before it is done; and was it done as it must be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.options import (
    RUNS,
    JsonFlag,
    RunName,
    RunsFolder,
    SetOption,
    VenueSpeed,
    parse_overrides,
)
from adapters.cli.output import write_json, write_pairs, write_table
from engine.errors import ConfigError, KapitaalbotError, MismatchError, StorageError

if TYPE_CHECKING:
    from adapters.replay import Prepared

app = typer.Typer(
    help="Check what is to run, and what has run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def group() -> None:
    """Check what is to run, and what has run."""


@app.command(short_help="Check that a profile can be run.")
def ready(
    profile: Annotated[
        Path, typer.Argument(metavar="PROFILE", help="Profile, a TOML file.", show_default=False)
    ],
    mode: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="MODE",
            help="replay, shadow, paper or live.",
            show_default="live if the profile names live.symbols, else replay",
        ),
    ] = None,
    speed: VenueSpeed = 1.0,
    settings: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check that a profile can be run: for a replay its keys, capture, symbols, families; for a
    session also the live gate, the account's folder, the venue, the clock, the mirror.

    A session's check names everything that is missing in one go, and reads no key unless
    KAPITAALBOT_LIVE lets it. Leaves with the code of the first thing that is wrong. Example:
    kapitaalbot check ready configs/sample.toml
    """
    overrides = parse_overrides(settings)
    if mode is None:
        mode = "live" if _names_pairs(profile, overrides) else "replay"
    if mode not in ("replay", "shadow", "paper", "live"):
        raise ConfigError(f"{mode!r} is not a mode.", "Give replay, shadow, paper or live.")
    if mode == "replay":
        findings, first = find_out(profile, overrides)
        columns = ["check", "verdict", "what was found"]
        names = ["check", "verdict", "found"]
    else:
        from adapters.cli.ready import look

        looked = look(profile, overrides, mode, speed=speed)
        findings, first = looked.rows, looked.first
        columns = ["check", "verdict", "what was found", "what to do"]
        names = ["check", "verdict", "found", "advice"]
    if as_json:
        write_json("check.ready", {"ready": first is None, "mode": mode, "checks": findings})
    else:
        write_table(columns, [tuple(each[name] for name in names) for each in findings])
    if first is not None:
        raise first


@app.command("run", short_help="Check the rules that keep money safe, in a finished run.")
def check_run(run: RunName, runs: RunsFolder = RUNS, as_json: JsonFlag = False) -> None:
    """Check a finished run: each rule that keeps money safe, with its evidence, and how it went.

    A rule is held, a breach, or uncertain where what would prove it is missing; `prevented` is how
    often the gate behind it refused. Tables and log are added up again, without the core's code;
    whether the log gives the same decisions is `run verify`.

    Leaves with 5 where a rule was broken. Example: kapitaalbot check run latest
    """
    from engine.reports.frames import Run
    from engine.reports.safety import BREACH, safety_page

    opened = Run.open(run, runs)
    page = safety_page(opened)
    if as_json:
        facts = [{"what": what, "found": found} for what, found in page.facts]
        rules = [each._asdict() for each in page.rules]
        write_json(
            "check.run",
            {"run": str(opened.path), "verdict": page.verdict, "rules": rules, "facts": facts},
        )
    else:
        write_table(
            ("rule", "verdict", "looked at", "breaches", "prevented", "example"),
            [
                (
                    each.text,
                    each.verdict,
                    f"{each.n:,}",
                    each.breaches or "",
                    "" if each.prevented is None else f"{each.prevented:,}",
                    each.example,
                )
                for each in page.rules
            ],
        )
        write_pairs(page.facts)
    if page.verdict == BREACH:
        broken = [each.name for each in page.rules if each.verdict == BREACH]
        raise MismatchError(
            f"{opened.path.name} broke {len(broken)} of {len(page.rules)} rules: {', '.join(broken)}.",
            "Stop what trades with this configuration, keep the run's folder, and report it.",
        )


def _names_pairs(profile: Path, overrides: dict[str, Any]) -> bool:
    """Whether the profile is a session's; one that cannot be read is checked as a replay's."""
    from engine.config import read_config

    try:
        return bool(read_config(profile, overrides).live.symbols)
    except KapitaalbotError:
        return False


def find_out(
    profile: Path, overrides: dict[str, Any]
) -> tuple[list[dict[str, str]], KapitaalbotError | None]:
    """Run the checks in order; what depends on a failed one is not tried.

    returns the findings, and the first error or None
    """
    from engine.instruments import InstrumentError, UnknownSymbolError

    state: dict[str, Any] = {"profile": profile, "overrides": overrides}
    findings: list[dict[str, str]] = []
    first: KapitaalbotError | None = None
    for name, check in CHECKS:
        if first is not None:
            findings.append({"check": name, "verdict": "not tried", "found": ""})
            continue
        try:
            found = check(state)
        except KapitaalbotError as error:
            first = error
        except (InstrumentError, UnknownSymbolError) as error:
            from engine.errors import ConfigError

            first = ConfigError(str(error), "`kapitaalbot data ls` shows the symbols.")
        else:
            findings.append({"check": name, "verdict": "ok", "found": found})
            continue
        findings.append({"check": name, "verdict": "wrong", "found": first.message})
    return findings, first


def _profile(state: dict[str, Any]) -> str:
    from engine.config import read_config

    state["config"] = read_config(state["profile"], state["overrides"])
    return "every key is known and within its bounds"


def _families(state: dict[str, Any]) -> str:
    from engine.plugins import load_plugins

    plugins = load_plugins(state["config"].plugins)
    names = ", ".join(each.name for each in plugins)
    return f"user families: {names}" if names else "no user families"


def _capture(state: dict[str, Any]) -> str:
    from adapters.replay import check_world, prepare
    from engine.clock import utc_text

    prepared: Prepared = prepare(state["config"])
    check_world(prepared)
    state["prepared"] = prepared
    capture = prepared.capture
    first, last = capture.span
    return f"{capture.n_events:,} events, {utc_text(first)} to {utc_text(last)}"


def _symbols(state: dict[str, Any]) -> str:
    prepared: Prepared = state["prepared"]
    prepared.world()
    return f"{', '.join(prepared.instruments.symbols)}; config hash {prepared.config_hash[:16]}"


def _output(state: dict[str, Any]) -> str:
    import tempfile

    out = Path(state["config"].run.out)
    place = next(each for each in (out, *out.resolve().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror}.",
            "Set run.out to a folder that you can write.",
        ) from error
    return f"runs go to {out}"


def _kernels(state: dict[str, Any]) -> str:
    from adapters.cli.warm import SECONDS_USUAL, is_warm

    if is_warm():
        return "compiled"
    return f"not compiled yet: the first run takes about {SECONDS_USUAL} s longer"


CHECKS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("profile", _profile),
    ("families", _families),
    ("capture", _capture),
    ("symbols", _symbols),
    ("output", _output),
    ("kernels", _kernels),
)
