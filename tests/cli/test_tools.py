import json

import pytest
from msgspec import Raw
from support.rest_hub import Part

from agenthub.domain.errors import CircuitOpen, OutcomeUnknown
from agenthub.domain.outcome import Ending, Reply

ADD = {
    "name": "add",
    "description": "Adds two numbers.\nReally.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "a": {"type": "number"},
            "b": {"type": "number"},
            "note": {"type": "string"},
        },
        "required": ["a", "b"],
    },
}


@pytest.fixture
def calculator(hub):
    server = hub.catalog.all["calculator"]
    server.listing = Part(tools=[Raw(json.dumps(ADD).encode())], listed_at_s=7, excluded={})
    hub.catalog.all["other"].listing = None
    return server


def answers(hub, result, served_by="calculator"):
    reply = Reply(Ending.RESULT, result=json.dumps(result).encode(),
                  is_error=result.get("isError", False))  # fmt: skip
    hub.gateway.end = Part(reply=reply, served_by=served_by, attempts=1)


def text(*texts, **more):
    return {"content": [{"type": "text", "text": each} for each in texts], **more}


class TestTools:
    def test_all_are_shown_with_what_they_take(self, cli, calculator, module, home):
        shown = cli("tools").out.splitlines()
        assert shown[0].split() == ["SERVER", "TOOL", "TAKES", "WHAT", "IT", "DOES"]
        assert shown[1].split() == ["calculator", "add", "a", "b", "[note]", "Adds", "two",
                                    "numbers."]  # fmt: skip
        assert module.opened == [(home, None)]

    def test_those_of_one_server(self, cli, calculator, module, home):
        assert cli("tools", "calculator", "--json").json["tools"][0]["definition"] == ADD
        assert module.opened == [(home, ["calculator"])]
        assert cli("tools", "nothing").code == 1

    def test_one_that_cannot_be_called_says_why(self, cli, calculator):
        calculator.why = "circuit open"
        assert "(circuit open) Adds two numbers." in cli("tools").out

    def test_none(self, cli, hub):
        hub.catalog.all.clear()
        assert "`agenthub doctor`" in cli("tools").out

    def test_a_hostile_definition_does_no_harm(self, cli, hub):
        tool = {"name": "x\x1b[2J", "description": "a\x07\r\nb", "title": 5}
        hub.catalog.all["other"].listing.tools = [Raw(json.dumps(tool).encode())]
        shown = cli("tools", "other").out
        assert "\x1b" not in shown
        assert "\x07" not in shown

    @pytest.mark.parametrize(
        "schema", [None, 5, {"properties": 5}, {"required": 5}, {"properties": {}, "required": [5]}]
    )
    def test_an_odd_schema_takes_nothing(self, cli, hub, schema):
        tool = {"name": "x", "inputSchema": schema}
        hub.catalog.all["other"].listing.tools = [Raw(json.dumps(tool).encode())]
        assert cli("tools", "other").code == 0


class TestCall:
    def test_the_demos_line_prints_five_and_nothing_else(self, cli, hub, calculator, module, home):
        answers(hub, text("5"))
        ended = cli("call", "calculator", "add", "--arg", "a=2", "--arg", "b=3")
        assert (ended.code, ended.out, ended.err) == (0, "5\n", "")
        (call,) = hub.gateway.calls
        assert json.loads(bytes(call.params["arguments"])) == {"a": 2, "b": 3}
        assert module.opened == [(home, ["calculator"])]

    def test_arguments_as_json_and_on_top_of_it(self, cli, hub, calculator):
        answers(hub, text("5"))
        cli("call", "calculator", "add", "--json", '{"a": 1, "note": "2"}', "--arg", "b=3")
        assert json.loads(bytes(hub.gateway.calls[0].params["arguments"])) == {
            "a": 1,
            "note": "2",
            "b": 3,
        }

    def test_json_from_stdin(self, cli, hub, calculator):
        answers(hub, text("5"))
        assert cli("call", "calculator", "add", "--json", "-", stdin='{"a": 7}').code == 0
        assert bytes(hub.gateway.calls[0].params["arguments"]) == b'{"a":7}'

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--json", "{"], "--json: not JSON"),
            (["--json", "[]"], "--json: expected an object"),
            (["--json", "[" * 100_000], "--json: not JSON"),
            (["--arg", "a=two"], "--arg a: expected a number, got 'two'"),
            (["--arg", "a"], "--arg: expected NAME=VALUE"),
        ],
    )
    def test_wrong_arguments_are_told_and_nothing_is_called(self, cli, hub, calculator, arguments,
                                                            words):  # fmt: skip
        refused = cli("call", "calculator", "add", *arguments)
        assert (refused.code, words in refused.err) == (2, True)
        assert hub.gateway.calls == []

    def test_a_tool_that_fails_is_a_failure_and_says_so_on_stderr(self, cli, hub, calculator):
        answers(hub, text("no such file", isError=True))
        ended = cli("call", "calculator", "add")
        assert (ended.code, ended.out, ended.err) == (1, "", "no such file\n")

    def test_another_server_that_answered_is_named_beside(self, cli, hub, calculator):
        answers(hub, text("5"), served_by="other")
        ended = cli("call", "calculator", "add")
        assert (ended.out, "Answered by other" in ended.err) == ("5\n", True)

    def test_raw_is_the_whole_result(self, cli, hub, calculator):
        result = text("5", structuredContent={"result": 5}, _meta={"x": 1})
        answers(hub, result)
        assert cli("call", "calculator", "add", "--raw").json == result

    def test_a_pipe_gets_every_byte_and_a_terminal_nothing_that_it_would_obey(
        self, cli, hub, calculator
    ):
        answers(hub, text("\x1b[2Jü\n5"))
        assert cli("call", "calculator", "add").out == "\x1b[2Jü\n5\n"
        assert cli("call", "calculator", "add", terminal=True).out == "�[2Jü\n5\n"

    @pytest.mark.parametrize(
        ("tool", "hint"),
        [("ad", "Did you mean 'add'?"), ("zzz", "`agenthub tools calculator` shows them.")],
    )
    def test_an_unknown_tool_gets_a_hint(self, cli, hub, calculator, tool, hint):
        refused = cli("call", "calculator", tool, "--arg", "a=1")
        assert refused.code == 1
        assert f"calculator has no tool {tool!r}. {hint}" in refused.err
        assert hub.gateway.calls == []

    def test_of_a_server_that_was_never_listed_nothing_is_known(self, cli, hub, calculator):
        answers(hub, text("5"))
        cli("call", "other", "any", "--arg", "a=2", "--arg", "b=x")
        assert bytes(hub.gateway.calls[0].params["arguments"]) == b'{"a":2,"b":"x"}'

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (
                CircuitOpen(server="calculator", retry_after_ms=1500),
                "(circuit_open, again in 1.5 s)",
            ),
            (OutcomeUnknown(server="calculator", executed="unknown"), "Look whether it was done"),
        ],
    )
    def test_a_refusal_says_why_and_what_to_do(self, cli, hub, calculator, error, words):
        hub.gateway.end = error
        refused = cli("call", "calculator", "add")
        assert (refused.code, refused.out, words in refused.err) == (1, "", True)
