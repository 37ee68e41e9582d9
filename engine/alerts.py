"""What can a session have to tell a person? Every code once: how bad, what happened, what to do.

A code is stable: people search for it. INFO goes to the log only, WARN is told, CRIT is told until
somebody acknowledges it. docs/alerts.md is made from this table. Left out: who is told and how
(adapters/alerts.py), what makes a code arise (engine/reports/markers.py, and the session itself).
"""

from __future__ import annotations

from typing import Final, NamedTuple

INFO: Final = "INFO"
WARN: Final = "WARN"
CRIT: Final = "CRIT"
SEVERITIES: Final = (INFO, WARN, CRIT)


class Alert(NamedTuple):
    """One code: what happened, what the program did, what a person must do."""

    code: str
    severity: str
    what: str
    did: str
    do: str


_NOTHING: Final = "Nothing."
_LOOK: Final = "Nothing now; look for the cause if it comes often."
_GROUPS: Final[dict[str, tuple[tuple[str, str, str, str, str], ...]]] = {
    "Market data": (
        ("BOOK_RESYNC", WARN, "A book did not agree with its checksum, or was crossed.",
         "The pair takes no entries until a new snapshot is verified.", _LOOK),
        ("PAIR_QUARANTINED", CRIT, "A pair's book is wrong again and again.",
         "The pair takes no entries; its stops stay; other pairs trade on.",
         "Look at the pair at Kraken; it takes entries again by itself once its book is right."),
        ("CONN_SILENT", WARN, "The public connection is silent or lost.",
         "Entries wait; it connects again by itself.", _LOOK),
        ("CHANNEL_SILENT", WARN, "One channel is silent while others are not.",
         "It is subscribed again; what needs it waits.", _LOOK),
        ("LAG", WARN, "We read slower than the venue writes.",
         "Nothing is dropped; entries wait while data is older than its limit.",
         "Give the process a faster processor, or fewer pairs."),
        ("EPOCH_DEGRADED", WARN, "Too many books are unverified, or a gap stays open.",
         "Exits, protection and cancels only, until a new epoch is valid.", _LOOK),
        ("EPOCH_INVALID", WARN, "The data cannot be believed.",
         "Protection and cancels only.", "Look at the network and at Kraken's status page."),
        ("RULES_CHANGED", WARN, "The venue changed a pair's increments, minimum or status.",
         "Entries follow the new rules or wait.", _LOOK),
        ("PAIR_MODE", WARN, "A pair is not fully open: limit, post or reduce only, or halted.",
         "No entries in it; its stops stay as far as the venue keeps them.", _LOOK),
        ("PAIR_GONE", CRIT, "A pair in which we hold a position can no longer be traded.",
         "Nothing can be sent for it.", "Read Kraken's announcement; leave by hand if you can."),
    ),
    "Venue": (
        ("VENUE_UNREACHABLE", CRIT, "The venue cannot be reached.",
         "Our orders there count as unknown, none is dropped; it tries again by itself.",
         "Look at the network, then at Kraken's status page; resting stops work without us."),
        ("VENUE_MODE", WARN, "The venue is in maintenance, cancel only or post only.",
         "No entries; cancels go on; the switch is disarmed before announced maintenance.", _LOOK),
        ("VENUE_CANCEL_ONLY", CRIT, "The venue takes cancels only, and had not announced it.",
         "Nothing is added until it opens and you have read this; resting stops stay.",
         "Look at Kraken's status page, and in `ops status` which position has no stop."),
        ("TLS_REFUSED", CRIT, "The venue's certificate is not in order.",
         "No connection was made; there is no way to switch this off.",
         "Look at this machine's clock and at who is between it and the venue."),
        ("LOCKED_OUT", CRIT, "The venue refuses our key for a while.",
         "Nothing private is asked until then.", "See docs/howto-keys.md; resting stops stay."),
        ("PERMISSION_LOST", CRIT, "The key lost a right.",
         "Nothing new is sent.", "Look at the key at Kraken; cancel there what must go."),
        ("NONCE_REFUSED", CRIT, "The venue saw a higher nonce of our key.",
         "Nothing private is asked any more.", "Find the other program that uses this key."),
        ("TOKEN_RENEW_FAILED", WARN, "No token for the private stream was given.",
         "It asks again; without a stream entries wait.", _LOOK),
        ("RATE_PAIR", WARN, "The order counter of a pair is used up.",
         "Entries wait; cancels and protection keep their reserve.", _LOOK),
        ("RATE_REST", WARN, "The REST counter is used up.", "Reads wait.", _LOOK),
        ("CLOCK_SKEW", WARN, "This clock and the venue's differ by over 250 ms.",
         "Shown; over one second entries wait.", "Set up time synchronisation (chrony, ntpd)."),
        ("CLOCK_STEP", CRIT, "This clock is more than a second off, or jumped.",
         "Entries wait until it was measured again.", "Look at this machine's time service."),
    ),
    "Orders": (
        ("SUBMIT_UNKNOWN", WARN, "An order was sent and its answer is lost.",
         "It counts as open and as absent at once, whichever is worse; it is never sent again.",
         "Nothing: the next reconcile tells, or it stays listed."),
        ("SUBMIT_RESOLVED", INFO, "The fate of a doubtful order is known.",
         "It counts as what the venue says.", _NOTHING),
        ("REJECTED", WARN, "The venue refused an order.",
         "Nothing rests; the reason is in the orders table.", _LOOK),
        ("INTENT_REFUSED", CRIT, "A family's answer is no number, or out of its range.",
         "Each such answer is refused; nothing enters before you have read this.",
         "Switch the family off and restart, and look for what it divides by."),
        ("QUANTISER", CRIT, "The venue refused the form of an order: digits, price or arguments.",
         "The family that made it stops.", "Report it: this is a defect of ours."),
        ("TRAIL_REFUSED", WARN, "The venue refused a trailing stop, or another distance of one.",
         "A plain stop rests and is moved by amends; or the distance stays and the target is sold.",
         "If it comes with every position: set exits.trail_native = false."),
        ("LATE_FILL", WARN, "A fill came after its order had ended.",
         "It counts; protection was sized anew.", _LOOK),
        ("OVERFILL", CRIT, "The venue filled more than we asked for.",
         "The ledger follows the venue; trading halts.",
         "Compare with Kraken's site before you loosen the mode."),
        ("FOREIGN_ORDER", WARN, "An order that is not ours is open on the account.",
         "It is never touched; the position counts as mixed.",
         "If it is not yours either: delete the key at Kraken."),
        ("FILLS_BACKFILL", WARN, "Fills were read after a gap.",
         "They count, at the time of the venue.", _NOTHING),
        ("REST_BEHIND", INFO, "REST tells of the account what the stream has left behind.",
         "Nothing is taken back; it is asked again until both say the same.", _NOTHING),
        ("EXEC_GAP", WARN, "Reports of our orders are missing.",
         "Entries wait until orders and balances were read and compared.", _LOOK),
        ("SWITCH_FIRED", CRIT, "The venue's dead man's switch cancelled our orders.",
         "Protection is placed again before anything else.",
         "Look at what stopped the renewal: network, processor, a stopped process."),
        ("SWITCH_RENEW_LATE", WARN, "The dead man's switch is renewed late.",
         "It goes on trying.", _LOOK),
    ),
    "Positions and money": (
        ("UNPROTECTED", CRIT, "A position has no stop and no exit on its way.",
         "It tries to place one, and leaves the position if it cannot.",
         "Watch it; leave by hand if it lasts."),
        ("PROTECTION_LOST", CRIT, "A stop of ours is gone and we did not remove it.",
         "It is placed again, or the position is left, as configured.",
         "If you cancelled it on the site: use `ops mode` first next time."),
        ("STOP_SLIPPED", WARN, "A stop filled far from its trigger.", "It counts.", _LOOK),
        ("BALANCE_UNEXPLAINED", CRIT, "A balance moved, and no fill or transfer of ours says why.",
         "Entries wait; stops are sized to what is there.",
         "Look at staking, withdrawals and trades by hand on the account."),
        ("ACCOUNT_CHANGED", CRIT, "The key belongs to another account than before.",
         "The session does not start.", "Use the key of this account, or another live.account."),
        ("LOSS_LIMIT", CRIT, "The daily loss, the drawdown or the ladder of losses was reached.",
         "The mode was tightened.", "Look at the day before you loosen it."),
    ),
    "Reconciliation": (
        ("RECONCILE_REPAIRED", WARN, "State and venue differed, and the venue was followed.",
         "Orders, fills and balances are those of the venue.", _LOOK),
        ("RECONCILE_STUCK", CRIT, "State and venue differ, and it cannot be repaired by itself.",
         "Exits only.", "Read `ops status`; what differs is listed there."),
    ),
    "Process": (
        ("SESSION_START", INFO, "A session began.", "Exits only until the first reconcile.", _NOTHING),
        ("NOT_STARTED", WARN, "A session could not begin.",
         "Nothing was sent; what rested at the venue before still rests.",
         "Read the text, set it right, and start again."),
        ("WATCH_FAILED", CRIT, "What shows and tells of the session failed: a defect of ours.",
         "Exits only; its lines, numbers and status stand still, `ops` works.",
         "Restart it when you can, keep the run's folder and report it."),
        ("SESSION_STOP", INFO, "A session ended.",
         "Entries were withdrawn; stops stay at the venue.", "Read the summary: what is left."),
        ("MODE_CHANGE", WARN, "The engine's mode changed by itself.",
         "It allows less than before, or was released.", "`ops status` says who and why."),
        ("KILLED", CRIT, "The kill switch was used.",
         "Nothing adds risk, across restarts; open orders were cancelled, stops too.",
         "Protect what you hold by hand; `ops arm` when it is over."),
        ("CORE_HALT", CRIT, "Something that can never be true was true: a defect of ours.",
         "Nothing new is sent; stops stay; the process leaves with code 7.",
         "Keep the run's folder and report it."),
        ("LEASE_LOST", CRIT, "Another process took over this account.",
         "Not a byte is sent any more.", "Find out which one you want, and stop the other."),
        ("SECOND_WRITER", CRIT, "Somebody else acts on the account.",
         "No entries.", "Find it: another machine, a person, another program on the key."),
        ("LOOP_STALL", WARN, "The session stood still for a while.",
         "Everything it knew counts as old; the lease was asked again.",
         "Look at processor and memory of the machine."),
        ("STALLED", CRIT, "The machine was suspended or the process stopped for long.",
         "Everything is read again before anything is sent.", "Keep the machine awake."),
        ("STORAGE_FULL", CRIT, "The disk is full.",
         "No entries; cancels go on from a reserve.", "Free space, then loosen the mode."),
        ("STORAGE_LOW", WARN, "The disk is nearly full.",
         "No entries until there is room; exits, stops and cancels go on.", "Free space."),
        ("STORAGE_SLOW", WARN, "What a session writes waits for the disk.",
         "No entries until it has caught up; exits, stops and cancels go on; nothing is lost.",
         "Use a faster or less busy disk."),
        ("FSYNC_FAILED", CRIT, "The log could not be synced.",
         "Nothing new is sent; the process leaves with code 9.",
         "Look at the disk; do not start again before you did."),
        ("JOURNAL_SLOW", WARN, "Syncing the log takes long.",
         "Entries wait above 250 ms.", "Use a faster or less busy disk."),
        ("JOURNAL_REPLACED", CRIT, "The log was removed or replaced under us.",
         "Nothing new is sent.", "Find out what did it: a clean-up job, a second session."),
        ("TAIL_CUT", INFO, "The end of the log was torn by a crash and cut off.",
         "What was acknowledged is all there.", _NOTHING),
        ("RECOVERED", INFO, "A session took over the state of the one before.",
         "Exits only until the first reconcile.", _NOTHING),
        ("CONFIG_CHANGED_ON_DISK", WARN, "The profile was edited while the session runs.",
         "It is ignored until a restart.", "Restart when you want it."),
        ("ALERTS_NOT_READ", CRIT, "Critical alerts were not acknowledged in time.",
         "Exits only; the mode cannot be loosened.", "`ops acknowledge`, when you have read them."),
        ("SECRET_IN_LOG", CRIT, "A text that was about to be written held a secret.",
         "It was taken out.", "Report where it came from; change that key if in doubt."),
    ),
    "SQL mirror": (
        ("MIRROR_DOWN", WARN, "The SQL mirror cannot be reached.",
         "It is filled from the log later; trading goes on, unless mirror.required.", _LOOK),
        ("MIRROR_BEHIND", WARN, "The SQL mirror lost rows or lags.",
         "It is filled from the log.", _LOOK),
        ("MIRROR_AUTH", CRIT, "The SQL mirror refuses our password or wants TLS.",
         "Nothing is mirrored; trading goes on, unless mirror.required.", "Set mirror.dsn anew."),
        ("JOURNAL_BEHIND_MIRROR", CRIT, "The SQL mirror knows more than the log.",
         "The session does not start.", "The log is an old copy: find the right one."),
        ("MIRROR_READONLY", WARN, "The database of the SQL mirror takes no writes now.",
         "Another host is looked for; it is filled from the log later.",
         "Name all hosts in mirror.dsn."),
        ("MIRROR_WAITS", WARN, "A lock or a statement of the SQL mirror took too long.",
         "It is sent again.", "Look for long transactions on its tables."),
        ("POOL_EXHAUSTED", WARN, "No connection to the SQL mirror came free in time.",
         "It is tried again.", _LOOK),
        ("MIRROR_RETRY", INFO, "A transaction of the SQL mirror was lost or broken.",
         "It is sent again; what is there already is not added twice.", _NOTHING),
        ("MIRROR_REPLAYED", INFO, "A batch of the SQL mirror was there already.",
         "Nothing was added twice.", _NOTHING),
        ("MIRROR_SCHEMA", CRIT, "The tables of the SQL mirror are not those of this program.",
         "Nothing is mirrored until the next start.", "`kapitaalbot mirror migrate`."),
        ("MIRROR_ROLE", CRIT, "The role of the SQL mirror may do too much or too little.",
         "Nothing is mirrored until the next start.", "`kapitaalbot mirror migrate --grant ROLE`."),
        ("MIRROR_REFUSED", CRIT, "The database refused a row of the SQL mirror.",
         "Nothing is mirrored until the next start.", "Keep the log and report it."),
        ("MIRROR_LOG", CRIT, "The SQL mirror cannot read the log.",
         "Nothing is mirrored until the next start.", "Check the log first."),
    ),
}  # fmt: skip

GROUPS: Final = {group: tuple(Alert(*each) for each in alerts) for group, alerts in _GROUPS.items()}
ALERTS: Final[dict[str, Alert]] = {each.code: each for alerts in GROUPS.values() for each in alerts}

_HEAD: Final = """\
# Alerts: what a session tells, and what to do

Each has a stable code. INFO goes to the log only. WARN is told once and again only if it comes
again later. CRIT is told until somebody acknowledges it (`kapitaalbot ops acknowledge`), also across
restarts; until then the mode cannot be loosened, and after `alerts.escalate` it counts as not read.
Where they go is `alerts.urls` of the profile, addresses as Apprise reads them
([howto-operate.md](howto-operate.md)). If nothing can be delivered, trading goes on and the
log says so. This page is made from `engine/alerts.py` by `make docs`.
"""


def page() -> str:
    """docs/alerts.md."""
    parts = [_HEAD]
    for group, alerts in GROUPS.items():
        rows = [
            f"| `{each.code}` | {each.severity} | {each.what} | {each.did} | {each.do} |"
            for each in alerts
        ]
        parts.append(
            f"## {group}\n\n| code | severity | what happened | what the program did | "
            "what to do |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(parts)
