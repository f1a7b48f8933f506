import pytest

from agenthub.cli.content import text_of


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"type": "text", "text": "5"}, "5"),
        ({"type": "image", "mimeType": "image/png", "data": "QUJD"},
         "[image image/png, 3 bytes; --raw shows it]"),
        ({"type": "audio", "data": "QUJDREVG"}, "[audio , 6 bytes; --raw shows it]"),
        ({"type": "resource_link", "uri": "file:///a"}, "[file:///a]"),
        ({"type": "resource", "resource": {"text": "inside"}}, "inside"),
        ({"type": "resource", "resource": {"uri": "u", "mimeType": "m"}},
         "[resource u m; --raw shows it]"),
        ({"type": "resource", "resource": 5}, "[resource]"),
        ({"type": "new"}, "[new; --raw shows it]"),
        ({}, "[something else; --raw shows it]"),
    ],
)  # fmt: skip
def test_text_is_printed_and_the_rest_is_named(item, text):
    assert text_of({"content": [item]}) == text


def test_each_item_has_its_line_and_what_is_none_is_passed_by():
    items = [{"type": "text", "text": "a"}, 5, {"type": "text", "text": "b"}]
    assert text_of({"content": items, "structuredContent": {"x": 1}}) == "a\nb"


@pytest.mark.parametrize("content", [[], None, "text"])
def test_structured_content_stands_in_when_there_is_no_other(content):
    assert text_of({"content": content, "structuredContent": {"x": "ü"}}) == '{\n  "x": "ü"\n}'
    assert text_of({"content": content}) == ""
