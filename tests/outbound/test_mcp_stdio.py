"""The stdio upstream against well-behaved servers: real processes, both eras."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from support.stdio_hub import House, Receiver, outgoing, server, text_of, until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.domain.span import SECOND
from agenthub.ports import Outgoing

CALCULATOR = (sys.executable, "-m", "agenthub.demo.calculator")


async def test_a_modern_server_is_found_out_and_answers():
    async with House(CALCULATOR) as house:
        house.upstream.start()
        reply = await house.call("add", a=2, b=3)
        assert (reply.ending, reply.written) == (Ending.RESULT, Written.ALL)
        assert text_of(reply) == "5"
        state = house.upstream.state
        assert (state.connected, state.era, state.version) == (True, Era.MODERN, "2026-07-28")
        assert msgspec.json.decode(state.server_info)["name"] == "agenthub-calculator"
        assert (state.problem, state.restarts) == ("", 0)
        assert house.watcher.heard == [("connected",)]


async def test_a_hundred_concurrent_calls_get_their_own_answers():
    async with House(CALCULATOR) as house:
        await house.up()
        replies = await asyncio.gather(*(house.call("add", a=n, b=1) for n in range(100)))
        assert [text_of(reply) for reply in replies] == [str(n + 1) for n in range(100)]


async def test_a_server_of_the_official_sdk_is_modern():
    async with House((sys.executable, *server("sdk")[2:])) as house:
        house.upstream.start()
        assert text_of(await house.call("add", seconds=20, a=2, b=3)) == "5"
        assert house.upstream.state.era is Era.MODERN


async def test_a_legacy_server_is_initialized():
    async with House(server("odd")) as house:
        await house.up()
        state = house.upstream.state
        assert (state.era, state.version) == (Era.LEGACY, "2025-06-18")
        assert state.instructions == "be kind"
        assert msgspec.json.decode(state.capabilities) == {
            "tools": {"listChanged": True},
            "logging": {},
        }
        assert text_of(await house.call("echo", text="hi")) == "hi"


async def test_a_server_that_ignores_discover_is_initialized_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("agenthub.outbound.mcp_pipe.SILENCE", SECOND // 5)
    async with House(server("mute")) as house:
        house.upstream.start()
        assert text_of(await house.call("echo", text="hi")) == "hi"
        assert house.upstream.state.era is Era.LEGACY
        monkeypatch.setattr("agenthub.outbound.mcp_pipe.SILENCE", 60 * SECOND)
        os.kill(house.pid, signal.SIGKILL)
        await house.watcher.until("connected", 2)


async def test_a_server_that_dies_of_discover_is_started_with_initialize(tmp_path: Path):
    path = tmp_path / "starts"
    async with House(server("picky"), {"STARTS": str(path)}) as house:
        house.upstream.start()
        assert text_of(await house.call("echo", text="hi")) == "hi"
        assert path.read_text().count("start") == 2
        assert house.watcher.heard == [("connected",)]
        house.upstream._pipe.kill("on purpose")
        await house.watcher.until("connected", 2)
        assert path.read_text().count("start") == 3, "the verdict is remembered"


async def test_calls_while_it_opens_wait_no_longer_than_the_connect_timeout():
    async with House(server("hung"), connect_ms=300) as house:
        house.upstream.start()
        first, _ = house.begin("add")
        reply = await asyncio.wait_for(first.reply, 2)
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert "does not answer" in reply.detail
        assert (await asyncio.wait_for(house.begin("add")[0].reply, 0.1)).ending is Ending.UNREACHED
        assert [one[0] for one in house.watcher.heard] == ["unreachable"]
        os.kill(house.pid, signal.SIGKILL)  # At once it is started with initialize first.
        await house.watcher.until("unreachable", 2)
        second_pid = house.pid
        os.kill(second_pid, signal.SIGKILL)
        await until(lambda: house.upstream.state.pid not in (None, second_pid))
        assert house.watcher.count("unreachable") == 2, "one start, one word"


async def test_progress_comes_under_the_clients_own_token():
    async with House(server("odd")) as house:
        await house.up()
        receiver, _ = house.begin("progress", {"progressToken": "mine"})
        await receiver.reply
        notes = [(method, msgspec.json.decode(params)) for method, params in receiver.notes]
        assert notes == [
            ("notifications/progress", {"progressToken": "mine", "progress": step})
            for step in (1, 2)
        ]


async def test_without_a_token_there_is_no_progress():
    async with House(server("odd")) as house:
        await house.up()
        receiver, _ = house.begin("progress")
        await receiver.reply
        assert receiver.notes == []


async def test_a_legacy_server_gets_no_modern_meta_keys():
    async with House(server("odd")) as house:
        await house.up()
        meta = {"io.modelcontextprotocol/logLevel": "info", "traceparent": "00-1"}
        assert text_of(await house.call("meta", meta)) == '{"traceparent": "00-1"}'
        assert text_of(await house.call("meta")) == "null"


async def test_what_concerns_no_request_goes_to_the_watcher():
    async with House(server("odd")) as house:
        await house.up()
        receiver, _ = house.begin("notes")
        await receiver.reply
        assert receiver.notes == []
        assert house.watcher.heard[1:] == [
            ("changed", "notifications/message", b'{"level": "info", "data": "hi"}'),
            ("changed", "notifications/tools/list_changed", b"{}"),
        ]


async def test_log_messages_go_to_the_only_attempt_in_flight_if_it_wants_them():
    async with House(server("odd")) as house:
        await house.up()
        receiver, _ = house.begin("notes", {"io.modelcontextprotocol/logLevel": "info"})
        await receiver.reply
        assert [method for method, _ in receiver.notes] == ["notifications/message"]


def logged(receiver: Receiver) -> list[tuple[str, list[str]]]:
    notes = [msgspec.json.decode(params) for _, params in receiver.notes]
    return [(note["level"], msgspec.json.decode(note["data"])) for note in notes]


async def test_an_old_servers_log_level_is_the_most_that_a_call_wanted():
    key = "io.modelcontextprotocol/logLevel"
    async with House(server("odd")) as house:
        await house.up()
        for level, expected in (
            ("warning", [("warning", ["warning"]), ("odd", ["warning"])]),
            ("error", [("odd", ["warning"])]),
            ("debug", [(level, ["warning", "debug"]) for level in ("debug", "warning", "odd")]),
            ("nonsense", []),
        ):
            receiver, _ = house.begin("log", {key: level})
            await receiver.reply
            assert logged(receiver) == expected


async def test_a_modern_server_is_asked_for_the_list_changes_that_it_can_tell():
    async with House(server("modern")) as house:
        await house.up()
        assert text_of(await house.call("listened")) == '[{"id": 0, "toolsListChanged": true}]'
        assert house.watcher.heard == [
            ("connected",),
            ("changed", "notifications/tools/list_changed", b'{"_meta": {"x": 1}}'),
        ]


async def test_a_modern_server_gets_the_clients_capabilities_and_the_time_left():
    async with House(server("modern")) as house:
        await house.up()
        meta = msgspec.json.decode(text_of(await house.call("meta", {"progressToken": "mine"})))
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert meta["io.modelcontextprotocol/clientCapabilities"] == {}
        assert 9_000 < meta["io.agenthub/deadlineMs"] <= 9_950
        assert isinstance(meta["progressToken"], int)


@pytest.mark.parametrize("era", Era)
async def test_input_required_passes_whatever_the_clients_era(era: Era):
    async with House(server("modern")) as house:
        await house.up()
        receiver = Receiver()
        house.upstream.send(msgspec.structs.replace(outgoing("input"), era=era), receiver)
        assert (await receiver.reply).result_type == "input_required"


async def test_a_modern_server_may_not_ask_and_is_not_answered():
    async with House(server("modern")) as house:
        await house.up()
        assert text_of(await house.call("ask")) == "went on"
        assert house.upstream._traffic is not None
        assert house.upstream._traffic.strays == 2


async def test_a_ping_of_the_server_is_answered():
    async with House(server("odd")) as house:
        await house.up()
        answer = msgspec.json.decode(text_of(await house.call("ask", method="ping")))
        assert answer == {"jsonrpc": "2.0", "id": "q1", "result": {}}


@pytest.mark.parametrize("held", [0, 1])
@pytest.mark.parametrize("method", ["roots/list", "sampling/createMessage", "elicitation/create"])
async def test_on_a_shared_pipe_nobody_is_asked_and_the_call_goes_on(method: str, held: int):
    async with House(server("odd")) as house:
        await house.up()
        for _ in range(held):
            house.begin("hold")
        receiver, _ = house.begin("ask", method=method)
        answer = msgspec.json.decode(text_of(await receiver.reply))
        assert (answer["id"], answer["error"]["code"]) == ("q1", -32601)
        assert receiver.questions == []


async def test_an_error_is_passed_on_with_its_code():
    async with House(server("odd")) as house:
        await house.up()
        reply = await house.call("error")
        assert (reply.ending, reply.code) == (Ending.ERROR, -32602)
        assert msgspec.json.decode(reply.error) == {"code": -32602, "message": "no"}


async def test_a_cancelled_attempt_finishes_once_and_its_late_answer_is_dropped():
    async with House(server("odd")) as house:
        await house.up()
        receiver, attempt = house.begin("sleep", nap=0.2)
        attempt.cancel(Cause.CLIENT)
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().ending is Ending.CANCELLED
        assert text_of(await house.call("echo", text="next")) == "next"


async def test_a_waiting_attempt_can_be_cancelled_and_is_never_sent():
    async with House(CALCULATOR) as house:
        receiver, attempt = house.begin("add", a=1, b=1)
        attempt.cancel(Cause.CLIENT)
        reply = receiver.reply.result()
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.NONE)


async def test_pretty_printed_arguments_stay_one_line():
    async with House(CALCULATOR) as house:
        await house.up()
        receiver = Receiver()
        pretty = msgspec.Raw(b'{\r\n  "a": 2,\n  "b": 3\r\n}')
        out = msgspec.structs.replace(outgoing("add"), params={"arguments": pretty})
        house.upstream.send(out, receiver)
        assert text_of(await receiver.reply) == "5"


async def test_a_line_break_within_a_string_cannot_smuggle_a_second_message():
    async with House(CALCULATOR) as house:
        await house.up()
        receiver = Receiver()
        evil = msgspec.Raw(b'"\n{"jsonrpc":"2.0"}\n"')
        out = msgspec.structs.replace(outgoing("add"), params={"arguments": evil})
        house.upstream.send(out, receiver)
        reply = await receiver.reply
        assert (reply.ending, reply.written) == (Ending.PROTOCOL, Written.NONE)


async def test_a_closed_upstream_answers_at_once():
    async with House(CALCULATOR) as house:
        await house.up()
        await house.upstream.close()
        await house.upstream.close()
        assert (await house.call("add", a=1, b=1)).ending is Ending.UNREACHED


async def test_a_close_ends_what_is_in_flight():
    async with House(server("odd")) as house:
        await house.up()
        receiver, _ = house.begin("hold")
        await house.upstream.close()
        assert receiver.reply.result().ending is Ending.CANCELLED


async def test_a_program_that_does_not_exist_is_explained():
    async with House(("no-such-program-here",)) as house:
        house.upstream.start()
        assert (await house.watcher.until("unreachable"))[1] == (
            "`no-such-program-here` is not on PATH"
        )
        assert "full path" in house.upstream.state.hint
        assert house.upstream.state.pid is None


async def test_the_child_gets_few_variables_and_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NODE_OPTIONS", "--inspect")
    monkeypatch.setenv("LD_PRELOAD_X", "evil.so")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    async with House(server("odd"), {"OWN": "1"}) as house:
        await house.up()
        environ = environment(house.pid)
        names = {pair.partition("=")[0] for pair in environ if pair}
        assert {"PATH", "OWN", "LC_ALL"} <= names
        assert not names & {"NODE_OPTIONS", "LD_PRELOAD_X", "OPENAI_API_KEY", "PYTHONPATH"}


def environment(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")


async def test_a_modern_server_is_told_what_is_watched_on_one_stream():
    async with House(server("modern")) as house:
        await house.up()

        async def ask(method: str) -> None:
            receiver = Receiver()
            house.upstream.send(Outgoing(method, "a:1", {}, {}, 0), receiver)
            reply = await asyncio.wait_for(receiver.reply, 5)
            assert reply.ending is Ending.RESULT

        async def streams() -> list[dict]:
            return msgspec.json.decode(text_of(await house.call("listened")))

        lists = {"id": 0, "toolsListChanged": True}
        await ask("resources/subscribe")
        assert await streams() == [{**lists, "resourceSubscriptions": ["a:1"]}]
        await ask("resources/unsubscribe")
        assert await streams() == [lists]


async def test_who_waits_for_a_stream_of_a_process_that_ends_waits_no_longer():
    async with House(server("modern")) as house:
        await house.up()
        receiver = Receiver()
        house.upstream.send(Outgoing("resources/subscribe", "a:1", {}, {}, 0), receiver)
        os.kill(house.pid, signal.SIGKILL)
        await asyncio.wait_for(receiver.reply, 0.9)
