"""The universe chosen with plain dictionaries and sorted lists, in the words of the rules."""

from __future__ import annotations

ONLINE = 0


def eligible(row: dict, params: dict) -> bool:
    if row["denied"] or not row["quote_ok"] or row["status"] != ONLINE:
        return False
    if row["allowed"]:
        return True
    known = row["turnover"] >= 0 and row["spread_e2"] >= 0
    return (
        known
        and row["turnover"] >= params["turnover_min"]
        and row["spread_e2"] <= params["spread_max_e2"]
    )


def score(row: dict) -> int:
    if row["turnover"] < 0 or row["spread_e2"] < 0:
        return 0
    return row["turnover"] // (1000 + row["spread_e2"]) * 1000


def choose(rows: list[dict], params: dict, now: int) -> set[int]:
    """Indices inside after this choice."""
    names = [i for i, row in enumerate(rows) if eligible(row, params)]
    names.sort(key=lambda i: (-score(rows[i]), i))
    rank = {i: k + 1 for k, i in enumerate(names)}
    before = {i for i, row in enumerate(rows) if row["inside"]}
    kept = {
        i
        for i in before & set(rank)
        if rank[i] <= params["leave_rank"] or now - rows[i]["since"] < params["stay_ns"]
    }
    inside = kept | {i for i, row in enumerate(rows) if row["pinned"]}
    wanted = [i for i in names if i not in inside and rank[i] <= params["enter_rank"]]
    at_once = params["rotation_max"] if before else len(rows)
    room = max(params["cap"] - len(inside), 0)
    return inside | set(wanted[: min(at_once, room)])
