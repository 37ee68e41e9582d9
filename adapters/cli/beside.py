"""Two runs beside each other, for people: what `run compare` prints after its digests."""

from __future__ import annotations

from typing import Any

from adapters.cli.output import write, write_pairs, write_table


def print_beside(found: dict[str, Any]) -> None:
    """Print what engine.reports.sidebyside.side_by_side found."""
    _print_span(found)
    if found["entries"] is None:
        return
    write()
    _print_entries(found["entries"])
    write()
    _print_matches(found)
    write()
    write_table(
        ("", "measure", "unit", "first", "second", "second - first"),
        [
            (
                each["group"],
                each["measure"],
                each["unit"],
                _number(each["first"], each["unit"]),
                _number(each["second"], each["unit"]),
                _number(each["difference"], each["unit"]),
            )
            for each in found["measures"]
        ],
        title="how either was served, in the time that both cover",
    )
    if found["split"]:
        write()
        write_table(
            ("by", "", "trips", "trips", "realised", "realised", "second - first"),
            [
                (
                    each["by"],
                    each["name"],
                    *each["round_trips"],
                    *(f"{net:,.2f}" for net in each["net"]),
                    f"{each['difference']:+,.2f}",
                )
                for each in found["split"]
            ],
            title="realised profit",
        )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit in ("share", "of volume"):
        return f"{100 * value:.1f} %"
    if unit == "":
        return f"{value:,.0f}"
    return f"{value:,.2f}" if unit in ("quote", "bps", "bps of volume") else f"{value:,.3f}"


def _signed(value: float) -> str:
    """With its sign; what rounds to nothing has none that would mean something."""
    return f"{round(value, 3) + 0.0:+,.3f}"


def _print_span(found: dict[str, Any]) -> None:
    for word, run in zip(("first", "second"), found["runs"], strict=True):
        market = f", over the market of {run['market_of']}" if run["market_of"] else ""
        write(f"{word}: {run['mode']}{market}, {run['first']} to {run['last']}")
    span = found["span"]
    if span["first"] is None:
        write("They share no time: nothing can be put side by side.")
        return
    write(f"both: {span['first']} to {span['last']} ({span['seconds']:,.0f} s)")
    for word, out in zip(("first", "second"), span["outside"], strict=True):
        seconds = out["seconds_before"] + out["seconds_after"]
        if seconds or out["fills"] or out["entries"]:
            write(
                f"of the {word} alone, and left out below: {out['seconds_before']:,.1f} s before, "
                f"{out['seconds_after']:,.1f} s after, with {out['entries']} entries, "
                f"{out['fills']} fills, {out['round_trips']} round trips"
            )


def _print_entries(entries: dict[str, Any]) -> None:
    write_pairs(
        [
            (
                "entries agreed",
                f"{entries['agree']}, {entries['same_size_and_price']} of them with the same size "
                "and price",
            ),
            ("only the first", _with_reasons(entries["only_first"], entries["blockers_of_second"])),
            (
                "only the second",
                _with_reasons(entries["only_second"], entries["blockers_of_first"]),
            ),
        ]
    )
    parting = entries["first_parting"]
    if parting is None:
        write("Every entry was decided alike." if entries["agree"] else "Neither decided to enter.")
        return
    write(f"They part at {parting['time']}, {parting['symbol']}: {parting['kind']}.")
    for reason in parting["why"]:
        write(f"  {reason}.")
    for word in ("first", "second"):
        state = parting[word]
        if state["equity"] is not None:
            write(
                f"  the {word} then had equity {state['equity']:,.2f}, free {state['free']:,.2f}, "
                f"{state['open_orders']} orders and {state['positions']} positions open"
            )


def _with_reasons(n: int, blockers: dict[str, int]) -> str:
    if not n:
        return "0"
    why = ", ".join(f"{code} {count}" for code, count in blockers.items())
    return f"{n}; the other then said {why}"


def _print_matches(found: dict[str, Any]) -> None:
    orders, fills = found["orders"], found["fills"]
    write_table(
        ("", "both", "only first", "only second"),
        [
            *(
                (f"orders, {role}", each["both"], each["only_first"], each["only_second"])
                for role, each in orders["by_role"].items()
            ),
            (
                "orders that both sent: filled by",
                orders["both_filled"],
                orders["only_first_filled"],
                orders["only_second_filled"],
            ),
            ("fills", fills["both"], fills["only_first"], fills["only_second"]),
        ],
        title="orders matched by route and time, fills by their order",
    )
    write(f"{fills['same']} of {fills['both']} fills have the same price, quantity and liquidity.")
    if fills["later_ms"]["n"]:
        later, worse = fills["later_ms"], fills["worse_bps"]
        write(
            f"The second run heard of its fills {_signed(later['median'])} ms later (median), and paid "
            f"{_signed(worse['median'])} bps more (median)."
        )
    first = fills["first_difference"]
    if first is not None:
        write(f"First fill that differs, {first['time']}: {first['text']}.")
