"""New clients and new servers that ask: what passes, and the seal on the server's state."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from support.asking import (
    ACCEPT,
    ADD,
    FORM,
    LIST,
    PAGE,
    SAMPLE,
    again,
    asks_back,
    call,
    is_question,
    is_refused,
    old_client,
    questions,
)
from support.fake_upstream import OK, REFUSED, error, result, tool
from support.house import ANNA, BERT, server
from support.mcp_hub import SECRET, doors
from support.virtual_time import virtual_time

from agenthub.domain.call import Call, Era
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import UpstreamProtocol
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import SECOND
from agenthub.domain.view import View
from agenthub.inbound.mcp.dialogue import seal as seal_module
from agenthub.inbound.mcp.dialogue.seal import InvalidState, Opened, Seal, What

NARROW = Caller("narrow", frozenset({Scope.TOOLS}), frozenset({"calc"}))


def hub_with(*acts, **more):
    answers = list(acts)

    def prepare(fake):
        fake.answers["add"] = answers

    return doors(server("calc", **more), prepare={"calc": prepare})


def sent(hub, name="calc", number=-1):
    return {key: bytes(raw) for key, raw in hub[name].sent[number].params.items()}


@virtual_time()
async def test_a_question_passes_as_it_came_but_for_its_state_which_comes_back_exactly():
    raw = b'{"resultType":"input_required","x":1.0e2,"requestState":"s\\u00e9","inputRequests":%b}'
    asks = result(raw % msgspec.json.encode({"a": FORM}), result_type="input_required")
    async with hub_with(asks, OK) as hub:
        asked = await hub(call())
        assert asked.result["inputRequests"] == {"a": FORM}
        assert b'"x":1.0e2' in asked.body
        assert asked.result["requestState"] != "s\u00e9"
        assert not is_question(await hub(again(asked)))
        assert sent(hub)["requestState"] == b'"s\\u00e9"'
        assert msgspec.json.decode(sent(hub)["inputResponses"]) == {"a": ACCEPT}


@virtual_time()
async def test_a_state_that_the_server_did_not_give_is_not_made_up():
    async with hub_with(asks_back(a=FORM), OK) as hub:
        asked = await hub(call())
        assert "requestState" not in asked.result
        assert not is_question(await hub(again(asked)))
        assert "requestState" not in sent(hub)


@virtual_time()
async def test_a_server_may_want_nothing_but_to_be_called_again():
    async with hub_with(asks_back("later"), OK) as hub:
        asked = await hub(call(declared={}))
        assert "inputRequests" not in asked.result
        done = await hub(call({**ADD, "requestState": asked.result["requestState"]}, declared={}))
        assert not is_question(done)
        assert sent(hub).keys() == {"name", "arguments", "requestState"}


@virtual_time()
async def test_a_state_that_was_used_edited_or_is_anothers_never_reaches_a_server():
    """A37."""

    def prepare(fake):
        fake.tools = {"add": tool("add"), "sub": tool("sub")}
        fake.answers["add"] = [asks_back("s", a=FORM), OK]

    async with doors("calc", "other", prepare={"calc": prepare, "other": prepare}) as hub:
        asked = await hub(call())
        state = asked.result["requestState"]
        facts, _, signature = state.partition(".")
        for wrong in (
            again(asked, caller=BERT),
            again(asked, path="/mcp/other"),
            again(asked, {**ADD, "name": "calc__add"}, path="/mcp"),
            again(asked, {**ADD, "name": "sub"}),
            again(asked, {**ADD, "arguments": {"a": 2}}),
            again(asked, state="s"),
            again(asked, state=state + "="),
            again(asked, state=f"{facts}.{signature[:-2]}"),
            again(asked, state=f"{facts[:-4]}AAAA.{signature}"),
            again(asked, state=f"{facts}."),
            again(asked, state=f"{facts}.{signature}.{signature}"),
        ):
            assert is_refused(await hub(wrong))
        assert hub["calc"].executed("add") == 1
        assert hub["other"].executed("add") == hub["calc"].executed("sub") == 0
        assert not is_question(await hub(again(asked)))
        assert is_refused(await hub(again(asked)))
        assert hub["calc"].executed("add") == 2


@virtual_time()
async def test_a_state_is_good_at_the_address_only_where_it_was_given():
    """A37: the same caller, the same tool, and another door to it."""
    views = {name: View(name, allow=("calc__*",)) for name in ("one", "two")}
    merged, places = {**ADD, "name": "calc__add"}, ("/mcp", "/mcp/v/one", "/mcp/v/two")
    for place in places:
        async with hub_with(asks_back("s", a=FORM), OK) as hub:
            await hub.catalog.views.reload(views, "agenthub.yaml")
            asked = await hub(call(merged, path=place))
            for other in places:
                if other != place:
                    assert is_refused(await hub(again(asked, merged, path=other)))
            assert hub["calc"].executed("add") == 1
            assert not is_question(await hub(again(asked, merged, path=place)))


@virtual_time()
async def test_a_state_expires():
    async with hub_with(asks_back("s", a=FORM), OK) as hub:
        asked = await hub(call())
        await asyncio.sleep(601)
        assert is_refused(await hub(again(asked)))


@virtual_time()
async def test_a_state_outlives_the_hub_that_gave_it():
    """Nothing is kept for it, so another process with the same secret serves the next round."""
    async with hub_with(asks_back("s", a=FORM), OK) as hub:
        asked = await hub(call())
    async with hub_with(OK) as hub:
        assert not is_question(await hub(again(asked)))
        assert sent(hub)["requestState"] == b'"s"'


@virtual_time()
async def test_a_round_that_surely_did_not_take_place_can_be_tried_again():
    async with hub_with(asks_back("s", a=FORM), REFUSED, OK, attempts=1) as hub:
        asked = await hub(call())
        refused = await hub(again(asked))
        assert refused.json["error"]["data"]["executed"] == "no"
        hub.catalog.get("calc").endpoint = msgspec.structs.replace(
            hub.catalog.get("calc").endpoint, enabled=False
        )
        hub.catalog.routes.clear()
        assert (await hub(again(asked))).json["error"]["data"]["code"] == "unknown_target"
        hub.catalog.get("calc").endpoint = msgspec.structs.replace(
            hub.catalog.get("calc").endpoint, enabled=True
        )
        hub.catalog.routes.clear()
        assert not is_question(await hub(again(asked)))
        assert is_refused(await hub(again(asked)))


@virtual_time()
async def test_a_round_that_failed_at_the_server_cannot():
    async with hub_with(asks_back("s", a=FORM), error(-32050), OK) as hub:
        asked = await hub(call())
        assert (await hub(again(asked))).code == -32050
        assert is_refused(await hub(again(asked)))


@pytest.mark.parametrize("state", ["s", None])
def test_a_fallback_that_asked_gets_the_answer_and_its_name_stays_its_own(state):
    """R34."""

    @virtual_time()
    async def run():
        def first(fake):
            fake.answers["add"] = [REFUSED, OK]

        def twin(fake):
            fake.answers["add"] = [asks_back(state, a=FORM), OK]

        endpoint = server("calc", fallbacks=("twin",), attempts=1)
        async with doors(endpoint, "twin", prepare={"calc": first, "twin": twin}) as hub:
            asked = await hub(call(caller=NARROW))
            assert is_question(asked)
            assert b"twin" not in asked.body
            done = await hub(again(asked, caller=NARROW))
            assert done.result["_meta"]["io.agenthub/served_by"] == "another"
            assert hub["twin"].executed("add") == 2
            assert hub["calc"].executed("add") == 0
            assert ("requestState" in sent(hub, "twin")) is (state is not None)

    run()


@virtual_time()
async def test_what_the_client_did_not_declare_is_an_error_with_what_it_would_have_to():
    asks = asks_back(a=FORM, b=SAMPLE, c=LIST, d=PAGE)
    async with hub_with(asks) as hub:
        refused = await hub(call(declared={"roots": {}}))
        assert (refused.status, refused.code) == (400, -32021)
        assert refused.json["error"]["data"] == {
            "requiredCapabilities": {"elicitation": {"url": {}}, "sampling": {}}
        }


@virtual_time()
async def test_a_server_that_asks_for_nothing_breaks_the_protocol():
    async with hub_with(asks_back()) as hub:
        assert (await hub(call())).json["error"]["data"]["code"] == "upstream_protocol"


@virtual_time()
async def test_a_state_that_is_too_large_to_travel_is_refused():
    async with hub_with(asks_back("s" * 70_000, a=FORM)) as hub:
        assert (await hub(call())).json["error"]["data"]["code"] == "upstream_protocol"


@virtual_time()
async def test_a_server_may_not_ask_during_a_completion():
    def prepare(fake):
        fake.answers["completion/complete"] = asks_back("s", a=FORM)

    async with doors("calc", prepare={"calc": prepare}) as hub:
        from support.asking import EVERY, PATH
        from support.exchange import CAPABILITIES, modern

        ref = {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""}}
        asked = modern("completion/complete", ref, meta={CAPABILITIES: EVERY}, path=PATH)
        assert (await hub(asked)).json["error"]["data"]["code"] == "upstream_protocol"


@virtual_time()
async def test_a_key_goes_on_through_the_rounds_and_runs_the_last_one_once():
    """R33, A46."""
    key = {"io.agenthub/idempotencyKey": "k"}
    async with hub_with(asks_back("s", a=FORM), OK) as hub:
        asked = await hub(call(meta=key))
        done = await hub(again(asked, meta=key))
        assert not is_question(done)
        kept = await hub(call(meta=key))
        assert kept.result["content"] == done.result["content"]
        assert hub["calc"].executed("add") == 2
        assert is_question(await hub(call(meta=key, caller=BERT))) is False


# ---------------------------------------------------------------- -32042 of the old era


def wants_page(*pages):
    return error(-32042, runs=False) if not pages else Act42(pages)


def Act42(pages):  # noqa: N802 - reads as the fake's own
    words = {"code": -32042, "message": "open", "data": {"elicitations": list(pages)}}
    reply = Reply(Ending.ERROR, error=msgspec.json.encode(words), code=-32042)
    return msgspec.structs.replace(OK, reply=reply)


@virtual_time()
async def test_pages_that_an_old_server_wants_opened_are_a_question_in_the_new_era():
    page = {"mode": "url", "elicitationId": "e", "url": "https://x.test/a", "message": "Log in"}
    async with hub_with(wants_page(page), OK) as hub:
        asked = await hub(call())
        (question,) = asked.result["inputRequests"].values()
        assert question == PAGE
        done = await hub(again(asked, answers={"q1": {"action": "accept"}}))
        assert not is_question(done)
        assert sent(hub).keys() == {"name", "arguments"}
        assert is_refused(await hub(again(asked)))


@virtual_time()
async def test_who_cannot_open_pages_is_told_what_it_would_have_to_declare():
    page = {"mode": "url", "elicitationId": "e", "url": "https://x.test/a", "message": "Log in"}
    async with hub_with(wants_page(page)) as hub:
        refused = await hub(call(declared={"elicitation": {}}))
        assert (refused.status, refused.code) == (400, -32021)
        assert refused.json["error"]["data"]["requiredCapabilities"] == {"elicitation": {"url": {}}}


@pytest.mark.parametrize("wrong", [wants_page(), wants_page({"mode": "url"}), wants_page(7)])
def test_a_wish_for_pages_without_any_breaks_the_protocol(wrong):
    @virtual_time()
    async def run():
        async with hub_with(wrong) as hub:
            assert (await hub(call())).json["error"]["data"]["code"] == "upstream_protocol"

    run()


@virtual_time()
async def test_an_old_client_gets_the_old_error_for_pages():
    page = {"mode": "url", "elicitationId": "e", "url": "https://x.test/a", "message": "Log in"}
    async with hub_with(wants_page(page)) as hub:
        client = await old_client(hub)
        refused = await client.call()
        assert refused.code == -32042
        assert not questions_of(refused)


def questions_of(exchange):
    return questions(exchange) if exchange.streaming else []


# ---------------------------------------------------------------- the seal itself


class Clock:
    def __init__(self):
        self.time = 1_800_000_000 * SECOND

    def wall(self):
        return self.time


def one_call(caller=ANNA, endpoint="calc", **params):
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in params.items()}
    return Call("r", caller, "mcp", endpoint, "tools/call", "add", raw, {}, 0, Era.MODERN)


@given(
    state=st.none() | st.text(max_size=50),
    what=st.sampled_from(What),
    at=st.integers(0, 400),
    bit=st.integers(0, 7),
)
def test_what_is_sealed_opens_unchanged_and_no_altered_text_opens(state, what, at, bit):
    seal, call_ = Seal(SECRET, Clock(), 600 * SECOND), one_call(a=1)
    raw = None if state is None else Raw(msgspec.json.encode(state))
    text = seal.close(call_, "", "twin", what, raw)
    opened = seal.open(text, call_, "", ["calc", "twin"])
    assert opened == Opened("twin", opened.nonce, what, raw)
    place = at % len(text)
    altered = text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :]
    with pytest.raises(InvalidState):
        seal.open(altered, call_, "", ["calc", "twin"])


def test_a_seal_holds_caller_face_server_call_secret_time_and_round():
    clock = Clock()
    seal, call_ = Seal(SECRET, clock, 600 * SECOND), one_call(a=1)
    text = seal.close(call_, "", "calc", What.ANSWER, None)
    for other in (
        (seal, one_call(BERT, a=1), "", ["calc"]),
        (seal, call_, "calc", ["calc"]),
        (seal, call_, "", ["twin"]),
        (seal, call_, "", []),
        (seal, one_call(a=2), "", ["calc"]),
        (seal, one_call(endpoint="other", a=1), "", ["calc"]),
        (Seal(b"t" * 32, clock, 600 * SECOND), call_, "", ["calc"]),
    ):
        with pytest.raises(InvalidState):
            other[0].open(text, *other[1:])
    opened = seal.open(text, one_call(a=1, requestState="x", inputResponses={}), "", ["calc"])
    seal.use(opened.nonce)
    with pytest.raises(InvalidState):
        seal.open(text, call_, "", ["calc"])
    seal.release(opened.nonce)
    clock.time += 599 * SECOND
    assert seal.open(text, call_, "", ["calc"])
    clock.time += SECOND
    with pytest.raises(InvalidState):
        seal.open(text, call_, "", ["calc"])


def test_the_key_of_states_is_not_the_key_of_sessions():
    """A text that the one signed is nothing to the other."""
    import hashlib
    import hmac

    assert Seal(SECRET, Clock(), 1)._key != SECRET
    assert Seal(SECRET, Clock(), 1)._key == hmac.digest(SECRET, b"requestState", hashlib.sha256)


def test_used_states_are_remembered_in_a_bounded_number(monkeypatch):
    monkeypatch.setattr(seal_module, "USED_MAX", 3)
    seal = Seal(SECRET, Clock(), 600 * SECOND)
    for number in range(10):
        seal.use(str(number))
    assert list(seal._used) == ["7", "8", "9"]


def test_a_servers_state_has_a_largest_size():
    seal = Seal(SECRET, Clock(), 600 * SECOND)
    fits = Raw(b'"' + b"x" * (seal_module.STATE_MAX - 2) + b'"')
    assert seal.close(one_call(), "", "calc", What.ANSWER, fits)
    with pytest.raises(UpstreamProtocol):
        seal.close(one_call(), "", "calc", What.ANSWER, Raw(bytes(fits) + b" "))
