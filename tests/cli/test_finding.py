import pytest

from agenthub.cli.finding import describe, is_well, mark


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"ok": True}, "it answers"),
        ({"ok": True, "era": "modern", "version": "2026-07-28", "tools_count": 1},
         "modern 2026-07-28, 1 tool"),
        ({"ok": True, "era": None, "tools": ["a", "b"]}, "2 tools"),
        ({"ok": True, "tools_count": None}, "it answers"),
        ({"ok": True, "tools_count": 3, "tools_pending": 2, "suspicions": {"a": ["markup"]}},
         "3 tools, 2 not approved (`agenthub tools --pending`), 1 odd (`agenthub tools` says why)"),
        ({"ok": True, "tools_count": 3, "tools_pending": 0, "suspicions": {}}, "3 tools"),
        ({"ok": False}, "it does not answer yet."),
        ({"ok": False, "problem": "port refused.", "hint": "Start it."}, "port refused. Start it."),
        ({"ok": False, "reason": "a\nb"}, "a b."),
    ],
)  # fmt: skip
def test_a_finding_is_one_line(found, text):
    assert describe(found) == text


def test_a_finding_is_ok_or_sick():
    assert (mark({"ok": True}), mark({})) == ("ok", "sick")
    assert (is_well({"ok": 1}), is_well({})) == (True, False)
