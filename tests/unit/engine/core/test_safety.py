"""The choke: what may leave in which mode and epoch, the venue's counter, and that it is the only door."""

import ast
from pathlib import Path

import numpy as np
import pytest

from engine.commands import (
    ADD,
    AMEND,
    CANCEL,
    COMMAND,
    GTC,
    GTD,
    IOC,
    LIMIT,
    MARKET,
    ROLE_ENTRY,
    ROLE_EXIT,
    ROLE_FLATTEN,
    ROLE_PROTECTION,
    STOP_LOSS,
)
from engine.core.faults import FAULT_COMMANDS_FULL
from engine.core.orders import N_ENTRY_SLOTS, new_order
from engine.core.orderstates import (
    ORDER_STATE_JOURNALED,
    ORDER_STATE_OPEN,
    ORDER_STATE_REJECTED,
    ORDER_STATE_SUSPECT,
)
from engine.core.positions import POSITION_FIELDS
from engine.core.records import (
    BOOK_UNVERIFIED,
    EPOCH_NOT_VALID,
    GENERATION_MISMATCH,
    INSTRUMENT_STATUS,
    INVENTORY_CAP,
    MODE_BLOCKED,
    OK,
    ORDER_IN_FLIGHT,
    RATE_LIMIT,
    RECONCILE_PENDING,
    RISK_VETO,
    SYMBOL_SAFETY,
)
from engine.core.safety import COMMAND_ROW, block_symbol, emit, rate_cost, rate_points, settle_mode
from engine.events import (
    CANCEL_USER,
    EPOCH_CLOSED,
    EPOCH_DEGRADED,
    EPOCH_INVALID,
    EPOCH_VALID,
    MODE_EMERGENCY,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    ORDER_CANCELED,
    WHY_KILL,
)
from engine.instruments import (
    STATUS_CANCEL_ONLY,
    STATUS_DELISTED,
    STATUS_LIMIT_ONLY,
    STATUS_MAINTENANCE,
    STATUS_ONLINE,
    STATUS_POST_ONLY,
    STATUS_REDUCE_ONLY,
    STATUS_WORK_IN_PROGRESS,
)
from tests.support.order_desk import BID, QTY, USD, OrderDesk, S

CORE = Path(__file__).resolve().parents[4] / "engine" / "core"

# --- the only door ---------------------------------------------------------------------------


def writers_of_commands(text: str) -> list[int]:
    """Lines of a source that write into the command ring or move its counters.

    A write is an assignment to `*.commands[...]`, to a name that was taken from it, or to a field
    `n_commands*` of `glob`.
    """
    tree = ast.parse(text)
    found = set()
    rows = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "commands" in attributes(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Subscript):
                key = target.slice.value if isinstance(target.slice, ast.Constant) else ""
                counter = str(key).startswith("n_commands") and names(target.value) & {"glob"}
                if "commands" in attributes(target.value) or counter:
                    found.add(node.lineno)
                if isinstance(target.value, ast.Name) and target.value.id in rows:
                    found.add(node.lineno)
    return sorted(found)


def attributes(node: ast.expr) -> set[str]:
    return {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def names(node: ast.expr) -> set[str]:
    return attributes(node) | {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("core.commands[0] = row", [1]),
        ("core.commands[n]['price'] = 1", [1]),
        ("desk.glob['n_commands'] += 1", [1]),
        ("row = desk.commands[n]\nrow['price'] = 1", [2]),
        ("rows = core.commands\nrows[3] = 1", [2]),
        ("row['n_commands'] = glob['n_commands_total'] - before", []),
        ("n = len(core.commands)\nx = glob['n_commands']", []),
    ],
)
def test_the_scan_finds_what_it_should(text: str, lines: list[int]) -> None:
    assert lines == writers_of_commands(text)


def test_only_the_choke_writes_commands() -> None:
    writers = {
        path.name
        for path in CORE.glob("*.py")
        if writers_of_commands(path.read_text(encoding="utf-8"))
    }
    assert {"safety.py"} == writers


# --- mode x role x epoch ---------------------------------------------------------------------

MODES = {
    "NORMAL": MODE_NORMAL,
    "REDUCED": MODE_REDUCED,
    "EXIT_ONLY": MODE_EXIT_ONLY,
    "EMERGENCY": MODE_EMERGENCY,
    "HALT": MODE_HALT,
    "unknown": 0,
}
EPOCHS = {
    "valid": EPOCH_VALID,
    "degraded": EPOCH_DEGRADED,
    "invalid": EPOCH_INVALID,
    "closed": EPOCH_CLOSED,
    "none": 0,
}
# From MODULES 0.7 and 0.2, one line per kind of command: the modes, then the epochs it passes in.
# A stop for a bare long passes in HALT as well (RELIABILITY I-26), an unknown mode or epoch is the
# strictest one.
PASSES = {
    "entry add": ("NORMAL REDUCED", "valid"),
    "entry amend": ("NORMAL REDUCED", "valid"),
    "entry cancel": (" ".join(MODES), " ".join(EPOCHS)),
    "stop add": (" ".join(MODES), " ".join(EPOCHS)),
    "stop grow": (" ".join(MODES), " ".join(EPOCHS)),
    "stop move": ("NORMAL REDUCED EXIT_ONLY EMERGENCY", " ".join(EPOCHS)),
    "stop cancel": ("NORMAL REDUCED EXIT_ONLY EMERGENCY", " ".join(EPOCHS)),
    "exit add": ("NORMAL REDUCED EXIT_ONLY EMERGENCY", "valid degraded"),
    "exit cancel": (" ".join(MODES), " ".join(EPOCHS)),
    "flatten add": ("NORMAL REDUCED EXIT_ONLY EMERGENCY HALT", "valid degraded"),
    "stop cancel to flatten": ("NORMAL REDUCED EXIT_ONLY EMERGENCY HALT", " ".join(EPOCHS)),
}
ROLES = {
    "entry": ROLE_ENTRY,
    "stop": ROLE_PROTECTION,
    "exit": ROLE_EXIT,
    "flatten": ROLE_FLATTEN,
}


def try_command(desk: OrderDesk, what: str) -> int:
    """Bring an order of this role into the fitting state and ask for the command."""
    role = ROLES[what.split()[0]]
    position = desk.position()
    position["n_trips"] = 1
    if role != ROLE_ENTRY:
        position["qty"] = QTY
    if what.endswith("flatten"):
        position["exit_role"] = ROLE_FLATTEN
    side = 1 if role == ROLE_ENTRY else -1
    slot = new_order(
        desk.desk, 0, role, side, STOP_LOSS if role == ROLE_PROTECTION else LIMIT,
        {ROLE_ENTRY: GTD, ROLE_PROTECTION: GTC}.get(role, IOC), int(role == ROLE_ENTRY),
        0 if role == ROLE_PROTECTION else BID, BID - 100 if role == ROLE_PROTECTION else 0,
        QTY, 0, 0,
    )  # fmt: skip
    if "add" in what:
        return int(emit(desk.desk, ADD, slot, 0, 0, 0, 0))
    desk.core.orders[slot]["state"] = ORDER_STATE_OPEN
    if "cancel" in what:
        return int(emit(desk.desk, CANCEL, slot, 0, 0, 0, 0))
    if what == "stop grow":
        desk.core.orders[slot]["qty"] = QTY // 2
        return int(emit(desk.desk, AMEND, slot, 0, 0, QTY, 0))
    if what == "stop move":
        return int(emit(desk.desk, AMEND, slot, 0, BID - 50, QTY, 0))
    return int(emit(desk.desk, AMEND, slot, BID + 1, 0, QTY, 0))


@pytest.mark.parametrize("what", PASSES)
def test_every_command_in_every_mode_and_epoch(what: str) -> None:
    modes, epochs = (text.split() for text in PASSES[what])
    desk = OrderDesk()
    clean = [array.copy() for array in desk.core[:7]]
    for mode, mode_code in MODES.items():
        for epoch, epoch_code in EPOCHS.items():
            for array, before in zip(desk.core[:7], clean, strict=True):
                array[...] = before
            desk.n_commands = 0
            desk.glob["mode"], desk.glob["epoch_status"] = mode_code, epoch_code
            expected = OK
            if epoch not in epochs:
                expected = EPOCH_NOT_VALID
            if mode not in modes:
                expected = MODE_BLOCKED
            assert expected == try_command(desk, what), (what, mode, epoch)
            assert (expected == OK) == (len(desk.sent()) == 1)
            row = desk.rows("orders")[-1]
            assert expected == row["reason"] or expected == OK
            assert row["cause"] > COMMAND_ROW


@pytest.mark.parametrize("what", PASSES)
def test_in_the_halt_of_the_kill_switch_only_cancels_pass(what: str) -> None:
    desk = OrderDesk()
    desk.glob["mode"], desk.glob["mode_why"] = MODE_HALT, WHY_KILL
    passes = "cancel" in what and "HALT" in PASSES[what][0]
    assert (OK if passes else MODE_BLOCKED) == try_command(desk, what)
    assert passes == (len(desk.sent()) == 1)


def test_reduced_takes_no_symbol_that_never_traded() -> None:
    desk = OrderDesk()
    desk.glob["mode"] = MODE_REDUCED
    assert MODE_BLOCKED == desk.enter()[0]
    desk.position()["n_trips"] = 1
    assert OK == desk.enter()[0]


# --- the other checks ------------------------------------------------------------------------


def test_a_refused_entry_has_ended_and_says_why() -> None:
    desk = OrderDesk()
    desk.glob["mode"] = MODE_EXIT_ONLY
    desk.enter()
    row = desk.rows("orders")[-1]
    assert (ORDER_STATE_REJECTED, MODE_BLOCKED, COMMAND_ROW + ADD) == (
        row["state"], row["reason"], row["cause"],
    )  # fmt: skip
    assert 0 == desk.position()["entry_slot"]
    assert 0 == len(desk.sent())


def test_an_entry_that_passed_is_journaled_and_its_command_says_the_same() -> None:
    desk = OrderDesk()
    _, decision = desk.enter()
    command = desk.sent()[0]
    row = desk.rows("orders")[-1]
    assert ORDER_STATE_JOURNALED == row["state"]
    for name in ("id", "sym", "route", "price", "qty", "generation", "role", "side", "type"):
        assert row[name] == command[name], name
    assert (decision["command"], decision["price"], decision["qty"]) == (
        command["id"], command["price"], command["qty"],
    )  # fmt: skip
    assert command["expire_ts"] > command["ts"]


def test_an_entry_of_an_older_generation_is_refused() -> None:
    desk = OrderDesk()
    slot = new_order(desk.desk, 0, ROLE_ENTRY, 1, LIMIT, IOC, 0, BID, 0, QTY, 0, 0)
    desk.glob["generation"] += 1
    assert GENERATION_MISMATCH == emit(desk.desk, ADD, slot, 0, 0, 0, 0)


def test_entries_need_a_verified_book_and_exits_do_not() -> None:
    desk = OrderDesk()
    desk.core.symbols[0]["verified"] = 0
    assert BOOK_UNVERIFIED == desk.enter()[0]
    assert OK == try_command(desk, "exit add")


def test_a_blocked_symbol_takes_no_entries_until_its_time_is_over() -> None:
    desk = OrderDesk(risk_symbol_block_ns=600 * S)
    block_symbol(desk.desk, 0, SYMBOL_SAFETY)
    desk.wait(600 * S - S // 1000 - 1)
    assert SYMBOL_SAFETY == desk.enter()[0]
    assert OK == desk.enter()[0]


def test_a_suspect_order_stops_entries_of_its_symbol() -> None:
    desk = OrderDesk()
    desk.place(60, -1, QTY, ROLE_PROTECTION, ORDER_STATE_SUSPECT)
    assert RECONCILE_PENDING == desk.enter()[0]


def test_one_entry_per_symbol() -> None:
    desk = OrderDesk()
    assert [OK, ORDER_IN_FLIGHT] == [desk.enter()[0], desk.enter()[0]]


def new_sell(desk: OrderDesk, qty: int, role: int = ROLE_EXIT) -> int:
    return int(new_order(desk.desk, 0, role, -1, MARKET, IOC, 0, 0, 0, qty, 0, 0))


def test_never_more_is_sold_than_held() -> None:
    desk = OrderDesk()
    desk.position()["qty"] = QTY
    assert INVENTORY_CAP == emit(desk.desk, ADD, new_sell(desk, QTY + 1), 0, 0, 0, 0)
    assert OK == emit(desk.desk, ADD, new_sell(desk, QTY), 0, 0, 0, 0)


def test_a_second_sell_waits_for_the_first() -> None:
    desk = OrderDesk()
    desk.position()["qty"] = QTY
    assert OK == emit(desk.desk, ADD, new_sell(desk, QTY // 2), 0, 0, 0, 0)
    assert ORDER_IN_FLIGHT == emit(desk.desk, ADD, new_sell(desk, QTY // 2), 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("role", "side"), [(ROLE_PROTECTION, 1), (ROLE_EXIT, 1), (ROLE_FLATTEN, 1), (ROLE_ENTRY, -1)]
)
def test_protection_is_never_a_buy_and_an_entry_never_a_sell(role: int, side: int) -> None:
    desk = OrderDesk()
    desk.position()["qty"] = QTY
    slot = new_order(desk.desk, 0, role, side, LIMIT, IOC, 0, BID, 0, QTY, 0, 0)
    assert RISK_VETO == emit(desk.desk, ADD, slot, 0, 0, 0, 0)


# kraken/matching.md, "Status of system and pair": entry (post-only), exit at limit, stop, cancel
STATUS = {
    STATUS_ONLINE: (1, 1, 1, 1),
    STATUS_POST_ONLY: (1, 0, 0, 1),
    STATUS_LIMIT_ONLY: (1, 1, 0, 1),
    STATUS_REDUCE_ONLY: (0, 1, 1, 1),
    STATUS_CANCEL_ONLY: (0, 0, 0, 1),
    STATUS_MAINTENANCE: (0, 0, 0, 1),
    STATUS_WORK_IN_PROGRESS: (0, 0, 0, 1),
    STATUS_DELISTED: (0, 0, 0, 1),
}


@pytest.mark.parametrize("status", STATUS)
def test_the_status_of_the_pair_decides_what_may_be_added(status: int) -> None:
    for what, allowed in zip(
        ("entry add", "exit add", "stop add", "entry cancel"), STATUS[status], strict=True
    ):
        desk = OrderDesk()
        desk.core.symbols[0]["instrument"]["status"] = status
        expected = OK if allowed else INSTRUMENT_STATUS
        assert expected == try_command(desk, what), what


def test_something_in_flight_is_not_asked_again() -> None:
    desk = OrderDesk()
    desk.enter()
    assert ORDER_IN_FLIGHT == emit(desk.desk, CANCEL, 0, 0, 0, 0, 0)


def test_a_full_command_ring_is_a_fault() -> None:
    desk = OrderDesk()
    desk.glob["n_commands"] = len(desk.core.commands)
    desk.enter()
    assert FAULT_COMMANDS_FULL == desk.glob["fault"]


def test_entries_leave_room_for_the_stops_they_will_need() -> None:
    desk = OrderDesk()
    # 40 entries of other symbols work, and 23 sells: one slot is left, an entry would take it
    for slot in range(40):
        desk.place(slot, 1, QTY, ROLE_ENTRY)
    for slot in range(N_ENTRY_SLOTS - 7, 64):
        desk.place(slot, -1, QTY, ROLE_PROTECTION)
    desk.position()["entry_slot"] = 0
    assert ORDER_IN_FLIGHT == desk.enter()[0]


# --- the venue's counter ---------------------------------------------------------------------

# Kraken's table: add, amend and cancel by the age of the order in seconds.
COSTS = [
    (ADD, 0, 1), (ADD, 400, 1),
    (AMEND, 0, 4), (AMEND, 4.999, 4), (AMEND, 5, 3), (AMEND, 9.999, 3), (AMEND, 10, 2),
    (AMEND, 14.999, 2), (AMEND, 15, 1), (AMEND, 400, 1),
    (CANCEL, 0, 8), (CANCEL, 4.999, 8), (CANCEL, 5, 6), (CANCEL, 10, 5), (CANCEL, 15, 4),
    (CANCEL, 44.999, 4), (CANCEL, 45, 2), (CANCEL, 89.999, 2), (CANCEL, 90, 1),
    (CANCEL, 299.999, 1), (CANCEL, 300, 0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "age_s", "points"), COSTS)
def test_a_command_costs_what_the_venue_charges(kind: int, age_s: float, points: float) -> None:
    assert points == rate_cost(kind, int(age_s * S))


def test_the_venues_own_scenario() -> None:
    """limits.md: add at 0, amend at 7 s, cancel at 43 s (36 s after the amend): 1, 3, 4 points."""
    charged = [rate_cost(ADD, 0), rate_cost(AMEND, 7 * S), rate_cost(CANCEL, 36 * S)]
    assert [1, 3, 4] == charged


def test_the_counter_decays_steadily() -> None:
    """limits.md: fifty adds at once, 10 s later on the intermediate tier: 50 - 23.4 = 26.6."""
    desk = OrderDesk()
    position = np.zeros(1, np.dtype(list(POSITION_FIELDS)))[0]
    position["rate_points"], position["rate_ts"] = 50.0, 0
    assert rate_points(position, desk.core.params[0], 10 * S) == pytest.approx(26.6)
    assert 0.0 == rate_points(position, desk.core.params[0], 100 * S)


def test_entries_leave_the_reserve_to_protection_and_cancels_always_go() -> None:
    desk = OrderDesk(risk_rate_threshold=125.0, risk_rate_reserve=40.0)

    def verdict(what: str, points: float) -> int:
        fresh = OrderDesk(risk_rate_threshold=125.0, risk_rate_reserve=40.0)
        fresh.position()["rate_points"], fresh.position()["rate_ts"] = points, fresh.glob["now"]
        return try_command(fresh, what)

    assert [OK, RATE_LIMIT] == [verdict("entry add", 84.0), verdict("entry add", 84.1)]
    assert [OK, RATE_LIMIT] == [verdict("stop move", 81.0), verdict("stop move", 81.1)]
    assert [OK, RATE_LIMIT] == [verdict("stop add", 124.0), verdict("stop add", 124.1)]
    assert [OK, RATE_LIMIT] == [verdict("stop grow", 121.0), verdict("stop grow", 121.1)]
    assert [OK, RATE_LIMIT] == [verdict("exit add", 124.0), verdict("exit add", 124.1)]
    assert OK == verdict("entry cancel", 1000.0)
    assert OK == verdict("stop cancel", 1000.0)
    assert desk.glob["fault"] == 0


def test_emergency_ends_in_halt_once_all_is_flat() -> None:
    desk = OrderDesk()
    stop = desk.hold()
    desk.glob["mode"] = MODE_EMERGENCY
    settle_mode(desk.core)
    assert MODE_EMERGENCY == desk.glob["mode"]
    desk.guard()
    cancel = desk.sent()[-1]
    assert (CANCEL, stop) == (cancel["kind"], cancel["id"])
    desk.event(ORDER_CANCELED, stop, qty=QTY, aux=CANCEL_USER)
    sale = desk.sent()[-1]
    assert (ROLE_EXIT, QTY, LIMIT) == (sale["role"], sale["qty"], sale["type"])
    desk.fill_whole(int(sale["id"]), BID, QTY, maker=False)
    settle_mode(desk.core)
    assert MODE_HALT == desk.glob["mode"]


def test_the_command_record_is_the_one_of_the_contract() -> None:
    desk = OrderDesk(cash=10_000 * USD)
    assert COMMAND == desk.core.commands.dtype
