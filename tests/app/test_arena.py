import ctypes

from agenthub.app import arena


class Library:
    def __init__(self):
        self.told = {}

    def mallopt(self, key, value):
        self.told[key] = value
        return 1


def test_large_blocks_are_kept_for_the_next_answer(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    arena.keep_freed()
    assert library.told == {-3: 4 << 20, -1: 8 << 20}


def test_a_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    arena.keep_freed()
