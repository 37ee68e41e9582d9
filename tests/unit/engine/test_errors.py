"""Errors carry their exit code and their next step, also through a process boundary."""

from __future__ import annotations

import pickle

import pytest

from engine import errors

# The documented table: changing a code breaks scripts of other people.
CODES = {
    "ConfigError": 2,
    "SecretError": 3,
    "DataError": 4,
    "MismatchError": 5,
    "RefusedError": 6,
    "InvariantError": 7,
    "VenueError": 8,
    "StorageError": 9,
    "ClockError": 10,
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_each_class_has_its_documented_exit_code(name: str, code: int) -> None:
    assert code == getattr(errors, name).exit_code


def test_the_text_holds_message_and_hint() -> None:
    error = errors.DataError("file a is torn.", "Import it again.")

    assert str(error) == "file a is torn. Import it again."


def test_an_error_from_a_worker_process_keeps_its_class_and_hint() -> None:
    error = pickle.loads(pickle.dumps(errors.StorageError("disk is full.", "Free some space.")))

    assert isinstance(error, errors.StorageError)
    assert (error.message, error.hint) == ("disk is full.", "Free some space.")
