import pytest

from agenthub.cli.finding import describe, is_well, mark, sign_in


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


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, ""),
        ({"signed_in": False, "problem": "x"}, ""),
        ({"signed_in": True, "ends_s": None, "wanted": []}, "signed in"),
        (
            {"signed_in": True, "wanted": ["a\x1b", "b"]},
            "signed in; it lacks scopes: a\N{REPLACEMENT CHARACTER} b (`agenthub login git`)",
        ),
    ],
)
def test_whether_the_hub_is_signed_in_is_a_word(state, words):
    assert sign_in({"name": "git", "sign_in": state}) == words
    assert sign_in({"name": "git"}) == ""
