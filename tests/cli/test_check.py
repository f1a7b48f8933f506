import pytest

from agenthub.admission import SignInState
from agenthub.domain.endpoint import Endpoint
from agenthub.health import ServerHealth


@pytest.fixture
def finds(hub):
    """What a look at each server finds."""
    found = {}

    async def test(name, seconds):
        hub.catalog.tested.append((name, seconds))
        return found.get(
            name, {"ok": True, "era": "modern", "version": "2026-07-28", "tools_count": 1}
        )

    hub.catalog.test = test
    return found


class TestCheck:
    def test_each_server_has_a_line(self, cli, hub, module, home):
        hub.health.servers = {"other": ServerHealth("down", "port refused")}
        ended = cli("check")
        head, first, second = ended.out.splitlines()
        assert head.split() == ["NAME", "STATE", "TRANSPORT", "ERA", "LIMIT", "BREAKER", "TIMEOUTS",
                                "FALLBACKS", "WHY"]  # fmt: skip
        for part in ("calculator", "ok", "http", "modern", "5 calls/s, 10 at once",
                     "closed, opens after 5 failures", "5/60/60 s", "  -"):  # fmt: skip
            assert part in first
        assert second.endswith("port refused.")
        assert module.opened == [(home, None)]

    def test_a_server_that_the_hub_is_signed_in_to_says_so(self, cli, hub):
        hub.health.servers = {"other": ServerHealth("down", "port refused")}
        hub.sign_ins.states = [SignInState(False, "", signed_in=True, wanted=("write",))]
        _, first, second = cli("check").out.splitlines()
        assert first.endswith("signed in; it lacks scopes: write (`agenthub login calculator`)")
        assert second.endswith("port refused.")

    def test_json_is_what_rest_gives(self, cli):
        shown = cli("check", "--json").json
        assert (shown["status"], len(shown["servers"])) == ("ok", 2)

    def test_no_servers(self, cli, hub):
        hub.catalog.all.clear()
        assert "`agenthub add`" in cli("check").out


class TestDoctor:
    def test_all_are_well(self, cli, hub, finds, module, home):
        ended = cli("doctor")
        assert ended.code == 0
        assert ended.out == (
            "calculator: ok: modern 2026-07-28, 1 tool\n"
            "other: ok: modern 2026-07-28, 1 tool\n"
            "All 2 servers are well.\n"
        )
        assert sorted(hub.catalog.tested) == [("calculator", 5), ("other", 5)]
        assert module.opened == [(home, [])], "the look connects, nothing else"

    def test_a_sick_one_is_explained_with_what_to_do_and_its_last_words(self, cli, hub, finds):
        finds["other"] = {
            "ok": False,
            "problem": "exited with code 1: a Python module is missing: foo",
            "hint": "Install it.",
            "stderr": ["Traceback", "\x1b[31mModuleNotFoundError: No module named 'foo'"],
        }
        ended = cli("doctor")
        assert ended.code == 1
        assert ended.out.splitlines()[1:] == [
            "other: sick: exited with code 1: a Python module is missing: foo. Install it.",
            "  | Traceback",
            "  | �[31mModuleNotFoundError: No module named 'foo'",
            "1 of 2 servers is sick.",
        ]

    def test_only_the_last_lines_of_stderr_are_shown(self, cli, finds):
        finds["other"] = {"ok": False, "stderr": [str(number) for number in range(50)]}
        assert cli("doctor").out.count("  | ") == 10

    def test_what_the_hub_knows_stands_in_for_what_the_look_did_not_find(self, cli, hub, finds):
        hub.health.servers = {"other": ServerHealth("down", "wants auth")}
        finds["other"] = {"ok": False}
        assert "other: sick: wants auth." in cli("doctor").out

    def test_one_server(self, cli, hub, finds):
        assert cli("doctor", "other").out.startswith("other: ok")
        assert hub.catalog.tested == [("other", 5)]
        assert cli("doctor", "nothing").code == 1

    def test_one_that_is_off_is_not_looked_at_and_is_no_failure(self, cli, hub, finds):
        hub.catalog.all["other"].endpoint = Endpoint("other", url="http://x/", enabled=False)
        ended = cli("doctor")
        assert ended.code == 0
        assert "other: off. `agenthub enable other`." in ended.out
        assert hub.catalog.tested == [("calculator", 5)]

    def test_an_open_breaker_is_told_too(self, cli, hub, finds):
        hub.catalog.all["other"].lane.breaker.force_open(0, "deploy", None)
        assert "its breaker is forced open" in cli("doctor").out

    def test_json(self, cli, finds):
        finds["other"] = {"ok": False, "problem": "port refused", "hint": ""}
        ended = cli("doctor", "--json")
        assert ended.code == 1
        first, second = ended.json["servers"]
        assert (first["ok"], first["problem"], first["era"]) == (True, "", "modern")
        assert (second["name"], second["problem"], second["enabled"]) == (
            "other",
            "port refused",
            True,
        )

    def test_no_servers(self, cli, hub):
        hub.catalog.all.clear()
        ended = cli("doctor")
        assert (ended.code, ended.out) == (0, "No servers. `agenthub add` adds one.\n")
