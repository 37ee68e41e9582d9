"""The private connection without a socket: token, snapshots, replies, deadlines, gaps."""

import json
import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kraken.keys import Secret
from adapters.kraken.limits import TIERS
from adapters.kraken.order_state import SUSPECT_OVERDUE, SUSPECT_UNCLEAR, OrderState, cl_ord_id_of
from adapters.kraken.phases import Phase, Step
from adapters.kraken.private import FIRST_REQ_ID, PrivateSession
from engine.errors import RefusedError
from engine.events import (
    AMEND_REJECT,
    BUY,
    CANCEL_REJECT,
    HEALTH,
    HEALTH_ACCOUNT_LOST,
    HEALTH_SUSPECT,
    ORDER_ACK,
    ORDER_REJECT,
    REJECT_FUNDS,
    REJECT_MINIMUM,
    REJECT_UNKNOWN_ORDER,
)
from tests.support.private_words import (
    PAIRS,
    STAMP_NS,
    balances,
    executions,
    new,
    pending_new,
)

NOW = STAMP_NS
S = 1_000_000_000
A = "OAAAAA-BBBBB-CCCCCC"
TOKEN = "CANARYtoken0123456789+/abcdefghijklmnop"
STATUS = (
    b'{"channel":"status","type":"update","data":[{"api_version":"v2","connection_id":1,'
    b'"system":"online","version":"2.0.0"}]}'
)
LIMIT = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD"}


def ours(id: int = 7) -> OrderState:
    return OrderState("", id, 0, BUY, "limit", qty=10_000, price=80_000)


def connected() -> PrivateSession:
    session = PrivateSession(PAIRS, lambda: 0.5)
    session.start(NOW)
    session.token(Secret(TOKEN))
    session.connecting(NOW)
    session.opened(NOW)
    return session


def online() -> PrivateSession:
    """Connected, subscribed, both snapshots there."""
    session = connected()
    asked = session.received(STATUS, NOW).send + session.tick(NOW + S).send
    for frame in asked:
        request = json.loads(frame)
        if request["method"] == "ping":
            continue
        session.received(
            reply("subscribe", request["req_id"], {"channel": request["params"]["channel"]}), NOW
        )
    session.received(executions(1, kind="snapshot"), NOW)
    session.received(balances(1, kind="snapshot"), NOW)
    assert session.ready
    return session


def reply(method: str, req_id: int, result: Any = None, error: str = "") -> bytes:
    frame: dict[str, Any] = {"method": method, "req_id": req_id, "success": not error}
    frame |= {"error": error} if error else {"result": result}
    stamps = {"time_in": "2026-01-05T10:00:00.1Z", "time_out": "2026-01-05T10:00:00.2Z"}
    return json.dumps(frame | stamps).encode()


def req_id_of(frame: bytes) -> int:
    return int(json.loads(frame)["req_id"])


def rows(step: Step, *kinds: int) -> np.ndarray:
    events = step.rows()
    return events[np.isin(events["kind"], kinds)]


def test_a_snapshot_that_never_comes_ends_the_connection() -> None:
    """Heartbeats go on and both channels are acknowledged: only the snapshot of balances is lost."""
    session = connected()
    for frame in session.received(STATUS, NOW).send:
        request = json.loads(frame)
        if request["method"] == "subscribe":
            channel = request["params"]["channel"]
            session.received(reply("subscribe", request["req_id"], {"channel": channel}), NOW)
    session.received(executions(1, kind="snapshot"), NOW)
    late = NOW + 16 * S
    session.received(b'{"channel":"heartbeat"}', late)
    assert not session.tick(NOW + 14 * S).close
    assert session.tick(late).close
    assert not session.ready


# ---- connecting ----


def test_no_connection_is_made_without_a_token() -> None:
    session = PrivateSession(PAIRS, lambda: 0.5)
    session.start(NOW)

    assert session.token_missing
    assert session.connecting(NOW).reconnect_at is not None
    session.token(Secret(TOKEN))
    assert session.connecting(NOW).reconnect_at is None
    assert session.phase is Phase.CONNECTING


def test_both_channels_are_asked_for_with_the_token() -> None:
    session = connected()
    asked = [json.loads(each) for each in session.received(STATUS, NOW).send]

    subscribed = [each for each in asked if each["method"] == "subscribe"]
    by_channel = {each["params"]["channel"]: each["params"] for each in subscribed}
    assert set(by_channel) == {"executions", "balances"}
    assert all(each["token"] == TOKEN for each in by_channel.values())
    wanted = {"snap_orders": True, "snap_trades": True, "ratecounter": True}
    assert wanted.items() <= by_channel["executions"].items()
    assert "symbol" not in by_channel["executions"]


def test_every_connection_needs_a_fresh_token() -> None:
    session = online()
    session.closed(1006, "", NOW + 60 * S)

    assert session.token_missing
    assert not session.ready


def test_the_acknowledgement_names_the_tier() -> None:
    session = connected()
    asked = session.received(STATUS, NOW).send
    session.received(
        reply("subscribe", req_id_of(asked[0]), {"channel": "executions", "maxratecount": 125}), NOW
    )

    assert session.tier is TIERS["intermediate"]


def test_the_end_of_the_connection_puts_the_account_in_doubt_and_no_market_data() -> None:
    """CONNECTION_DOWN without a symbol would distrust every book, which other connections feed."""
    session = online()
    events = session.closed(1001, "CloudFlare WebSocket proxy restarting", NOW + S).rows()

    assert events[["kind", "id", "aux"]].tolist() == [(HEALTH, HEALTH_ACCOUNT_LOST, NOW)]


# ---- requests and replies ----


def test_a_request_carries_the_token_and_is_awaited() -> None:
    session = online()
    frame = session.ask("add_order", LIMIT, NOW, ours())
    sent = json.loads(frame)

    assert sent["req_id"] > FIRST_REQ_ID
    assert sent["params"] == LIMIT | {"token": TOKEN, "cl_ord_id": cl_ord_id_of(7)}
    assert session.n_pending == 1
    session.received(reply("add_order", sent["req_id"], {"order_id": A}), NOW)
    assert session.n_pending == 0
    assert [(each.method, each.said) for each in session.answered] == [("add_order", None)]


def test_the_reply_may_come_after_the_first_report() -> None:
    session = online()
    sent = req_id_of(session.ask("add_order", LIMIT, NOW, ours()))

    assert len(rows(session.received(executions(2, new(A)), NOW), ORDER_ACK)) == 0
    opened = session.received(reply("add_order", sent, {"order_id": A}), NOW)
    assert rows(opened, ORDER_ACK)["id"].tolist() == [7]


@pytest.mark.parametrize(
    ("method", "error", "kind", "reason"),
    [
        ("add_order", "EOrder:Insufficient funds", ORDER_REJECT, REJECT_FUNDS),
        (
            "add_order",
            "EGeneral:Invalid arguments:volume minimum not met",
            ORDER_REJECT,
            REJECT_MINIMUM,
        ),
        ("cancel_order", "EOrder:Unknown order", CANCEL_REJECT, REJECT_UNKNOWN_ORDER),
        ("amend_order", "EOrder:Unknown order", AMEND_REJECT, REJECT_UNKNOWN_ORDER),
    ],
)
def test_a_refusal_is_an_event_with_its_reason(
    method: str, error: str, kind: int, reason: int
) -> None:
    session = online()
    params = LIMIT if method == "add_order" else {"order_id": [A]}
    sent = req_id_of(session.ask(method, params, NOW, ours()))
    step = session.received(reply(method, sent, error=error), NOW)

    assert rows(step, kind)[["id", "aux"]].tolist() == [(7, reason)]
    assert any(error in note.text for note in step.notes)
    assert session.account.open_orders() == []


@pytest.mark.parametrize("error", ["EService:Unavailable", "EGeneral:Internal error:7"])
def test_an_error_that_leaves_it_open_makes_the_order_suspect(error: str) -> None:
    session = online()
    sent = req_id_of(session.ask("add_order", LIMIT, NOW, ours()))
    step = session.received(reply("add_order", sent, error=error), NOW)

    assert len(rows(step, ORDER_REJECT)) == 0
    assert rows(step, HEALTH)[["id", "aux", "qty"]].tolist() == [
        (HEALTH_SUSPECT, 7, SUSPECT_UNCLEAR)
    ]


def test_a_reply_without_an_order_makes_it_suspect() -> None:
    session = online()
    sent = req_id_of(session.ask("add_order", LIMIT, NOW, ours()))
    step = session.received(reply("add_order", sent, {}), NOW)

    assert rows(step, HEALTH)["qty"].tolist() == [SUSPECT_UNCLEAR]


def test_an_overdue_reply_makes_the_order_suspect_and_nothing_is_sent_again() -> None:
    session = online()
    session.ask("add_order", LIMIT, NOW, ours())
    sent: list[bytes] = []
    suspects = []
    for tenth in range(200):
        now = NOW + tenth * S // 10
        step = session.tick(now)
        session.received(b'{"channel":"heartbeat"}', now)
        sent += step.send
        suspects += [(now, *row) for row in rows(step, HEALTH)[["aux", "qty"]].tolist()]

    assert suspects == [(NOW + 5 * S, 7, SUSPECT_OVERDUE)]
    assert not any(b"add_order" in each for each in sent)
    assert session.n_pending == 0


def test_a_late_reply_still_tells_which_order_it_is() -> None:
    session = online()
    sent = req_id_of(session.ask("add_order", LIMIT, NOW, ours()))
    session.tick(NOW + 6 * S)
    session.received(reply("add_order", sent, {"order_id": A}), NOW + 7 * S)

    assert [each.late for each in session.answered] == [True]
    assert session.account.orders[A].id == 7


def test_a_broken_connection_makes_every_waiting_request_suspect() -> None:
    session = online()
    session.ask("add_order", LIMIT, NOW, ours(7))
    session.ask("add_order", LIMIT, NOW, ours(8))
    step = session.closed(1006, "", NOW + S)

    suspects = rows(step, HEALTH)
    assert suspects[suspects["id"] == HEALTH_SUSPECT]["aux"].tolist() == [7, 8]


def test_a_table_that_is_full_refuses_and_has_room_again() -> None:
    session = online()
    frames = [session.ask("add_order", LIMIT, NOW, ours(i + 1)) for i in range(256)]

    with pytest.raises(RefusedError, match="256 requests wait"):
        session.ask("add_order", LIMIT, NOW, ours(300))
    session.received(reply("add_order", req_id_of(frames[0]), {"order_id": A}), NOW)
    session.ask("add_order", LIMIT, NOW, ours(300))


def test_requests_that_are_never_answered_do_not_pile_up() -> None:
    session = online()
    for i in range(3000):
        session.ask("amend_order", {"order_id": A}, NOW + i * 6 * S)
        session.account.tick(NOW)
        for each in session._pending.values():
            each.overdue = True

    assert len(session._pending) <= 512


def test_nothing_is_asked_while_not_online() -> None:
    session = PrivateSession(PAIRS, lambda: 0.5)
    with pytest.raises(RefusedError, match="private connection is waiting"):
        session.ask("add_order", LIMIT, NOW, ours())


def test_a_cancel_names_one_order() -> None:
    with pytest.raises(ValueError, match="names one order"):
        online().ask("cancel_order", {"order_id": [A, "OB"]}, NOW)


@pytest.mark.parametrize("error", ["ESession:Invalid session", "Token(s) not found"])
def test_a_token_that_does_not_count_ends_the_connection(error: str) -> None:
    session = online()
    sent = req_id_of(session.ask("cancel_order", {"order_id": [A]}, NOW))

    assert session.received(reply("cancel_order", sent, error=error), NOW).close


# ---- gaps ----


def test_a_missing_message_ends_the_connection() -> None:
    session = online()
    step = session.received(executions(3, pending_new(A)), NOW)

    assert step.close
    assert not session.ready
    later = session.closed(1000, "", NOW + 40 * S)
    assert later.reconnect_at is not None


def test_dropped_frames_are_lost_messages() -> None:
    session = online()
    assert session.dropped(3, NOW, NOW).close
    assert not session.ready


# ---- secrets and any bytes ----


def test_the_token_is_in_no_note_event_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    session = online()
    sent = req_id_of(session.ask("cancel_order", {"order_id": [A]}, NOW, ours()))
    steps = [
        session.received(reply("cancel_order", sent, error=f"EGeneral:token {TOKEN}"), NOW),
        session.closed(1008, f"bad token {TOKEN}", NOW),
    ]

    said = [repr(each.notes) for each in steps] + [repr(session.answered), caplog.text]
    for text in [*said, repr(session), repr(session._pending)]:
        assert TOKEN not in text


frames = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda channel, kind, data, sequence: json.dumps(
            {"channel": channel, "type": kind, "data": data, "sequence": sequence}
        ).encode(),
        st.sampled_from(["executions", "balances", "book"]),
        st.sampled_from(["snapshot", "update", "x"]),
        st.lists(
            st.dictionaries(
                st.sampled_from(
                    ["order_id", "exec_type", "symbol", "side", "last_qty", "asset", "balance"]
                ),
                st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.none()),
            ),
            max_size=3,
        ),
        st.integers(-5, 20),
    ),
    st.builds(
        reply,
        st.sampled_from(["add_order", "cancel_order", "subscribe"]),
        st.integers(FIRST_REQ_ID, FIRST_REQ_ID + 3),
        st.one_of(st.none(), st.lists(st.integers()), st.just({"order_id": 5})),
        st.sampled_from(["", "EOrder:Unknown order", "\x00"]),
    ),
)


@given(st.lists(frames, max_size=20))
def test_any_frames_give_steps_and_never_an_exception(given_frames: list[bytes]) -> None:
    session = online()
    session.ask("add_order", LIMIT, NOW, ours())
    for i, frame in enumerate(given_frames):
        step = session.received(frame, NOW + i)
        assert step.rows()["ts"].tolist() == [NOW + i] * len(step.rows())
        session.tick(NOW + i)
