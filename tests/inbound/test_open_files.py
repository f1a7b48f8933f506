"""The limit of open files, against a system that is made up."""

import logging

import pytest

from agenthub.inbound import open_files
from agenthub.inbound.open_files import SPARE, room_for

WITHOUT = open_files.resource.RLIM_INFINITY


class System:
    def __init__(self, soft, hard, *, refuses=False):
        self.limits = (soft, hard)
        self.refuses = refuses

    def getrlimit(self, what):
        return self.limits

    def setrlimit(self, what, limits):
        if self.refuses:
            raise ValueError("not allowed")
        self.limits = limits


@pytest.fixture
def system(monkeypatch):
    def make(*args, **more):
        made = System(*args, **more)
        for name in ("getrlimit", "setrlimit"):
            monkeypatch.setattr(open_files.resource, name, getattr(made, name))
        return made

    return make


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1_024, WITHOUT, 10_000 + SPARE),
        (1_024, 1 << 20, 10_000 + SPARE),
        (1_024, 10_000 + SPARE, 10_000 + SPARE),
        (WITHOUT, WITHOUT, WITHOUT),
        (1 << 16, 1 << 20, 1 << 16),
    ],
)
def test_what_the_settings_need_is_asked_for_and_nothing_is_lowered(
    system, caplog, soft, hard, after
):
    made = system(soft, hard)
    assert room_for(10_000) == 10_000
    assert made.limits == (after, hard)
    assert not caplog.records


@pytest.mark.parametrize(
    ("soft", "hard", "refuses", "room"),
    [
        (1_024, 8_192, False, 8_192 - SPARE), (1_024, 1 << 20, True, 768), (256, 256, False, 192),
        (1_024, 10_000 + SPARE - 1, False, 9_999),
    ],
)  # fmt: skip
def test_where_there_are_too_few_fewer_are_taken_and_it_is_said(
    system, caplog, soft, hard, refuses, room
):
    system(soft, hard, refuses=refuses)
    with caplog.at_level(logging.WARNING):
        assert room_for(10_000) == room
    assert caplog.records[0].connections == room
