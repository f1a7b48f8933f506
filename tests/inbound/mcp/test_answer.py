"""The server's answer as each era has it, and nothing of the hub's own made up by a server."""

import msgspec
import pytest
from mcp_types import CallToolResult, GetPromptResult, ReadResourceResult
from msgspec import Raw

from agenthub.domain.call import Call, Era
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import CircuitOpen, OutcomeUnknown
from agenthub.domain.outcome import Ending, Reply
from agenthub.inbound.mcp import answer as answer_module
from agenthub.inbound.mcp.answer import CallReceiver, wants_log, without_hub_keys
from agenthub.passage import Answer

ANNA = Caller("anna", frozenset({Scope.TOOLS}))
NARROW = Caller("narrow", frozenset({Scope.TOOLS}), frozenset({"files"}))
SERVED = "io.agenthub/served_by"
INFO = "io.modelcontextprotocol/serverInfo"
MODERN, LEGACY = Era.MODERN, Era.LEGACY


class Said:
    """`Replies` that remember, and a `Dialogue` that hands on what it is given."""

    def __init__(self, *, shares=True):
        self._shares = shares
        self.raw = None
        self.failure = None
        self.notes = []

    def result(self, raw):
        assert self.raw is self.failure is None
        self.raw = raw

    def error(self, code, message, data=None):
        assert self.raw is self.failure is None
        if isinstance(data, bytes):
            data = msgspec.json.decode(data)
        self.failure = (code, message, data)

    def notify(self, method, params):
        self.notes.append((method, params))

    def input_required(self, receiver, result, served_by):
        assert receiver.replies is self
        self.result(result)

    def pages(self, receiver, data, served_by):
        self.input_required(receiver, bytes(data), served_by)

    def may_share(self, server):
        assert server == "files"
        return self._shares

    @property
    def value(self):
        return msgspec.json.decode(self.raw)


def call(era=MODERN, method="tools/call", name="read", caller=ANNA, meta=None):
    return Call("r-1", caller, "mcp", "files", method, name, {}, meta or {}, 0, era)


def told(result=b"{}", *, served_by="files", prefix="", replies=None, reply=None, **about):
    """What the client hears of this result."""
    said = replies or Said()
    made = reply or Reply(Ending.RESULT, result=result)
    receiver = CallReceiver(call(**about), said, prefix, None, 0, said)
    receiver.finished(Answer(made, None, served_by, 1))
    return said


def failed(code, data=None, message="no", **about):
    """What the client hears of this error."""
    words = {"code": code, "message": message, **({} if data is None else {"data": data})}
    reply = Reply(Ending.ERROR, error=msgspec.json.encode(words), code=code)
    return told(reply=reply, **about).failure


# ---------------------------------------------------------------- results


def test_a_modern_servers_result_passes_byte_for_byte_but_for_who_served():
    raw = b'{"resultType": "complete","content":[ ],"x":1.0e2,"big":[12345678901234567890]}'
    said = told(raw)
    assert said.raw == raw[:-1] + b',"_meta":{"io.agenthub/served_by":"files"}}'
    CallToolResult.model_validate(told(b'{"resultType":"complete","content":[]}').value)


def test_a_legacy_servers_result_gets_what_the_new_era_asks_for():
    said = told(b'{"content":[],"isError":false}')
    assert said.value["resultType"] == "complete"
    assert said.value["_meta"][SERVED] == "files"
    assert said.value["_meta"][INFO]["name"] == "agenthub"
    kept = told(b'{"_meta":{"%b":{"name":"own"}}}' % INFO.encode())
    assert kept.value["_meta"][INFO] == {"name": "own"}


def test_a_resource_read_from_a_legacy_server_is_private_and_stale_at_once():
    said = told(b'{"contents":[]}', method="resources/read")
    assert (said.value["ttlMs"], said.value["cacheScope"]) == (0, "private")
    ReadResourceResult.model_validate(said.value)
    own = b'{"resultType":"complete","contents":[],"ttlMs":5,"cacheScope":"public"}'
    assert told(own, method="resources/read").raw.startswith(own[:-1])
    part = told(b'{"resultType":"complete","contents":[],"ttlMs":5}', method="resources/read")
    assert (part.value["ttlMs"], part.value["cacheScope"]) == (5, "private")
    part = told(
        b'{"resultType":"complete","contents":[],"cacheScope":"public"}', method="resources/read"
    )
    assert (part.value["ttlMs"], part.value["cacheScope"]) == (0, "public")


@pytest.mark.parametrize("shares", [True, False])
def test_what_was_read_is_public_only_where_everybody_is_answered_the_same(shares):
    """Or a shared cache before the hub would give it to a key that may not read it."""
    own = b'{"resultType":"complete","contents":[],"ttlMs":5,"cacheScope":"public"}'
    said = told(own, method="resources/read", replies=Said(shares=shares))
    assert said.value["cacheScope"] == ("public" if shares else "private")
    assert said.value["ttlMs"] == 5
    private = own.replace(b"public", b"private")
    said = told(private, method="resources/read", replies=Said(shares=shares))
    assert said.raw.startswith(private[:-1])


@pytest.mark.parametrize("ttl", [b"-1", b'"5"', b"null", b"1.5", b"true"])
def test_a_time_that_is_none_and_a_scope_that_is_none_are_the_strictest(ttl):
    odd = b'{"resultType":"complete","contents":[],"ttlMs":%b,"cacheScope":"all"}' % ttl
    said = told(odd, method="resources/read")
    assert (said.value["ttlMs"], said.value["cacheScope"]) == (0, "private")
    ReadResourceResult.model_validate(said.value)


def test_a_legacy_client_gets_nothing_of_the_new_era():
    raw = b'{"resultType":"complete","ttlMs":1,"cacheScope":"public","content":[{"n":1.0}]}'
    said = told(raw, era=LEGACY)
    assert said.raw == b'{"content":[{"n":1.0}],"_meta":{"io.agenthub/served_by":"files"}}'
    plain = b'{"content": []}'
    assert told(plain, era=LEGACY).raw.startswith(plain[:-1])
    assert told(b"{}", era=LEGACY).value == {"_meta": {SERVED: "files"}}


@pytest.mark.parametrize("odd", [b"[1]", b"null", b"7", b'"x"'])
def test_structured_content_that_old_clients_cannot_read_is_left_out(odd):
    raw = b'{"content":[],"structuredContent":%b}' % odd
    assert "structuredContent" not in told(raw, era=LEGACY).value
    assert "structuredContent" in told(raw).value
    kept = told(b'{"content":[],"structuredContent":{"a":1}}', era=LEGACY)
    assert kept.value["structuredContent"] == {"a": 1}


@pytest.mark.parametrize("era", [MODERN, LEGACY])
def test_keys_of_the_hub_that_a_server_made_up_are_taken_out(era):
    """A34."""
    raw = (
        b'{"resultType":"complete","content":[],"_meta":{"io.agenthub/served_by":"other",'
        b'"\\u0069o.agenthub/unavailable":"no","keep.me/x":1.0}}'
    )
    meta = told(raw, era=era).value["_meta"]
    assert meta[SERVED] == "files"
    assert set(meta) == {SERVED, "keep.me/x"}
    assert told(b'{"resultType":"complete","_meta":null}', era=era).value["_meta"] == {
        SERVED: "files"
    }


def test_who_served_is_not_told_to_those_who_may_not_know_it():
    raw = b'{"resultType":"complete","content":[]}'
    answer_module._tails.clear()
    assert told(raw, served_by="backup").value["_meta"][SERVED] == "backup"
    assert told(raw, served_by="backup", caller=NARROW).value["_meta"][SERVED] == "another"
    assert told(raw, served_by="files", caller=NARROW).value["_meta"][SERVED] == "files"


def test_made_up_server_names_do_not_grow_the_memory(monkeypatch):
    monkeypatch.setattr(answer_module, "TAILS_MAX", 3)
    answer_module._tails.clear()
    for number in range(10):
        told(b'{"resultType":"complete"}', served_by=f"s{number}")
    assert len(answer_module._tails) == 3


@pytest.mark.parametrize("raw", [b"[]", b"7", b'"x"', b"null"])
def test_a_result_that_is_no_object_is_the_servers_fault(raw):
    code, _, data = told(raw).failure
    assert code == -31008
    assert (data["executed"], data["server"], data["tool"]) == ("unknown", "files", "read")
    assert (data["attempt_count"], data["request_id"]) == (1, "r-1")


# ---------------------------------------------------------------- URIs


def test_links_get_their_servers_prefix_where_many_meet():
    raw = msgspec.json.encode({
        "resultType": "complete",
        "content": [
            {"type": "text", "text": 'a "resource" in words'},
            {"type": "resource_link", "uri": "file:///etc/passwd", "name": "n", "size": 1},
            {"type": "resource", "resource": {"uri": "a:b", "text": "t"}},
            {"type": "resource"},
            {"type": "resource_odd", "uri": "a:b"},
            {"type": "resource_link"},
        ],
    })  # fmt: skip
    said = told(raw, prefix="files")
    content = said.value["content"]
    assert content[1]["uri"] == "agenthub://files/file:///etc/passwd"
    assert content[2]["resource"]["uri"] == "agenthub://files/a:b"
    assert content[3:] == [
        {"type": "resource"}, {"type": "resource_odd", "uri": "a:b"}, {"type": "resource_link"},
    ]  # fmt: skip
    assert told(raw).raw.startswith(raw[:-1])
    plain = b'{"resultType":"complete","content":[{"type":"text"}]}'
    assert told(plain, prefix="files").raw.startswith(plain[:-1])


def test_what_was_read_and_what_prompts_embed_get_the_prefix_too():
    raw = b'{"resultType":"complete","contents":[{"uri":"a:b","text":"t"}],"ttlMs":1,"cacheScope":"public"}'  # noqa: E501
    for era in (MODERN, LEGACY):
        said = told(raw, prefix="files", method="resources/read", era=era)
        assert said.value["contents"][0]["uri"] == "agenthub://files/a:b"
    raw = msgspec.json.encode({
        "messages": [
            {
                "role": "user",
                "content": {"type": "resource", "resource": {"uri": "a:b", "text": ""}},
            },
            {"role": "user"},
        ],
    })  # fmt: skip
    said = told(raw, prefix="files", method="prompts/get")
    assert said.value["messages"][0]["content"]["resource"]["uri"] == "agenthub://files/a:b"
    GetPromptResult.model_validate({"messages": said.value["messages"][:1]})
    said = told(
        b'{"completion":{"values":["resource"]}}', prefix="files", method="completion/complete"
    )
    assert said.value["completion"] == {"values": ["resource"]}
    assert told(b'{"resource":1}', prefix="files").value["resource"] == 1


def test_content_of_the_wrong_shape_is_the_servers_fault():
    for content in (b'"resource"', b'[{"type":"resource_link","uri":7}]'):
        raw = b'{"resultType":"complete","content":%b}' % content
        assert told(raw, prefix="files").failure[0] == -31008


# ---------------------------------------------------------------- questions


ASKS = b'{"resultType":"input_required","requestState":"s\\u00e9","inputRequests":{"a":{ }}}'


def question(raw=ASKS, **more):
    return told(reply=Reply(Ending.RESULT, result=raw, result_type="input_required"), **more)


def test_a_question_is_handed_on_without_what_only_the_hub_may_say():
    """R34."""
    assert question().raw == ASKS
    with_meta = ASKS[:-1] + b',"_meta":{"a.b/c":1}}'
    assert question(with_meta).raw == with_meta
    forged = ASKS[:-1] + b',"_meta":{"a.b/c":1,"io.agenthub/served_by":"x"}}'
    assert question(forged).value["_meta"] == {"a.b/c": 1}
    assert b'"requestState":"s\\u00e9"' in question(forged).raw


# ---------------------------------------------------------------- errors


def test_an_error_of_the_server_passes_as_it_is():
    data = {"n": [1.5], "s": "x"}
    for era in (MODERN, LEGACY):
        assert failed(-32050, data, era=era) == (-32050, "no", data)
        assert failed(7, era=era) == (7, "no", None)
        assert failed(-32602, "text", era=era) == (-32602, "no", "text")


@pytest.mark.parametrize("code", [-31001, -31007, -31099, -32020, -32022])
def test_an_error_that_only_the_hub_may_say_is_wrapped(code):
    """A34: a server's word must not read as the hub's."""
    wrapped, message, data = failed(code, {"executed": "no", "retryable": True})
    assert wrapped == -31008
    assert str(code) in message
    assert (data["code"], data["executed"]) == ("upstream_protocol", "unknown")


def test_a_message_that_is_no_text_is_left_out():
    assert failed(5, message={"a": 1}) == (5, "", None)


def test_not_found_has_the_code_of_the_clients_era():
    read = {"method": "resources/read", "name": "a:b"}
    assert failed(-32002, **read) == (-32602, "no", {"uri": "a:b"})
    assert failed(-32002, {"x": 1}, **read)[2] == {"x": 1, "uri": "a:b"}
    assert failed(-32002, {"x": 1}) == (-32602, "no", {"x": 1})
    assert failed(-32002, era=LEGACY, **read) == (-32002, "no", None)
    assert failed(-32602, {"uri": "a:b"}, era=LEGACY, **read) == (-32002, "no", {"uri": "a:b"})
    assert failed(-32602, era=LEGACY, **read) == (-32602, "no", None)
    for code in (-32002, -32602):
        data = failed(code, {"uri": "a:b"}, prefix="files", **read)[2]
        assert data == {"uri": "agenthub://files/a:b"}


def test_what_one_era_does_not_know_is_a_clear_error():
    assert failed(-32021, era=LEGACY)[2]["code"] == "interactive_unsupported"
    assert failed(-32042, {"elicitations": []}, era=LEGACY)[0] == -32042
    required = {"requiredCapabilities": {"sampling": {}}}
    assert failed(-32021, required) == (-32021, "no", required)


def test_the_hubs_own_error_has_all_its_facts():
    """Rule set §4.9, R32."""
    for error in (
        CircuitOpen("open", retry_after_ms=900, server="files", tool="read", request_id="r-1"),
        OutcomeUnknown(executed="unknown", server="files", tool="read", request_id="r-1"),
    ):
        said = Said()
        CallReceiver(call(), said, "", None, 0, said).finished(Answer(None, error, "files", 1))
        assert said.failure == (error.code, str(error), error.data())
        assert set(error.data()) >= {
            "retryable", "retry_after_ms", "executed", "server", "tool", "attempt_count",
            "request_id",
        }  # fmt: skip


# ---------------------------------------------------------------- notifications


def noted(method, params, level=None):
    said = Said()
    meta = {} if level is None else {"io.modelcontextprotocol/logLevel": Raw(level)}
    CallReceiver(call(meta=meta), said, "", None, 0, said).notified(method, params)
    return said.notes


def test_progress_passes_and_what_belongs_to_no_request_does_not():
    """A35."""
    progress = b'{"progressToken":"p","progress":1.0}'
    assert noted("notifications/progress", progress) == [("notifications/progress", progress)]
    for method in ("notifications/cancelled", "notifications/tools/list_changed", "x/y"):
        assert noted(method, b"{}") == []


def test_log_messages_reach_who_asked_for_them_and_are_grave_enough():
    message = b'{"level":"warning","data":"x"}'
    for level in (b'"debug"', b'"warning"'):
        assert noted("notifications/message", message, level) == [
            ("notifications/message", message)
        ]
    for level in (None, b'"error"', b'"loud"', b"7", b"{"):
        assert noted("notifications/message", message, level) == []
    assert not wants_log({"io.modelcontextprotocol/logLevel": Raw(b'"debug"')}, b'{"level":7}')


def test_notifications_lose_what_only_the_hub_may_say():
    for kept in (b'{"a":1}', b'{"_meta":{"x.y/z":1}}', b'{"a":"\\u0061"}', b'{"_meta":7}'):
        assert without_hub_keys(kept) == kept
    assert without_hub_keys(b'{"\\u005fmeta":{"io.agenthub/x":1,"a.b/c":2.0}}') == (
        b'{"_meta":{"a.b/c":2.0}}'
    )
