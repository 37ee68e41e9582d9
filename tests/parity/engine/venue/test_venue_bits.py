"""The venue holds the same bytes compiled, in plain Python and on a generic CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.print_venue import story_hash

ROOT = Path(__file__).resolve().parents[4]
N_STORIES = 6


def hash_in(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.print_venue", str(N_STORIES)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_bytes_without_the_jit():
    assert story_hash(N_STORIES) == hash_in(NUMBA_DISABLE_JIT="1")


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_OPT": "0"},
        {"NUMBA_BOUNDSCHECK": "1"},
    ],
    ids=["generic CPU", "not optimised", "bounds checked"],
)
def test_the_same_bytes_in_other_compilations(environment):
    assert story_hash(N_STORIES) == hash_in(**environment)
