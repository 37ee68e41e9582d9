"""`kapitaalbot run shadow|paper|live|verify|finish`: sessions, and the proof of what they did."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.options import (
    RUNS,
    JsonFlag,
    QuietFlag,
    RunName,
    RunsFolder,
    SetOption,
    VenueSpeed,
    parse_overrides,
)
from adapters.cli.output import is_terminal, say, write, write_json, write_pairs
from adapters.cli.progress import ProgressReport
from adapters.cli.run import app, print_summary, run_facts
from engine.errors import MismatchError

if TYPE_CHECKING:
    from rich.live import Live

Profile = Annotated[
    Path, typer.Argument(metavar="PROFILE", help="Profile, a TOML file.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder under which the run's folder is made.", show_default=False),
]
For = Annotated[
    str | None,
    typer.Option(
        "--for", help="End after this long, as in 90s or 8h.", show_default="until Ctrl-C"
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Begin with nothing, whatever the last session left.")
]
Attach = Annotated[
    Path | None,
    typer.Option(
        help="Follow the capture that another process writes into this store.", show_default=False
    ),
]


@app.command(short_help="Decide on the live market, send nothing.")
def shadow(
    profile: Profile,
    settings: SetOption = None,
    out: Out = None,
    for_: For = None,
    fresh: Fresh = False,
    speed: VenueSpeed = 1.0,
    attach: Attach = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Decide on the live market and send nothing: every order is recorded as hypothetical.

    Ctrl-C ends it in order. Example: kapitaalbot run shadow configs/live.toml
    """
    _run("shadow", profile, settings, out, for_, fresh, speed, attach, False, quiet, as_json)


@app.command(short_help="Trade on paper: live market, simulated venue.")
def paper(
    profile: Profile,
    settings: SetOption = None,
    out: Out = None,
    for_: For = None,
    fresh: Fresh = False,
    speed: VenueSpeed = 1.0,
    attach: Attach = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Trade on paper: the live market, and the simulated venue of replays beside it.

    Ctrl-C ends it in order; the next one takes up where it stopped.
    Example: kapitaalbot run paper configs/live.toml
    """
    _run("paper", profile, settings, out, for_, fresh, speed, attach, False, quiet, as_json)


@app.command(short_help="Trade at the venue; needs the flag KAPITAALBOT_LIVE.")
def live(
    profile: Profile,
    settings: SetOption = None,
    out: Out = None,
    for_: For = None,
    fresh: Fresh = False,
    speed: VenueSpeed = 1.0,
    attach: Attach = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the account from a process that is stuck.")
    ] = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Trade at the venue that the profile names.

    Orders leave only if the profile allows them, KAPITAALBOT_LIVE is set, and the checks of
    `kapitaalbot check ready PROFILE` pass. It begins in EXIT_ONLY until it agrees with the venue.
    Ctrl-C withdraws entries and leaves protective stops at the venue.
    Example: kapitaalbot run live my.toml
    """
    _run("live", profile, settings, out, for_, fresh, speed, attach, take_over, quiet, as_json)


def _run(
    mode: str,
    path: Path,
    settings: list[str] | None,
    out: Path | None,
    for_: str | None,
    fresh: bool,
    speed: float,
    attach: Path | None,
    take_over: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from adapters.cli.capture import parse_duration
    from adapters.cli.warm import NOT_FOR_SESSIONS, warm_if_cold
    from adapters.operate import operate
    from adapters.start import plan_session

    overrides = parse_overrides(settings)
    if out is not None:
        overrides.setdefault("run", {})["out"] = str(out)
    ready = plan_session(path, mode, overrides, fresh=fresh, speed=speed, attach=attach)
    for remark in ready.gate.remarks:
        say(f"note: {remark}")
    warm_if_cold(None if quiet else say, NOT_FOR_SESSIONS)
    with _View(quiet) as view:
        ran = operate(
            ready,
            stop=_stop_on_signals,
            for_s=None if for_ is None else parse_duration(for_),
            take_over=take_over,
            talk=view.talk,
            show=view.show,
            lines=not quiet and not view.on,
        )
    if as_json:
        write_json(f"run.{mode}", run_facts(ran.folder, ran.manifest))
        return
    print_summary(ran.folder, ran.manifest)
    say(f"prove it: kapitaalbot run verify {ran.folder}")


def _stop_on_signals(ended: asyncio.Event) -> None:
    """The first signal ends in order, the second at once: stops stay resident either way."""
    loop = asyncio.get_running_loop()

    def first(number: int) -> None:
        ended.set()
        loop.remove_signal_handler(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, first, each)


class _View:
    """What a person sees on a terminal while it runs."""

    def __init__(self, quiet: bool) -> None:
        self.on = not quiet and is_terminal(sys.stderr)
        self._quiet = quiet
        self._live: Live | None = None

    def __enter__(self) -> _View:
        if self.on:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def talk(self) -> Callable[[str], None]:
        if self._quiet:
            return lambda text: None
        return say if self._live is None else self._live.console.print

    def show(self, facts: dict[str, Any]) -> None:
        if self._live is not None:
            from adapters.cli.sessionview import draw

            self._live.update(draw(facts), refresh=True)


@app.command(short_help="Prove that a session's log gives the same again.")
def verify(run: RunName, runs: RunsFolder = RUNS, as_json: JsonFlag = False) -> None:
    """Replay a session's own log and compare every command and record, byte for byte.

    Leaves with 5 at the first difference, shown from both sides. Example: kapitaalbot run verify latest
    """
    from adapters.cli.warm import warm_if_cold
    from adapters.sessions import find_session
    from adapters.sessions import verify as verify_session
    from engine.clock import Stopwatch

    warm_if_cold(say)
    folder = find_session(run, runs)
    clock = Stopwatch()
    with ProgressReport("verify") as shown:
        found = verify_session(folder, lambda n, ts: shown.update(n, 0, ts), clock.seconds)
    facts = {
        "folder": str(found.folder),
        "mode": found.mode,
        "same": found.ok,
        "digest": found.digest,
        "stated": found.expected,
        "events": found.n_events,
        "commands": found.n_commands,
        "tables": list(found.tables),
        "difference": found.difference and found.difference.text(found.symbols),
    }
    if as_json:
        write_json("run.verify", facts)
    elif found.difference is None:
        stated = "the session died before it stated one" if not found.expected else found.expected
        write_pairs(
            [
                ("run", str(found.folder)),
                ("mode", found.mode),
                ("events", f"{found.n_events:,}"),
                ("commands", f"{found.n_commands:,}, all the same"),
                ("digest", found.digest),
                ("stated", stated),
                ("verdict", "the same" if found.ok else f"differs in {', '.join(found.tables)}"),
            ]
        )
    else:
        write(found.difference.text(found.symbols))
    if not found.ok:
        raise MismatchError(
            f"{found.folder.name} does not replay to what it recorded.",
            "Keep the run's folder and report it: this must never happen.",
        )


@app.command(short_help="Write the tables of a session that died.")
def finish(run: RunName, runs: RunsFolder = RUNS, as_json: JsonFlag = False) -> None:
    """Replay the log of a session that was killed and write the tables that it could not.

    Example: kapitaalbot run finish 20260101-120000-live-0a1b2c3d
    """
    from adapters.cli.warm import warm_if_cold
    from adapters.sessions import find_session
    from adapters.sessions import finish as finish_session

    warm_if_cold(say)
    folder = find_session(run, runs)
    manifest = finish_session(folder)
    if as_json:
        write_json("run.finish", run_facts(folder, manifest))
    else:
        print_summary(folder, manifest)
