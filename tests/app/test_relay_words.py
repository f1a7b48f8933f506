"""What the running hub said comes out of the small hub before it as it was said."""

import msgspec
import pytest
from support.fake_upstream import error, result
from support.house import Heard, house, server
from support.virtual_time import passes, virtual_time

from agenthub.app.relay_words import Muffled, PlainGateway
from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.errors import CircuitOpen, OutcomeUnknown
from agenthub.domain.outcome import Ending
from agenthub.domain.span import SECOND

SAID = {
    "code": "circuit_open", "retryable": True, "retry_after_ms": 1500, "executed": "no",
    "server": "git", "tool": "log", "attempt_count": 2, "request_id": "r-7",
}  # fmt: skip


def hub_error(code, message, data):
    made = error(code)
    body = {"code": code, "message": message, "data": data}
    return msgspec.structs.replace(
        made, reply=msgspec.structs.replace(made.reply, error=msgspec.json.encode(body))
    )


def plain(hub):
    return PlainGateway(
        hub.catalog, hub.clock, hub.rows, hub.claims, hub.till, hub.events, hub.metrics, 10
    )  # fmt: skip


async def asked(answer):
    """The answer of the small hub, when the running one answers so."""
    record = server("hub", attempts=1, breaker=BreakerConfig(failure_threshold=2))
    async with house(record) as hub:
        made = hub.catalog.get("hub")._upstream
        hub.catalog.get("hub")._upstream = Muffled(made)
        hub.catalog.routes.clear()
        gateway = plain(hub)
        hub["hub"].answers["add"] = answer
        answers = []
        for _ in range(5):
            heard = Heard()
            gateway.start(hub.call("hub", "add"), heard)
            await passes(SECOND)
            answers.append(heard.answer)
        assert hub.catalog.get("hub").lane.breaker.state.value == "closed"
        assert not [tool for tool in hub.catalog.get("hub").lane.tools.values() if tool.breaker]
        return answers[-1]


@virtual_time()
async def test_an_error_of_the_hub_keeps_its_code_and_its_facts():
    answer = await asked(hub_error(-31001, "It is open", SAID))
    assert answer.reply is None
    assert type(answer.error) is CircuitOpen
    assert str(answer.error) == "It is open"
    assert answer.error.data() == SAID


@virtual_time()
async def test_whether_it_ran_is_told_as_the_hub_told_it():
    data = {**SAID, "code": "outcome_unknown", "executed": "unknown"}
    answer = await asked(hub_error(-31007, "?", data))
    assert type(answer.error) is OutcomeUnknown
    assert answer.error.executed == "unknown"


@pytest.mark.parametrize("code", [-32603, -32602, -32002, 7])
@virtual_time()
async def test_an_error_of_a_server_keeps_its_code_and_blames_nobody(code):
    answer = await asked(hub_error(code, "no", {"x": 1}))
    assert answer.error is None
    assert (answer.reply.ending, answer.reply.code) == (Ending.ERROR, code)


@pytest.mark.parametrize("data", [None, [], {}, {"code": "nonsense"}, {"code": "outcome_unknown"}])
@virtual_time()
async def test_a_code_without_the_hubs_facts_is_no_word_of_the_hub(data):
    answer = await asked(hub_error(-31001, "no", data))
    assert answer.error is None
    assert answer.reply.code == -31001


@virtual_time()
async def test_who_served_is_who_served_there():
    body = b'{"content":[],"_meta":{"io.agenthub/served_by":"twin"}}'
    assert (await asked(result(body))).served_by == "twin"
    assert (await asked(result(b'{"content":[]}'))).served_by == "hub"
    assert (await asked(result(b"[]"))).served_by == "hub"


@virtual_time()
async def test_an_error_of_the_wrong_shape_is_passed_on_as_it_is():
    made = error(-32603)
    odd = msgspec.structs.replace(made.reply, error=b"[]")
    answer = await asked(msgspec.structs.replace(made, reply=odd))
    assert answer.reply.error == b"[]"


@virtual_time()
async def test_an_idempotency_key_goes_on_to_the_running_hub_and_is_kept_there_alone():
    async with house("hub") as hub:
        call = hub.call("hub", "add", key='k"')
        plain(hub).start(call, Heard())
        assert bytes(hub["hub"].sent[-1].meta["io.agenthub/idempotencyKey"]) == b'"k\\""'
        plain(hub).start(hub.call("hub", "add"), Heard())
        assert hub["hub"].sent[-1].meta == {}
        assert hub.claims.writes == []
        await passes(SECOND)
