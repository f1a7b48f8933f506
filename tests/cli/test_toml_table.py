import tomllib

import pytest

from agenthub.cli.ending import Failed
from agenthub.cli.toml_table import loads, render, with_table

PATH = ("mcp_servers", "agenthub")
VALUE = {"url": "http://x/", "http_headers": {"Authorization": "Bearer a", "X Y": 'q"\\'}}

NEXT = "\n\n# about git\n[mcp_servers.git]\nb = 1\n"


def change(text):
    changed = with_table(text, PATH, VALUE, "config.toml")
    assert tomllib.loads(changed)["mcp_servers"]["agenthub"] == VALUE
    return changed


def test_a_table_reads_as_what_it_was_made_of():
    value = {"command": "a\x7fb\n", "args": ["x", "ü"], "on": True, "most": 3}
    assert tomllib.loads(render(("a.b", "c"), value)) == {"a.b": {"c": value}}


def test_an_empty_file_gets_the_table_alone():
    assert change("") == render(PATH, VALUE)


def test_other_tables_stay_and_the_new_one_comes_last():
    before = "a = 1\n[mcp_servers.git]\ncommand = 'x'"
    assert change(before) == before + "\n\n" + render(PATH, VALUE)


@pytest.mark.parametrize(
    "before",
    [
        "[mcp_servers.agenthub]\nurl = 'old'" + NEXT,
        "[mcp_servers.agenthub] # old\na = [\n  1,\n  2 ]" + NEXT,
        "[ mcp_servers . 'agenthub' ]\n# x\n[mcp_servers.agenthub.env]\nc=1" + NEXT,
    ],
)
def test_the_old_table_goes_with_those_below_it_and_remarks_of_the_next_stay(before):
    assert change(before) == render(PATH, VALUE).rstrip() + NEXT


def test_a_table_at_the_end_leaves_the_remarks_after_it():
    assert change("[mcp_servers.agenthub]\na = 1\n# the end\n").endswith("# the end\n")


def test_tables_in_lists_stay():
    before = "[[things]]\na = 1\n[[things]]\na = 2\n"
    assert change(before).startswith(before)


@pytest.mark.parametrize(
    "before",
    [
        "mcp_servers = { git = {} }\n",
        "[mcp_servers]\nagenthub = { url = 'x' }\n",
        "[[mcp_servers.agenthub]]\na = 1\n",
        "[mcp_servers.agenthub]\na = [\n[1]\n]\n",
        'text = """\n[mcp_servers.agenthub]\n"""\n',
    ],
)
def test_a_file_that_is_written_in_another_way_is_left_alone(before):
    with pytest.raises(Failed, match="by hand"):
        change(before)


def test_what_is_no_toml_is_refused():
    with pytest.raises(Failed, match=r"f\.toml: not TOML: "):
        loads("[", "f.toml")


def test_a_line_that_only_looks_like_a_head_is_no_head():
    before = 'b = """\n[not a = head]\n"""\n'
    assert change(before).startswith(before)
