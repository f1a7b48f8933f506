"""The door of models: which address is which wire, and how a request becomes a call."""

import json

import pytest
from msgspec import structs
from support.fake_upstream import REFUSED, Act, lost
from support.house import ANNA, server
from support.llm_hub import DEMO, ask, chat, models
from support.model_calls import provider, used
from support.virtual_time import virtual_time

from agenthub.domain.budget import Budget
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.outcome import Ending
from agenthub.domain.period import Period
from agenthub.domain.provider import Llm

WIRES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]},
}


def usage_of(said):
    return said.get("usage") or said["response"]["usage"]


@pytest.mark.parametrize("path", WIRES)
@virtual_time()
async def test_each_wire_is_answered_in_its_own_words_and_booked(path):
    async with models(DEMO, demo_prices=True) as hub:
        said = (await hub(ask(path, {"model": "demo-1", **WIRES[path]}))).json
        assert "You said: Hi" in json.dumps(said)
        (row,) = hub.ledger.rows.values()
        assert row.charge.cost > 0
        assert row.hold.facts.model == "demo-1"
        assert hub.at_rest()


@pytest.mark.parametrize("path", WIRES)
@virtual_time()
async def test_a_stream_comes_as_events_and_is_booked_the_same(path):
    async with models(DEMO, demo_prices=True) as hub:
        asked = ask(path, {"model": "demo-1", "stream": True, **WIRES[path]})
        exchange = await hub(asked)
        assert exchange.streaming
        assert exchange.over
        assert exchange.header(b"content-type").startswith(b"text/event-stream")
        assert exchange.header(b"x-agenthub-served-by") == b"demo"
        body = b"".join(exchange.chunks).decode()
        assert "You said: Hi" in "".join(
            json.dumps(json.loads(line[6:])) if line[6:] != "[DONE]" else ""
            for line in body.splitlines()
            if line.startswith("data: ")
        ) or all(piece in body for piece in ("You", "said"))
        (row,) = hub.ledger.rows.values()
        assert row.charge.cost > 0
        assert row.charge.basis.value == "provider"


@virtual_time()
async def test_a_chat_stream_has_usage_only_if_its_client_asked():
    async with models(DEMO, demo_prices=True) as hub:
        plain = await hub(chat(stream=True))
        asked = await hub(chat(stream=True, stream_options={"include_usage": True}))
        assert b'"usage"' not in b"".join(plain.chunks)
        assert b'"usage"' in b"".join(asked.chunks)


@virtual_time()
async def test_embeddings_and_counts_of_tokens_are_answered():
    async with models(DEMO, demo_prices=True) as hub:
        vectors = await hub(ask("/v1/embeddings", {"model": "demo-1", "input": ["a", "b"]}))
        assert len(vectors.json["data"]) == 2
        asked = ask("/v1/messages/count_tokens", {"model": "demo-1", **WIRES["/v1/messages"]})
        counted = await hub(asked)
        assert counted.json["input_tokens"] > 5
        assert len(hub.ledger.rows) == 1, "to count is free"


@virtual_time()
async def test_what_a_call_cost_and_who_served_it_stands_in_the_answer():
    async with models(provider("p")) as hub:
        hub["p"].answers["small"] = used()
        exchange = await hub(chat("p/small"))
        assert exchange.header(b"x-agenthub-cost-usd") == b"0.00015"
        assert exchange.header(b"x-agenthub-served-by") == b"p"
        assert exchange.header(b"x-agenthub-request-id")


@virtual_time()
async def test_a_providers_own_error_passes_as_it_is():
    error = Act(used().reply, runs=False)
    reply = structs.replace(
        error.reply, ending=REFUSED.reply.ending.ERROR, error=b'{"error":{"message":"bad"}}',
        status=400, seen=None, result=b"", fields=((b"content-type", b"application/json"),),
    )  # fmt: skip
    async with models(provider("p")) as hub:
        hub["p"].answers["small"] = Act(reply)
        exchange = await hub(chat("p/small"))
        assert (exchange.status, exchange.body) == (400, b'{"error":{"message":"bad"}}')


@pytest.mark.parametrize(
    ("status", "seen", "words"),
    [(401, 502, "refuses the key"), (302, 502, "HTTP 302"), (529, 529, "HTTP 529")],
)
@virtual_time()
async def test_what_is_between_hub_and_provider_is_not_the_clients(status, seen, words):
    """A masked key of the operator's, an address to go to: neither is told."""
    body = b"" if status == 529 else b"sk-***"
    reply = structs.replace(
        used().reply, ending=Ending.ERROR, error=body, status=status, seen=None, result=b"",
        fields=((b"content-type", b"text/html"), (b"x-should-retry", b"true")),
        detail=f"the provider answered with HTTP {status}",
    )  # fmt: skip
    async with models(provider("p", attempts=1)) as hub:
        hub["p"].answers["small"] = Act(reply, runs=False)
        exchange = await hub(chat("p/small"))
        assert exchange.status == seen
        assert words in exchange.json["error"]["message"]
        assert exchange.header(b"content-type") == b"application/json"
        assert exchange.header(b"x-should-retry") == (b"false" if status == 401 else b"true")


@virtual_time()
async def test_a_provider_without_money_is_not_asked_again_by_any_sdk():
    """F31."""
    reply = structs.replace(
        used().reply, ending=Ending.ERROR, error=b'{"error":{"code":"insufficient_quota"}}',
        status=429, seen=None, result=b"", exhausted=True,
        fields=((b"x-should-retry", b"true"),),
    )  # fmt: skip
    async with models(provider("p")) as hub:
        hub["p"].answers["small"] = Act(reply, runs=False)
        exchange = await hub(chat("p/small"))
        assert (exchange.status, hub["p"].arrived("small")) == (429, 1)
        retry = [value for name, value in exchange.headers if name == b"x-should-retry"]
        assert retry == [b"false"]


@virtual_time()
async def test_a_provider_that_is_not_there_is_told_in_the_wires_shape():
    async with models(provider("p", attempts=1)) as hub:
        hub["p"].answers["small"] = REFUSED
        exchange = await hub(chat("p/small"))
        assert exchange.status == 502
        assert exchange.json["error"]["code"] == "upstream_unavailable"
        assert exchange.header(b"x-should-retry") == b"true"


@virtual_time()
async def test_a_used_up_budget_is_a_403_that_no_sdk_repeats():
    async with models(provider("p")) as hub:
        hub.ledger.kept = {"b": Budget("b", 1, period=Period("lifetime"))}
        hub.till.take(list(hub.ledger.kept.values()))
        exchange = await hub(chat("p/small"))
        error = exchange.json["error"]
        assert (exchange.status, error["type"], error["code"]) == (
            403, "budget_exceeded", "budget_exceeded"
        )  # fmt: skip
        assert exchange.header(b"x-should-retry") == b"false"
        assert {"scope", "used", "limit", "resets_at"} <= error.keys()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"model": "demo-1", "messages": [], "max_tokens": -1}, "max_tokens"),
        ({"model": 5, "messages": []}, "model"),
        ({"model": "demo-1", "api_base": "http://10.0.0.1", "messages": []}, "api_base"),
        ({"model": "../x", "messages": []}, "model"),
    ],
)
@virtual_time()
async def test_a_request_that_cannot_be_sent_is_refused_by_field(said, words):
    async with models(DEMO) as hub:
        exchange = await hub(ask("/v1/chat/completions", said))
        assert exchange.status == 400
        assert words in exchange.json["error"]["message"]
        assert hub.ledger.writes == []


@virtual_time()
async def test_a_body_that_is_no_json_is_refused():
    async with models(DEMO) as hub:
        exchange = await hub(ask("/v1/messages", body=b"{"))
        assert exchange.status == 400
        assert exchange.json["type"] == "error"


@virtual_time()
async def test_a_model_that_nobody_serves_is_not_found():
    async with models(DEMO, server("calculator")) as hub:
        exchange = await hub(chat("gpt-9"))
        assert (exchange.status, exchange.json["error"]["type"]) == (404, "not_found_error")


@virtual_time()
async def test_a_key_that_may_ask_some_models_asks_no_others():
    few = structs.replace(ANNA, models=("demo-mini", "fast"))
    async with models(DEMO, demo_prices=True) as hub:
        hub.catalog.models.reload({"fast": ("demo/demo-1",)})
        assert (await hub(chat("demo-mini", caller=few))).status == 200
        assert (await hub(chat("fast", caller=few))).status == 200
        assert (await hub(chat("demo-1", caller=few))).status == 404
        listed = await hub(ask("/v1/models", method="GET", caller=few))
        assert [one["id"] for one in listed.json["data"]] == ["fast"]


@virtual_time()
async def test_a_request_that_came_through_hubs_again_and_again_is_a_loop():
    """A43."""
    async with models(DEMO) as hub:
        for hops in (b"8", b"999999", b"0000", b"x"):
            exchange = await hub(chat(x_agenthub_hops=hops))
            assert (exchange.status, "loop" in exchange.json["error"]["message"]) == (400, True)


@virtual_time()
async def test_the_session_of_an_agent_is_booked():
    async with models(DEMO, demo_prices=True) as hub:
        await hub(chat(x_claude_code_session_id=b"s-1"))
        await hub(chat(x_agenthub_session=b"x" * 200))
        assert [row.hold.facts.session for row in hub.ledger.rows.values()] == ["s-1", ""]


@pytest.mark.parametrize("path", ["/v2/chat/completions", "/v1/logs", "/v1", "/api/v1/x"])
@virtual_time()
async def test_what_is_not_below_the_addresses_of_models_is_anothers(path):
    async with models(DEMO) as hub:
        assert hub.door.hot(path) is None


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/nothing", "not_found_error"), ("/v1/completions", "not_found_error"),
        ("/v1/images/generations", "not_found_error"), ("/v1/batches", "not_found_error"),
        ("/v1/analytics/codex/turn-costs", "not_found_error"),
        ("/v1/messages/batches", "not_found_error"), ("/v1/messages/count", "not_found_error"),
        ("/v1beta/models/demo-1:batchGenerateContent", "NOT_FOUND"),
        ("/v1beta/models/demo-1:predict", "NOT_FOUND"), ("/v1beta/files", "NOT_FOUND"),
        ("/v1beta/openai/chat/completions", "not_found_error"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET"])
@virtual_time()
async def test_what_the_hub_has_not_is_told_in_the_shape_of_its_wire(path, kind, method):
    async with models(DEMO, demo_prices=True) as hub:
        exchange = await hub(ask(path, {"model": "demo-1"}, method=method))
        said = exchange.json
        assert (exchange.status, exchange.header(b"x-should-retry")) == (404, b"false")
        error = said["error"]
        assert path in error["message"]
        assert "/v1/chat/completions" in error["message"]
        assert kind == (error.get("type") or error["status"])
        assert ("request_id" in said) == path.startswith("/v1/messages")
        assert hub.ledger.writes == []


@virtual_time()
async def test_a_model_is_asked_by_post_and_listed_by_get():
    async with models(DEMO) as hub:
        assert (await hub(ask("/v1/chat/completions", method="GET"))).status == 405
        assert (await hub(ask("/v1/models", method="POST"))).status == 405


@virtual_time()
async def test_models_are_listed_in_both_sdks_words():
    async with models(DEMO, provider("p", llm={"models": ("small", "x-*")})) as hub:
        hub.catalog.models.reload({"fast": ("p/small",), "lost": ("gone/m",)})
        page = (await hub(ask("/v1/models", method="GET"))).json
        names = [one["id"] for one in page["data"]]
        assert names == ["fast", "demo/demo-1", "demo/demo-mini", "p/small"]
        assert (page["first_id"], page["last_id"], page["has_more"]) == ("fast", "p/small", False)
        one = (await hub(ask("/v1/models/fast", method="GET"))).json
        assert (one["object"], one["type"]) == ("model", "model")
        assert (await hub(ask("/v1/models/gone", method="GET"))).status == 404
        google = (await hub(ask("/v1beta/models", method="GET"))).json
        assert google["models"][0]["name"] == "models/fast"


@virtual_time()
async def test_a_hub_without_providers_has_no_models():
    async with models(server("calculator")) as hub:
        assert (await hub(ask("/v1/models", method="GET"))).json["data"] == []


GEMINI = structs.replace(provider("g"), llm=Llm(provider="g", wires=("gemini",), models=("small",)))


@pytest.mark.parametrize(
    ("verb", "stream", "free"),
    [
        ("generateContent", False, False), ("streamGenerateContent", True, False),
        ("countTokens", False, True),
    ],
)  # fmt: skip
@virtual_time()
async def test_gemini_names_model_and_stream_in_the_address(verb, stream, free):
    async with models(GEMINI) as hub:
        hub["g"].answers["small"] = used()
        path = f"/v1beta/models/small:{verb}"
        exchange = await hub(ask(path, {"contents": []}, query=b"alt=sse&key=secret"))
        assert exchange.status == 200
        content = hub["g"].sent[-1].content
        assert (content.stream, content.query) == (stream, "alt=sse")
        assert content.path == f"/models/{{model}}:{verb}"
        assert bool(hub.ledger.rows) is not free


def streams(*pieces, then):
    notes = [("llm/head", b"content-type: text/event-stream\r\n")]
    notes += [("llm/chunk", piece) for piece in pieces]
    return Act(then, after=10_000_000, notes=tuple(notes))


@virtual_time()
async def test_a_stream_that_breaks_off_ends_with_an_error_event():
    """F33."""
    reply = lost().reply
    async with models(provider("p")) as hub:
        hub["p"].answers["small"] = streams(b"data: 1\n\n", then=reply)
        exchange = await hub(chat("p/small", stream=True))
        assert exchange.chunks[0] == b"data: 1\n\n"
        assert b'"outcome_unknown"' in exchange.chunks[-1]
        assert exchange.over


@virtual_time()
async def test_a_client_that_reads_slowly_holds_the_provider_back():
    """F36."""
    async with models(provider("p")) as hub:
        hub["p"].answers["small"] = streams(b"data: 1\n\n", b"data: 2\n\n", then=used().reply)
        exchange = chat("p/small", stream=True)
        exchange.backlog = 10**9
        await hub(exchange)
        assert exchange.over


@virtual_time()
async def test_a_client_that_hangs_up_hears_no_more_and_is_billed():
    """F35."""
    async with models(DEMO, demo_prices=True) as hub:
        exchange = hub.send(chat(text="!slow please say a few words", stream=True))
        import asyncio

        await asyncio.sleep(3)
        exchange.gone()
        heard = len(exchange.chunks)
        await asyncio.sleep(60)
        assert len(exchange.chunks) == heard
        (row,) = hub.ledger.rows.values()
        assert row.charge.cost > 0
        assert hub.at_rest()


@virtual_time()
async def test_a_provider_that_is_looked_at_says_its_models_or_what_is_wrong():
    async with models(DEMO, provider("p")) as hub:
        found = await hub.catalog.test("demo", 2)
        assert (found["ok"], found["models_count"], found["tools_count"]) == (True, 2, None)
        assert hub.catalog.get("demo").endpoint.reached_by == "models"
        hub["p"].state = structs.replace(hub["p"].state, problem="it refuses the key")
        found = await hub.catalog.test("p", 2)
        assert (found["ok"], found["problem"]) == (False, "it refuses the key")


@pytest.mark.parametrize("path", WIRES)
@virtual_time()
async def test_a_key_that_asks_too_often_is_told_when_to_come_again_in_its_wire(path):
    """Its own limit, which its calls of tools count to as well."""
    slow = structs.replace(ANNA, rate_limit=RateLimit(0.1, 1))
    async with models(DEMO, demo_prices=True) as hub:
        asked = {"model": "demo-1", **WIRES[path]}
        assert (await hub(ask(path, asked, caller=slow))).status == 200
        refused = await hub(ask(path, asked, caller=slow), seconds=0)
        assert (refused.status, refused.header(b"retry-after")) == (429, b"5")
        assert refused.json["error"]["type"] in {"rate_limit_error", "rate_limited"}
        assert "than this caller may make: 6/m, 1 at once" in refused.json["error"]["message"]
        assert (await hub(ask(path, asked))).status == 200, "another caller"
        assert (await hub(ask(path, asked, caller=slow), seconds=6)).status == 200


@virtual_time()
async def test_the_head_of_a_stream_says_which_fallback_answers():
    head = ("llm/head", b"content-type: text/event-stream\r\n")
    async with models(provider("p"), provider("q")) as hub:
        hub.catalog.models.reload({"fast": ["p/small", "q/small"]})
        hub["p"].answers["small"] = REFUSED
        hub["q"].answers["small"] = structs.replace(used(), notes=(head,))
        exchange = await hub(chat("fast", stream=True), 20)
        assert exchange.streaming
        assert exchange.header(b"x-agenthub-served-by") == b"q"
