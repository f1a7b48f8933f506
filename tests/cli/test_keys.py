import pytest

from agenthub.domain.caller import KeyTerms
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.tool_set import ToolSet


def test_a_key_is_shown_once_and_alone_so_that_a_script_can_take_it(cli, hub):
    made = cli("key", "create", "laptop")
    assert made.out == "ah_k0_the-secret\n"
    assert "Key k0 for laptop; it is shown this once." in made.err
    assert hub.keys.rows["k0"].scopes == ("tools", "llm", "read")


def test_json_has_the_key_first(cli, hub):
    made = cli("key", "create", "ci", "--scope", "admin", "--scope", "admin", "--scope", "read",
               "--endpoint", "calculator", "--expires", "2", "--json")  # fmt: skip
    assert made.json["key"] == "ah_k0_the-secret"
    assert next(iter(made.json)) == "key"
    row = hub.keys.rows["k0"]
    assert (row.scopes, row.endpoints) == (("admin", "read"), ("calculator",))
    assert row.expires_at == 1_700_000_000 + 2 * 86_400


def test_keys_are_listed_without_their_secrets(cli):
    cli("key", "create", "one")
    seen = ["--endpoint", "calculator", "--endpoint", "other"]
    cli("key", "create", "two", *seen, "--expires", "1")
    cli("key", "create", "three")
    cli("key", "revoke", "k2")
    shown = cli("key", "list").out
    assert "secret" not in shown
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == ["ID", "NAME", "SCOPES", "SERVERS", "LIMITS", "CREATED", "EXPIRES"]
    assert lines[1] == ["k0", "one", "tools", "llm", "read", "all", "none", "2023-11-14", "never"]
    assert lines[2] == [
        "k1",
        "two",
        "tools",
        "llm",
        "read",
        "calculator",
        "other",
        "none",
        "2023-11-14",
        "2023-11-15",
    ]
    assert lines[3][-1] == "revoked"
    assert [row["id"] for row in cli("key", "list", "--json").json["keys"]] == ["k0", "k1", "k2"]


def test_no_keys(cli):
    assert cli("key", "list").out == "No keys. `agenthub key create NAME` makes one.\n"


def test_a_key_is_revoked(cli):
    cli("key", "create", "one")
    assert cli("key", "revoke", "k0").out == "Revoked k0.\n"
    assert cli("key", "revoke", "k0", "--json").json == {"id": "k0", "status": "revoked"}
    refused = cli("key", "revoke", "k9")
    assert (refused.code, "There is no such key" in refused.err) == (1, True)


@pytest.mark.parametrize(
    "arguments", [["x", "--scope", "root"], ["x", "--expires", "0"], ["x", "--expires", "x"], []]
)
def test_wrong_usage(cli, module, arguments):
    assert cli("key", "create", *arguments).code == 2
    assert module.opened == []


def test_a_name_that_the_hub_refuses_is_told(cli):
    refused = cli("key", "create", "a\nb")
    assert (refused.code, "name: expected 1 to 100 printable" in refused.err) == (1, True)


def test_a_key_is_made_with_limits(cli, hub):
    cli("view", "add", "web", "--allow", "web__*")
    cli("key", "create", "one", "--allow", "web__*", "--allow", "docs__*", "--deny", "*__write",
        "--read-only", "--view", "web", "--search", "on", "--names", "spec")  # fmt: skip
    tools = ToolSet(("web__*", "docs__*"), ("*__write",), read_only=True)
    assert hub.keys.rows["k0"].terms == KeyTerms(tools, ("web",), "on", "spec")
    shown = cli("key", "list").out
    assert "web__*, docs__*, not *__write, read-only, view web, search" in shown


def test_a_keys_limits_are_changed_one_by_one_and_taken_back(cli, hub):
    cli("key", "create", "one", "--allow", "web__*", "--search", "auto")
    said = cli("key", "limit", "k0", "--deny", "web__post", "--read-only")
    assert said.out == "k0: web__*, not web__post, read-only, search\n"
    assert cli("key", "limit", "k0", "--no-read-only", "--search", "off").code == 0
    assert hub.keys.rows["k0"].terms == KeyTerms(ToolSet(("web__*",), ("web__post",)))
    taken = cli("key", "limit", "k0", "--no-limit", "--allow", "a__*", "--json")
    assert taken.json["terms"] == {"tools": {"allow": ["a__*"]}}
    assert cli("key", "limit", "k0", "--no-limit").out == "k0: none\n"
    assert hub.keys.rows["k0"].terms == KeyTerms()
    refused = cli("key", "limit", "k9")
    assert (refused.code, "There is no such key" in refused.err) == (1, True)


def test_a_keys_rate_is_set_shown_changed_and_taken_back(cli, hub):
    cli("key", "create", "one", "--rate", "90/m", "--burst", "3", "--team", "ops")
    assert hub.keys.rows["k0"].terms == KeyTerms(team="ops", rate_limit=RateLimit(1.5, 3))
    assert "90/m, 3 at once, team ops" in cli("key", "list").out
    assert cli("key", "limit", "one", "--rate", "1000/d").out == (
        "k0: 1000/d, 3 at once, team ops\n"
    )
    assert cli("key", "limit", "k0", "--burst", "7").code == 0
    limit = cli("key", "list", "--json").json["keys"][0]["terms"]["rate_limit"]
    assert limit == {"rps": 1000 / 86_400, "burst": 7}
    assert cli("key", "limit", "k0", "--deny", "x__*").out == (
        "k0: 1000/d, 7 at once, not x__*, team ops\n"
    )
    assert cli("key", "limit", "k0", "--rate", "none").out == "k0: not x__*, team ops\n"
    assert cli("key", "create", "two", "--rate", "5").code == 0
    assert hub.keys.rows["k1"].terms.rate_limit == RateLimit(5, 10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rate", "0/m"], "expected a rate as 60/m"),
        (["--rate", "-1/m"], "expected a rate as 60/m"),
        (["--rate", "60/w"], "expected a rate as 60/m"),
        (["--rate", "nan"], "expected a rate as 60/m"),
        (["--burst", "3"], "--burst: expected --rate beside it"),
        (["--rate", "none", "--burst", "3"], "--rate none leaves no room for --burst"),
        (["--rate", "60/m", "--burst", "0"], "--burst"),
    ],
)
def test_a_rate_that_is_none_is_refused_naming_the_option(cli, hub, options, words):
    refused = cli("key", "create", "one", *options)
    assert (refused.code, words in " ".join(refused.err.split())) == (2, True)
    assert hub.keys.rows == {}


def test_a_key_is_rotated_by_its_name_and_its_new_secret_shown_alone(cli):
    cli("key", "create", "laptop")
    made = cli("key", "rotate", "laptop")
    assert made.out == "ah_k0_another-secret\n"
    assert "Key k0, laptop; it is shown this once. The one before ends now." in made.err
    again = cli("key", "rotate", "k0", "--grace", "10m", "--json")
    assert next(iter(again.json)) == "key"
    assert again.json["former_until"] == 1_700_000_600
    assert "ends in 86400 s" in cli("key", "rotate", "laptop", "--grace", "24h").err
    assert [row["id"] for row in cli("key", "list", "--json").json["keys"]] == ["k0"]
    wrong = cli("key", "rotate", "laptop", "--grace", "10")
    assert (wrong.code, "expected a span as 90s, 10m or 24h" in wrong.err) == (2, True)


def test_a_name_stands_for_the_only_key_that_has_it(cli):
    for _ in range(2):
        cli("key", "create", "one")
    refused = cli("key", "rotate", "one")
    assert (refused.code, "There are 2 keys of this name; say which: k0, k1." in refused.err) == (
        1, True,
    )  # fmt: skip
    assert cli("key", "revoke", "k1").code == 0
    assert cli("key", "revoke", "one").out == "Revoked k0.\n"
    refused = cli("key", "rotate", "one")
    assert (refused.code, "There is no such key" in refused.err) == (1, True)
