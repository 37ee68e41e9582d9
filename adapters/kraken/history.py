"""How are all trades of a pair fetched over hours and restarts? Page by page, each kept at once.

A `Fetch` is a folder: a plan (what was asked for), the venue's rules of the pair, and the answers
themselves, one packed file per page, synced before the next is asked for. Where to go on is read
from the pages, so a kill at any moment loses the page that was on its way and nothing else. Left
out: what the pages become (adapters/imports/kraken_rest.py) and the store they go to.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.kraken.names import Names
from adapters.kraken.rest import Rest
from adapters.kraken.rest_trades import (
    ROWS_MAX,
    TradePager,
    read_trade_page,
    seconds_to_ns,
)
from engine.errors import ConfigError, DataError
from engine.flow.files import LOCAL_FILES, Files, Lock
from engine.instruments import UnknownSymbolError, canonical_symbol

PLAN_VERSION: Final = 1
_PLAN: Final = "plan.json"
_PAIRS: Final = "asset_pairs.json"
_PAGES: Final = "pages"
_BEFORE_KRAKEN_NS: Final = 1_300_000_000_000_000_000  # 2011: a `since` below it would be seconds

Progress = Callable[[int, int], None]  # trades so far, time of the newest (ns)


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a fetch was started for; both ends included, ns."""

    version: int
    symbol: str
    pair: str  # as REST is asked for it
    since_ns: int
    until_ns: int


class Fetch:
    """One fetch and its folder. Use as a context manager: only one process may be at it."""

    def __init__(self, folder: Path, files: Files = LOCAL_FILES) -> None:
        self.folder = folder
        self._files = files
        self._lock: Lock | None = None

    def __enter__(self) -> Fetch:
        self._files.make_folder(self.folder / _PAGES)
        self._lock = Lock(self.folder / "lock", f"the fetch in {self.folder}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    # ---- what is there ----

    def plan(self) -> Plan | None:
        """What was asked for, None before the first start. Raises DataError where it is damaged."""
        path = self.folder / _PLAN
        if not path.exists():
            return None
        try:
            plan = msgspec.json.decode(path.read_bytes(), type=Plan)
        except msgspec.DecodeError as error:
            raise DataError(
                f"{path} is not a plan of a fetch: {error}.", "Remove the folder and start again."
            ) from error
        if plan.version != PLAN_VERSION:
            raise DataError(
                f"{path} has version {plan.version}; this program reads {PLAN_VERSION}.",
                "Finish it with the program that began it, or remove the folder.",
            )
        return plan

    @property
    def asset_pairs(self) -> Path:
        """The AssetPairs answer of this pair."""
        return self.folder / _PAIRS

    def pages(self) -> list[Path]:
        """Files of the pages, in order."""
        return sorted((self.folder / _PAGES).glob("*.json.gz"))

    def has_trades(self, plan: Plan) -> bool:
        """Is there any trade within the plan?"""
        pages = self.pages()
        if not pages:
            return False
        first = read_trade_page(_unpacked(pages[0]), pages[0].name).rows[0]
        return seconds_to_ns(first[2]) <= plan.until_ns

    def pager(self, plan: Plan, count: int = ROWS_MAX) -> TradePager:
        """Where to go on: read from the pages."""
        pager = TradePager(max(plan.since_ns - 1, 0), plan.until_ns, count)
        for path in self.pages():
            pager.recall(read_trade_page(_unpacked(path), path.name))
        return pager

    # ---- doing it ----

    async def begin(self, rest: Rest, symbol: str, since_ns: int, until_ns: int) -> Plan:
        """Write the plan and the rules of the pair, or find that they are there already.

        raises ConfigError where the folder belongs to another question, or the pair is unknown
        """
        name = canonical_symbol(symbol)
        found = self.plan()
        if found is not None:
            if (found.symbol, found.since_ns) != (name, since_ns):
                raise ConfigError(
                    f"{self.folder} holds a fetch of {found.symbol} since {found.since_ns}.",
                    "Finish that one, remove the folder, or give another --id.",
                )
            return found
        if since_ns > until_ns:
            raise ConfigError("the fetch ends before it begins.", "Give --until after --since.")
        pairs = await rest.asset_pairs()
        names = Names(pairs)
        try:
            key = names.rest_key(name)
        except UnknownSymbolError as error:
            raise ConfigError(
                f"Kraken has no pair {name}.", "Write it as Kraken does, as in BTC/USD."
            ) from error
        answer = {"error": [], "result": {key: _texts(pairs[key])}}
        self._write(self.asset_pairs, msgspec.json.encode(answer))
        plan = Plan(PLAN_VERSION, name, names.altname(name), since_ns, until_ns)
        self._write(self.folder / _PLAN, msgspec.json.encode(plan))
        return plan

    async def run(
        self, rest: Rest, plan: Plan, progress: Progress, count: int = ROWS_MAX
    ) -> TradePager:
        """Ask for pages until all of the plan is there; may be ended and run again."""
        pager = self.pager(plan, count)
        n_pages = len(self.pages())
        while not pager.done:
            progress(pager.n_rows, pager.ns_last)
            since = pager.since_ns if pager.since_ns >= _BEFORE_KRAKEN_NS else 0
            data, page = await rest.trades(plan.pair, since, count)
            if pager.take(page, f"page {n_pages + 1}"):
                n_pages += 1
                self._write(self.folder / _PAGES / f"{n_pages:08d}.json.gz", _packed(data))
        progress(pager.n_rows, pager.ns_last)
        return pager

    def remove(self) -> None:
        """Drop the folder, once what it held is in the store."""
        for path in (*self.pages(), self.asset_pairs, self.folder / _PLAN):
            self._files.remove(path)
        for path in (self.folder / _PAGES).glob(".*.part"):
            self._files.remove(path)
        (self.folder / _PAGES).rmdir()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self.folder.rmdir()

    def _write(self, path: Path, data: bytes) -> None:
        """A whole file or none, on the disk for good."""
        part = path.with_name(f".{path.name}.part")
        self._files.remove(part)
        file = self._files.create(part)
        try:
            file.write(data)
            file.sync()
        finally:
            file.close()
        self._files.rename(part, path)


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=6, mtime=0)


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"the page {path} is damaged: {error}.",
            "Remove it and all later ones; the same command fetches them again.",
        ) from error


def _texts(value: Any) -> Any:
    """Decimals as the texts of their digits, at any depth, so that JSON keeps them exactly."""
    if isinstance(value, dict):
        return {key: _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)
