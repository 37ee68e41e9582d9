"""`kapitaalbot config`: what a profile comes to, what may stand in it, and compiling ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.options import RUNS, JsonFlag, QuietFlag, RunsFolder, SetOption, parse_overrides
from adapters.cli.output import say, write_json, write_table

app = typer.Typer(
    help="Show profiles and their keys; compile the kernels ahead.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(short_help="Print every key with value and origin.")
def show(
    profile: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PROFILE]", help="Profile; none shows the defaults.", show_default=False
        ),
    ] = None,
    settings: SetOption = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only keys that are not at their default.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print every key of a profile with its value and where the value comes from.

    Example: kapitaalbot config show configs/sample.toml --changed
    """
    from adapters.cli import profile as profiles
    from engine.config import config_hash, read_config, read_layers

    overrides = parse_overrides(settings)
    config = read_config(profile, overrides)
    rows = profiles.settings(config, read_layers(profile, overrides))
    if changed:
        rows = [row for row in rows if row.origin != profiles.DEFAULT]
    digest = config_hash(config) if not config.plugins else None
    if as_json:
        keys = [{"key": row.key, "value": row.text, "origin": row.origin} for row in rows]
        write_json("config.show", {"keys": keys, "config_hash": digest})
        return
    write_table(("key", "value", "origin"), [(row.key, row.text, row.origin) for row in rows])
    if digest:
        say(f"config hash {digest}")
    else:
        say("the config hash also covers the plugins; `kapitaalbot check ready` prints it.")


@app.command(short_help="Print what differs between two profiles or runs.")
def diff(
    first: Annotated[
        str,
        typer.Argument(metavar="FIRST", help="A profile, a run, or `latest`.", show_default=False),
    ],
    second: Annotated[
        str, typer.Argument(metavar="SECOND", help="The other one.", show_default=False)
    ],
    runs: RunsFolder = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Print each key whose value differs between two profiles, or a profile and what a run was made with.

    Of a profile as it comes to here, through all layers; of a run as its manifest has it. Example:
    kapitaalbot config diff configs/sample.toml latest
    """
    from adapters.cli import profile as profiles

    rows = profiles.differences(first, second, runs)
    if as_json:
        keys = [dict(zip(("key", "first", "second"), row, strict=True)) for row in rows]
        write_json("config.diff", {"first": first, "second": second, "keys": keys})
        return
    if not rows:
        say("nothing differs.")
        return
    write_table(("key", "first", "second"), rows)


@app.command(short_help="Print every key there is.")
def schema(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORD]", help="Only keys that contain this text.", show_default=False
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print every key that a profile may have, with default and meaning.

    With --json also the JSON schema, for editors. Example: kapitaalbot config schema costs
    """
    from engine.config import Profile, walk_keys

    keys = [each for each in walk_keys() if word is None or word in each["key"]]
    if as_json:
        write_json("config.schema", {"keys": keys, "schema": Profile.model_json_schema()})
        return
    write_table(
        ("key", "default", "meaning"),
        [(each["key"], each["default"], each["doc"]) for each in keys],
    )
    if not keys:
        say(f"no key contains {word!r}.")


@app.command(short_help="Compile the kernels into the cache now.")
def warm(
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Compile every kernel into the cache now, so that no replay waits for it.

    Example: kapitaalbot config warm
    """
    from adapters.cli.warm import warm_all

    done = warm_all(None if quiet else say)
    if as_json:
        write_json("config.warm", done)
        return
    write_table(
        ("kernels", "seconds"),
        [(name, f"{seconds:.1f}") for name, seconds in done["steps"].items()],
    )
    say(f"in all {done['seconds']:.1f} s; cache {done['cache']}")
