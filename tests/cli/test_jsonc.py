import json

import pytest

from agenthub.cli.ending import Failed
from agenthub.cli.jsonc import loads, with_member

PATH = ("mcpServers", "hub")
VALUE = {"url": "http://x/mcp"}


def change(text):
    changed = with_member(text, PATH, VALUE, "f.json")
    assert loads(changed, "f.json")["mcpServers"]["hub"] == VALUE
    return changed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("  // nothing\n", {}),
        ('{"a": 1} // one', {"a": 1}),
        ('/* a\n b */ {"a": [1, 2,], }', {"a": [1, 2]}),
        ('{"a": "// no, /* no */ comment ,}"}', {"a": "// no, /* no */ comment ,}"}),
        ('{"a": "\\"//"}', {"a": '"//'}),
        ('\ufeff{"a": 1}', {"a": 1}),
    ],
)
def test_comments_and_trailing_commas_are_no_matter(text, value):
    assert loads(text, "f") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n"a": }', "f:2: not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("{/*", "f:1: not JSON"),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text, words):
    with pytest.raises(Failed, match=words):
        loads(text, "f")


@pytest.mark.parametrize("text", ["", " \n", "// only a remark\n"])
def test_an_empty_file_gets_the_member_after_its_remarks(text):
    changed = change(text)
    assert changed.startswith(text.strip())
    assert changed.endswith("}\n")


def test_an_object_without_the_section_gets_it_first_in_its_own_indent():
    changed = change('{\n    "theme": "dark" // mine\n}\n')
    assert '\n    "mcpServers": {\n        "hub": {\n            "url"' in changed
    assert changed.endswith(',\n    "theme": "dark" // mine\n}\n')


def test_an_empty_object_gets_it_alone():
    assert json.loads(change("{ }")) == {"mcpServers": {"hub": VALUE}}


def test_a_member_that_is_there_is_replaced_in_its_place():
    before = (
        '{\n\t// one\n\t"mcpServers": {\n\t\t"hub": {"url": "old"}, // two\n\t\t"git": {},\n\t}\n}'
    )
    changed = change(before)
    assert "// one" in changed
    assert "// two" in changed
    assert changed.index('"hub"') < changed.index('"git"')
    assert "old" not in changed


def test_of_two_members_of_one_name_the_one_that_counts_is_changed():
    change('{"mcpServers": {"hub": 1, "hub": 2}}')


def test_lines_that_end_as_on_windows_stay_so():
    before = '{\r\n  "a": 1\r\n}\r\n'
    assert change(before).endswith('  "a": 1\r\n}\r\n')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "f.json: expected a JSON object"),
        ('{"mcpServers": 5}', "mcpServers: expected an object"),
        ('{"mcpServers": {"hub": {}}', "not JSON"),
    ],
)
def test_a_file_of_another_shape_is_refused(text, words):
    with pytest.raises(Failed, match=words):
        change(text)
