"""The commit of a checkout, from layouts as gitrepository-layout(5) has them."""

import re

import pytest

from engine.version import commit_of, sources

ONE, TWO = "0123456789abcdef0123456789abcdef01234567", "f" * 40


@pytest.fixture
def git(tmp_path):
    folder = tmp_path / ".git"
    (folder / "refs/heads").mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


def test_the_commit_of_a_branch(git, tmp_path):
    (git / "refs/heads/main").write_text(f"{ONE}\n")

    assert ONE == commit_of(tmp_path)


def test_a_loose_ref_is_newer_than_the_packed_one(git, tmp_path):
    packed = f"# pack-refs with: peeled fully-peeled sorted\n{TWO} refs/heads/main\n^{ONE}\n"
    (git / "packed-refs").write_text(packed)
    assert TWO == commit_of(tmp_path)

    (git / "refs/heads/main").write_text(f"{ONE}\n")
    assert ONE == commit_of(tmp_path)


def test_a_detached_head(git, tmp_path):
    (git / "HEAD").write_text(f"{TWO}\n")

    assert TWO == commit_of(tmp_path)


def test_a_worktree_has_its_own_head_and_the_refs_of_its_repository(git, tmp_path):
    (git / "refs/heads/side").write_text(f"{ONE}\n")
    inner = git / "worktrees/there"
    inner.mkdir(parents=True)
    (inner / "HEAD").write_text("ref: refs/heads/side\n")
    (inner / "commondir").write_text("../..\n")
    there = tmp_path / "there"
    there.mkdir()
    (there / ".git").write_text(f"gitdir: {inner}\n")

    assert ONE == commit_of(there)


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none\n", "not a commit\n", "ref: \0\n"])
def test_what_cannot_be_read_is_no_commit(git, tmp_path, head):
    (git / "HEAD").write_text(head)

    assert "" == commit_of(tmp_path)
    assert "" == commit_of(tmp_path / "elsewhere")


def test_sources_are_a_digest():
    assert re.fullmatch("[0-9a-f]{64}", sources())
