"""Where does `kapitaalbot` begin, and with which code does it leave?

The groups of commands live in one file each and load nothing heavy before they work. Every error
becomes one clear sentence and a next step here, and an exit code of docs/cli.md; a traceback shows
only with -v.
"""

from __future__ import annotations

import errno
import gc
import sys
import traceback
from typing import Annotated, Final

import typer
from typer.main import get_command

from adapters.cli import (
    capture,
    check,
    config,
    data,
    features,  # noqa: F401  (adds its verb to the group `run`)
    mirror,
    ops,
    pairs,  # noqa: F401  (adds its verbs to the groups `run` and `data`)
    publish,  # noqa: F401  (adds its verb to the group `run`)
    run,
    sessions,  # noqa: F401  (adds its verbs to the group `run`)
    venue,
)
from adapters.cli.output import say, write
from engine.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNEXPECTED,
    ConfigError,
    DataError,
    KapitaalbotError,
    StorageError,
)

NAME: Final = "kapitaalbot"
SENTENCE_MAX: Final = 300  # characters of a foreign error that are shown
# Objects between two looks for garbage: what is imported stays, and to look for it takes an eighth of a
# start. Whoever goes on for hours and may not pause sets it back (adapters/telemetry.py).
SELDOM: Final = (100_000, 20, 20)
VERBOSE_FLAGS: Final = ("-v", "--verbose")

app = typer.Typer(
    name=NAME,
    help="Replay recorded order books through one decision core, and read what it decided.",
    epilog="Start with: kapitaalbot run replay configs/sample.toml",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(run.app, name="run")
app.add_typer(capture.app, name="capture")
app.add_typer(data.app, name="data")
app.add_typer(venue.app, name="venue")
app.add_typer(mirror.app, name="mirror")
app.add_typer(config.app, name="config")
app.add_typer(check.app, name="check")
app.add_typer(ops.app, name="ops")


def _version(asked: bool) -> None:
    if asked:
        from engine.version import VERSION, commit

        write(f"{NAME} {VERSION}" + (f", commit {commit()}" if commit() else ""))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            *VERBOSE_FLAGS, help="Show tracebacks of errors; may stand anywhere on the line."
        ),
    ] = False,
) -> None:
    """Replay recorded order books through one decision core, and read what it decided."""


def take_verbose(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without -v, and whether it was there; what follows `--` is left alone."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [each for each in arguments[:end] if each not in VERBOSE_FLAGS]
    return kept + arguments[end:], len(kept) < end


def as_error(error: BaseException) -> tuple[int, str, str]:
    """Exit code, sentence and next step of any exception."""
    from engine.instruments import InstrumentError, UnknownSymbolError
    from engine.units import OffGridError

    if isinstance(error, KapitaalbotError):
        return error.exit_code, error.message, error.hint
    if isinstance(error, UnknownSymbolError):
        return ConfigError.exit_code, str(error), "`kapitaalbot data ls` shows the symbols."
    if isinstance(error, InstrumentError | OffGridError):
        return DataError.exit_code, str(error), ""
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename else ""
        hint = (
            "Free space, then run again."
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "Check that the place exists and that you may use it."
        )
        return StorageError.exit_code, f"{place}{error.strerror or error}.", hint
    if isinstance(error, RuntimeError) and "cannot cache function" in str(error):
        from adapters.cli.warm import cache_error

        refused = cache_error(str(error))
        return refused.exit_code, refused.message, refused.hint
    if isinstance(error, MemoryError):
        return EXIT_UNEXPECTED, "there is not enough memory.", "Replay fewer symbols or less time."
    said = (str(error).strip().splitlines() or [""])[0]
    return (
        EXIT_UNEXPECTED,
        f"this is a defect of ours: {type(error).__name__}: {said[:SENTENCE_MAX]}",
        "Run it again with -v and report what it prints.",
    )


def report(message: str, hint: str) -> None:
    """One error on stderr: a sentence and, under it, the next step."""
    say(f"error: {message}")
    if hint:
        say(f"  next: {hint}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    arguments : without the program's name; None for those of the process
    """
    given, verbose = take_verbose(list(sys.argv[1:] if arguments is None else arguments))
    usual = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        code = get_command(app).main(args=given, prog_name=NAME, standalone_mode=False)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except typer.Abort:
        code = EXIT_INTERRUPTED
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        message = error.format_message().strip()
        if context is not None and message == context.get_help().strip():
            say(message)  # a group without a verb
        else:
            path = context.command_path if context is not None else NAME
            report(message, f"`{path} --help` shows how it is used.")
        return int(error.exit_code)
    except Exception as error:
        if verbose:
            traceback.print_exception(error)
        code, message, hint = as_error(error)
        report(message, hint)
        return code
    finally:
        gc.set_threshold(*usual)
    if code == EXIT_INTERRUPTED:
        say("interrupted: what was not finished was not kept.")
    return code if isinstance(code, int) else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
