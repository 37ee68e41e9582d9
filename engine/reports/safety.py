"""Did a run keep the rules that keep money safe? Each rule with its evidence, from tables and log.

A rule is `held` (so many cases looked at, none against it), a `breach` (with an example), or
`uncertain` where what would prove it is missing, or where the operator's own kill took it out of
the session's hands: uncertain is not held. Beside it stands how often
the gate behind the rule fired, which is what it prevented. Nothing here shares code with the core
that obeyed the rules: it reads what was recorded and adds it up again.

Left out: whether the log gives the same decisions again (`run verify`), and what a rule is for
(docs/order-life.md, docs/gates.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from engine.clock import utc_text
from engine.commands import ADD, ROLE_ENTRY, ROLE_PROTECTION
from engine.core.orderstates import ORDER_STATE_SUSPECT, is_terminal
from engine.core.protection import COVER_AMENDING, COVER_PROTECTED
from engine.core.records import (
    EPOCH_NOT_VALID,
    EXECUTE,
    GENERATION_MISMATCH,
    MODE_BLOCKED,
)
from engine.core.recoveries import (
    RECOVERY_ADOPTED,
    RECOVERY_CASH_ACCEPTED,
    RECOVERY_HISTORY,
    RECOVERY_STOPPING,
    RECOVERY_WRITTEN_OFF,
)
from engine.events import (
    EPOCH_VALID,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    ORDER_COMMAND,
    ORDER_SENT,
    WHO_OPERATOR,
    WHY_KILL,
)
from engine.flow.log import LogReader
from engine.reports.served import MS, quantiles
from engine.reports.summary import VERDICTS

if TYPE_CHECKING:
    from engine.reports.frames import Run

HELD: Final = "held"
BREACH: Final = "breach"
UNCERTAIN: Final = "uncertain"
LOG: Final = "log"
NEVER: Final = 1 << 62
_SECOND: Final = 1_000_000_000


class Rule(NamedTuple):
    """One rule of a run. n : cases looked at; prevented : how often its gate refused, None: no gate"""

    name: str
    text: str
    verdict: str
    n: int
    breaches: int
    prevented: int | None
    example: str  # of a breach, or why it is uncertain


class _Found(NamedTuple):
    n: int
    breaches: list[str]
    doubt: str = ""


class _Evidence:
    """The tables of a run, read once, as arrays in the order in which they were written."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._tables: dict[str, dict[str, np.ndarray]] = {}

    def table(self, name: str) -> dict[str, np.ndarray]:
        if name not in self._tables:
            frame = self.run.raw(name)
            self._tables[name] = {each: frame[each].to_numpy() for each in frame.columns}
        return self._tables[name]

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        columns = self.table(name)
        values = [each.tolist() for each in columns.values()]
        for row in zip(*values, strict=True):
            yield dict(zip(columns, row, strict=True))

    def symbol(self, sym: int) -> str:
        return self.run.symbols[sym]

    def entries(self) -> list[dict[str, Any]]:
        """Commands that would add a position."""
        return [
            each
            for each in self.rows("commands")
            if each["kind"] == ADD and each["role"] == ROLE_ENTRY
        ]

    def recoveries(self, codes: Iterable[int]) -> int:
        return int(np.isin(self.table("recoveries")["recovery"], list(codes)).sum())


class Page(NamedTuple):
    """One page for whoever answers for a run. facts : (what, value) for people"""

    verdict: str  # breach, uncertain or held: the worst of the rules
    rules: list[Rule]
    facts: list[tuple[str, str]]


def safety_page(run: Run) -> Page:
    """Rules and facts of one finished run."""
    evidence = _Evidence(run)
    blocked = evidence.table("blockers")
    rules = [
        _judged(name, text, look(evidence), _prevented(blocked, code))
        for name, text, look, code in RULES
    ]
    verdicts = {each.verdict for each in rules}
    worst = next((each for each in (BREACH, UNCERTAIN) if each in verdicts), HELD)
    return Page(worst, rules, list(_facts(evidence)))


def _facts(evidence: _Evidence) -> Iterator[tuple[str, str]]:
    run = evidence.run
    kind = str(run.summary.get("verdict", ""))
    yield "kind of run", f"{kind}: {VERDICTS.get(kind, 'not named')}"
    modes = run.table("modes")
    for row in modes.select("ts", "asked_name", "who_name", "why_name", "accepted").to_dicts():
        refused = "" if row["accepted"] else ", refused"
        yield (
            f"mode at {utc_text(row['ts'])}",
            f"{row['asked_name']} by {row['who_name']}: {row['why_name']}{refused}",
        )
    health = evidence.table("health")
    for sym in np.unique(health["sym"]).tolist():
        mine = health["sym"] == sym
        unverified = int((health["verified"][mine] == 0).sum())
        failed, crossed, gaps = (
            int(health[each][mine].max()) for each in ("n_checksum_failed", "n_crossed", "n_gaps")
        )
        yield (
            f"data of {evidence.symbol(sym)}",
            f"{gaps} gaps, {failed} wrong checksums, {crossed} crossed books, "
            f"unverified at {unverified} of {int(mine.sum())} looks",
        )
    for name, n in sorted(Counter(run.table("recoveries")["recovery_name"].to_list()).items()):
        yield f"reconcile: {name}", f"{n} times"
    differ = _differing(evidence)
    if len(differ):
        yield "balances told", f"{len(differ)}, of which {int(differ.sum())} were not as our books"
    orders = evidence.table("orders")
    _, newest = np.unique(orders["id"][::-1], return_index=True)
    newest = len(orders["id"]) - 1 - newest
    sent, acked = orders["ts_sent"][newest], orders["ts_acked"][newest]
    took = quantiles((acked - sent)[(sent > 0) & (acked > 0)] / MS)
    if took["n"]:
        yield (
            "sent to acknowledged",
            f"p50 {took['median']:.1f} ms, p99 {took['p99']:.1f} ms, {took['n']} orders",
        )
    bare = [each.took for each in uncovered(evidence)]
    if bare:
        yield (
            "uncovered",
            f"{len(bare)} times, {sum(bare) / _SECOND:.2f} s in all, longest {max(bare) / _SECOND:.2f} s",
        )


def _differing(evidence: _Evidence) -> np.ndarray:
    """bool per balance told: was it not as our books? One that a fill explains soon counts too.

    What lasted is among the recoveries. Cash within `reconcile.cash_slack` is the venue's rounding,
    and before the account was adopted nobody knew what of it was not ours.
    """
    balances = evidence.table("balances")
    slack = evidence.run.manifest["config"].get("reconcile", {}).get("cash_slack", 0)
    apart = np.abs(balances["told"] - balances["own"] - balances["foreign_part"])
    recoveries = evidence.table("recoveries")
    adopted = recoveries["ts"][recoveries["recovery"] == RECOVERY_ADOPTED]
    known = balances["ts"] >= max(adopted.tolist(), default=0)
    found: np.ndarray = known & (apart > np.where(balances["sym"] < 0, slack, 0))
    return found


def _judged(name: str, text: str, found: _Found, prevented: int | None) -> Rule:
    if found.breaches:
        return Rule(name, text, BREACH, found.n, len(found.breaches), prevented, found.breaches[0])
    verdict = UNCERTAIN if found.doubt else HELD
    return Rule(name, text, verdict, found.n, 0, prevented, found.doubt)


def _prevented(blocked: dict[str, np.ndarray], code: int | None) -> int | None:
    return None if code is None else int(blocked["n"][blocked["code"] == code].sum())


# --- the rules ------------------------------------------------------------------------------------


def _decided(evidence: _Evidence) -> _Found:
    """Each entry has a row that decided it."""
    decided = set()
    for table in ("decisions", "releases"):
        columns = evidence.table(table)
        ids = columns["command"]
        if table == "decisions":
            ids = ids[columns["outcome"] == EXECUTE]
        decided |= set(ids.tolist())
    entries = evidence.entries()
    missing = [each for each in entries if each["id"] not in decided]
    return _Found(
        len(entries), [f"entry {each['id']} at {utc_text(each['ts'])}" for each in missing]
    )


def _ids(evidence: _Evidence) -> _Found:
    """No client order id is used for two orders."""
    columns = evidence.table("commands")
    ids = columns["id"][columns["kind"] == ADD]
    values, counts = np.unique(ids, return_counts=True)
    again = values[counts > 1].tolist()
    return _Found(len(ids), [f"id {each} was placed more than once" for each in again])


def _journaled(evidence: _Evidence) -> _Found:
    """Each order that left stood in the log before it left."""
    path = evidence.run.path / LOG
    if not Path(path).is_dir():
        return _Found(0, [])  # a replay sends nothing
    known: set[int] = set()
    breaches, n = [], 0
    for rows in LogReader(path, tail="stop"):
        for row in rows[np.isin(rows["kind"], (ORDER_COMMAND, ORDER_SENT))]:
            id = int(row["id"])
            if row["kind"] == ORDER_COMMAND:
                known.add(id)
                continue
            n += 1
            if id not in known:
                breaches.append(
                    f"order {id} was sent at {utc_text(int(row['ts']))}, seq {row['seq']}"
                )
    return _Found(n, breaches)


def _modes(evidence: _Evidence) -> _Found:
    """Entries leave in NORMAL and REDUCED only."""
    columns = evidence.table("modes")
    times, modes = columns["ts"], columns["mode"]
    first = int(columns["mode_before"][0]) if len(times) else MODE_NORMAL
    names = evidence.run.table("modes")["mode_name"].to_list()
    entries = evidence.entries()
    breaches = []
    for each in entries:
        # What was set in the same moment may have come after it.
        i = int(np.searchsorted(times, each["ts"], side="left")) - 1
        mode = int(modes[i]) if i >= 0 else first
        if mode not in (MODE_NORMAL, MODE_REDUCED):
            breaches.append(
                f"entry {each['id']} at {utc_text(each['ts'])} in {names[i] if i >= 0 else mode}"
            )
    return _Found(len(entries), breaches)


def _epochs(evidence: _Evidence) -> _Found:
    """Entries leave on data that was judged valid."""
    columns = evidence.table("evaluations")
    status = dict(
        zip(columns["generation"].tolist(), columns["epoch_status"].tolist(), strict=True)
    )
    entries = evidence.entries()
    breaches = [
        f"entry {each['id']} at {utc_text(each['ts'])}"
        for each in entries
        if status.get(each["generation"], EPOCH_VALID) != EPOCH_VALID
    ]
    lost = sum(each["generation"] not in status for each in entries)
    return _Found(
        len(entries), breaches, f"{lost} entries have no evaluation in the tables" if lost else ""
    )


def _executions(evidence: _Evidence) -> _Found:
    """Each execution of the venue counts once."""
    columns = evidence.table("fills")
    values, counts = np.unique(columns["exec"], return_counts=True)
    again = values[counts > 1].tolist()
    return _Found(len(columns["exec"]), [f"execution {each} was booked again" for each in again])


def _overfilled(evidence: _Evidence) -> _Found:
    """No order fills beyond its quantity."""
    columns = evidence.table("orders")
    beyond = np.flatnonzero(columns["filled"] > columns["qty"])
    return _Found(
        len(columns["id"]),
        [
            f"order {columns['id'][i]}: {columns['filled'][i]} of {columns['qty'][i]} lots"
            for i in beyond.tolist()
        ],
    )


def _holdings(evidence: _Evidence) -> _Found:
    """Nothing is sold that is not held."""
    columns = evidence.table("fills")
    short = np.flatnonzero(columns["position"] < 0)
    return _Found(
        int((columns["side"] < 0).sum()),
        [
            f"{evidence.symbol(int(columns['sym'][i]))} at {utc_text(int(columns['ts'][i]))}: "
            f"{columns['position'][i]} lots"
            for i in short.tolist()
        ],
    )


def _one_sell(evidence: _Evidence) -> _Found:
    """At most one sell works per symbol, and never for more than is held."""
    working: dict[int, dict[int, int]] = {}
    breaches, n = [], 0
    for row in evidence.rows("orders"):
        if row["side"] > 0:
            continue
        n += 1
        mine = working.setdefault(row["sym"], {})
        if is_terminal(row["state"]):
            mine.pop(row["id"], None)
            continue
        mine[row["id"]] = row["qty"] - row["filled"]
        if len(mine) > 1:
            ids = ", ".join(map(str, sorted(mine)))
            breaches.append(f"{evidence.symbol(row['sym'])} at {utc_text(row['ts'])}: orders {ids}")
    return _Found(n, breaches)


class Bare(NamedTuple):
    """A stretch in which something held was not known to be covered; ns. doubt : its stop was SUSPECT"""

    took: int
    sym: int
    began: int
    doubt: bool


def uncovered(evidence: _Evidence) -> list[Bare]:
    """Stretches without a resting stop that is known, but for the end of an orderly session.

    When a session ends its lines end, and every order is in doubt from then on: the stop rests at the
    venue as it was last heard of.
    """
    since: dict[int, int] = {}
    found = []
    for row in evidence.rows("positions"):
        sym = row["sym"]
        if row["qty"] > 0 and row["coverage"] not in (COVER_PROTECTED, COVER_AMENDING):
            since.setdefault(sym, row["ts"])
        elif sym in since:
            began = since.pop(sym)
            found.append(Bare(row["ts"] - began, sym, began, _in_doubt(evidence, sym, began)))
    last = max([0, *evidence.table("evaluations")["ts"][-1:].tolist()])
    recoveries = evidence.table("recoveries")
    ends = recoveries["ts"][recoveries["recovery"] == RECOVERY_STOPPING].tolist()
    for sym, began in since.items():
        doubt = _in_doubt(evidence, sym, began)
        if not (doubt and ends and began >= ends[-1]):
            found.append(Bare(max(last - began, 0), sym, began, doubt))
    return found


def _in_doubt(evidence: _Evidence, sym: int, ts: int) -> bool:
    """Was a stop of this symbol SUSPECT then?"""
    orders = evidence.table("orders")
    mine = (orders["sym"] == sym) & (orders["role"] == ROLE_PROTECTION) & (orders["ts"] <= ts)
    rows = np.flatnonzero(mine)
    return bool(len(rows)) and int(orders["state"][rows[-1]]) == ORDER_STATE_SUSPECT


def _covered(evidence: _Evidence) -> _Found:
    """Nothing held is uncovered for longer than exits.unprotected_max."""
    limit = evidence.run.manifest["config"].get("exits", {}).get("unprotected_max")
    n = len(evidence.table("positions")["ts"])
    if limit is None:
        return _Found(n, [], "the manifest does not say exits.unprotected_max")
    over = sorted((each for each in uncovered(evidence) if each.took > limit), reverse=True)
    kills = _killed(evidence)
    breaches, killed, doubts = [], [], []
    for each in over:
        ended = each.began + each.took
        under = sum(max(min(ended, end) - max(each.began, since), 0) for since, end in kills)
        rest = each.took - under
        text = (
            f"{evidence.symbol(each.sym)} for {rest / _SECOND:.1f} s from "
            f"{utc_text(each.began)}, limit {limit / _SECOND:g} s"
        )
        if rest <= limit:
            killed.append(
                f"after the operator's kill, which takes stops away: {evidence.symbol(each.sym)} "
                f"for {under / _SECOND:.1f} s, and {rest / _SECOND:.1f} s without it, from "
                f"{utc_text(each.began)}"
            )
        elif each.doubt:
            doubts.append(f"while its stop was in doubt: {text}")
        else:
            breaches.append(text)
    return _Found(n, breaches, next(iter(killed + doubts), ""))


def _killed(evidence: _Evidence) -> list[tuple[int, int]]:
    """When the kill switch held the mode: from, to, ns. The engine loosens nothing in it."""
    found: list[tuple[int, int]] = []
    since = 0
    for row in evidence.rows("modes"):
        kill = row["mode"] == MODE_HALT and row["why"] == WHY_KILL
        if kill and row["accepted"] and not since:
            since = row["ts"]
        elif since and (row["mode"] != MODE_HALT or (row["who"] == WHO_OPERATOR and not kill)):
            found.append((since, row["ts"]))
            since = 0
    return [*found, (since, NEVER)] if since else found


def _cash(evidence: _Evidence) -> _Found:
    """Cash moves by what was bought, sold and paid, to the last unit."""
    equity, fills = evidence.table("equity"), evidence.table("fills")
    if not len(equity["ts"]):
        return _Found(0, [])
    moved = -fills["side"].astype(object) * fills["notional"].astype(object) - fills["fee"].astype(
        object
    )
    began, ended = int(equity["ts"][0]), int(equity["ts"][-1])
    # The first row may be of a fill itself: only what came after it moved cash from there.
    between = (fills["ts"] > began) & (fills["ts"] <= ended)
    expected = int(equity["cash"][0]) + int(sum(moved[between], 0))
    found = int(equity["cash"][-1])
    told = evidence.recoveries((RECOVERY_CASH_ACCEPTED, RECOVERY_WRITTEN_OFF, RECOVERY_HISTORY))
    if found == expected:
        return _Found(int(between.sum()), [])
    text = f"cash is {found - expected:+d} units away from what the fills make it"
    if told:
        return _Found(int(between.sum()), [], f"{text}; {told} corrections are on record")
    return _Found(int(between.sum()), [text])


_Look = Callable[[_Evidence], _Found]
RULES: Final[tuple[tuple[str, str, _Look, int | None], ...]] = (
    ("decided", "each entry has a row that decided it", _decided, GENERATION_MISMATCH),
    ("mode", "entries leave in NORMAL and REDUCED only", _modes, MODE_BLOCKED),
    ("epoch", "entries leave on data judged valid", _epochs, EPOCH_NOT_VALID),
    ("journal", "each order stood in the log before it left", _journaled, None),
    ("ids", "no client order id is placed twice", _ids, None),
    ("executions", "each execution counts once", _executions, None),
    ("quantity", "no order fills beyond its quantity", _overfilled, None),
    ("holdings", "nothing is sold that is not held", _holdings, None),
    ("one sell", "at most one sell works per symbol", _one_sell, None),
    ("cover", "nothing held is uncovered for too long", _covered, None),
    ("cash", "cash moves by fills and fees, to the last unit", _cash, None),
)
