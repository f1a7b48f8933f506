import pytest
from support.cli_hub import listening

from agenthub.admission import SignInState
from agenthub.domain.endpoint import Endpoint, RateLimit
from agenthub.domain.errors import StorageFailed
from agenthub.health import ServerHealth

URL = ["--url", "http://new.test/mcp"]


def well(**more):
    async def test(name, seconds):
        return {"ok": True, "era": "modern", "tools_count": 3, **more}

    return test


class TestAdd:
    def test_a_server_is_saved_looked_at_and_told_of(self, cli, hub, module, home):
        hub.catalog.test = well()
        ended = cli("add", "new", *URL, "--rps", "2", "--burst", "4", "--trust")
        assert ended.out == "Saved new (http). ok: modern, 3 tools\n"
        assert (ended.code, ended.err) == (0, "")
        made = hub.catalog.all["new"].endpoint
        assert made == Endpoint(
            "new", url="http://new.test/mcp", rate_limit=RateLimit(2, 4), trust=True
        )
        assert module.opened == [(home, ["new"])]

    def test_a_command_stands_after_two_dashes(self, cli, hub):
        ended = cli("add", "git", "--env", "TOKEN", "--", "uvx", "mcp-server-git", "--cwd", "/x")
        assert ended.code == 0
        made = hub.catalog.all["git"].endpoint
        assert made.command == ("uvx", "mcp-server-git", "--cwd", "/x")
        assert made.env == {"TOKEN": "${TOKEN}"}

    def test_without_the_dashes_the_hint_names_them(self, cli):
        refused = cli("add", "git", "uvx", "mcp-server-git", "--repository", "/x")
        assert refused.code == 2
        assert "come after `--`" in refused.err

    def test_a_sick_server_is_kept_and_that_is_no_failure(self, cli, hub):
        ended = cli("add", "new", *URL)
        assert (ended.code, ended.out) == (0, "Saved new (http). sick: port refused.\n")
        assert "new" in hub.catalog.all
        assert hub.catalog.tested == [("new", 2)], "two seconds, no more"

    def test_a_look_that_fails_is_no_failure_either(self, cli, hub, module, home):
        async def breaking(name, seconds):
            raise StorageFailed("The disk is full")

        hub.catalog.test = breaking
        ended = cli("add", "new", *URL)
        assert (ended.code, "The disk is full" in ended.out) == (0, True)

    def test_a_hub_that_dies_while_it_looks_is_no_failure(self, cli, monkeypatch):
        from agenthub.cli.access import HubAccess
        from agenthub.cli.ending import Failed

        def dying(self, names, seconds):
            raise Failed("The hub broke off.")

        monkeypatch.setattr(HubAccess, "test", dying)
        ended = cli("add", "new", *URL)
        assert (ended.code, ended.out) == (0, "Saved new (http). sick: The hub broke off.\n")

    @pytest.mark.parametrize("url", ["http://127.0.0.1:8787/mcp", "http://localhost:8787/sse/x"])
    def test_the_hub_itself_is_no_server(self, cli, hub, url):
        refused = cli("add", "new", "--url", url)
        assert refused.err.startswith(f"error: {url} is the hub itself, which would call itself")
        assert (refused.code, "new" in hub.catalog.all) == (1, False)

    def test_json_has_both_and_no_secret(self, cli):
        ended = cli("add", "new", *URL, "--header", "X-Key: canary", "--json")
        assert ended.json["endpoint"]["name"] == "new"
        assert ended.json["test"] == {"ok": False, "problem": "port refused"}
        assert "canary" not in ended.out

    def test_a_name_that_is_taken_is_refused_unless_it_may_be_replaced(self, cli, hub):
        refused = cli("add", "calculator", *URL)
        assert refused.code == 1
        assert "already (conflict). --replace puts this one in its place" in refused.err
        assert cli("add", "calculator", *URL, "--replace").code == 0
        assert hub.catalog.all["calculator"].endpoint.url == "http://new.test/mcp"
        assert cli("add", "newer", *URL, "--replace").code == 0
        assert "newer" in hub.catalog.all

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["a__b", *URL], "name: expected 1 to 63"),
            (["x", "--url", "ftp://x/"], "url: expected an address that begins with http"),
            (["x", *URL, "--rps", "0"], "rate_limit.rps: expected a number above 0"),
            (["x", "--env", "LD_PRELOAD=/x.so", "--", "y"], "env.LD_PRELOAD: it would load"),
            (["x", "--env", "PATH=:/bin", "--", "y"], "env.PATH: expected absolute folders"),
        ],
    )
    def test_a_wrong_setting_names_its_key_and_what_was_expected(self, cli, hub, arguments, words):
        """A26 by the command line."""
        refused = cli("add", *arguments)
        assert (refused.code, words in refused.err) == (1, True)
        assert set(hub.catalog.all) == {"calculator", "other"}

    @pytest.mark.parametrize(
        "arguments", [["x"], ["x", *URL, "--", "y"], ["x", *URL, "--rps", "a"]]
    )
    def test_wrong_usage_asks_nobody(self, cli, module, arguments):
        assert cli("add", *arguments).code == 2
        assert module.opened == []

    def test_a_command_with_a_shells_signs_is_words_and_nothing_more(self, cli, hub):
        """A26: nothing of it is ever seen by a shell."""
        words = ["sh", "-c", "echo $(id); rm -rf / | cat && `x`"]
        cli("add", "x", "--", *words)
        assert hub.catalog.all["x"].endpoint.command == tuple(words)


class TestRemove:
    def test_a_server_is_removed(self, cli, hub):
        assert cli("remove", "other").out == "Removed other.\n"
        assert set(hub.catalog.all) == {"calculator"}

    def test_programs_are_told_by_json(self, cli):
        assert cli("remove", "other", "--json").json == {"name": "other", "status": "removed"}

    def test_one_that_is_not_there_is_told(self, cli):
        refused = cli("remove", "nothing")
        assert refused.code == 1
        assert "no server named 'nothing' (unknown_target). `agenthub list`" in refused.err


class TestList:
    def test_a_running_hub_says_how_they_are(self, cli, hub, module, home):
        hub.health.servers = {"other": ServerHealth("down", "port refused")}
        hub.catalog.all["calculator"].listing = None
        with listening(module.gate, home):
            shown = cli("list").out.splitlines()
        assert shown[0].split() == ["NAME", "TRANSPORT", "HEALTH", "TOOLS", "ERA", "SERVER"]
        assert shown[1].split() == ["calculator", "http", "ok", "-", "modern",
                                    "http://calculator.test/mcp"]  # fmt: skip
        assert shown[2].endswith("http://other.test/mcp (port refused)")

    def test_a_server_that_the_hub_is_signed_in_to_says_so(self, cli, hub, module, home):
        hub.sign_ins.states = [SignInState(False, "", signed_in=True)]
        with listening(module.gate, home):
            assert cli("list").out.splitlines()[1].endswith("calculator.test/mcp (signed in)")

    def test_without_one_their_health_is_not_known(self, cli, hub):
        hub.catalog.all["other"].endpoint = Endpoint("other", command=("uvx", "x"), enabled=False)
        shown = cli("list").out.splitlines()
        assert "not running" in shown[1]
        assert shown[2].split()[:3] == ["other", "stdio", "off"]
        assert shown[2].endswith("uvx x")

    def test_json_is_what_rest_gives(self, cli):
        shown = cli("list", "--json").json
        assert [view["name"] for view in shown["endpoints"]] == ["calculator", "other"]

    def test_no_servers(self, cli, hub):
        hub.catalog.all.clear()
        assert "`agenthub add`" in cli("list").out
        assert cli("list", "--json").json == {"endpoints": []}

    def test_a_terminal_gets_colours_unless_it_wants_none(self, cli, monkeypatch):
        assert "\x1b[" in cli("list", terminal=True).out
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b[" not in cli("list", terminal=True).out

    def test_secrets_are_masked(self, cli, hub):
        command = ("x", "--token", "canary")
        hub.catalog.all["other"].endpoint = Endpoint("other", command=command)
        shown = cli("list").out + cli("list", "--json").out
        assert "canary" not in shown
        assert "--token ••••" in shown


def test_a_server_is_switched_off_and_on_and_its_settings_stay(cli, hub):
    url = "http://x.test/mcp?key=canary"
    hub.catalog.all["other"].endpoint = Endpoint("other", url=url, trust=True)
    assert cli("disable", "other").out == "other is off.\n"
    assert hub.catalog.all["other"].endpoint == Endpoint(
        "other", url=url, trust=True, enabled=False
    )
    assert cli("enable", "other").out == "other is on.\n"
    assert hub.catalog.all["other"].endpoint == Endpoint("other", url=url, trust=True)
    assert cli("enable", "nothing").code == 1
    for word, on in [("disable", False), ("enable", True)]:
        config = cli(word, "other", "--json").json["config"]
        assert config.get("enabled", True) is on
