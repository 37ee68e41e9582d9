"""Frames of the account's line are kept word by word, without what is secret."""

import json
import os
import stat

import pytest

from adapters.kraken.private_frames import FILE, PrivateFrames, read_frames
from adapters.kraken.private_line import Heard
from engine.errors import DataError
from tests.support.canaries import TOKEN_MARK

TOKEN = f"abcd{TOKEN_MARK}efgh"


def kept(folder, *lines: Heard | bytes) -> PrivateFrames:
    said: list[tuple[str, str]] = []
    frames = PrivateFrames(
        folder,
        lambda text: text.replace(TOKEN, "***"),
        lambda job: job(),
        lambda *t: said.append(t),
    )
    for each in lines:
        if isinstance(each, bytes):
            frames.sent(each, 9)
        else:
            frames.heard(each)
    frames.flush()
    return frames


def test_what_was_heard_is_read_again_as_it_was(tmp_path):
    heard = [
        Heard(1, "opened"),
        Heard(2, "frame", '{"channel":"executions","x":"é"}'.encode()),
        Heard(3, "dropped", code=4),
        Heard(5, "closed", code=1006, reason="gone"),
    ]

    frames = kept(tmp_path, heard[0], Heard(1, "tick"), heard[1], b'{"method":"ping"}', *heard[2:])

    assert list(read_frames(frames.path)) == heard
    assert stat.S_IMODE(os.stat(tmp_path / FILE).st_mode) == 0o600
    whats = [json.loads(line)["what"] for line in frames.path.read_text().splitlines()]
    assert whats == ["opened", "frame", "sent", "dropped", "closed"]


def test_tokens_are_taken_out_known_or_not(tmp_path):
    unknown = f"zz{TOKEN_MARK}yy"
    frames = kept(
        tmp_path,
        f'{{"method":"add_order","params":{{"token": "{unknown}","order_qty":1}}}}'.encode(),
        Heard(2, "frame", f'{{"echo":"{TOKEN}"}}'.encode()),
        Heard(3, "closed", code=1000, reason=f"bye {TOKEN}"),
    )

    text = frames.path.read_text()
    assert TOKEN_MARK not in text
    assert "order_qty" in text


def test_a_torn_last_line_ends_it_and_another_is_an_error(tmp_path):
    frames = kept(tmp_path, Heard(1, "frame", b"{}"), Heard(2, "frame", b"[]"))
    whole = frames.path.read_bytes()
    frames.path.write_bytes(whole[:-5])
    assert [each.ts for each in read_frames(frames.path)] == [1]

    frames.path.write_bytes(b"{broken\n" + whole)
    with pytest.raises(DataError, match="line 1"):
        list(read_frames(frames.path))


def test_a_disk_that_refuses_ends_the_keeping_and_not_the_session(tmp_path):
    said: list[tuple[str, str]] = []
    gone = tmp_path / "gone"
    frames = PrivateFrames(gone, str, lambda job: job(), lambda *text: said.append(text))

    for _ in range(2):
        frames.sent(b"{}", 1)
        frames.flush()

    assert len(said) == 1
    assert "not kept any more" in said[0][1]
    assert frames.n_dropped == 1
