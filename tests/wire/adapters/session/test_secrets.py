"""Whole sessions with keys that can be recognised: none of them is in anything that is left or said."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from adapters.attending import Attending
from adapters.cli.main import as_error
from adapters.control import ask
from adapters.kraken.keys import ENV_FILE, ENV_KEY, ENV_KEYS, ENV_SECRET, KILL_KEY
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from adapters.operate import operate
from adapters.running import Running
from engine.errors import KapitaalbotError, RefusedError
from tests.support.canaries import CANARY, leaks_below, secrets_in
from tests.support.live_session import market, ready_for

PASSWORDS = {
    "alerts": {"urls": [f"json://user:{CANARY}@127.0.0.1:9/"]},
    "mirror": {"dsn": f"postgresql://bot:{CANARY}@127.0.0.1:9/none"},
}
opened: list[str] = []  # files, by the audit hook; hooks stay for ever, so it only notes
watching = False


def note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event == "open":
        opened.append(str(arguments[0]))


sys.addaudithook(note_open)


@pytest.fixture
def set_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every variable of a key is set; the key file is there too."""
    for name in ENV_KEYS:
        monkeypatch.setenv(name, DEMO_SECRET)
    monkeypatch.setenv(ENV_KEY, DEMO_KEY)
    monkeypatch.setenv(KILL_KEY, "kill-key-of-the-local-venue")
    path = tmp_path / "kraken.toml"
    path.write_text(f'key = "{DEMO_KEY}"\nsecret = "{DEMO_SECRET}"\n')
    path.chmod(0o600)
    monkeypatch.setenv(ENV_FILE, str(path))
    return path


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Look(Attending):
    """What a person sees while it runs, and what a child process is given."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.texts: list[str] = []
        self.child = ""
        self._folder, self._port = folder, port
        self._thread = threading.Thread(target=self._look)

    def begin(self, running: Running) -> None:
        print_all = "import os; print(sorted(os.environ), list(os.environ.values()))"
        self.child = subprocess.run(
            [sys.executable, "-c", print_all], capture_output=True, text=True, check=True
        ).stdout
        self._thread.start()

    def _look(self) -> None:
        for _ in range(100):
            try:
                self.texts.append(str(ask(self._folder, {"do": "status"})))
                self.texts.append(str(ask(self._folder, {"do": "no such thing"})))
                break
            except RefusedError:
                threading.Event().wait(0.05)
        if self._port:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as page:
                self.texts.append(page.read().decode())

    def end(self, running: Running | None, failure: BaseException | None) -> None:
        if running is not None:
            self._thread.join()


def test_a_live_session_leaves_and_says_no_secret(tmp_path, set_keys, capfd):
    port, said = free_port(), []
    with market(speed=5.0) as venue:
        ready = ready_for(
            venue, tmp_path, "live", metrics={"port": port}, status={"every": "1s"}, **PASSWORDS
        )
        look = Look(ready.folder, port)
        ran = operate(ready, stop=lambda _: None, for_s=8.0, talk=said.append, more=(look,))
        tokens = list(venue.core.keyring._tokens)

    printed = capfd.readouterr()
    assert tokens  # the session had one
    assert "EXECUTION_ENGINE_START" in (ran.folder / "session.log").read_text()
    assert "EXECUTION_ENGINE_START" in printed.err
    assert 3 == len(look.texts)
    assert "kapitaalbot_session_info" in look.texts[-1]
    for text in (*look.texts, *said, printed.out, printed.err, look.child, str(ran.manifest)):
        assert [] == secrets_in(text.encode())
        assert not any(token in text for token in tokens)
    assert [] == leaks_below(tmp_path)
    assert "'PATH'" in look.child
    assert not any(f"'{name}'" in look.child for name in ENV_KEYS)
    assert not any(name in os.environ for name in ENV_KEYS)


def wrong_secret() -> str:
    return base64.b64encode(b"canary: the private half, which the venue has never seen..").decode()


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        (DEMO_KEY, wrong_secret()),
        ("CANARYpublicKEY0123456789", DEMO_SECRET),
        (DEMO_SECRET, DEMO_KEY),
        (DEMO_KEY, ""),
    ],
    ids=["secret", "key", "exchanged", "half"],
)
def test_the_error_of_a_wrong_key_shows_none_of_it(
    key, secret, tmp_path, monkeypatch, capfd, caplog
):
    monkeypatch.setenv(ENV_KEY, key)
    monkeypatch.setenv(ENV_SECRET, secret)
    with market(speed=5.0) as venue:
        ready = ready_for(venue, tmp_path, "live", **PASSWORDS)
        with pytest.raises(KapitaalbotError) as caught:
            operate(ready, stop=lambda _: None, for_s=5.0)

    code, message, hint = as_error(caught.value)
    printed = capfd.readouterr()
    assert 3 == code
    said = message + hint + repr(caught.value) + printed.out + printed.err + caplog.text
    assert [] == secrets_in(said.encode())
    assert [] == leaks_below(tmp_path)


class Spied(MutableMapping[str, str]):
    """The environment, and who asked it for a key."""

    def __init__(self, inner: MutableMapping[str, str]) -> None:
        self.inner, self.asked = inner, list[str]()

    def __getitem__(self, name: str) -> str:
        if name in ENV_KEYS or name == ENV_FILE:
            self.asked.append(name)
        return self.inner[name]

    def __setitem__(self, name: str, value: str) -> None:
        self.inner[name] = value

    def __delitem__(self, name: str) -> None:
        del self.inner[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)

    def items(self):  # layers of the configuration go through all names
        return self.inner.items()

    def copy(self):
        return dict(self.inner)

    def pop(self, name: str, *default: Any) -> Any:  # what is thrown away is not read
        return self.inner.pop(name, *default)


@pytest.mark.parametrize("mode", ["shadow", "paper"])
def test_without_the_flag_no_key_is_read_and_nothing_private_is_asked(
    mode, tmp_path, set_keys, monkeypatch
):
    global watching
    spied = Spied(os.environ)
    with market(speed=5.0) as venue:
        ready = ready_for(venue, tmp_path, mode)
        look = Look(ready.folder)
        opened.clear()
        monkeypatch.setattr(os, "environ", spied)
        watching = True
        try:
            ran = operate(ready, stop=lambda _: None, for_s=3.0, lines=False, more=(look,))
        finally:
            watching = False
            monkeypatch.undo()
        keyring, sent = venue.core.keyring, venue.sent

    assert ran.manifest["summary"]["events"] > 0
    assert [] == spied.asked
    assert not [path for path in opened if "kraken" in Path(path).name]
    assert opened  # the hook sees what is opened
    assert {} == keyring._nonces  # no signed call
    assert {} == keyring._tokens
    assert {"public"} == {each.endpoint for each in sent}
    assert not any(f"'{name}'" in look.child for name in ENV_KEYS)
