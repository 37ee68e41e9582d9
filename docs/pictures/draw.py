"""Draw the pictures of docs/recordings.md from run folders: book, decisions, fills, equity.

    python docs/pictures/draw.py RUNS STORE PLACE

RUNS holds the runs of the four profiles, STORE their captures; the PNG files go to PLACE. Figures
are those of engine/reports/pictures.py, with the decisions on top; Chromium turns them into files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from adapters.parquet.reader import open_events
from engine.core.records import EXECUTE
from engine.reports import pictures
from engine.reports.bookview import view_book
from engine.reports.frames import Run
from engine.reports.manifest import list_runs

WIDTH, HEIGHT = 1000, 460
S = 1_000_000_000
# Per profile: which entry is looked at, seconds shown before and after it, seconds between samples.
WINDOWS = {
    "bitstamp-l3": (0, 240, 420, 2.0),
    "coinbase-l2": (0, 60, 960, 4.0),
    "binance-spot": (0, 15, 75, 0.25),
    "kraken-2018": (0, 120, 900, 5.0),
}


def add_decisions(figure: Any, run: Run, y: str, name: str, start: int, end: int) -> None:
    """Mark the decisions to enter. y : column of decisions with its price; start, end : ns"""
    within = (pl.col("outcome") == EXECUTE) & pl.col("ts").is_between(start, end)
    taken = run.scan("decisions").filter(within).collect()
    figure.add_trace(
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": taken["time"].dt.replace_time_zone(None).to_numpy(),
            "y": taken[y].to_numpy(),
            "marker": {
                "symbol": "circle-open",
                "size": 13,
                "color": "#6b46c1",
                "line": {"width": 2},
            },
        }
    )


def figures(run: Run, store: str) -> dict[str, list[Any]]:
    """The figures of one run by name of the file: those of one file stand below each other."""
    name, symbol = run.manifest["name"], run.symbols[0]
    which, before, after, step = WINDOWS[name]
    entry = run.fills.filter(pl.col("role_name") == "entry").sort("ts")[which]["ts"].item()
    start, end = entry - before * S, entry + after * S
    capture = open_events(store, capture_id=run.manifest["config"]["capture"]["id"])
    depth = capture.depth(symbol)
    view = view_book(capture.batches(), 0, start, end, int(step * S), depth=depth)
    book = pictures.book_picture(run, symbol, view)
    add_decisions(book, run, "price_quote", "entry decided, at its limit", start, end)
    price = pictures.price_picture(run, symbol)
    add_decisions(price, run, "mid_quote", "entry decided, at the mid", 0, 2**62)
    return {f"{name}-book": [book], f"{name}-run": [price, pictures.equity_picture(run)]}


def draw(shown: list[Any], path: Path) -> None:
    """Write figures below each other into one PNG."""
    parts = []
    for i, figure in enumerate(shown):
        figure.update_layout(width=WIDTH, height=HEIGHT, font={"size": 13})
        figure.update_layout(yaxis={"tickformat": ",.2~f"})
        parts.append(
            figure.to_html(
                full_html=False, include_plotlyjs=i == 0, config={"displayModeBar": False}
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f"<body style='margin:0'>{''.join(parts)}</body>")
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--disable-background-networking", f"--user-data-dir={folder}/profile",
                f"--window-size={WIDTH},{HEIGHT * len(shown)}", "--virtual-time-budget=10000",
                f"--screenshot={path}", page.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


if __name__ == "__main__":
    runs, store, place = sys.argv[1:]
    for folder, _ in list_runs(Path(runs)):
        run = Run.open(folder)
        for name, shown in figures(run, store).items():
            draw(shown, Path(place).resolve() / f"{name}.png")
            print(f"{name}.png")
