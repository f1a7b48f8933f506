import asyncio
import json

import pytest
from msgspec import Raw
from support.cli_hub import Bearer, listening

from agenthub.agents.events import Piece, Problem, ToolBegun, ToolEnded, Used
from agenthub.agents.terms import Stopped
from agenthub.cli import access, chat
from agenthub.cli.ending import Failed

FORM = {"message": "How many?", "requestedSchema": {"properties": {"n": {"type": "integer"}}}}


def events(ended):
    return [json.loads(line) for line in ended.out.splitlines()]


def plays(hub, *steps):
    """What the agent does: events, or a question, whose answer is kept."""
    heard = []

    async def script(task, desk):
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                heard.append(await step(desk))
            else:
                desk.tell(step)

    hub.runner.script = script
    return heard


def test_an_answer_is_written_as_it_comes_with_its_cost(cli, module, home):
    ended = cli("chat", "Good morning")
    assert (ended.code, ended.out) == (0, "You said: Good morning\n")
    assert ended.err.startswith("$0.00 · ")
    assert "conversation " in ended.err
    assert module.opened == [(home, None)], "all servers are connected: an agent has their tools"


def test_events_for_scripts_are_one_a_line(cli):
    ended = cli("chat", "--json", "Hi")
    assert [one["type"] for one in events(ended)] == ["run", "delta", "delta", "done"]
    assert ended.err == ""


def test_a_script_may_write_the_message_into_the_command(cli):
    assert cli("chat", stdin="From a pipe\n").out == "You said: From a pipe\n"


def test_what_is_wished_reaches_the_agent(cli, hub):
    first = events(cli("chat", "--json", "One"))[0]["conversation"]
    cli("chat", "Two", "--model", "m", "--conversation", first, "--max-cost", "0.5")
    task = hub.runner.tasks[-1]
    assert (task.model, task.limits.cost, len(task.messages)) == ("m", 500_000_000, 3)


def test_tools_problems_and_usage_are_shown(cli, hub):
    plays(
        hub, Piece("Let me see"), ToolBegun("1", "calc", "add", Raw(b'{"a":1}')),
        ToolEnded("1", "ok", "5\nlines", "calc", 1, 12, "0.01"),
        ToolBegun("2", "", "nothing", Raw(b'"x"')), ToolEnded("2", "refused", "y" * 900),
        Problem("model_error", "Slow down", 2_000), Problem("x", "No"),
        Used("m", "p", 1_234, 0, 56, "0.01", "0.02"), Piece("Done.\n"),
    )  # fmt: skip
    ended = cli("chat", "x")
    lines = ended.out.splitlines()
    assert lines[:3] == ["Let me see", '⚙ calc / add {"a": 1}', "✓ 5 lines (12 ms, $0.01)"]
    assert lines[3] == "⚙ nothing x"
    assert lines[4].endswith("… (0 ms)")
    assert lines[5:] == ["! Slow down Again in 2 s.", "! No", "Done."]
    assert "1,234 in / 56 out" in ended.err


def test_a_run_that_fails_is_a_command_that_fails(cli, hub):
    plays(hub, Stopped("run_limit", "Enough."))
    ended = cli("chat", "x")
    assert (ended.code, ended.out) == (1, "! Enough.\n")
    assert cli("chat", "--model", "none", "x").code == 1
    assert cli("chat", " ").code == 1


def asks(desk):
    return desk.approve("1", "disk", "wipe", Raw(b'{"all":true}'), "it may change something")


def elicits(**params):
    return lambda desk: desk.elicit("disk", json.dumps(params).encode())


@pytest.mark.parametrize(("options", "allowed"), [([], False), (["--yes"], True)])
def test_where_nobody_can_be_asked_a_tool_is_called_only_with_yes(cli, hub, options, allowed):
    heard = plays(hub, asks)
    assert cli("chat", "x", *options).code == 0
    assert heard == [allowed]
    heard = plays(hub, asks, elicits(**FORM))
    kinds = [one["type"] for one in events(cli("chat", "--json", "x", *options))]
    assert kinds == ["run", "approval", "approval", "elicitation", "elicitation", "done"]
    assert heard == [allowed, b'{"action":"decline"}']


@pytest.fixture
def person(cli, monkeypatch):
    """The terminal of somebody who types these lines."""

    def typing(*lines):
        left = list(lines)
        monkeypatch.setattr(chat, "_is_terminal", lambda: True)
        monkeypatch.setattr("click.confirm", lambda *_, **__: left.pop(0) == "y")
        monkeypatch.setattr("click.prompt", lambda *_, **more: more["type"](left.pop(0)))

        def read(_):
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("builtins.input", read)
        return left

    return typing


@pytest.mark.parametrize(("word", "allowed"), [("y", True), ("n", False)])
def test_a_person_is_asked_with_all_arguments(cli, hub, person, word, allowed):
    person(word)
    heard = plays(hub, Piece("Well"), asks)
    ended = cli("chat", "x")
    assert heard == [allowed]
    assert "disk / wipe wants to be called (it may change something):" in ended.out
    assert '"all": true' in ended.out


@pytest.mark.parametrize(
    ("params", "typed", "answer"),
    [
        (FORM, ["y", "3"], {"action": "accept", "content": {"n": 3}}),
        (FORM, ["n"], {"action": "decline"}),
        ({"mode": "url", "url": "https://a.test/"}, ["y"], {"action": "accept"}),
        ({"mode": "url", "url": "https://a.test/"}, ["n"], {"action": "decline"}),
        ({"message": "?"}, ["y"], {"action": "accept", "content": {}}),
    ],
    ids=range(5),
)
def test_a_person_answers_what_a_server_asks(cli, hub, person, params, typed, answer):
    left = person(*typed)
    heard = plays(hub, elicits(**params))
    cli("chat", "x")
    assert json.loads(heard[0]) == answer
    assert not left


def test_line_by_line_it_is_one_conversation(cli, hub, person):
    person("One", "Two", "")
    ended = cli("chat", terminal=True)
    assert len(hub.runner.tasks[-1].messages) == 3
    assert "You said: Two" in ended.out
    person("Three")
    assert cli("chat", terminal=True).code == 0


def test_ctrl_c_stops_the_answer_and_keeps_the_terminal(cli, hub, monkeypatch):
    def interrupted(self, run):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(access.HubAccess, "follow_chat", interrupted)
    ended = cli("chat", "x")
    assert (ended.code, "Stopped." in ended.err) == (1, True)


# ------------------------------------------------------------ a hub that runs


def test_the_hub_that_runs_is_asked_and_its_stream_read(cli, module, home):
    with listening(Bearer(module), home):
        assert cli("chat", "Hi").out == "You said: Hi\n"
        assert module.opened == []


def test_a_stream_that_is_lost_is_gone_on_with_and_nothing_comes_twice(cli, module, home):
    from agenthub.cli.remote import RemoteHub

    follow, tries = RemoteHub.follow, []

    def losing(self, path, after):
        tries.append(after)
        pieces = b"".join(follow(self, path, after))
        if len(tries) == 1:
            yield pieces[: pieces.index(b"id: 3")]
            raise Failed("It broke off.")
        if len(tries) == 2:
            return
        yield pieces

    RemoteHub.follow = losing
    try:
        with listening(Bearer(module), home):
            assert cli("chat", "Hi").out == "You said: Hi\n"
            tries[:] = [0] * 10
            RemoteHub.follow = lambda self, path, after: iter_failing()
            assert cli("chat", "Hi").code == 1
            RemoteHub.follow = lambda self, path, after: nothing()
            assert "before its end" in cli("chat", "Hi").err
    finally:
        RemoteHub.follow = follow
    assert tries[:1] == [0]


def nothing():
    yield from ()


def iter_failing():
    raise Failed("It broke off.")
    yield


def test_what_is_no_stream_is_told(cli, module, home):
    from agenthub.cli.remote import find_hub

    with listening(Bearer(module), home):
        hub = find_hub(home)
        with pytest.raises(Failed, match="answered 404"):
            list(hub.follow("/api/chat/runs/none/events", 0))
    with pytest.raises(Failed, match="broke off"):
        list(hub.follow("/api/chat/runs/none/events", 0))


def test_a_stream_that_falls_silent_is_told(cli, hub, module, home, monkeypatch):
    from agenthub.cli import remote

    monkeypatch.setattr(remote, "SILENT_S", 0.3)
    plays(hub, lambda desk: asyncio.sleep(2))
    monkeypatch.setattr(access, "FOLLOW_TRIES", 1)
    with listening(Bearer(module), home):
        assert "was silent" in cli("chat", "Hi").err
