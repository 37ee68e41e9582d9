"""How does a running session look on a terminal? One table of facts, drawn anew each second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Group

EPOCHS: Final = {0: "none", 1: "valid", 2: "degraded", 3: "invalid", 4: "closed"}
ORDER_COLUMNS: Final = ("symbol", "side", "qty", "filled", "price", "state")
DECISION_COLUMNS: Final = ("time", "symbol", "blocker", "net_bps")
COLOURS: Final = {"NORMAL": "green", "REDUCED": "yellow", "EXIT_ONLY": "yellow"}


def draw(facts: dict[str, Any]) -> Group:
    """The facts of `Watch.status_of` as rich renderables."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    colour = COLOURS.get(facts["mode"], "red")
    head = Text.assemble(
        (f" {facts['session']} ", "bold reverse"),
        " ",
        (facts["mode"], f"bold {colour}"),
        f"  {facts['run']}  {facts['time'][:19]}",
    )
    if not facts["reconciled"]:
        head.append("  not reconciled", "yellow")
    if facts["killed"]:
        head.append("  KILLED", "bold red")
    grid = Table.grid(padding=(0, 2))
    feeds = {name: each for name, each in facts["feeds"].items() if isinstance(each, dict)}
    lines = [
        ("feeds", ", ".join(f"{name} {each['phase']}" for name, each in feeds.items())),
        ("lag", f"{facts['feeds'].get('lag_ms', 0)} ms, sync {facts['sync_us']} us"),
        ("epoch", f"{facts['epoch']} {EPOCHS.get(facts['epoch_status'], '?')}"),
        ("events", f"{facts['events']:,}, {facts['evaluations']:,} evaluations"),
        ("commands", f"{facts['commands']:,}"),
        ("equity", f"{facts['equity']}  realised {facts['realized']}  fees {facts['fees']}"),
        ("blockers", ", ".join(f"{name} {n:,}" for name, n in list(facts["blockers"].items())[:4])),
    ]
    for name, text in lines:
        grid.add_row(Text(name, "dim"), text)
    parts: list[Any] = [head, grid]
    if facts["positions"]:
        parts.append(
            _table("positions", facts["positions"], ("symbol", "qty", "stop", "protection"))
        )
    if facts["orders"]:
        parts.append(_table("orders", facts["orders"], ORDER_COLUMNS))
    if facts["decisions"]:
        parts.append(_table("last decisions", facts["decisions"][-4:], DECISION_COLUMNS))
    for alert in facts["alerts"][:4]:
        parts.append(Text(f"ALERT {alert['number']} {alert['code']} {alert['facts']}", "bold red"))
    return Group(*parts)


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(row[name]) for name in columns))
    return table
