"""What the demo model says: always the same, and enough to show tools, limits and faults."""

import pytest

from agenthub.demo.mind import Asked, Thought, Tool, cut_to, fault_in, pieces_of, think, tokens_of

ADD = Tool(
    "calculator__add",
    "Adds two numbers",
    {
        "required": ["a", "b", "how", "name", "exact", "list", "more", "left"],
        "properties": {
            "a": {"type": "number"}, "b": {"type": "integer"}, "how": {"enum": ["fast", "slow"]},
            "name": {"type": "string"}, "exact": {"type": "boolean"}, "list": {"type": "array"},
            "more": {"type": "object"},
        },
    },
)  # fmt: skip


def test_it_says_the_words_back():
    assert think(Asked("Hello ", is_result=False)) == Thought("You said: Hello")
    assert "say it back" in think(Asked("", is_result=False)).text


def test_it_says_what_a_tool_answered():
    assert think(Asked("5", is_result=True)).text == "The tool answered: 5"


def test_it_calls_the_tool_that_fits_with_what_its_schema_requires():
    thought = think(Asked("Please add 2.5 and 3", is_result=False, tools=(ADD,)))
    assert thought.tool == "calculator__add"
    assert thought.arguments == {
        "a": 2.5, "b": 3, "how": "fast", "name": "Please add 2.5 and 3", "exact": True,
        "list": [], "more": {}, "left": "Please add 2.5 and 3",
    }  # fmt: skip
    assert think(Asked("adds", is_result=False, tools=(ADD,))).arguments["a"] == 0


@pytest.mark.parametrize(
    ("schema", "text", "arguments"),
    [
        ({"required": ["a", 5, []], "properties": {"a": {"type": ["integer", "null"]}}}, "x",
         {"a": "x"}),
        ({"required": ["a"], "properties": {"a": {"type": "integer"}}}, "9" * 400,
         {"a": int("9" * 15)}),
        ({"required": ["a"], "properties": {"a": {"type": "integer", "enum": 5}}}, "²",
         {"a": 0}),
        ({"required": "a", "properties": []}, "x", {}),
    ],
)  # fmt: skip
def test_a_schema_or_a_number_that_is_odd_is_no_trouble(schema, text, arguments):
    tool = Tool("say", "", schema)
    assert think(Asked(f"say {text}", is_result=False, tools=(tool,))).arguments in (
        arguments, {"a": f"say {text}"},
    )  # fmt: skip


def test_a_tool_without_a_schema_is_called_with_nothing():
    bare = Tool("ping", "", {"required": "x"})
    assert think(Asked("ping", is_result=False, tools=(bare,))).arguments == {}


def test_it_calls_no_tool_that_does_not_fit():
    assert think(Asked("the weather", is_result=False, tools=(ADD,))).tool == ""


@pytest.mark.parametrize("word", ["!429", "!529", "!slow", "!cut"])
def test_words_of_fault_are_found_anywhere(word):
    assert fault_in(f"please {word} now") == word
    assert fault_in("please") == ""


def test_a_text_is_cut_to_so_many_tokens():
    assert cut_to("12345678", 2) == ("12345678", False)
    assert cut_to("123456789", 2) == ("12345678", True)
    assert cut_to("한국어", 1) == ("한", True)


def test_pieces_are_the_text_and_always_the_same_ones():
    text = "Some words that are cut into pieces."
    assert "".join(pieces_of(text)) == text
    assert pieces_of(text) == pieces_of(text)
    assert len(pieces_of(text)) > 3
    assert tokens_of(text) == tokens_of(text.encode()) == 9
