"""The demo model as a provider: tools, faults, its cache, and what is asked of any upstream."""

import asyncio

import pytest
from support.llm_hub import DEMO, ask, chat, models
from support.virtual_time import virtual_time

TOOL = {
    "type": "function",
    "function": {
        "name": "add", "description": "Adds numbers",
        "parameters": {
            "type": "object", "required": ["a", "b"],
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
    },
}  # fmt: skip


def demo():
    return models(DEMO, demo_prices=True)


@virtual_time()
async def test_it_calls_a_tool_and_then_says_what_that_answered():
    async with demo() as hub:
        first = (await hub(chat(text="add 2 and 3", tools=[TOOL]))).json["choices"][0]
        assert first["finish_reason"] == "tool_calls"
        call = first["message"]["tool_calls"][0]["function"]
        assert (call["name"], call["arguments"]) == ("add", '{"a":2,"b":3}')
        said = {
            "model": "demo-1",
            "messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "5"}],
        }
        second = (await hub(ask("/v1/chat/completions", said))).json["choices"][0]
        assert second["message"]["content"] == "The tool answered: 5"


@pytest.mark.parametrize("stream", [False, True])
@virtual_time()
async def test_tools_on_the_other_wires(stream):
    anthropic = {
        "model": "demo-1", "max_tokens": 100, "stream": stream,
        "tools": [{"name": "add", "description": "Adds", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "add"}]}],
    }  # fmt: skip
    openai = {
        "model": "demo-1", "stream": stream, "input": [{"role": "user", "content": "add"}],
        "tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}}],
    }  # fmt: skip
    async with demo() as hub:
        for path, said, word in (
            ("/v1/messages", anthropic, b"tool_use"),
            ("/v1/responses", openai, b"function_call"),
        ):
            exchange = await hub(ask(path, said))
            assert word in (exchange.body or b"".join(exchange.chunks))


@virtual_time()
async def test_results_of_tools_on_the_other_wires():
    anthropic = {
        "model": "demo-1", "max_tokens": 100,
        "messages": [{"role": "user", "content": [{"type": "tool_result", "content": "7"}]}],
    }  # fmt: skip
    openai = {"model": "demo-1", "input": [{"type": "function_call_output", "output": "7"}]}
    async with demo() as hub:
        for path, said in (("/v1/messages", anthropic), ("/v1/responses", openai)):
            assert b"The tool answered: 7" in (await hub(ask(path, said))).body


@pytest.mark.parametrize(("word", "status"), [("!429", 429), ("!529", 529)])
@virtual_time()
async def test_it_refuses_when_it_is_told_to(word, status):
    async with demo() as hub:
        exchange = await hub(chat(text=word), seconds=60)
        assert exchange.status in {status, 502, 429}
        assert hub.at_rest()


@virtual_time()
async def test_a_stream_is_cut_in_the_middle_when_it_is_told_to():
    async with demo() as hub:
        exchange = await hub(chat(text="!cut some words", stream=True))
        assert exchange.over
        assert b"[DONE]" not in b"".join(exchange.chunks)
        (row,) = hub.ledger.rows.values()
        assert row.charge.basis.value == "partial"
        whole = await hub(chat(text="!cut it"))
        assert whole.status == 502


@virtual_time()
async def test_it_takes_its_time_when_it_is_told_to():
    async with demo() as hub:
        exchange = await hub(chat(text="!slow"), seconds=0.5)
        assert exchange.status is None
        await asyncio.sleep(2)
        assert exchange.status == 200


@virtual_time()
async def test_a_client_that_does_not_keep_up_holds_it_back():
    async with demo() as hub:
        exchange = chat(text="some words to be said", stream=True)
        exchange.backlog = 10**9
        await hub(exchange)
        assert not exchange.over
        exchange.backlog = 0
        exchange.drained()
        await asyncio.sleep(5)
        assert exchange.over


@virtual_time()
async def test_it_writes_no_more_than_it_was_asked_to():
    async with demo() as hub:
        short = (await hub(chat(text="some long words", max_tokens=2))).json["choices"][0]
        assert (short["message"]["content"], short["finish_reason"]) == ("You said", "length")


@virtual_time()
async def test_what_a_prompt_shares_with_the_last_one_is_cached():
    async with demo() as hub:
        text = "word " * 300
        await hub(chat(text=text))
        usage = (await hub(chat(text=text + "more"))).json["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] >= 256


@virtual_time()
async def test_a_model_that_it_has_not_is_not_found():
    async with demo() as hub:
        exchange = await hub(chat("demo/other"))
        assert (exchange.status, exchange.json["error"]["code"]) == (404, "model_not_found")


@virtual_time()
async def test_it_knows_nothing_of_mcp():
    async with demo() as hub:
        server = hub.catalog.get("demo")
        assert server.state.connected
        assert server.listing is not None
        assert not server.tools()
        await server.close()
