import pytest

from agenthub.cli.client_file import ITSELF, Surroundings, servers_of
from agenthub.cli.ending import Failed

AROUND = Surroundings({"TOKEN": "canary", "DIR": "/data"}, "/home/me")


def read(entry, name="x"):
    (found,) = servers_of({"mcpServers": {name: entry}}, AROUND, "f.json")
    return found


def record(entry):
    found = read(entry)
    assert found.why_not == ""
    made = dict(found.record)
    assert made.pop("name") == "x"
    return made


@pytest.mark.parametrize(
    "document",
    [
        {"mcpServers": {"x": {"command": "uvx", "args": ["s"]}}},
        {"servers": {"x": {"type": "stdio", "command": "uvx", "args": ["s"]}}, "inputs": []},
        {"mcp": {"servers": {"x": {"command": "uvx", "args": ["s"]}}}},
        {"context_servers": {"x": {"command": {"path": "uvx", "args": ["s"]}}}},
        {"mcp": {"x": {"type": "local", "command": ["uvx", "s"]}}},
        {"mcp_servers": {"x": {"command": "uvx", "args": ["s"]}}},
        {"x": {"command": "uvx", "args": ["s"]}, "theme": "dark"},
    ],
)
def test_each_clients_file_is_understood(document):
    (found,) = servers_of(document, AROUND, "f.json")
    assert found.record == {"name": "x", "command": ["uvx", "s"]}


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "http://x/mcp"},
        {"type": "http", "url": "http://x/mcp"},
        {"type": "streamable-http", "url": "http://x/mcp"},
        {"transport": "streamableHttp", "url": "http://x/mcp"},
        {"httpUrl": "http://x/mcp"},
        {"serverUrl": "http://x/mcp"},
        {"type": "remote", "url": "http://x/mcp", "enabled": True},
        {"type": "http", "url": "http://x/mcp", "command": "ignored"},
    ],
)
def test_an_address_is_understood_under_each_name(entry):
    assert record(entry) == {"url": "http://x/mcp"}


@pytest.mark.parametrize("document", [[], None, "x"])
def test_a_file_of_another_shape_is_refused(document):
    with pytest.raises(Failed, match="expected a JSON object"):
        servers_of(document, AROUND, "f.json")


@pytest.mark.parametrize("document", [{}, {"mcpServers": []}, {"theme": "dark", "a": {"b": 1}}])
def test_a_file_without_servers_says_what_was_expected(document):
    with pytest.raises(Failed, match="found no servers; expected `mcpServers`"):
        servers_of(document, AROUND, "f.json")


def test_an_empty_list_of_servers_is_none():
    assert servers_of({"mcpServers": {}}, AROUND, "f") == []


@pytest.mark.parametrize(
    ("called", "name"),
    [("git", "git"), ("My Server", "my-server"), ("a__b", "a_b"), ("날씨", "server"),
     ("-x_", "x"), ("a" * 100, "a" * 60)],
)  # fmt: skip
def test_a_name_becomes_one_that_the_hub_can_use(called, name):
    found = read({"command": "x"}, called)
    assert found.name == name
    assert (f"called {called!r} there" in found.notes) == (name != called)


def test_names_that_become_the_same_get_numbers():
    document = {"mcpServers": {"A B": {"command": "x"}, "a-b": {"command": "y"}, "a.b": 5}}
    found = servers_of(document, AROUND, "f")
    assert [one.name for one in found] == ["a-b", "a-b-2", "a-b-3"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (5, "not an object"),
        ({}, "neither a command nor an address"),
        ({"command": ""}, "neither a command nor an address"),
        ({"type": "http", "command": "x"}, "neither"),
        ({"type": "stdio", "url": "http://x/"}, "neither"),
        ({"type": "ws", "url": "ws://x/"}, "the hub knows no type 'ws'"),
        ({"command": "x", "url": "http://x/"}, "both"),
        ({"url": 5}, "its address is not text"),
        ({"command": 5}, "its command is not text"),
        ({"command": "x", "args": "y"}, "its args are not a list"),
        ({"command": "x", "args": [[1]]}, "a list or an object where text is expected"),
        ({"command": "x", "env": []}, "its env is not an object"),
        ({"command": "x", "env": {"A": {}}}, "a list or an object where text is expected"),
        ({"command": "x", "env": {"A": "${workspaceFolder}"}}, "which only its editor knows"),
        ({"command": "x", "args": ["${workspaceFolder:a}"]}, "which only its editor knows"),
        ({"command": "x", "args": ["${MISSING}"]}, "needs ${MISSING}, which is not known here"),
        ({"command": "x", "args": ["${command:pick}"]}, "needs ${command:pick}"),
        ({"command": "x", "env": {"A": "${command:pick}"}}, "cannot fill in ${command:pick}"),
    ],
)
def test_what_cannot_be_taken_over_says_why(entry, words):
    found = read(entry)
    assert found.record == {}
    assert words in found.why_not


def test_references_stay_references_where_the_hub_fills_them_in():
    entry = {
        "url": "http://x/${env:TOKEN}",
        "headers": {"A": "Bearer ${TOKEN}", "B": "${input:api-key}", "C": "${file:/k}",
                    "D": "$TOKEN", "E": "${OTHER:-x}", "F": "$5 off"},
    }  # fmt: skip
    found = read(entry)
    assert found.record["url"] == "http://x/${TOKEN}"
    assert found.record["headers"] == {
        "A": "Bearer ${TOKEN}",
        "B": "${API_KEY}",
        "C": "${file:/k}",
        "D": "${TOKEN}",
        "E": "${OTHER:-x}",
        "F": "$5 off",
    }
    assert "its editor asks for B: set API_KEY for the hub" in found.notes
    assert "canary" not in str(found)


def test_a_variable_that_the_hub_does_not_have_is_told():
    assert read({"command": "x", "env": {"A": "${NOPE}"}}).notes == ("set NOPE for the hub",)


def test_references_in_a_command_are_filled_in_now():
    found = read({"command": "${userHome}/bin/x", "args": ["${env:DIR}${/}a", "${NO:-b}"]})
    assert found.record["command"] == ["/home/me/bin/x", "/data/a", "b"]
    assert "${env:DIR} in its command was filled in" in found.notes


def test_a_folder_and_an_environment_are_taken_over():
    entry = {
        "command": "x",
        "cwd": "~/src",
        "env": {"A": "b", "N": 5, "T": True, "GONE": None},
        "environment": {"C": "d"},
        "env_vars": ["TOKEN", "A"],
    }
    assert record(entry) == {
        "command": ["x"],
        "cwd": "/home/me/src",
        "env": {"A": "b", "N": "5", "T": "true", "C": "d", "TOKEN": "${TOKEN}"},
    }


def test_codex_names_variables_for_its_headers():
    entry = {
        "url": "http://x/mcp",
        "bearer_token_env_var": "TOKEN",
        "http_headers": {"X-A": "b"},
        "env_http_headers": {"X-C": "DIR"},
    }
    assert record(entry)["headers"] == {
        "X-A": "b",
        "X-C": "${DIR}",
        "Authorization": "Bearer ${TOKEN}",
    }


def test_one_text_is_taken_apart_at_its_spaces_if_it_is_no_path():
    found = read({"command": "uvx 'my server' --x"})
    assert found.record["command"] == ["uvx", "my server", "--x"]
    assert "taken apart" in found.notes[0]
    assert read({"command": "/my dir/x"}).record["command"] == ["/my dir/x"]


def test_servers_of_single_projects_are_taken_too_and_say_so():
    document = {
        "projects": {
            "/src/a": {"mcpServers": {"git": {"command": "x"}, "web": {"command": "y"}}},
            "/src/b": {"mcpServers": {"git": {"command": "z"}}},
            "/src/c": {"history": []},
        },
        "mcpServers": {"web": {"command": "w"}},
    }
    found = servers_of(document, AROUND, ".claude.json")
    assert [(one.name, one.record["command"], one.notes) for one in found] == [
        ("web", ["w"], ()),
        ("git", ["x"], ("of the project /src/a",)),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "/opt/bin/agenthub", "args": ["stdio", "--home", "/h"]},
        {"command": "python", "args": ["-m", "agenthub", "stdio"]},
    ],
)
def test_the_hub_is_no_server_of_itself(entry):
    assert read(entry).why_not == ITSELF


@pytest.mark.parametrize("entry", [{"disabled": True}, {"enabled": False}])
def test_what_is_off_there_is_off_here(entry):
    found = read({"command": "x", **entry})
    assert found.record["enabled"] is False
    assert found.notes == ("switched off there, so here too",)


def test_what_is_not_taken_over_is_told():
    found = read({"command": "x", "envFile": "a", "includeTools": ["b"], "trust": True})
    assert found.notes == ("not taken over: envFile, includeTools",)


def test_an_older_transport_is_an_address_like_others():
    assert record({"type": "sse", "url": "http://x/sse"}) == {"url": "http://x/sse"}


def test_a_variable_for_what_an_editor_asks_begins_with_a_letter():
    found = read({"url": "http://x/", "headers": {"A": "${input:2fa}"}})
    assert found.record["headers"] == {"A": "${INPUT_2FA}"}


@pytest.mark.parametrize("quote", ["uvx 'a", 'uvx "a'])
def test_a_text_with_an_open_quote_says_so(quote):
    assert "quotation" in read({"command": quote}).why_not
