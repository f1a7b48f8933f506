from pathlib import Path

import pytest

from agenthub.cli.hint import did_you_mean, hint

HOME = Path("/h")


class Hub:
    """Has the server `git` with the tool `log`, and `old`, which is off."""

    def endpoints(self):
        return [
            {"name": "git", "config": {}},
            {"name": "old", "config": {"enabled": False}},
        ]

    def tools(self, endpoint=None):
        assert endpoint == "git"
        return [{"name": "log"}]


@pytest.mark.parametrize(
    ("code", "server", "tool", "said"),
    [
        ("circuit_open", "git", "", "`agenthub doctor git` says what is wrong with it."),
        ("circuit_open", "", "", "`agenthub doctor SERVER` says what is wrong with it."),
        ("storage_failed", "", "", "The hub's files are in /h."),
        (
            "unauthorized",
            "",
            "",
            "The hub does not know the token in /h/admin-token; start it anew.",
        ),
        ("invalid_params", "git", "log", "`agenthub tools git --json` shows what is expected."),
        ("invalid_params", "git", "", ""),
        ("unknown_target", "", "", "`agenthub view list` and `agenthub key list` show what there"),
        ("unknown_target", "gti", "", "Did you mean 'git'?"),
        ("unknown_target", "zzz", "", "`agenthub list` shows the servers."),
        ("unknown_target", "old", "log", "`agenthub enable old` switches it on."),
        ("unknown_target", "git", "lg", "Did you mean 'log'?"),
        ("unknown_target", "git", "zzz", "`agenthub tools git` shows what it has."),
        ("bad_setting", "git", "", ""),
    ],
)
def test_what_to_do_depends_on_what_is_there(code, server, tool, said):
    found = hint(code, server, tool, Hub(), HOME)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_what_is_like_nothing_is_not_asked_about():
    assert did_you_mean("lst", ["list", "call"]) == "Did you mean 'list'?"
    assert did_you_mean("zzz", iter(["list", "call"])) == ""
