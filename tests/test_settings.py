import os
import re
from pathlib import Path

import pytest

from agenthub.domain.circuit_breaker import BreakerConfig
from agenthub.domain.endpoint import RateLimit, Timeouts, ToolPolicy
from agenthub.domain.errors import BadSetting
from agenthub.domain.view import Renamed, View
from agenthub.settings import (
    RANGES,
    AuthSettings,
    LimitSettings,
    Options,
    ServerSettings,
    Settings,
    default_home,
    load,
)

FULL = """\
server:
  host: 0.0.0.0
  port: 9000
  allowed_hosts: [hub.local, 'hub.local:9000']
  allowed_origins:
  - https://hub.local
auth: {anonymous_loopback: true}
limits:
  body_bytes: 1_000_000
demo: false
endpoints:
  git:
    command: [uvx, mcp-server-git, --depth, 10]
    env: {PORT: 010, ANSWER: on, EMPTY: ''}
    rate_limit: null
    trust: true
    breaker: {failure_threshold: 3, failure_rate: .25}
    timeouts: {call_ms: 10000}
    tools:
      git_log: {replay: safe}
  web:
    url: https://example.org/mcp
    headers: {Authorization: 'Bearer ${WEB_TOKEN}'}
    fallbacks: [git]
    rate_limit: {rps: 2.5, burst: 4}
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "agenthub.yaml"


@pytest.fixture
def refusal(file):
    """What is said of a text, without the file's name."""

    def refuse(text: str | bytes, **environ: str) -> str:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(BadSetting) as caught:
            load(file, environ)
        return str(caught.value).replace(str(file), "F")

    return refuse


def test_nothing_configured_is_the_defaults():
    assert load(None, {}) == Settings()


@pytest.mark.parametrize("text", ["", "# nothing\n", "~\n", "---\n", "server:\n", "\ufeff"])
def test_an_empty_file_is_the_defaults(file, text):
    file.write_text(text)
    assert load(file, {}) == Settings()


def test_a_file_is_read_into_typed_settings(file):
    file.write_text(FULL)
    settings = load(file, {})
    assert settings.server == ServerSettings(
        "0.0.0.0", 9000, ("hub.local", "hub.local:9000"), ("https://hub.local",)
    )
    assert settings.auth == AuthSettings(anonymous_loopback=True)
    assert settings.limits == LimitSettings(body_bytes=1_000_000)
    assert settings.demo is False
    git = settings.endpoints["git"]
    assert git.name == "git"
    assert git.rate_limit is None
    assert git.breaker == BreakerConfig(failure_threshold=3, failure_rate=0.25)
    assert git.timeouts == Timeouts(call_ms=10_000)
    assert git.tools == {"git_log": ToolPolicy(replay="safe")}
    web = settings.endpoints["web"]
    assert web.fallbacks == ("git",)
    assert web.rate_limit == RateLimit(2.5, 4)
    assert web.headers == {"Authorization": "Bearer ${WEB_TOKEN}"}


def test_where_text_is_expected_it_stays_as_it_was_written(file):
    """YAML would make 8 of `010`, and true of `on`: not in an argument or a variable."""
    file.write_text(FULL)
    git = load(file, {}).endpoints["git"]
    assert git.command == ("uvx", "mcp-server-git", "--depth", "10")
    assert git.env == {"PORT": "010", "ANSWER": "on", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "endpoints:\n  git:\n    command: [a]\n    brekaer: {}\n",
            "F:4: endpoints.git.brekaer: unknown key; did you mean breaker?",
        ),
        (
            "zzz: 1\n",
            f"F:1: zzz: unknown key; known here: {', '.join(sorted(Settings.__struct_fields__))}",
        ),
        ("server:\n  port: x\n", "F:2: server.port: expected an integer from 1 to 65535, got 'x'"),
        ("server: {port: 0}", "F:1: server.port: expected an integer from 1 to 65535, got '0'"),
        ("server: {port: 8.0}", "F:1: server.port: expected an integer from 1 to 65535, got '8.0'"),
        (
            "server: {port: '80'}",
            "F:1: server.port: expected an integer from 1 to 65535, got '80' in quotes",
        ),
        ("demo: yes\n", "F:1: demo: expected true or false, got 'yes'"),
        ("demo: []\n", "F:1: demo: expected true or false, got a list"),
        ("demo:\n", "F:1: demo: expected true or false, got nothing"),
        ("server: {host: {}}", "F:1: server.host: expected text, got a table"),
        ("server: {host: ''}", "F:1: server.host: expected an address or a host's name, got ''"),
        (
            "server: {allowed_hosts: ['*']}",
            "F:1: server.allowed_hosts: expected name or name:port, got '*'",
        ),
        (
            "server: {allowed_origins: ['https://a/b']}",
            (
                "F:1: server.allowed_origins: expected scheme://host[:port], without a path,"
                " got 'https://a/b'"
            ),
        ),
        (
            "server: {allowed_hosts: a}",
            (
                "F:1: server.allowed_hosts: expected a list, as [a, b] or one item a line"
                " after `- `, got 'a'"
            ),
        ),
        ("- 1\n", "F:1: the file: expected a table of keys and values, got a list"),
        ("auth: 3\n", "F:1: auth: expected a table of keys and values, got '3'"),
        (
            "endpoints:\n  a:\n    url: http://h\n    rate_limit:\n      rps: 0\n",
            (
                "F:5: endpoints.a.rate_limit.rps: expected a number above 0 and at most 1000000,"
                " got '0'"
            ),
        ),
        (
            "endpoints:\n  a:\n    url: http://h\n    rate_limit: {rps: .nan}\n",
            (
                "F:4: endpoints.a.rate_limit.rps: expected a number above 0 and at most 1000000,"
                " got '.nan'"
            ),
        ),
        (
            "endpoints:\n  a:\n    trust: true\n",
            "F:2: endpoints.a.url: expected exactly one of `url` and `command`",
        ),
        (
            "endpoints:\n  a:\n    url: 'http://u:p@h'\n",
            (
                "F:3: endpoints.a.url: expected an address without user or password;"
                " put them into `headers`, as a reference"
            ),
        ),
        (
            "endpoints:\n  a:\n    url: http://h\n    headers:\n      X-A: b\n      Host: c\n",
            "F:6: endpoints.a.headers.Host: the hub sets this one itself",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_by_file_line_key_and_what_was_expected(refusal, text, said):
    assert refusal(text) == said


def test_a_wrong_name_of_a_server_is_told_with_its_line(refusal):
    assert refusal("endpoints:\n  a__b:\n    url: http://h\n").startswith("F:2: endpoints.a__b: ")


def test_views_are_read_from_the_file(file):
    file.write_text("""
views:
  web:
    instructions: Search first.
    names:
      find:
        target: web__search
        description: Find it.
    allow: [docs__*]
    search: auto
""")
    assert load(file, {}).views == {
        "web": View("web", "Search first.", {"find": Renamed("web__search", "Find it.")},
                    ("docs__*",), search="auto"),
    }  # fmt: skip


def test_a_view_that_cannot_be_is_told_with_its_line(refusal):
    said = refusal("views:\n  web:\n    allow: ['*']\n    search: maybe\n")
    assert said.startswith("F:4: views.web.search: expected `on`, `off` or `auto`")
    said = refusal("views:\n  web:\n    names:\n      find:\n        target: search\n")
    assert said.startswith("F:5: views.web.names.find.target: expected `server__tool`")


def test_a_servers_name_is_its_key_and_stands_nowhere_else(refusal):
    said = refusal("endpoints:\n  a:\n    url: http://h\n    name: b\n")
    assert said.startswith("F:4: endpoints.a.name: unknown key")


def test_a_long_wrong_value_is_cut(refusal):
    assert len(refusal(f"demo: {'x' * 10_000}")) < 120


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "F:3: a: this key stands already in line 1"),
        ("a: !!python/object/apply:os.system [id]\n", "F:1: tags (tag:yaml.org,2002:python/object"),
        ("a: !x b\n", "F:1: tags (!x) are not supported"),
        ("a: !!str b\n", "F:1: tags (tag:yaml.org,2002:str) are not supported"),
        ("a: &x [1]\nb: *x\n", "F:1: anchors (&) and aliases (*) are not supported"),
        ("a: 1\n<<: *x\n", "F:2: anchors (&) and aliases (*) are not supported"),
        ("? [a]\n: 1\n", "F:1: expected a word as key"),
        ("a: 1\n---\nb: 2\n", "F:2: expected one document, found a second"),
        ("a: [\n", "F:1: not YAML: "),
        ("a: 1\nb: \x01\n", "F:2: expected text without control characters"),
        ("[" * 33, "F:1: nested deeper than 32 levels"),
        ("[" * 100_000, "F:1: nested deeper than 32 levels"),
        (b"a: 1\nb: \xff\n", "F:2: expected UTF-8"),
    ],
)
def test_yaml_that_could_mean_harm_is_refused_by_line(refusal, text, said):
    assert refusal(text).startswith(said)


def test_a_bomb_of_anchors_costs_nothing(refusal):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi")]  # noqa: B905
    assert refusal("\n".join(lines)).startswith("F:1: anchors")


def test_a_file_that_everybody_may_write_is_refused(file, refusal):
    file.write_text("")
    file.chmod(0o666)
    assert "chmod o-w" in refusal("demo: true")


def test_a_symbolic_link_is_refused(file, tmp_path):
    (tmp_path / "real").write_text("")
    file.symlink_to(tmp_path / "real")
    with pytest.raises(BadSetting, match="symbolic link"):
        load(file, {})


def test_a_file_that_is_not_there_is_told_in_words(file):
    with pytest.raises(BadSetting, match=re.escape(f"{file}: cannot be read: No such file")):
        load(file, {})


def test_a_folder_or_a_pipe_in_its_place_does_not_hold_the_start_up(file):
    os.mkfifo(file)
    with pytest.raises(BadSetting, match="Not a regular file"):
        load(file, {})
    with pytest.raises(BadSetting, match="Not a regular file"):
        load(file.parent, {})


def test_a_file_over_a_mebibyte_is_refused(refusal):
    assert refusal("#" * (1024 * 1024 + 1)) == "F: expected at most 1048576 bytes"


# ---------------------------------------------------------------- the environment


def test_variables_win_over_the_file(file):
    file.write_text(FULL)
    environ = {
        "AGENTHUB__SERVER__PORT": "9001",
        "AGENTHUB__AUTH__ANONYMOUS_LOOPBACK": "false",
        "AGENTHUB__SERVER__ALLOWED_HOSTS": "a.example, b.example:80",
        "AGENTHUB__ENDPOINTS__GIT__BREAKER__FAILURE_THRESHOLD": "9",
        "AGENTHUB__DEMO": "true",
        "AGENTHUB_HOME": "/nowhere",
        "PATH": "/bin",
    }
    settings = load(file, environ)
    assert settings.server.port == 9001
    assert settings.server.host == "0.0.0.0"
    assert settings.auth.anonymous_loopback is False
    assert settings.server.allowed_hosts == ("a.example", "b.example:80")
    assert settings.endpoints["git"].breaker == BreakerConfig(9, failure_rate=0.25)
    assert settings.demo is True


def test_the_variable_that_everybody_needs_first():
    assert load(None, {"AGENTHUB__AUTH__ANONYMOUS_LOOPBACK": "true"}).auth.anonymous_loopback


def test_a_variable_may_hold_json():
    environ = {
        "AGENTHUB__ENDPOINTS__GIT__COMMAND": '["uvx", "mcp-server-git"]',
        "AGENTHUB__ENDPOINTS__GIT__ENV": '{"A": "1"}',
        "AGENTHUB__ENDPOINTS__GIT__RATE_LIMIT": "null",
    }
    git = load(None, environ).endpoints["git"]
    assert (git.command, git.env, git.rate_limit) == (("uvx", "mcp-server-git"), {"A": "1"}, None)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "AGENTHUB__AUTH__ANONYMUS_LOOPBACK", "true",
            "no such setting; did you mean AGENTHUB__AUTH__ANONYMOUS_LOOPBACK?",
        ),
        (
            "AGENTHUB__SERVR__PORT", "1",
            "no such setting; did you mean AGENTHUB__SERVER__PORT?",
        ),
        ("AGENTHUB__QQQ", "1", "no such setting"),
        ("AGENTHUB__", "1", "expected AGENTHUB__SECTION__KEY"),
        ("AGENTHUB__SERVER__", "1", "expected AGENTHUB__SECTION__KEY"),
        ("AGENTHUB__AUTH", "1", "auth: expected a table of keys and values, got '1'"),
        (
            "AGENTHUB__AUTH__ANONYMOUS_LOOPBACK", "1",
            "auth.anonymous_loopback: expected true or false, got '1'",
        ),
        ("AGENTHUB__SERVER__ALLOWED_HOSTS", "[a", "1: not YAML"),
        ("AGENTHUB__SERVER__ALLOWED_HOSTS", "[[a]]", "expected text, got a list"),
        ("AGENTHUB__ENDPOINTS__A__TOOLS", '{"t": {"x": 1}}', "endpoints.a.tools.t.x: unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named(variable, value, said):
    with pytest.raises(BadSetting) as caught:
        load(None, {variable: value})
    assert str(caught.value).startswith(f"{variable}:")
    assert said in str(caught.value)


def test_a_variable_fills_a_section_that_the_file_leaves_empty(file):
    file.write_text("server:\n")
    assert load(file, {"AGENTHUB__SERVER__PORT": "9001"}).server.port == 9001


def test_a_variable_below_something_that_is_no_table_is_told(refusal):
    said = refusal("auth: 3", AGENTHUB__AUTH__ANONYMOUS_LOOPBACK="true")
    assert (
        said == "F:1: expected a table of keys, because AGENTHUB__AUTH__ANONYMOUS_LOOPBACK is set"
    )


def test_every_number_has_a_range():
    """A new number without bounds would let 0 or 10¹⁸ through."""
    from msgspec import inspect

    from agenthub.domain.endpoint import Endpoint
    from agenthub.settings.chat import ChatSettings

    def numbers(kind):
        for field in inspect.type_info(kind).fields:
            types = getattr(field.type, "types", (field.type,))
            if any(isinstance(t, inspect.IntType | inspect.FloatType) for t in types):
                yield kind, field.name

    structs = (
        ServerSettings,
        LimitSettings,
        Endpoint,
        BreakerConfig,
        RateLimit,
        Timeouts,
        ToolPolicy,
        ChatSettings,
    )
    expected = {number for struct in structs for number in numbers(struct)}
    assert expected == set(RANGES)


def test_every_default_is_within_its_range():
    for (kind, key), bounds in RANGES.items():
        default = kind.__struct_defaults__[
            kind.__struct_fields__.index(key) - len(kind.__struct_fields__)
        ]
        assert default is None or bounds.holds(default), (kind, key)


# ---------------------------------------------------------------- options and home


def test_options_outweigh_file_and_environment(tmp_path):
    (tmp_path / "agenthub.yaml").write_text("server: {port: 9000, host: 0.0.0.0}\n")
    plain = Options(tmp_path).load({})
    assert (plain.server.port, plain.server.host, plain.demo) == (9000, "0.0.0.0", True)
    told = Options(tmp_path, host="127.0.0.1", port=0, demo=False).load(
        {"AGENTHUB__SERVER__PORT": "9001"}
    )
    assert (told.server.port, told.server.host, told.demo) == (0, "127.0.0.1", False)


def test_a_config_file_that_was_named_must_exist(tmp_path):
    with pytest.raises(BadSetting, match="cannot be read"):
        Options(tmp_path, config=tmp_path / "none.yaml").load({})
    assert Options(tmp_path).load({}) == Settings()


def test_home_is_what_the_environment_says_or_the_platforms_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENTHUB_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTHUB_HOME", "here")
    assert default_home() == tmp_path / "here"
    monkeypatch.setenv("AGENTHUB_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert tmp_path in default_home().parents
    assert default_home().name == "agenthub"
    assert isinstance(default_home(), Path)
