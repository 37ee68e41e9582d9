"""`kapitaalbot ops`: what a person presses while a session runs, and when it no longer does."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adapters.cli.options import JsonFlag
from adapters.cli.output import say, write_json, write_pairs, write_table
from engine.errors import KapitaalbotError, MismatchError, RefusedError

if TYPE_CHECKING:
    from adapters.control import NoSessionError

app = typer.Typer(
    help="Operate a session: mode, flatten, acknowledge, status, kill, arm.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KILL_ASK_S: Final = 0.5  # how long kill waits for a session before it goes to the venue itself

ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile", help="Profile of the session; names account and state.", show_default=False
    ),
]
AccountOption = Annotated[
    str | None, typer.Option(help="Account, instead of live.account.", show_default=False)
]
StateOption = Annotated[
    str | None,
    typer.Option(help="Folder of the accounts' state, for live.state.", show_default=False),
]
ModeOption = Annotated[
    str, typer.Option("--mode", help="Of the session: live, paper or shadow.", show_default=True)
]
YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask for the typed word.")]


@app.callback()
def group() -> None:
    """Operate a session: mode, flatten, acknowledge, status, kill, arm."""


def place(
    profile: Path | None, account: str | None, state: str | None, mode: str = "live"
) -> tuple[Any, Path]:
    """The profile's section `live` and the account's folder; raises ConfigError."""
    from adapters.start import folder_of
    from engine.config import read_config

    named = {"account": account, "state": state}
    given = {key: value for key, value in named.items() if value is not None}
    live = read_config(profile, {"live": given}).live
    return live, folder_of(live)


def ask(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """What became of a request; raises RefusedError where the session said no."""
    from adapters.control import ask as ask_session

    answer = ask_session(folder, request)
    if not answer.get("ok"):
        raise RefusedError(str(answer.get("message")), str(answer.get("hint", "")))
    return dict(answer.get("became") or {})


def typed(phrase: str, what: str) -> None:
    """Ask for a phrase; raises RefusedError where something else is typed."""
    say(what)
    say(f"Type `{phrase}` to go on:")
    if sys.stdin.readline().strip() != phrase:
        raise RefusedError("that was not typed; nothing was changed.")


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as `a.b` and text, lists of records left to the JSON."""
    pairs: list[tuple[str, str]] = []
    for key, each in value.items():
        if isinstance(each, Mapping):
            pairs += flat(each, f"{prefix}{key}.")
        elif isinstance(each, list):
            pairs.append((f"{prefix}{key}", f"{len(each)}" if each else "none"))
        else:
            pairs.append((f"{prefix}{key}", "" if each is None else str(each)))
    return pairs


@app.command(short_help="How the session stands.")
def status(
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    session: ModeOption = "live",
    as_json: JsonFlag = False,
) -> None:
    """Ask the session how it stands; without one, what its folder says (exit code 6).

    Example: kapitaalbot ops status --profile configs/live.toml
    """
    from adapters.control import NoSessionError

    _, folder = place(profile, account, state, session)
    missing: NoSessionError | None = None
    try:
        facts = ask(folder, {"do": "status"})
    except NoSessionError as error:
        missing, facts = error, {}
    account_facts = folder_facts(folder)
    if as_json:
        write_json("ops.status", {"session": facts or None, "account": account_facts})
    else:
        write_pairs([*flat(facts), *flat(account_facts, "account.")])
        write_held(facts)
        if unread := account_facts["unread"]:
            write_table(
                ("number", "code", "times", "facts"),
                [(str(e["number"]), e["code"], e["n"], e["facts"]) for e in unread],
                "alerts that nobody acknowledged",
            )
    if missing is not None:
        raise missing


def folder_facts(folder: Path) -> dict[str, Any]:
    """What an account's folder says by itself: who drives it, whether it is killed, what is unread."""
    from adapters.alerts import Alerts
    from adapters.lease import KillFlag, is_held, read_holder
    from engine.clock import WallClock, utc_text

    killed = KillFlag(folder).read()
    held = is_held(folder)
    return {
        "folder": str(folder),
        "driven_by": str(read_holder(folder)) if held else "nobody",
        "killed": "no" if killed is None else f"{utc_text(killed.ts)}: {killed.why}",
        "unread": Alerts(folder, WallClock(), None).open_list(),
    }


@app.command(short_help="Change the engine's mode.")
def mode(
    mode: Annotated[str, typer.Argument(help="NORMAL, REDUCED, EXIT_ONLY, EMERGENCY or HALT.")],
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    session: ModeOption = "live",
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Change the mode. Tightening happens at once; loosening asks for the mode to be typed.

    Example: kapitaalbot ops mode EXIT_ONLY
    """
    from adapters.control import MODE_NAMES, MODES, loosens
    from engine.errors import ConfigError

    wanted = mode.upper().replace("-", "_")
    if wanted not in MODES:
        raise ConfigError(f"{mode!r} is not a mode.", f"Modes are {', '.join(MODES)}.")
    _, folder = place(profile, account, state, session)
    if not yes:
        now = ask(folder, {"do": "status"}).get("mode", "HALT")
        now = MODE_NAMES.get(now, now) if isinstance(now, int) else str(now)
        if loosens(MODES.get(now, MODES["HALT"]), MODES[wanted]):
            typed(wanted, f"The mode is {now}; {wanted} allows more.")
    show("ops.mode", ask(folder, {"do": "mode", "mode": wanted}), as_json)


def show(kind: str, became: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        write_json(kind, became)
    else:
        write_pairs(flat(became))
        write_held(became)


def write_held(facts: Mapping[str, Any]) -> None:
    """Positions, each with its protection, and working orders: what a person looks at first."""
    for name in ("positions", "orders"):
        if rows := facts.get(name):
            # As text: an id is looked up at the venue, and has no thousands.
            write_table(tuple(rows[0]), [tuple(map(str, each.values())) for each in rows], name)


@app.command(short_help="Leave one position, or all.")
def flatten(
    symbol: Annotated[
        str | None,
        typer.Argument(metavar="[SYMBOL]", help="Pair; none: all.", show_default=False),
    ] = None,
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    session: ModeOption = "live",
    as_json: JsonFlag = False,
) -> None:
    """Leave the position in one pair, or in all, in any mode.

    Example: kapitaalbot ops flatten BTC/USD
    """
    _, folder = place(profile, account, state, session)
    show("ops.flatten", ask(folder, {"do": "flatten", "symbol": symbol}), as_json)


@app.command(short_help="Acknowledge critical alerts.")
def acknowledge(
    number: Annotated[
        int, typer.Argument(metavar="[NUMBER]", help="Of the alert; 0: all.", min=0)
    ] = 0,
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    session: ModeOption = "live",
    as_json: JsonFlag = False,
) -> None:
    """Acknowledge critical alerts, so that they are no longer repeated; also without a session.

    Example: kapitaalbot ops acknowledge 12
    """
    from adapters.alerts import Alerts
    from adapters.control import NoSessionError
    from adapters.lease import is_held
    from engine.clock import WallClock

    _, folder = place(profile, account, state, session)
    try:
        became = ask(folder, {"do": "acknowledge", "number": number})
    except NoSessionError:
        if is_held(folder):
            raise  # it hangs, and would write over what we do
        alerts = Alerts(folder, WallClock(), None)
        became = {"acknowledged": alerts.acknowledge(number)}
        if became["acknowledged"]:
            alerts.start()
            alerts.stop()
    show("ops.acknowledge", became, as_json)


@app.command("enable-family", short_help="Switch a family on again.")
def enable_family(
    family: Annotated[str, typer.Argument(help="Its name, as in momentum.")],
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    session: ModeOption = "live",
    as_json: JsonFlag = False,
) -> None:
    """Switch a family on again that had repeated itself too often.

    Example: kapitaalbot ops enable-family momentum
    """
    _, folder = place(profile, account, state, session)
    show("ops.enable-family", ask(folder, {"do": "enable-family", "family": family}), as_json)


@app.command(short_help="Let a pair take entries again.")
def release(
    symbol: Annotated[str, typer.Argument(help="Pair, as in BTC/USD.")],
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    session: ModeOption = "live",
    as_json: JsonFlag = False,
) -> None:
    """Let a pair take entries again that is in quarantine.

    Example: kapitaalbot ops release BTC/USD
    """
    _, folder = place(profile, account, state, session)
    show("ops.release", ask(folder, {"do": "release", "symbol": symbol}), as_json)


@app.command(short_help="Cancel everything, and add nothing from now on.")
def kill(
    why: Annotated[str, typer.Option(help="Why, for whoever finds the flag.")] = "ops kill",
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Set the kill flag, tell the session, and cancel every order of the account over REST.

    Works while the session is stopped or dead, with a key of its own. Stops are cancelled too: what
    is held is unprotected afterwards. Leaves with 0 where nothing rests any more, 5 where something
    is left or the venue did not say, 8 where it was not reached. Example: kapitaalbot ops kill
    """
    from adapters.control import NoSessionError
    from adapters.control import ask as ask_session
    from adapters.lease import KillFlag
    from engine.clock import WallClock

    live, folder = place(profile, account, state)
    done: dict[str, Any] = {"account": folder.name}
    # First what survives everything: no session of this account adds risk from here on.
    trouble: KapitaalbotError | None = None
    try:
        KillFlag(folder).set(WallClock().now(), why)
        done["flag"] = "set"
    except KapitaalbotError as error:
        # A full disk or wrong rights must not keep orders at the venue.
        trouble, done["flag"] = error, error.message
    try:
        answer = ask_session(folder, {"do": "kill"}, KILL_ASK_S)
        done["session"] = "told" if answer.get("ok") else str(answer.get("message"))
    except NoSessionError as error:
        done["session"] = error.message
    try:
        cleared = cancel_at_venue(live)
    except KapitaalbotError as error:
        show("ops.kill", {**done, "cancelled": "not known", "error": error.message}, as_json)
        raise
    left = cleared.left
    done |= {
        "cancelled": cleared.n_canceled,
        "left": "not known" if left is None else len(left),
        "left_ids": list(left or ()),
        "said": list(cleared.said),
    }
    show("ops.kill", done, as_json)
    say("what is held has no stop now. `kapitaalbot ops arm` takes the kill flag back.")
    if not cleared.clear:
        raise MismatchError(
            "the venue does not say that nothing is left: "
            f"{'it did not answer' if left is None else ', '.join(left[:20])}.",
            "Cancel by hand at Kraken.",
        )
    if trouble is not None:
        raise trouble


def cancel_at_venue(live: Any) -> Any:
    """Cancel all orders over REST with the kill key; see adapters/kraken/cancel_all.py."""
    from adapters.kraken.cancel_all import cancel_all
    from adapters.start import addresses

    where = addresses(live)
    return cancel_all(url=where.rest, ssl=where.ssl)


@app.command(short_help="Take the kill flag away again.")
def arm(
    profile: ProfileOption = None,
    account: AccountOption = None,
    state: StateOption = None,
    session: ModeOption = "live",
) -> None:
    """Take the kill flag away, after the typed phrase; the mode stays HALT until `ops mode`.

    Refused while critical alerts are not acknowledged. Example: kapitaalbot ops arm
    """
    from adapters.lease import KillFlag

    _, folder = place(profile, account, state, session)
    flag = KillFlag(folder)
    killed = flag.read()
    if killed is None:
        say(f"the account {folder.name} is not killed.")
        return
    facts = folder_facts(folder)
    if facts["unread"]:
        raise RefusedError(
            f"{len(facts['unread'])} critical alerts are not acknowledged.",
            "Read them with `kapitaalbot ops status`, then `kapitaalbot ops acknowledge`.",
        )
    typed(f"arm {folder.name}", f"The account {folder.name} was killed {facts['killed']}.")
    flag.clear()
    say("armed. A session that runs stays in HALT: `kapitaalbot ops mode EXIT_ONLY` loosens it.")
