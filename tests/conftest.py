"""What every test may lean on: the shared recordings, and hypothesis that suits compiled code."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
