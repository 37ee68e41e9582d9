"""The venue of these tests: one per worker, with an account for each."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_desk import FaultDesk, fault_desk

# An account each, so that no test inherits what another left.
NAMES = tuple(f"a{i:02}" for i in range(60))


@pytest.fixture(scope="package")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultDesk]:
    with fault_desk(Path(tmp_path_factory.mktemp("faults")), NAMES) as made:
        yield made


_FREE = itertools.count(1)


@pytest.fixture
def account() -> str:
    """An account that nobody has used."""
    return NAMES[next(_FREE)]


@pytest.fixture
def another_account() -> str:
    """One more."""
    return NAMES[next(_FREE)]
