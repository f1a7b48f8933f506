"""The admin token, and private files as such."""

import os
import resource

import pytest

from agenthub.app.admin_token import admin_token
from agenthub.app.private_file import read_private, write_private
from agenthub.domain.errors import StorageFailed


def refusal(home):
    with pytest.raises(StorageFailed) as caught:
        admin_token(home)
    return str(caught.value)


def test_the_first_start_makes_it_and_the_next_ones_find_it(tmp_path):
    token = admin_token(tmp_path)
    assert len(token) >= 32
    assert (tmp_path / "admin-token").read_text() == token + "\n"
    assert (tmp_path / "admin-token").stat().st_mode & 0o777 == 0o600
    assert admin_token(tmp_path) == token
    assert sorted(p.name for p in tmp_path.iterdir()) == ["admin-token"]


def test_a_loose_umask_does_not_open_it(tmp_path):
    before = os.umask(0)
    try:
        admin_token(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "admin-token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_one_that_others_may_read_or_write_is_refused_and_what_to_do_is_said(tmp_path, mode):
    """A54."""
    admin_token(tmp_path)
    (tmp_path / "admin-token").chmod(mode)
    words = refusal(tmp_path)
    assert words.startswith(f"Other users may read {tmp_path / 'admin-token'}")
    assert "chmod 600" in words


@pytest.mark.parametrize("content", [b"", b"short\n", b"x" * 300, b"a b" * 20, b"\xff" * 40])
def test_what_is_no_token_is_refused_not_replaced(tmp_path, content):
    write_private(tmp_path / "admin-token", "")
    (tmp_path / "admin-token").write_bytes(content)
    assert "remove it" in refusal(tmp_path)
    assert (tmp_path / "admin-token").read_bytes() == content


def test_a_link_is_not_followed(tmp_path):
    write_private(tmp_path / "elsewhere", "x" * 40)
    (tmp_path / "admin-token").symlink_to(tmp_path / "elsewhere")
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_does_not_hold_the_start_up(tmp_path, make):
    make(tmp_path / "admin-token", 0o600)
    assert "is not a regular file" in refusal(tmp_path) or "cannot be read" in refusal(tmp_path)


def test_on_a_full_disk_nothing_half_made_is_left_in_its_place(tmp_path):
    """A file size limit stands for the full disk: the write fails."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        words = refusal(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert words == f"{tmp_path / 'admin-token'} cannot be written: File too large."
    assert not (tmp_path / "admin-token").exists()
    assert len(admin_token(tmp_path)) >= 32


def test_a_private_file_that_is_not_there_is_none(tmp_path):
    assert read_private(tmp_path / "nothing") is None


def test_a_file_of_another_user_is_refused(tmp_path, monkeypatch):
    write_private(tmp_path / "admin-token", "x" * 40)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "belongs to another user" in refusal(tmp_path)
