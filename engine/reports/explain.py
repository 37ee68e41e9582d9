"""Why did it, why did it not trade? One evaluation of one symbol, in full, in words.

`explain_facts` gathers it as plain data from the run's tables, `explain_text` prints that data.
Only what was recorded is told: candidates are the best few and a sample of the rest, and what became
of them where `records.shadow` was on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from engine.clock import utc_text
from engine.commands import TRAILING_STOP, TYPE_NAMES
from engine.core.records import (
    ECONOMICS,
    EXECUTE,
    OK,
    OUTCOME_NAMES,
    REASONS,
    VERDICT_NAMES,
)
from engine.core.risk import RISK_NAMES
from engine.errors import ConfigError, DataError
from engine.reports.outcomes import later_lines, outcomes_of

if TYPE_CHECKING:
    import polars as pl

    from engine.reports.frames import Run

MS: Final = 1_000_000
# Rows of the story that follows an entry; a longer one is in the tables.
STORY_ROWS: Final = 200
_ORDER: Final = {"exit": 0, "order": 1, "fill": 2}  # of rows of one moment


def parse_moment(at: str | int) -> int:
    """ns since the epoch of an ISO time (UTC unless it says otherwise), or of ns as they are.

    A text means its whole millisecond, so that a time can be copied from what is printed.
    raises ConfigError for what is no time
    """
    if isinstance(at, int):
        return at
    text = at.strip().removesuffix("UTC").strip()
    if text.isdigit() and len(text) > 14:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{at!r} is not a time.", "Write it in UTC, as in 2026-01-01T12:00:00."
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return microseconds // 1000 * MS + MS - 1


def explain(run: Run, at: str | int, symbol: str) -> str:
    """One evaluation in full, as text; see `explain_facts`."""
    return explain_text(explain_facts(run, at, symbol))


def explain_facts(run: Run, at: str | int, symbol: str) -> dict[str, Any]:
    """The last evaluation of `symbol` at or before `at`, and what came of it, as plain data.

    raises UnknownSymbolError, ConfigError for a time outside the run, DataError for a run without
    the tables
    """
    import polars as pl

    sym = run.frame.instruments.index(symbol)
    moment = parse_moment(at)
    decisions = run.scan("decisions").filter(pl.col("sym") == sym)
    rows = decisions.filter(pl.col("ts") <= moment).sort("generation").tail(1).collect()
    if rows.is_empty():
        raise _outside(decisions, moment, run.symbols[sym])
    decision = rows.row(0, named=True)
    _refuse_late(decisions, decision, moment, run.symbols[sym])
    generation = decision["generation"]
    of_it = (pl.col("sym") == sym) & (pl.col("generation") == generation)
    evaluation = _rows(run, "evaluations", pl.col("generation") == generation)
    candidates = _rows(run, "candidates", of_it)
    candidates.sort(key=lambda row: (row["rank"] == 0, row["rank"], -_sortable(row["score"])))
    blockers = _rows(run, "blockers", of_it)
    blockers.sort(key=lambda row: (-row["n"], row["code"]))
    return {
        "run": str(run.path),
        "digest": run.digest,
        "quote": run.quote,
        "symbol": run.symbols[sym],
        "base": run.frame.instruments[sym].base,
        "asked": str(at),
        "evaluation": evaluation[0] if evaluation else None,
        "decision": decision,
        "holding": _holding(run, sym, decision["ts"]),
        "candidates": candidates,
        "blockers": blockers,
        "later": outcomes_of(run, sym, generation),
        "followed": _story(run, sym, decision) if decision["outcome"] == EXECUTE else None,
    }


def _sortable(value: float | None) -> float:
    return float("-inf") if value is None or value != value else value


def _rows(run: Run, table: str, condition: pl.Expr) -> list[dict[str, Any]]:
    return run.scan(table).filter(condition).collect().to_dicts()


def _outside(decisions: pl.LazyFrame, moment: int, symbol: str) -> Exception:
    import polars as pl

    first, last = (
        decisions.select(pl.col("ts").min(), pl.col("ts").max().alias("last")).collect().row(0)
    )
    if first is None:
        return DataError(
            f"the run holds no decision about {symbol}.",
            "`kapitaalbot run show` tells its span and symbols.",
        )
    return ConfigError(
        f"there is no evaluation of {symbol} at or before {utc_text(moment)}.",
        f"The run's go from {utc_text(first)} to {utc_text(last)}.",
    )


def _refuse_late(
    decisions: pl.LazyFrame, decision: dict[str, Any], moment: int, symbol: str
) -> None:
    import polars as pl

    later = decisions.filter(pl.col("generation") > decision["generation"]).select(pl.len())
    minute = 60_000 * MS
    if moment > decision["ts"] + minute and later.collect().item() == 0:
        raise ConfigError(
            f"{utc_text(moment)} is after the last evaluation of {symbol}, "
            f"which was at {utc_text(decision['ts'])}.",
            "Ask for a time within the run.",
        )


def _holding(run: Run, sym: int, ts: int) -> dict[str, Any] | None:
    """The position at that moment, if there was one."""
    import polars as pl

    # What an evaluation itself changes carries its own time: only what was before counts.
    before = (pl.col("sym") == sym) & (pl.col("ts") < ts)
    rows = run.scan("positions").filter(before).tail(1).collect().to_dicts()
    return rows[0] if rows and rows[0]["qty"] > 0 else None


def _story(run: Run, sym: int, decision: dict[str, Any]) -> dict[str, Any]:
    """What became of an entry: its order, its fills, and the position until it was flat."""
    import polars as pl

    order = decision["command"]
    changes = _rows(run, "orders", pl.col("id") == order)
    fills = _rows(run, "fills", pl.col("order") == order)
    story: dict[str, Any] = {"order": order, "changes": changes, "fills": fills}
    story |= {"later": [], "realized": None}
    if not fills:
        return story
    first = fills[0]["ts"]
    trip = (pl.col("sym") == sym) & (pl.col("opened_ts") <= first) & (pl.col("ts") >= first)
    closed = run.scan("realized").filter(trip).sort("ts").head(1).collect().to_dicts()
    end = closed[0]["ts"] if closed else None
    within = (pl.col("sym") == sym) & (pl.col("ts") >= first)
    if end is not None:
        within &= pl.col("ts") <= end
    others = within & (pl.col("id") != order)
    sells = run.scan("orders").filter(others & (pl.col("side") < 0)).head(STORY_ROWS)
    sold = run.scan("fills").filter(within & (pl.col("side") < 0)).head(STORY_ROWS)
    later = [{"what": "order", **row} for row in sells.collect().to_dicts()]
    later += [{"what": "fill", **row} for row in sold.collect().to_dicts()]
    later += [{"what": "exit", **row} for row in _readings(run, within)]
    story["later"] = sorted(later, key=lambda row: (row["ts"], _ORDER[row["what"]]))
    story["realized"] = closed[0] if closed else None
    return story


def _readings(run: Run, within: pl.Expr) -> list[dict[str, Any]]:
    """What urgency and the tape since entry said of the position; nothing where nobody read them."""
    try:
        rows = run.scan("exits")
    except DataError:
        return []  # a run of before that table
    return rows.filter(within).sort("ts").head(STORY_ROWS).collect().to_dicts()


# --- text ----------------------------------------------------------------------------------------

_ECONOMICS_NAMES: Final = {
    "move_bps": "expected move",
    "move_sd_bps": "its sd",
    "confidence": "confidence",
    "capturable": "capturable share",
    "gross_bps": "gross",
    "entry_fee_bps": "entry fee",
    "exit_fee_bps": "exit fee",
    "spread_in_bps": "spread at entry",
    "spread_out_bps": "spread at exit",
    "slip_in_bps": "slippage at entry",
    "slip_out_bps": "slippage at exit",
    "adverse_bps": "adverse selection",
    "latency_bps": "latency",
    "buffer_bps": "buffer",
    "cost_bps": "cost",
    "net_bps": "net",
    "exit_drag_bps": "stressed exit",
    "fill_prob": "fill probability",
    "fill_time_s": "time to fill",
    "edge_bps_min": "edge per minute",
    "score": "score",
}
_COSTS: Final = (
    "entry_fee_bps",
    "exit_fee_bps",
    "spread_in_bps",
    "spread_out_bps",
    "slip_in_bps",
    "slip_out_bps",
    "adverse_bps",
    "latency_bps",
    "buffer_bps",
)
_UNITS: Final = {column.name: column.unit for column in ECONOMICS}


def explain_text(facts: dict[str, Any]) -> str:
    """The facts of `explain_facts` as lines for a person."""
    lines = [
        *_head(facts),
        *_market(facts),
        *_verdict(facts),
        *_plan(facts),
        *_candidates(facts),
        *_blockers(facts),
        *_followed(facts),
    ]
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None, places: int = 2) -> str:
    """A number with so many decimals; `-` where there is none."""
    if value is None or value != value:
        return "-"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return f"{value:,.{places}f}"


def _exact(value: float | None) -> str:
    """A price or a quantity with as many digits as it has."""
    if value is None or value != value:
        return "-"
    text = f"{Decimal(repr(value)):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _head(facts: dict[str, Any]) -> list[str]:
    decision, evaluation = facts["decision"], facts["evaluation"]
    lines = [
        f"{facts['symbol']} at {utc_text(decision['ts'])}, evaluation {decision['generation']:,}",
        f"run {facts['run']}, digest {facts['digest'][:16]}",
    ]
    if evaluation is not None:
        lines.append(
            f"engine: mode {evaluation['mode_name']}, epoch {evaluation['epoch_status_name']}, "
            f"{evaluation['n_ready']} of {evaluation['n_symbols']} symbols ready, "
            f"equity {number(evaluation['equity_quote'])} {facts['quote']}, "
            f"free {number(evaluation['free_quote'])}, "
            f"{evaluation['n_positions']} positions, {evaluation['n_open_orders']} orders working"
        )
    return lines


def _market(facts: dict[str, Any]) -> list[str]:
    decision = facts["decision"]
    age = decision["trade_age_s"]
    lines = [
        "",
        "market",
        f"  bid {_exact(decision['bid_quote'])}   ask {_exact(decision['ask_quote'])}   "
        f"mid {_exact(decision['mid_quote'])}   spread {number(decision['spread_bps'])} bps",
        f"  regime {decision['regime_name']}   book {number(decision['book_age_s'], 3)} s old   "
        + ("no trade seen yet" if age is None else f"last trade {number(age, 3)} s ago"),
    ]
    holding = facts["holding"]
    if holding is not None:
        lines.append(
            f"  holding {_exact(holding['qty_base'])} {facts['base']} "
            f"({holding['state_name']}, {holding['route_name']}), "
            f"stop {_exact(holding['stop_quote'])}, target {_exact(holding['target_quote'])}"
        )
    return lines


def _sentence(code: int) -> str:
    return REASONS[code][1] if code in REASONS else ""


def _verdict(facts: dict[str, Any]) -> list[str]:
    decision = facts["decision"]
    outcome = OUTCOME_NAMES.get(decision["outcome"], str(decision["outcome"]))
    lines = ["", f"decision: {outcome}"]
    if decision["blocker"] != OK:
        lines[-1] += f", {decision['blocker_name']}: {_sentence(decision['blocker'])}"
    lines.append(
        f"  {decision['n_candidates']} routes evaluated, {decision['n_active']} saw an opportunity"
    )
    if decision["verdict"]:
        verdict = VERDICT_NAMES.get(decision["verdict"], str(decision["verdict"]))
        line = f"  risk gate: {verdict}"
        if decision["check"]:
            name = RISK_NAMES.get(decision["check"], str(decision["check"]))
            line += (
                f", {name}: {number(decision['check_value'], 4)} "
                f"against a limit of {number(decision['check_limit'], 4)}"
            )
        lines.append(line)
    return lines


def _plan(facts: dict[str, Any]) -> list[str]:
    decision = facts["decision"]
    if not decision["route"]:
        return []
    lines = ["", f"winner: {decision['route_name']}"]
    if decision["qty"]:
        value = (decision["qty_base"] or 0.0) * (decision["price_quote"] or 0.0)
        lines.append(
            f"  plan: {_exact(decision['qty_base'])} {facts['base']} at "
            f"{_exact(decision['price_quote'])} ({number(value)} {facts['quote']}), "
            f"stop {_exact(decision['stop_quote'])}, target {_exact(decision['target_quote'])}"
        )
    rival = None
    if decision["runner_up"]:
        rival = next((c for c in facts["candidates"] if c["route"] == decision["runner_up"]), None)
        lines.append(
            f"  runner-up: {decision['runner_up_name']}, "
            f"{number(decision['margin_bps'])} bps of score behind"
        )
    lines += _side_by_side(decision, rival)
    return lines


def _side_by_side(winner: dict[str, Any], rival: dict[str, Any] | None) -> list[str]:
    head = f"  {'':20}{'winner':>12}" + (f"{'runner-up':>12}{'difference':>12}" if rival else "")
    lines = [head]
    for name, text in _ECONOMICS_NAMES.items():
        line = f"  {text:20}{number(winner[name]):>12}"
        if rival is not None:
            line += f"{number(rival[name]):>12}{number(_difference(winner[name], rival[name])):>12}"
        lines.append(f"{line}  {_UNITS[name]}")
    return lines


def _difference(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    return one - other


def _candidates(facts: dict[str, Any]) -> list[str]:
    candidates = facts["candidates"]
    decision = facts["decision"]
    lines = ["", f"candidates: {len(candidates)} recorded of {decision['n_candidates']}"]
    for row in candidates:
        marks = [f"rank {row['rank']}" if row["rank"] else "unranked"]
        if row["weight"] > 1:
            marks.append(f"stands for {row['weight']}")
        if row["executed"]:
            marks.append("became the order")
        blocker = "" if row["blocker"] == OK else f": {_sentence(row['blocker'])}"
        lines.append(f"  {row['route_name']} ({', '.join(marks)})")
        lines.append(f"    {row['blocker_name']}{blocker}")
        lines += [f"    {line}" for line in _stack(row, facts)]
        if row["route"] in facts["later"]:
            lines += [f"    {line}" for line in later_lines(facts["later"][row["route"]])]
    return lines + _chosen_over(facts)


def _chosen_over(facts: dict[str, Any]) -> list[str]:
    """Was the choice right? The winner's later worth beside that of the other tradable ones."""
    later = facts["later"]
    tradable = [row for row in facts["candidates"] if row["rank"] and row["route"] in later]
    winner = next((row for row in tradable if row["executed"]), None)
    if winner is None:
        return []
    rows = [later[row["route"]] for row in tradable]
    known = [row for row in rows if row["worth_bps"] is not None and row["side"] > 0]
    ours = later[winner["route"]]
    if ours["worth_bps"] is None or len(known) < 2:
        return []
    better = sum(row["worth_bps"] > ours["worth_bps"] for row in known)
    return [
        f"  chosen over {len(known) - 1} ranked long candidates that were followed: "
        f"{better} of them turned out to be worth more than its {number(ours['worth_bps'])} bps"
    ]


def _stack(row: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """The whole cost stack of one candidate in three lines; none if it was never priced."""
    if row["move_bps"] is None or row["move_bps"] != row["move_bps"]:
        return []
    costs = ", ".join(
        f"{_ECONOMICS_NAMES[name]} {number(row[name])}"
        for name in _COSTS
        if row[name] is None or row[name] != 0.0
    )
    return [
        f"move {number(row['move_bps'])} bps (sd {number(row['move_sd_bps'])}, "
        f"confidence {number(row['confidence'])}) x capturable {number(row['capturable'])} "
        f"= gross {number(row['gross_bps'])}",
        f"cost {number(row['cost_bps'])} bps: {costs or 'nothing'}",
        f"net {number(row['net_bps'])} bps, fill {number(row['fill_prob'])} "
        f"in {number(row['fill_time_s'])} s ({row['fill_method_name']}), "
        f"edge {number(row['edge_bps_min'])} bps/min, score {number(row['score'])}, "
        f"stressed exit {number(row['exit_drag_bps'])}; "
        f"{_exact(row['qty_base'])} {facts['base']} at {_exact(row['price_quote'])}, "
        f"invalid beyond {number(row['invalidation_bps'])} bps",
    ]


def _blockers(facts: dict[str, Any]) -> list[str]:
    lines = ["", "what stopped the candidates first"]
    for row in facts["blockers"]:
        lines.append(f"  {row['n']:5}  {row['code_name']:22}{_sentence(row['code'])}")
    if not facts["blockers"]:
        lines.append("  nothing was stopped")
    return lines


def _followed(facts: dict[str, Any]) -> list[str]:
    story = facts["followed"]
    if story is None:
        return []
    lines = ["", f"what followed: order {story['order']}"]
    lines += [f"  {_change(row)}" for row in story["changes"]]
    lines += [f"  {_fill(row, facts)}" for row in story["fills"]]
    if not story["fills"]:
        lines.append("  it never filled")
        return lines
    lines.append("  until the position was flat:")
    for row in story["later"]:
        tell = {"fill": lambda row: _fill(row, facts), "exit": _reading}.get(row["what"], _change)
        lines.append(f"  {tell(row)}")
    closed = story["realized"]
    if closed is None:
        lines.append("  still open when the run ended")
    else:
        lines.append(
            f"  closed {utc_text(closed['ts'])} after {number(closed['hold_s'], 1)} s by "
            f"{closed['exit_reason_name']}: net {number(closed['net_quote'], 4)} {facts['quote']} "
            f"({number(closed['realized_bps'])} bps, expected {number(closed['expected_bps'])}), "
            f"fees {number(closed['fees_quote'], 4)}"
        )
    return lines


def _reading(row: dict[str, Any]) -> str:
    return (
        f"{utc_text(row['ts'])}  exits {row['urgency_name']}, tape {row['path_name']}, style "
        f"{row['style_name']}: gain {number(row['gain_bps'])} bps, best {number(row['best_bps'])}, "
        f"{number(row['still_s'], 1)} s ago, spread {number(row['stress'])} of its mean, flow "
        f"{number(row['flow'])}, bids {number(row['cover'])} of the position, trail x "
        f"{number(row['trail_factor'])}"
    )


def _change(row: dict[str, Any]) -> str:
    # Of a trailing stop the price is how far its trigger stands off.
    at = ", distance" if row["type_name"] == TYPE_NAMES[TRAILING_STOP] else " at"
    price = f"{at} {_exact(row['price_quote'])}" if row["price"] else ""
    trigger = f", trigger {_exact(row['trigger_quote'])}" if row["trigger"] else ""
    why = f" ({row['reason_name']})" if row["reason_name"] else ""
    return (
        f"{utc_text(row['ts'])}  order {row['id']} {row['role_name']}: "
        f"{row['cause_name']}{why}, now {row['state_name']}; {row['side_name']} "
        f"{row['type_name']} {_exact(row['filled_base'])} of {_exact(row['qty_base'])} filled"
        f"{price}{trigger}"
    )


def _fill(row: dict[str, Any], facts: dict[str, Any]) -> str:
    kind = "maker" if row["maker"] else "taker"
    return (
        f"{utc_text(row['ts'])}  fill of order {row['order']}: {row['side_name']} "
        f"{_exact(row['qty_base'])} {facts['base']} at {_exact(row['price_quote'])}, {kind}, "
        f"fee {number(row['fee_quote'], 4)} {facts['quote']}"
    )
