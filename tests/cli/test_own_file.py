import os
import stat

import pytest

from agenthub.cli import own_file
from agenthub.cli.ending import Failed


@pytest.fixture
def file(tmp_path):
    return tmp_path / "client" / "its.json"


def put(file, text, mode=0o640):
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


def test_a_file_that_is_not_there_is_made_and_its_folder_too(file):
    found = own_file.find(file)
    assert (found.data, found.text) == (None, "")
    assert own_file.replace(found, "new", private=False) is None
    assert (file.read_text(), mode(file), mode(file.parent)) == ("new", 0o600, 0o700)


def test_what_was_there_is_kept_beside_for_its_owner_only(file):
    put(file, "old")
    backup = own_file.replace(own_file.find(file), "new", private=False)
    assert (file.read_text(), mode(file)) == ("new", 0o640)
    assert (backup.read_text(), mode(backup)) == ("old", 0o600)


def test_a_file_with_a_secret_is_closed_to_others(file):
    put(file, "old", 0o644)
    own_file.replace(own_file.find(file), "new", private=True)
    assert mode(file) == 0o600


def test_each_backup_is_kept(file):
    put(file, "0")
    backups = {
        own_file.replace(own_file.find(file), str(number), private=True) for number in range(1, 4)
    }
    assert sorted(backup.read_text() for backup in backups) == ["0", "1", "2"]


def test_a_file_that_has_changed_meanwhile_is_left(file):
    put(file, "old")
    found = own_file.find(file)
    put(file, "newer")
    with pytest.raises(Failed, match="just been changed"):
        own_file.replace(found, "mine", private=True)
    assert file.read_text() == "newer"
    assert [path.suffix for path in file.parent.iterdir()].count(".json") == 1


def test_what_cannot_be_read_is_told(file):
    file.parent.mkdir()
    os.mkfifo(file)
    with pytest.raises(Failed, match="Not a regular file"):
        own_file.find(file)
    file.unlink()
    file.write_bytes(b"\xff")
    with pytest.raises(Failed, match="expected UTF-8"):
        _ = own_file.find(file).text


def test_a_file_that_is_too_large_is_refused(file, monkeypatch):
    monkeypatch.setattr(own_file, "SIZE_MAX", 3)
    put(file, "1234")
    with pytest.raises(Failed, match="at most 3 bytes"):
        own_file.find(file)


def test_a_disk_that_is_full_leaves_the_old_file_and_no_piece_of_the_new(file, monkeypatch):
    put(file, "old")
    found = own_file.find(file)

    def fsync(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Failed, match=r"No space left on device \(\d+ KiB free\)"):
        own_file.replace(found, "new", private=True)
    assert file.read_text() == "old"


def test_only_so_many_backups_of_one_second_are_tried(file, monkeypatch):
    put(file, "old")

    def taken(path, data, mode):
        raise FileExistsError

    monkeypatch.setattr(own_file, "_write", taken)
    with pytest.raises(Failed, match="no room for one more backup"):
        own_file.replace(own_file.find(file), "new", private=True)
