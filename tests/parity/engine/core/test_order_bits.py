"""Orders, positions and protection hold the same bytes compiled, in plain Python, on any CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jit import JIT_ENABLED
from tests.support.wild_world import history_hash

ROOT = Path(__file__).resolve().parents[4]


def hash_in(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.wild_world", "7"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_bytes_with_and_without_the_jit() -> None:
    assert history_hash(7) == hash_in(NUMBA_DISABLE_JIT="1" if JIT_ENABLED else "0")


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_BOUNDSCHECK": "1"},
    ],
    ids=["generic CPU", "bounds checked"],
)
def test_the_same_bytes_on_another_machine(environment: dict[str, str]) -> None:
    assert history_hash(7) == hash_in(**environment)
