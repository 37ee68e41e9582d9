"""The dead man's switch, set and called off, on a venue that really fires it; the clock jumps."""

import json
from typing import Any

import numpy as np
import pytest

from adapters.kraken.gateway import Carried
from adapters.kraken.maintenance import Planned
from adapters.kraken.phases import Step
from adapters.kraken.switch import METHOD, Policy, Switch
from adapters.kraken.wire import Maintenance, Status
from adapters.local_venue.text import stamp
from engine import commands as c
from engine.errors import ConfigError
from engine.events import HEALTH_SWITCH, HEALTH_SWITCH_FIRED, ORDER_CANCELED
from tests.support.gateway_desk import Link, S, command, stop, ticks


class SwitchLink(Link):
    """A link with a switch, which hears and says as an account line lets it."""

    def __init__(self, policy: Policy, **options: Any) -> None:
        self.switch: Switch | None = None
        super().__init__(**options)
        self.switch = Switch(self.session, policy)
        self.facts: list[tuple[int, int]] = []
        self.acting = True
        self.connect()

    def _carry(self, step: Step) -> None:
        if self.switch is not None:
            for message in step.messages:
                if isinstance(message, Status):
                    self.switch.status(message, self.now)
            self.switch.observe(step.rows(), self.gateway, self.now)
        super()._carry(step)
        if self.switch is None:
            return
        answered, self.session.answered = self.session.answered, []
        for each in answered:
            self.switch.answered(each, self.now)
        if self.acting:
            self._write(self.switch.act(self.gateway, self.now))
        self.facts += [(int(row["id"]), int(row["aux"])) for row in self.switch.taken()]

    def _write(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.written.append(json.loads(frame))
            if not self.held_back:
                self.desk.send(frame.decode(), self.conn)

    def carry(self, *commands: np.void) -> Carried:
        assert self.switch is not None
        self._write(self.switch.before(np.array(list(commands), c.COMMAND), self.gateway, self.now))
        return super().carry(*commands)

    @property
    def fires_in_s(self) -> float:
        return (self.venue.switch_at - self.now) / S if self.venue.switch_at else 0.0

    def fired(self) -> list[int]:
        return [aux for id, aux in self.facts if id == HEALTH_SWITCH_FIRED]


def test_with_stops_kept_it_is_set_while_entries_rest_alone_and_renewed() -> None:
    link = SwitchLink("keep_stops")
    assert link.venue.switch_at == 0
    link.carry(command(c.ADD, 7))
    link.go(0.5, step=0.05)
    assert 59 < link.fires_in_s <= 61
    for _ in range(40):
        link.go(5, step=0.25)
        assert link.fires_in_s > 30  # never older than 30 s
    assert link.open_at_venue() != []
    # Each fact names the moment at which it would fire, by our clock.
    told = [aux for id, aux in link.facts if id == HEALTH_SWITCH]
    assert abs(told[-1] - link.venue.switch_at) <= S
    link.carry(command(c.CANCEL, 7))
    link.go(0.5, step=0.05)
    assert link.venue.switch_at == 0
    assert link.facts[-1] == (HEALTH_SWITCH, 0)


def test_it_is_off_before_a_stop_goes_out_and_as_long_as_one_rests() -> None:
    link = SwitchLink("keep_stops")
    link.carry(command(c.ADD, 7))
    link.go(0.5, step=0.05)
    assert link.venue.switch_at
    link.carry(stop(8, "40000.0"))
    last = [each["method"] for each in link.written][-2:]
    assert last == [METHOD, "add_order"]
    assert link.written[-2]["params"]["timeout"] == 0
    for _ in range(60):
        link.go(0.5, step=0.05)
        resting = {each.order_type for each in link.account.open.values()}
        assert not ("stop-loss" in resting and link.venue.switch_at)
    assert resting == {"limit", "stop-loss"}
    link.carry(command(c.CANCEL, 8))
    link.go(1, step=0.05)
    assert link.venue.switch_at


def test_it_fires_when_nothing_of_ours_arrives_and_that_is_told() -> None:
    link = SwitchLink("keep_stops")
    link.carry(command(c.ADD, 7), command(c.ADD, 8, price=ticks("49001.0")))
    link.go(0.5, step=0.05)
    link.held_back = True
    link.go(65, step=0.25)

    assert link.open_at_venue() == []
    assert link.rows(ORDER_CANCELED)["id"].tolist() == [7, 8]
    assert link.fired() == [2]
    assert link.facts[-1] == (HEALTH_SWITCH, 0)
    assert link.switch is not None
    assert any("renewed" in note.text for note in link.switch.notes)


def test_with_all_canceled_it_is_set_over_stops_and_fires_over_them() -> None:
    link = SwitchLink("cancel_all")
    link.carry(stop(7, "40000.0"))
    for _ in range(40):
        link.go(5, step=0.25)
        assert link.fires_in_s > 30
    link.held_back = True
    link.go(65, step=0.25)
    assert link.open_at_venue() == []
    assert link.fired() == [1]


def test_a_venue_that_forgets_a_renewal_and_fires_early_is_noticed() -> None:
    link = SwitchLink("cancel_all")
    link.carry(command(c.ADD, 7), stop(8, "40000.0"))
    link.go(1, step=0.05)
    link.venue.switch_at = link.now + S  # what it acknowledged is not what it does
    link.go(5, step=0.25)
    assert link.open_at_venue() == []
    assert link.fired() == [2]


def test_a_cancel_by_hand_is_no_firing() -> None:
    link = SwitchLink("cancel_all")
    link.carry(command(c.ADD, 7), stop(8, "40000.0"))
    link.go(1, step=0.05)
    order = next(each for each in link.account.open.values() if each.order_type == "limit")
    link.venue.cancel(order, link.now)
    link.go(2, step=0.25)
    link.carry(command(c.CANCEL, 8))
    link.go(2, step=0.25)
    assert link.open_at_venue() == []
    assert link.fired() == []
    assert link.venue.switch_at == 0


def test_one_that_an_earlier_session_left_set_is_called_off_before_it_meets_a_stop() -> None:
    first = SwitchLink("cancel_all")
    first.carry(stop(7, "40000.0"))
    first.go(1, step=0.05)
    assert first.venue.switch_at
    first.switch = Switch(first.session, "keep_stops")
    first.cut()
    first.go(0.5, step=0.25)
    first.connect()
    first.go(0.5, step=0.05)
    assert first.venue.switch_at == 0
    assert len(first.open_at_venue()) == 1


def test_an_order_of_somebody_else_keeps_it_off() -> None:
    """With stops kept nothing is canceled that is not an entry of ours."""
    link = SwitchLink("keep_stops")
    params = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 40000.0,
              "order_qty": 0.01, "token": link.desk.token}  # fmt: skip
    link.desk.send(json.dumps({"method": "add_order", "params": params, "req_id": 1}))
    link.go(0.1)
    assert len(link.open_at_venue()) == 1
    link.carry(command(c.ADD, 7))
    link.go(1, step=0.05)
    assert link.venue.switch_at == 0


def test_it_is_off_around_announced_maintenance() -> None:
    link = SwitchLink("keep_stops")
    link.carry(command(c.ADD, 7))
    link.go(1, step=0.05)
    start, end = link.now + 100 * S, link.now + 160 * S
    link.desk.core.announce(
        f'[{{"event_id":"1","title":"planned","expected_start_utc":"{stamp(start, 0)}",'
        f'"expected_end_utc":"{stamp(end, 0)}"}}]'
    )
    link.go(1, step=0.05)
    assert link.venue.switch_at == 0
    while link.now < end + S:
        assert link.venue.switch_at == 0
        link.go(5, step=0.25)
    link.go(5, step=0.25)
    assert link.venue.switch_at
    assert link.fired() == []


def test_policies_that_would_fire_by_themselves_are_refused() -> None:
    link = SwitchLink("keep_stops")
    with pytest.raises(ConfigError, match="renewed"):
        Switch(link.session, "keep_stops", timeout_s=30)
    with pytest.raises(ConfigError, match="no policy"):
        Switch(link.session, "both")  # type: ignore[arg-type]


def test_renewals_that_are_confirmed_and_not_done_are_known_by_the_time_of_the_firing() -> None:
    """One stop alone: it could as well have been cancelled by hand."""
    link = SwitchLink("cancel_all")
    link.carry(stop(7, "40000.0"))
    link.go(1, step=0.05)
    forgotten = link.venue.switch_at
    while link.now < forgotten + 2 * S:
        link.go(0.25, step=0.05)
        if link.venue.switch_at and link.now < forgotten:
            link.venue.switch_at = forgotten  # whatever was confirmed since
    assert link.open_at_venue() == []
    assert link.fired() == [1]


def test_a_lone_stop_that_is_cancelled_by_hand_between_renewals_is_no_firing() -> None:
    link = SwitchLink("cancel_all")
    link.carry(stop(7, "40000.0"))
    link.go(30, step=0.25)
    [order] = link.account.open.values()
    link.venue.cancel(order, link.now)
    link.go(2, step=0.25)
    assert link.fired() == []


def test_maintenance_that_was_announced_and_is_over_does_not_come_again() -> None:
    def status(system: str, *planned: tuple[int, int]) -> Status:
        told = tuple(
            Maintenance(
                expected_start_utc=stamp(each[0] * S, 0), expected_end_utc=stamp(each[1] * S, 0)
            )
            for each in planned
        )
        return Status(system, upcoming_maintenance=told or None)

    one, other = (1000, 1600), (9000, 9600)
    planned = Planned()
    assert not planned.near(1200 * S)
    planned.told(status("online", one), 500 * S)
    near = [at for at in (800, 879, 881, 1300, 1601) if planned.near(at * S)]
    assert near == [881, 1300]
    planned.told(status("online"), 900 * S)  # not every status repeats it
    assert planned.near(900 * S)
    planned.told(status("maintenance", one), 1001 * S)
    planned.told(status("online", one, other), 1200 * S)  # back early, and still listed
    assert not planned.near(1210 * S)
    assert planned.near(8990 * S)
    planned.told(status("online"), 9700 * S)
    assert not planned.near(9700 * S)
    # One that never closed the venue is over too, though it is still listed.
    planned.told(status("online", (9800, 9850), (9900, 9950)), 9860 * S)
    assert planned.near(9890 * S)
