"""Which invariant of ours broke? The fault codes in `glob["fault"]`; any of them stops the run."""

from __future__ import annotations

from typing import Final

FAULT_NONE: Final = 0
FAULT_RING_FULL: Final = 1  # rows of a step did not fit: the caller left too little room
FAULT_COMMANDS_FULL: Final = 2
FAULT_TIME_BACKWARDS: Final = 3
FAULT_MONEY: Final = 4  # an amount does not fit, or cash and positions contradict each other
FAULT_UNKNOWN_EVENT: Final = 5
FAULT_UNKNOWN_SYMBOL: Final = 6
FAULT_ORDER: Final = 7  # a fill of an order of ours that is no longer in the table
