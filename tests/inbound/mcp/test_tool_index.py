"""Which tools some words mean."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenthub.inbound.mcp import tool_index as tool_index_module
from agenthub.inbound.mcp.tool_index import ToolIndex


def tool(name, description="", properties=None, **more):
    schema = {"type": "object", "properties": properties or {}}
    made = {"name": name, "description": description, "inputSchema": schema, **more}
    return msgspec.json.encode(made)


TOOLS = [
    tool("files__read_file", "Returns the content of a file."),
    tool("files__writeFile", "Replaces what is in it."),
    tool("git__log", "Shows commits.", {"since": {"description": "Only newer than this date."}}),
    tool("mail__send", "Sends a message.", {"recipientAddress": {"type": "string"}}),
    tool("web__search", "Finds pages.", title="Ask the Internet"),
]


def names(query, limit=5, tools=TOOLS):
    index = ToolIndex(tools)
    try:
        return [msgspec.json.decode(found)["name"] for found in index.find(query, limit)]
    finally:
        index.close()


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("read a file", "files__read_file"),
        ("write", "files__writeFile"),
        ("READING", "files__read_file"),
        ("commit", "git__log"),
        ("date", "git__log"),
        ("recipient", "mail__send"),
        ("internet", "web__search"),
        ("files__read_file", "files__read_file"),
        ("sendMessage", "mail__send"),
    ],
)
def test_a_tool_is_found_by_its_name_its_texts_and_its_parameters(query, first):
    assert names(query)[0] == first


def test_the_name_counts_more_than_the_rest():
    tools = [tool("a__b", "About search, search and search."), tool("web__search", "Finds pages.")]
    assert names("search", tools=tools) == ["web__search", "a__b"]


def test_equal_matches_come_in_the_order_of_the_list():
    assert names("same", tools=[tool(f"t{n}", "same") for n in range(5)]) == [
        "t0", "t1", "t2", "t3", "t4",
    ]  # fmt: skip


def test_at_most_so_many_are_found():
    assert len(names("file commits message pages", limit=2)) == 2


@pytest.mark.parametrize("query", ["", "   ", "!?", '"', "*", "nothingofthekind", "name:x"[:0]])
def test_what_is_not_there_is_not_found(query):
    assert names(query) == []


@settings(max_examples=200, deadline=None)
@given(query=st.text(max_size=60) | st.text('"*():^-+ANDORNEAR_ name', max_size=40))
def test_no_query_is_read_as_a_language(query):
    """A52: FTS5 has operators, columns and quotes; here are only words."""
    assert len(names(query)) <= 5


def test_a_long_query_costs_no_more_than_its_first_words():
    assert names("file " * 10_000) == names("file")
    assert names("x " * tool_index_module.WORDS_MAX + "file") == []


def test_of_a_very_long_list_the_first_are_found(monkeypatch):
    monkeypatch.setattr(tool_index_module, "TOOLS_MAX", 2)
    assert names("commits") == []
    assert names("write") == ["files__writeFile"]


@pytest.mark.parametrize("odd", [
    {"description": 7}, {"title": ["x"]}, {"inputSchema": {"properties": [1]}},
    {"inputSchema": {"properties": {"a": "b", "c": {"description": {}}}}},
])  # fmt: skip
def test_odd_definitions_are_indexed_as_far_as_they_can_be_read(odd):
    made = msgspec.json.encode({"name": "a__find", "inputSchema": {}} | odd)
    assert names("find", tools=[made]) == ["a__find"]
