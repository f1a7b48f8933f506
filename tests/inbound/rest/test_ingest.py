"""Usage that LiteLLM reports."""

import pytest
from msgspec import structs
from support.rest_hub import USER

from agenthub.domain.caller import Scope

PATH = "/api/ingest/litellm"
REPORTER = structs.replace(USER, scopes=frozenset({Scope.INGEST}))
PAYLOAD = {
    "litellm_call_id": "l1",
    "trace_id": "t1",
    "status": "success",
    "custom_llm_provider": "nobody",
    "model": "m",
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "response_cost": 0.0047,
    "messages": [{"role": "user", "content": "secret"}],
}


async def test_a_call_is_booked_once_however_often_it_is_reported(rest):
    first = await rest.post(PATH, [PAYLOAD, PAYLOAD], as_=REPORTER)
    again = await rest.post(PATH, [PAYLOAD], as_=REPORTER)
    page = (await rest.get("/api/usage/calls")).text

    assert first.json() == {"payloads": 2, "booked": 1}
    assert again.json() == {"payloads": 1, "booked": 0}
    assert page.count("litellm") >= 1
    assert "secret" not in page


@pytest.mark.parametrize("body", [{}, "x", [], [{}] * 1_001])
async def test_what_is_no_delivery_is_refused(rest, body):
    assert (await rest.post(PATH, body, as_=REPORTER)).status_code == 400


async def test_a_key_without_the_scope_reports_nothing(rest):
    assert (await rest.post(PATH, [PAYLOAD], as_=USER)).status_code == 403
