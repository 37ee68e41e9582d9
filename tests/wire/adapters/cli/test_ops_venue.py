"""The buttons of a session against a venue on loopback: kill, arm, mode, acknowledge, check ready."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from adapters.alerts import Alerts
from adapters.cli.main import main
from adapters.cli.venue import from_generator
from adapters.control import ControlServer
from adapters.kraken.cancel_all import ENV_FILE as KILL_FILE
from adapters.kraken.cancel_all import cancel_all
from adapters.kraken.keys import ENV_FILE, ENV_KEY, ENV_SECRET
from adapters.lease import KillFlag, Lease
from adapters.local_venue import ApiKey, LocalVenue, VenueOptions, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from engine.clock import WallClock
from engine.events import MODE_EXIT_ONLY, MODE_HALT, MODE_NORMAL
from engine.live_gate import FLAG
from tests.support.account_client import account, free_rest

KILL_KEY = "kill-key-of-the-local-venue"
KILL = ApiKey(KILL_KEY, rights=frozenset(("query", "cancel")), account=DEMO_KEY)
TRADE = ApiKey(addresses=("127.0.0.1",))
CANARY = "canary-key-5up3r-secret"


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """State, keys and configuration of this test only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in (FLAG, ENV_KEY, ENV_SECRET, ENV_FILE, KILL_FILE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "kapitaalbot" / "live" / "main"


def key_file(path: Path, key: str) -> str:
    path.write_text(f'key = "{key}"\nsecret = "{DEMO_SECRET}"\n')
    path.chmod(0o600)
    return str(path)


def free_port() -> int:
    """The first of four that are free."""
    for base in range(21_000 + os.getpid() % 2000 * 4, 60_000, 4):
        try:
            for port in range(base, base + 4):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no four ports are free")


def on_a_venue(
    work: Callable[[LocalVenue, Path], Awaitable[None]],
    tmp_path: Path,
    recorded_time: bool = False,
    **live: object,
) -> None:
    """`work(venue, profile)` beside a venue whose ports the profile names."""
    base = free_port()
    profile = tmp_path / "live.toml"
    fields = {"endpoint": "local", "local_port": base, "symbols": ["BTC/USD"], **live}
    profile.write_text("[live]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in fields.items()))

    async def run() -> None:
        async with serve(
            from_generator(7, None, recorded_time),  # else its clock is this machine's
            keys=(TRADE, KILL),
            options=VenueOptions(rest_limits=False),
            ports=(base, base + 1, base + 2, base + 3),
        ) as venue:
            await work(venue, profile)

    compile_venue()
    asyncio.run(asyncio.wait_for(run(), 120))


async def command(*arguments: object) -> int:
    return await asyncio.to_thread(main, [str(each) for each in arguments])


def open_at(venue: LocalVenue) -> int:
    return len(venue.core.clients[DEMO_KEY].account.open)


async def with_orders(venue: LocalVenue, folder: Path) -> None:
    async with free_rest(venue, folder) as rest, account(venue, rest) as mine:
        mine.add(1)
        mine.stop(2, "50.0")
        await mine.until(lambda: len(mine.books.open) == 2)


# --- kill -----------------------------------------------------------------------------------------


def test_kill_works_with_no_session_at_all(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setenv(KILL_FILE, key_file(tmp_path / "kill.toml", KILL_KEY))

    async def work(venue, profile):
        await with_orders(venue, tmp_path / "nonces")
        assert 2 == open_at(venue)
        assert 0 == await command("ops", "kill", "--profile", profile, "--why", "test", "--json")
        assert 0 == open_at(venue)

    on_a_venue(work, tmp_path)
    shown = capsys.readouterr()
    said = json.loads(shown.out)
    assert ("set", 2, 0, []) == tuple(said[k] for k in ("flag", "cancelled", "left", "left_ids"))
    assert "no session" in said["session"]
    assert "has no stop now" in shown.err
    assert "test" == KillFlag(folder).read().why


def test_kill_does_not_wait_for_a_session_that_hangs(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setenv(KILL_FILE, key_file(tmp_path / "kill.toml", KILL_KEY))
    lease = Lease(folder, WallClock())
    with socket.socket(socket.AF_UNIX) as stopped:
        # As a stopped process leaves it: the kernel takes connections, nobody answers.
        here = os.getcwd()
        os.chdir(folder)
        stopped.bind("control")
        os.chdir(here)
        stopped.listen()

        async def work(venue, profile):
            await with_orders(venue, tmp_path / "nonces")
            assert 0 == await command("ops", "kill", "--profile", profile, "--json")
            assert 0 == open_at(venue)

        on_a_venue(work, tmp_path)
    assert "did not answer" in json.loads(capsys.readouterr().out)["session"]
    assert KillFlag(folder).is_set()
    lease.release()


def test_orders_go_though_the_flag_cannot_be_written(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setenv(KILL_FILE, key_file(tmp_path / "kill.toml", KILL_KEY))
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    codes = []

    async def work(venue, profile):
        await with_orders(venue, tmp_path / "nonces")
        codes.append(await command("ops", "kill", "--profile", profile, "--json"))
        assert 0 == open_at(venue)

    on_a_venue(work, tmp_path)
    said = json.loads(capsys.readouterr().out)
    assert [3] == codes
    assert "0755" in said["flag"]
    assert 2 == said["cancelled"]


def test_the_flag_is_set_though_venue_and_keys_are_missing(tmp_path, folder, monkeypatch, capsys):
    profile = tmp_path / "live.toml"
    profile.write_text(f'[live]\nendpoint = "local"\nlocal_port = {free_port()}\n')
    assert 3 == main(["ops", "kill", "--profile", str(profile)])
    assert KillFlag(folder).is_set()
    assert "key file" in capsys.readouterr().err

    monkeypatch.setenv(KILL_FILE, key_file(tmp_path / "kill.toml", KILL_KEY))
    monkeypatch.setitem(cancel_all.__kwdefaults__, "tries", 1)
    assert 8 == main(["ops", "kill", "--profile", str(profile), "--json"])
    assert "not known" == json.loads(capsys.readouterr().out)["cancelled"]


# --- arm ------------------------------------------------------------------------------------------


def type_in(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.mark.parametrize("text", ["", "\n", "arm\n", "ARM main\n", "yes\n", "arm main2\n"])
def test_arming_needs_the_phrase(folder, monkeypatch, capsys, text):
    KillFlag(folder).set(1, "test")
    type_in(monkeypatch, text)

    assert 6 == main(["ops", "arm"])
    assert KillFlag(folder).is_set()


def test_the_phrase_arms_once_every_alert_is_read(folder, monkeypatch, capsys):
    KillFlag(folder).set(1, "test")
    alerts = Alerts(folder, WallClock(), None)
    alerts.start()
    alerts.tell("UNPROTECTED")
    alerts.stop()
    type_in(monkeypatch, "arm main\n")
    assert 6 == main(["ops", "arm"])
    assert "not acknowledged" in capsys.readouterr().err

    assert 0 == main(["ops", "acknowledge"])
    assert 0 == Alerts(folder, WallClock(), None).open_count()
    type_in(monkeypatch, "arm main\n")
    assert 0 == main(["ops", "arm"])
    assert not KillFlag(folder).is_set()
    assert 0 == main(["ops", "arm"])


# --- with a session -------------------------------------------------------------------------------


class Desk:
    """A session that does what it is told."""

    def __init__(self) -> None:
        self.now = MODE_EXIT_ONLY
        self.asked: list[int] = []

    def status(self):
        names = {MODE_NORMAL: "NORMAL", MODE_EXIT_ONLY: "EXIT_ONLY", MODE_HALT: "HALT"}
        order = {"id": 1_795_257_765_697_403, "symbol": "BTC/USD", "state": "open"}
        held = {"symbol": "BTC/USD", "qty": "0.5", "protection": "PROTECTED"}
        return {"mode": names[self.now], "positions": [held], "orders": [order], "alerts": []}

    def mode(self):
        return self.now

    def symbol_row(self, symbol):
        return 0

    def family_code(self, name):
        return 1

    def acknowledge(self, number):
        self.asked.append(number)
        return 1

    def must_not_loosen(self):
        return ""

    async def take(self, rows, may):
        may()
        self.now = int(rows[0]["aux"]) or self.now
        return {"mode": self.now}


def beside_a_session(folder, work):
    desk = Desk()
    lease = Lease(folder, WallClock())

    async def run():
        server = ControlServer(folder, desk)
        await server.start()
        try:
            await work(desk)
        finally:
            await server.stop()

    asyncio.run(asyncio.wait_for(run(), 60))
    lease.release()


def test_loosening_is_typed_and_tightening_is_not(folder, monkeypatch, capsys):
    async def work(desk):
        type_in(monkeypatch, "no\n")
        assert 6 == await command("ops", "mode", "NORMAL")
        assert MODE_EXIT_ONLY == desk.now
        type_in(monkeypatch, "NORMAL\n")
        assert 0 == await command("ops", "mode", "normal")
        assert MODE_NORMAL == desk.now
        type_in(monkeypatch, "")
        assert 0 == await command("ops", "mode", "exit-only")
        assert MODE_EXIT_ONLY == desk.now
        assert 0 == await command("ops", "mode", "NORMAL", "--yes")
        assert MODE_NORMAL == desk.now
        assert 2 == await command("ops", "mode", "FASTER")

    beside_a_session(folder, work)


def test_status_with_and_without_a_session(folder, capsys):
    async def work(desk):
        assert 0 == await command("ops", "status")
        assert 0 == await command("ops", "status", "--json")

    beside_a_session(folder, work)
    text, _, document = capsys.readouterr().out.rpartition('{"kind"')
    assert ["symbol", "qty", "protection"] in [each.split() for each in text.splitlines()]
    assert ["1795257765697403", "BTC/USD", "open"] in [each.split() for each in text.splitlines()]
    assert ["BTC/USD", "0.5", "PROTECTED"] in [each.split() for each in text.splitlines()]
    facts = json.loads('{"kind"' + document)
    assert "EXIT_ONLY" == facts["session"]["mode"]
    assert f"pid {os.getpid()} " in facts["account"]["driven_by"]

    assert 6 == main(["ops", "status", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert (None, "nobody") == (facts["session"], facts["account"]["driven_by"])


def test_other_buttons(folder, capsys):
    async def work(desk):
        for words in (
            *(("flatten",), ("flatten", "BTC/USD"), ("release", "BTC/USD")),
            *(("enable-family", "momentum"), ("acknowledge", "7")),
        ):
            assert 0 == await command("ops", *words)
        assert [7] == desk.asked

    beside_a_session(folder, work)


def test_alerts_of_a_session_that_hangs_are_left_to_it(folder, capsys):
    lease = Lease(folder, WallClock())
    assert 6 == main(["ops", "acknowledge"])
    lease.release()


# --- check ready ----------------------------------------------------------------------------------


def verdicts(text):
    return {each["check"]: each["verdict"] for each in json.loads(text)["checks"]}


def test_a_session_that_can_begin(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(FLAG, "local")
    monkeypatch.setenv(ENV_FILE, key_file(tmp_path / "keys.toml", DEMO_KEY))
    codes = []

    async def work(venue, profile):
        await with_orders(venue, tmp_path / "nonces")
        codes.append(await command("check", "ready", profile, "--json"))

    on_a_venue(work, tmp_path, allow_orders=True)
    text = capsys.readouterr().out
    found = verdicts(text)
    said = {each["check"]: each["found"] for each in json.loads(text)["checks"]}

    assert [0] == codes, text
    assert json.loads(text)["ready"]
    assert "wrong" not in found.values()
    assert {"venue", "clock", "pairs", "keys", "key: rights", "live gate", "mirror"} <= set(found)
    assert "100000.0000 USD" in said["balances"]
    orders = "2: buy 0.01000000 XBTUSD @ limit 100.0; sell 0.01000000 XBTUSD @ stop-loss 50.0"
    assert orders == said["open orders"]
    assert DEMO_SECRET not in text
    assert DEMO_KEY not in text


def test_everything_that_is_missing_is_named_at_once_and_no_key_is_read(
    tmp_path, folder, monkeypatch, capsys
):
    """The trap: keys that would raise if they were looked at."""
    monkeypatch.setenv(ENV_KEY, CANARY)
    monkeypatch.setattr(
        "adapters.kraken.keys.read_keys", lambda *a, **k: pytest.fail("a key was read")
    )
    KillFlag(folder).set(1, "test")
    lease = Lease(folder, WallClock())
    codes = []

    async def work(venue, profile):
        codes.append(await command("check", "ready", profile, "--json"))

    on_a_venue(work, tmp_path, symbols=["BTC/USD", "NONE/USD"])
    lease.release()
    text = capsys.readouterr().out
    wrong = [e["check"] for e in json.loads(text)["checks"] if e["verdict"] == "wrong"]

    assert [6] == codes
    assert ["live gate", "live gate", "lease", "kill flag", "pairs"] == wrong
    assert "not looked at" == verdicts(text)["keys"]
    assert CANARY not in text


def test_paper_needs_no_key_and_no_flag(tmp_path, monkeypatch, capsys):
    codes = []

    async def work(venue, profile):
        codes.append(await command("check", "ready", profile, "--for", "paper", "--json"))

    on_a_venue(work, tmp_path)
    found = verdicts(capsys.readouterr().out)
    assert [0] == codes
    assert "not looked at" == found["keys"]


def test_a_venue_at_another_pace_needs_the_speed_that_its_session_gets(tmp_path, capsys):
    """Its market is of January: no clock of this machine agrees with it."""
    codes = []

    async def work(venue, profile):
        for speed in ((), ("--speed", "20")):
            codes.append(await command("check", "ready", profile, "--for", "paper", *speed))

    on_a_venue(work, tmp_path, recorded_time=True)

    assert [10, 0] == codes
    assert "If the venue was given --speed" in capsys.readouterr().out


def test_a_venue_that_is_not_there_and_a_folder_open_to_others(tmp_path, folder, capsys):
    folder.mkdir(parents=True, mode=0o755)
    profile = tmp_path / "live.toml"
    profile.write_text(
        f'[live]\nendpoint = "local"\nlocal_port = {free_port()}\nsymbols = ["BTC/USD"]\n'
        "[mirror]\nrequired = true\n"
    )

    assert 6 == main(["check", "ready", str(profile)])
    shown = capsys.readouterr()
    for each in ("venue", "account's folder", "mirror", "live gate"):
        assert each in shown.out
    assert "0755" in shown.out
