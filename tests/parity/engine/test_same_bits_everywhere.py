"""Numerics, books and the generator print one hash, whatever process they run in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.naive.digests import PIECES

ROOT = Path(__file__).resolve().parents[3]

# Written down when first computed: a change of compiler, library or machine that moves a bit
# shows here even if it moves it everywhere at once.
KNOWN = {
    "numerics": "16e37b854d11879ad4b6c01abaccdf9c5e5340e0ab15c75ef268ec89cd824093",
    "books": "7f83bc4ae23e2109d8d8af359b2abef573948008fa864a633f83f13a5e1747f0",
    "market": "b810320141a3b724617b104488214eb39d6becfae9b7eb8f373244e9e4a5de98",
}


def printed(*flags: str, **environment: str) -> dict[str, str]:
    """What a process with these flags and this environment prints."""
    done = subprocess.run(
        [sys.executable, *flags, "-m", "tests.naive.digests"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    return {name: piece() for name, piece in PIECES.items()}


def test_the_bits_are_those_that_were_written_down(here):
    assert here == KNOWN


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_another_process_with_another_hash_seed(here, hash_seed):
    assert printed(PYTHONHASHSEED=hash_seed) == here


def test_without_the_compiler(here):
    """-W error: a wrapped integer or an overflow would also end the process."""
    assert printed("-W", "error", NUMBA_DISABLE_JIT="1") == here


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CPU_NAME": "generic"},
        {"NUMBA_OPT": "0"},
        {"NUMBA_BOUNDSCHECK": "1"},
        {"NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "1"},
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"},
    ],
    ids=["generic CPU", "not optimised", "bounds checked", "other vectorisers", "libm without FMA"],
)
def test_under_another_target(here, environment):
    assert printed(**environment) == here
