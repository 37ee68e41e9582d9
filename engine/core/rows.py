"""How does a record reach its table? Claim the next row of a ring; a full ring is a fault.

The caller of the core drains the rings between steps and guarantees room before each, so a ring
that is full here is a broken invariant, never a reason to drop a record.
"""

from __future__ import annotations

from engine.core.faults import FAULT_RING_FULL
from engine.jit import kernel


@kernel
def claim_row(glob, i_table, n_rows_max):
    """Index of the next free row of table `i_table` (T_* of records.py), or -1 when full.

    glob : GLOB record, its count goes up; n_rows_max : int64, length of the ring
    """
    n = glob["n_rows"][i_table]
    if n >= n_rows_max:
        glob["fault"] = FAULT_RING_FULL
        return -1
    glob["n_rows"][i_table] = n + 1
    return n
