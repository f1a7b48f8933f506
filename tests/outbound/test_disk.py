import errno
import os

import pytest

from agenthub.outbound import disk


def error(number):
    return OSError(number, os.strerror(number))


@pytest.fixture
def four_kib(monkeypatch):
    """A disk of which four blocks of a KiB are left."""

    def statvfs(place):
        asked.append(str(place))
        return os.statvfs_result((1024, 1024, 100, 5, 4, 10, 3, favail[0], 0, 255))

    asked, favail = [], [2]
    monkeypatch.setattr(disk.os, "statvfs", statvfs)
    return asked, favail


def test_what_the_disk_said_is_said(tmp_path):
    assert disk.why(error(errno.EACCES), tmp_path) == "Permission denied"
    assert disk.why(OSError("odd"), tmp_path) == "odd"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_of_a_full_disk_also_how_much_of_it_is_free(tmp_path, four_kib, number):
    said = disk.why(error(number), tmp_path / "no" / "such")
    assert said == f"{os.strerror(number)} (4 KiB free)"
    assert four_kib[0] == [str(tmp_path)], "the nearest folder that is there"


def test_a_disk_that_takes_no_further_file_says_so(tmp_path, four_kib):
    four_kib[1][0] = 0
    said = disk.why(error(errno.ENOSPC), tmp_path)
    assert said == "No space left on device (4 KiB free, and room for no further file)"
