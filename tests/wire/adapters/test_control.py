"""The socket of a session: what a request becomes, who may ask, what cannot break it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters.control import ControlServer, NoSessionError, ask, loosens
from engine.errors import RefusedError
from engine.events import (
    EVENT,
    MODE,
    MODE_EXIT_ONLY,
    MODE_HALT,
    MODE_NORMAL,
    MODE_REDUCED,
    OPERATOR,
    OPERATOR_ACKNOWLEDGE,
    OPERATOR_ENABLE_FAMILY,
    OPERATOR_FLATTEN,
    OPERATOR_RELEASE_SYMBOL,
    WHO_OPERATOR,
    WHY_COMMAND,
    WHY_KILL,
)

ROOT = Path(__file__).resolve().parents[3]


class Desk:
    """A session of two pairs that notes what it is given."""

    def __init__(self) -> None:
        self.taken: list[np.ndarray] = []
        self.now = MODE_EXIT_ONLY
        self.against = ""
        self.hangs = False
        self.acknowledged: list[int] = []
        self.meanwhile = lambda: None  # happens between the asking and its turn

    def status(self):
        return {"mode": self.now, "nan": None}

    def mode(self):
        return self.now

    def symbol_row(self, symbol):
        try:
            return ("BTC/USD", "ETH/USD").index(symbol)
        except ValueError:
            raise RefusedError(f"{symbol} is not traded.") from None

    def family_code(self, name):
        if name != "momentum":
            raise RefusedError(f"{name} is no family.")
        return 4

    def acknowledge(self, number):
        self.acknowledged.append(number)
        return 2

    def must_not_loosen(self):
        return self.against

    async def take(self, rows, may):
        if self.hangs:
            await asyncio.sleep(3600)
        self.meanwhile()
        may()
        self.taken.append(rows)
        if rows[0]["kind"] == MODE:
            self.now = int(rows[0]["aux"])
        return {"mode": self.now}


def serve(folder: Path, work, answer_s: float = 5.0):
    """Run `work(desk, ask_later)` beside a server; requests go out from a thread."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    desk = Desk()

    async def run():
        server = ControlServer(folder, desk, answer_s)
        await server.start()
        try:
            return await work(desk, server)
        finally:
            await server.stop()
            await server.stop()

    return asyncio.run(run())


def asked(folder: Path, *requests, prepare=lambda desk: None, answer_s: float = 5.0):
    async def work(desk, server):
        prepare(desk)
        answers = [await asyncio.to_thread(ask, folder, each) for each in requests]
        return answers, desk

    return serve(folder, work, answer_s)


def test_each_request_becomes_its_event(tmp_path):
    answers, desk = asked(
        tmp_path / "main",
        {"do": "mode", "mode": "REDUCED"},
        {"do": "flatten", "symbol": None},
        {"do": "flatten", "symbol": "ETH/USD"},
        {"do": "acknowledge", "number": 7},
        {"do": "enable-family", "family": "momentum"},
        {"do": "release", "symbol": "BTC/USD"},
        {"do": "kill"},
    )
    fields = ("kind", "id", "sym", "aux", "qty")

    assert [True] * 7 == [each["ok"] for each in answers]
    assert [
        (MODE, WHO_OPERATOR, -1, MODE_REDUCED, WHY_COMMAND),
        (OPERATOR, OPERATOR_FLATTEN, -1, 0, 0),
        (OPERATOR, OPERATOR_FLATTEN, 1, 0, 0),
        (OPERATOR, OPERATOR_ACKNOWLEDGE, -1, 7, 0),
        (OPERATOR, OPERATOR_ENABLE_FAMILY, -1, 4, 0),
        (OPERATOR, OPERATOR_RELEASE_SYMBOL, 0, 0, 0),
        (MODE, WHO_OPERATOR, -1, MODE_HALT, WHY_KILL),
    ] == [tuple(int(rows[0][name]) for name in fields) for rows in desk.taken]
    assert all(rows.dtype == EVENT and len(rows) == 1 for rows in desk.taken)
    assert {"mode": MODE_REDUCED} == answers[0]["became"]
    assert {"acknowledged": 2, "mode": MODE_REDUCED} == answers[3]["became"]
    assert [7] == desk.acknowledged


def test_a_question_is_no_event(tmp_path):
    answers, desk = asked(tmp_path / "main", {"do": "status"})

    assert {"mode": MODE_EXIT_ONLY, "nan": None} == answers[0]["became"]
    assert [] == desk.taken


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"do": "fly"}, "nothing that can be asked"),
        ({}, "nothing that can be asked"),
        ({"do": "mode", "mode": "normal"}, "not a mode"),
        ({"do": "mode", "mode": ["NORMAL"]}, "not a mode"),
        ({"do": "flatten", "symbol": "DOGE/USD"}, "not traded"),
        ({"do": "release"}, "not traded"),
        ({"do": "enable-family", "family": "x" * 3000}, "is no family"),
        ({"do": "acknowledge", "number": -1}, "not the number"),
        ({"do": "acknowledge", "number": True}, "not the number"),
        ({"do": "acknowledge", "number": 1 << 70}, "not the number"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(tmp_path, request_, says):
    answers, desk = asked(tmp_path / "main", request_)

    assert not answers[0]["ok"]
    assert says in answers[0]["message"]
    assert [] == desk.taken
    assert [] == desk.acknowledged


def test_loosening_is_refused_while_something_stands_against_it_and_tightening_is_not(tmp_path):
    def prepare(desk):
        desk.against = "2 critical alerts are not acknowledged"

    answers, desk = asked(
        tmp_path / "main",
        {"do": "mode", "mode": "NORMAL"},
        {"do": "mode", "mode": "EMERGENCY"},
        {"do": "mode", "mode": "HALT"},
        {"do": "mode", "mode": "EXIT_ONLY"},
        prepare=prepare,
    )

    assert [False, True, True, False] == [each["ok"] for each in answers]
    assert "not acknowledged" in answers[0]["message"]
    assert MODE_HALT == desk.now


def test_what_comes_up_between_the_asking_and_its_turn_stands_against_it_too(tmp_path):
    def an_alert(desk):
        desk.meanwhile = lambda: setattr(desk, "against", "1 critical alerts are not acknowledged")

    def a_halt(desk):
        desk.now = MODE_REDUCED
        desk.meanwhile = lambda: setattr(desk, "now", MODE_HALT)

    for prepare, mode, says in (
        (an_alert, MODE_EXIT_ONLY, "not acknowledged"),
        (a_halt, MODE_HALT, "tightened from REDUCED"),
    ):
        answers, desk = asked(
            tmp_path / says.split()[0], {"do": "mode", "mode": "NORMAL"}, prepare=prepare
        )
        assert says in answers[0]["message"]
        assert mode == desk.now
        assert [] == desk.taken


def test_what_comes_up_meanwhile_keeps_nobody_from_tightening(tmp_path):
    def prepare(desk):
        desk.meanwhile = lambda: setattr(desk, "against", "1 critical alerts are not acknowledged")

    answers, desk = asked(tmp_path / "main", {"do": "mode", "mode": "HALT"}, prepare=prepare)

    assert answers[0]["ok"]
    assert MODE_HALT == desk.now


def test_what_loosens():
    assert loosens(MODE_EXIT_ONLY, MODE_NORMAL)
    assert not loosens(MODE_NORMAL, MODE_HALT)
    assert not loosens(MODE_HALT, MODE_HALT)


def test_a_session_that_takes_long_says_so(tmp_path):
    def prepare(desk):
        desk.hangs = True

    answers, _ = asked(tmp_path / "main", {"do": "flatten"}, prepare=prepare, answer_s=0.05)

    assert "NOT_YET" == answers[0]["code"]


def test_bytes_that_are_no_request_end_the_talk_and_nothing_else(tmp_path):
    folder = tmp_path / "main"
    noise = [b"\n", b"{\n", b"[1]\n", b"\xff\xfe\n", b"null\n", b"[" * 3000 + b"\n", b'{"do": 1}\n']

    def talk():
        said = []
        for each in noise:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(5)
                line.connect(str(folder / "control"))
                line.sendall(each)
                said.append(json.loads(line.recv(9999))["ok"])
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(folder / "control"))
            line.sendall(b"x" * 100_000)
            said.append(line.recv(100) == b"" or None)
        return said

    async def work(desk, server):
        said = await asyncio.to_thread(_or_reset, talk)
        return said, await asyncio.to_thread(ask, folder, {"do": "status"})

    said, answer = serve(folder, work)
    assert [False] * len(noise) == said[: len(noise)]
    assert answer["ok"]


def _or_reset(talk):
    try:
        return talk()
    except (ConnectionResetError, BrokenPipeError):
        return [False] * 7


def test_socket_and_folder_are_for_their_owner_only(tmp_path):
    async def work(desk, server):
        return (tmp_path / "main" / "control").stat().st_mode & 0o777

    assert 0o600 == serve(tmp_path / "main", work)
    assert not (tmp_path / "main" / "control").exists()


def test_a_long_folder_name_is_no_obstacle(tmp_path):
    folder = tmp_path / ("x" * 60) / ("y" * 60) / "main"
    answers, _ = asked(folder, {"do": "status"})

    assert answers[0]["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_listened_to_even_if_the_rights_were_opened(tmp_path):
    folder = tmp_path / "main"
    script = (
        "import os, socket, sys\n"
        "line = socket.socket(socket.AF_UNIX)\n"
        "line.settimeout(5)\n"
        "fd = os.open(sys.argv[1], os.O_PATH)\n"
        "os.setuid(65534)\n"
        "line.connect(f'/proc/self/fd/{fd}')\n"
        'line.sendall(b\'{"do": "kill"}\\n\')\n'
        "print(line.recv(100))\n"
    )

    async def work(desk, server):
        (folder / "control").chmod(0o777)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, str(folder / "control")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, _ = await child.communicate()
        return out, desk.taken, server.n_refused

    out, taken, n_refused = serve(folder, work)
    assert b"ok" not in out
    assert [] == taken
    assert 1 == n_refused


def test_nobody_listens(tmp_path):
    with pytest.raises(NoSessionError, match="no session of the account main") as caught:
        ask(tmp_path / "main", {"do": "status"})
    assert 6 == caught.value.exit_code

    (tmp_path / "main").mkdir()
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "main" / "control"))
    with pytest.raises(NoSessionError, match="no session"):
        ask(tmp_path / "main", {"do": "status"})


def test_a_session_that_hangs_is_not_waited_for(tmp_path):
    """As a stopped process does: the kernel takes the connection, nobody answers."""
    (tmp_path / "main").mkdir()
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(tmp_path / "main" / "control"))
        stopped.listen()
        with pytest.raises(NoSessionError, match="did not answer within"):
            ask(tmp_path / "main", {"do": "kill"}, timeout_s=0.05)


def test_a_socket_that_a_dead_session_left_is_replaced(tmp_path):
    (tmp_path / "main").mkdir()
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "main" / "control"))
    answers, _ = asked(tmp_path / "main", {"do": "status"})

    assert answers[0]["ok"]
