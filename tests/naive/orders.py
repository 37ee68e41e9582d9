"""The life of an order, written from the tables in words: RELIABILITY 3.6 and MODULES 0.6.

Nothing here reads the core's own table. MATRIX says for each state what each event makes of it:
a state's name, `=` for unchanged, `R` for resting again (open, or partial once something filled),
`P` pending, or partial once something filled; `?` for SUSPECT: the event contradicts what is known.
All quantities named by the events agree with what was filled.
"""

from __future__ import annotations

STATES = (
    "planned",
    "journaled",
    "sent",
    "pending_new",
    "open",
    "partial",
    "amend_pending",
    "cancel_pending",
    "filled",
    "cancelled",
    "rejected",
    "expired",
    "suspect",
)
EVENTS = (
    "sent", "pending", "ack", "fill", "filled", "canceled", "expired", "reject", "triggered",
    "amended", "cancel_reject", "amend_reject", "trailed",
)  # fmt: skip
TERMINAL = ("filled", "cancelled", "rejected", "expired")

_TEXT = """
                sent  pending     ack fill    filled canceled  expired reject   triggered amended cancel_reject amend_reject trailed
planned         ?     ?           ?   ?       ?      ?         ?       ?        ?         ?       ?             ?    ?
journaled       sent  pending_new R   partial filled cancelled ?       rejected ?         ?       ?             ?    =
sent            =     pending_new R   partial filled cancelled ?       rejected ?         ?       ?             ?    =
pending_new     =     =           R   partial filled cancelled ?       rejected ?         ?       ?             ?    =
open            =     =           =   partial filled cancelled expired ?        =         ?       ?             ?    =
partial         =     =           =   =       filled cancelled expired ?        =         ?       ?             ?    =
amend_pending   =     =           =   =       filled cancelled expired ?        =         R       ?             R    =
cancel_pending  =     =           =   =       filled cancelled expired ?        =         ?       R             ?    =
filled          =     =           =   =       =      =         =       =        =         =       =             =    =
cancelled       =     =           =   =       =      =         =       =        =         =       =             =    =
rejected        =     =           =   =       =      =         =       =        =         =       =             =    =
expired         =     =           =   =       =      =         =       =        =         =       =             =    =
suspect         =     P           R   partial filled cancelled expired rejected R         R       =             =    =
"""


def _matrix() -> dict[tuple[str, str], str]:
    lines = [line.split() for line in _TEXT.strip().splitlines()]
    assert tuple(lines[0]) == EVENTS
    return {
        (row[0], event): cell
        for row in lines[1:]
        for event, cell in zip(EVENTS, row[1:], strict=True)
    }


MATRIX = _matrix()


def after(state: str, event: str, filled: int) -> str:
    """The state after `event`, where `filled` lots are filled by then."""
    cell = MATRIX[state, event]
    if cell == "R":
        return "partial" if filled > 0 else "open"
    if cell == "P":
        return "partial" if filled > 0 else "pending_new"
    return {"=": state, "?": "suspect"}.get(cell, cell)


# RELIABILITY 3.6 in the names used here: intent is planned, accepted and triggered are open,
# unknown is suspect; absent is left to a reconcile. Two additions of ours: an order may expire
# while a cancel or an amend travels, and what was journaled counts as sent once it is answered.
_ANSWERED = {"pending_new", "open", "rejected", "suspect", "partial", "filled", "cancelled"}
MAY_GO_TO: dict[str, set[str]] = {
    "planned": {"journaled", "rejected"},
    "journaled": {"sent"} | _ANSWERED,
    "sent": _ANSWERED,
    "pending_new": _ANSWERED - {"pending_new"},
    "open": {
        "partial", "filled", "cancel_pending", "amend_pending", "cancelled", "expired", "rejected",
        "suspect",
    },
    "partial": {"filled", "cancel_pending", "amend_pending", "cancelled", "expired", "suspect"},
    "amend_pending": {
        "open", "partial", "filled", "cancelled", "expired", "rejected", "suspect",
    },
    "cancel_pending": {
        "open", "partial", "filled", "cancelled", "expired", "rejected", "suspect",
    },
    "suspect": {
        "pending_new", "open", "partial", "filled", "cancelled", "expired", "rejected",
    },
    **{state: set() for state in TERMINAL},
}  # fmt: skip
