"""What every test may lean on: the shared recordings, and hypothesis that suits compiled code.

After the last test everything that tests wrote and said is searched for the suite's secrets
(tests/support/canaries.py): a run that leaves one fails.
"""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.canaries import leaks_below, secrets_in

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("KAPITAALBOT_SHARED", ROOT.parent / "shared"))

# No deadline: the first call of a kernel compiles it. In CI the examples are the same every time,
# so that a red build is about the change; on a person's machine they differ and find more.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_configure(config: pytest.Config) -> None:
    """Compiled integers wrap in silence; the same kernels in plain Python warn about it."""
    # engine/jit.py silences it outside pytest, which starts from filters of its own.
    config.addinivalue_line(
        "filterwarnings", "ignore:First-class function type feature is experimental"
    )
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        config.addinivalue_line(
            "filterwarnings", r"ignore:overflow encountered in scalar:RuntimeWarning"
        )


def shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(
            f"no shared recordings at {folder}: they are not part of this repository; "
            "set KAPITAALBOT_SHARED to the folder that holds data/ and kraken/"
        )
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded market data, or a skip that says where it was looked for."""
    return shared_folder("data")


@pytest.fixture(scope="session")
def shared_kraken() -> Path:
    """The folder of notes and samples of Kraken's interface, or a skip."""
    return shared_folder("kraken")


# --- no secret in anything that tests leave -------------------------------------------------------

LEAKS = pytest.StashKey[list[str]]()
BEGAN = pytest.StashKey[float]()


@pytest.fixture
def shows_keys() -> None:
    """For a test whose output holds a secret on purpose: what it prints and logs is not searched."""


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[LEAKS] = []
    session.config.stash[BEGAN] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Look at what a test printed and logged, in the process that ran it."""
    report = yield
    if report.when == "teardown" and "shows_keys" not in getattr(item, "fixturenames", ()):
        for title, text in report.sections:
            item.config.stash[LEAKS] += [
                f"{item.nodeid}, {title}: {each}" for each in secrets_in(text.encode())
            ]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search the temporary folders of this process, before they are cleared."""
    config = session.config
    leaks = config.stash[LEAKS]
    factory = getattr(config, "_tmp_path_factory", None)
    over_workers = bool(getattr(config.option, "numprocesses", None))  # they search their own
    if not over_workers and factory is not None and factory._basetemp is not None:
        leaks += leaks_below(Path(factory._basetemp), config.stash[BEGAN] - 1.0)
    if hasattr(config, "workeroutput"):
        config.workeroutput["leaks"] = leaks  # of a worker of xdist, for the process above it
    elif leaks and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    node.config.stash[LEAKS] += getattr(node, "workeroutput", {}).get("leaks", [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    leaks = sorted(set(config.stash.get(LEAKS, [])))
    if leaks:
        terminalreporter.section("secrets in what tests left", sep="=", red=True)
        for each in leaks:
            terminalreporter.line(each)
