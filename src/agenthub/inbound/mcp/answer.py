"""What a client is told of a call: the server's answer as the client's era has it, or an error.

    server ─► client     result                                  error
    modern    modern     as it came                              as it came
    legacy    modern     + resultType, serverInfo, caching       -32002 becomes -32602
    modern    legacy     - resultType, ttlMs, cacheScope         -32602 for a resource: -32002
    legacy    legacy     as it came                              as it came

In every case `_meta` says which server served, and keys of the hub's own that a server made up
are taken out, as are its errors with the hub's codes (A34). All else is passed on byte for byte.
Where the names of many servers meet, URIs in results get their server's prefix.

Source: MCP specification 2026-07-28 and 2025-11-25; rules R31, R32, R34, §4.9.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from agenthub.domain import target
from agenthub.domain.caching import PRIVATE, PUBLIC, ttl_of
from agenthub.domain.call import Call, Era
from agenthub.domain.errors import HubError, Interactive, UpstreamProtocol
from agenthub.domain.outcome import NOTHING, Ending, Reply, ResultHead
from agenthub.domain.span import Nanoseconds
from agenthub.inbound.mcp.forgery import OWN_CODES, honest_meta, without_hub_keys
from agenthub.inbound.mcp.tasks import TaskIds
from agenthub.inbound.mcp.terms import (
    INVALID_PARAMS,
    LOG_LEVEL_KEY,
    LOG_LEVELS,
    SERVED_BY,
    SERVER_INFO,
    SERVER_INFO_KEY,
    Replies,
)
from agenthub.inbound.mcp.uris import put_prefixes
from agenthub.passage import Answer, Passage
from agenthub.ports import Question
from agenthub.wire.questions import InputRequired

LEGACY_NOT_FOUND = -32002
URL_ELICITATION = -32042
PAGE_DONE = "notifications/elicitation/complete"
MISSING_CAPABILITY = -32021
OF_THE_HOP = frozenset({-32020, -32022})
"""What a server says of the hub's own request; the client's was well."""
MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")
ELSEWHERE = "another"
"""Who served, for a caller that may not know the fallback's name."""
READ = "resources/read"

# A member of an Enum costs more to look up in its class than here.
_MODERN, _LEGACY, _RESULT = Era.MODERN, Era.LEGACY, Ending.RESULT
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


class _Error(Struct):
    message: Any = ""
    data: Raw = NOTHING


class _Log(Struct):
    level: str = ""


_head = msgspec.json.Decoder(ResultHead).decode
_error = msgspec.json.Decoder(_Error).decode
_log = msgspec.json.Decoder(_Log).decode
_tails: dict[str, bytes] = {}
TAILS_MAX = 1_000


class Dialogue(Protocol):
    """dialogue.Dialogue: what servers ask in the middle of a call."""

    tasks: TaskIds

    def may_share(self, server: str) -> bool:
        """Whether everybody is answered the same by this server."""
        ...

    def asked(self, receiver: "CallReceiver", question: Question, passage: Passage) -> None: ...
    def input_required(self, receiver: "CallReceiver", result: bytes, served_by: str) -> None: ...
    def pages(self, receiver: "CallReceiver", data: Raw, served_by: str) -> None: ...
    def release(self, nonce: str) -> None: ...


class Rounds(Protocol):
    """rounds.Rounds."""

    def asked(self, wanted: InputRequired, served_by: str) -> None: ...
    def ended(self) -> None: ...


class CallReceiver(Struct, eq=False):
    """gateway.Receiver for one request of an MCP client."""

    call: Call
    replies: Replies
    face: str
    """The server's name where names of many servers meet, else empty."""
    address: str | None
    """The face at which the client asked, as in `Context.endpoint`."""
    span: Nanoseconds
    """How long the call may take."""
    _dialogue: Dialogue
    rounds: Rounds | None = None
    """Of a client of the old era, from the first `input_required` on."""
    nonce: str = ""
    """Of the `requestState` that the client brought."""

    def notified(self, method: str, params: bytes) -> None:
        """Progress and log messages, and to clients of the old era that a page is done."""
        wanted = (
            method == "notifications/progress"
            or (method == "notifications/message" and wants_log(self.call.meta, params))
            or (method == PAGE_DONE and self.call.era is _LEGACY)
        )
        if wanted:
            self.replies.notify(method, without_hub_keys(params))

    def asked(self, question: Question, passage: Passage) -> None:
        self._dialogue.asked(self, question, passage)

    def finished(self, answer: Answer) -> None:
        if answer.error is not None:
            self.refuse(answer.error)
            return
        reply, failure, result = answer.reply, None, b""
        assert reply is not None, "a call ends with a reply or an error"
        try:
            if reply.ending is not _RESULT:
                if reply.code == URL_ELICITATION and self.call.era is _MODERN:
                    self._dialogue.pages(self, _error(reply.error).data, answer.served_by)
                    return
                failure = self._upstream_error(reply)
            elif reply.result_type == "input_required":
                asks = without_hub_keys(reply.result)
                self._dialogue.input_required(self, asks, answer.served_by)
                return
            else:
                result = self._result(reply, answer.served_by)
        except HubError as error:
            self.refuse(self._completed(error, answer))
        except ValueError:
            error = UpstreamProtocol("The server's answer has the wrong shape")
            self.refuse(self._completed(error, answer))
        else:
            if self.rounds is not None:
                self.rounds.ended()
            if failure is None:
                self.replies.result(result)
            else:
                self.replies.error(*failure)

    def refuse(self, error: HubError) -> None:
        if self.rounds is not None:
            self.rounds.ended()
        if self.nonce and error.executed == "no":
            self._dialogue.release(self.nonce)
        error.request_id = error.request_id or self.call.id
        self.replies.error(error.code, str(error), error.data())

    def _completed(self, error: HubError, answer: Answer) -> HubError:
        """With the facts of a call that ran, and whose answer cannot be passed on."""
        error.executed = "unknown"
        error.server, error.tool = self.call.endpoint, self.call.name
        error.attempt_count, error.request_id = answer.attempts, self.call.id
        return error

    # ------------------------------------------------------------ results

    def _result(self, reply: Reply, served_by: str) -> bytes:
        result = reply.result
        head = reply.head or _head(result)
        if self._is_plain(head, result, served_by):
            return b"".join((memoryview(result)[:-1], self._tail(served_by)))
        members = _members(result)
        if self.call.tool or head.result_type == "task":
            self._dialogue.tasks.show(members, self.call, served_by, self.face)
        if self.call.era is _LEGACY:
            _make_legacy(members, head)
        else:
            self._make_modern(members, head, served_by)
        if self.face:
            put_prefixes(members, self.call.method, self.face)
        members["_meta"] = self._meta(head, served_by)
        return _encode(members)

    def _is_plain(self, head: ResultHead, result: bytes, served_by: str) -> bool:
        """Whether it can stay as it is, but for a member at its end."""
        call = self.call
        reads = call.method == READ
        if call.tool or head.result_type == "task":
            return False
        if head.meta or (self.face and (reads or b'"resource' in result)):
            return False
        if call.era is _LEGACY:
            empty = b'"' not in result[:64]
            return not (empty or head.result_type or head.ttl or head.scope or _is_odd(head))
        kept = (head.ttl, head.scope)
        return bool(head.result_type and (not reads or self._caching(head, served_by) == kept))

    def _make_modern(self, members: dict[str, Raw], head: ResultHead, served_by: str) -> None:
        if not head.result_type:
            members["resultType"] = Raw(b'"complete"')
        if self.call.method == READ:
            members["ttlMs"], members["cacheScope"] = self._caching(head, served_by)

    def _caching(self, head: ResultHead, served_by: str) -> tuple[Raw, Raw]:
        """`ttlMs` and `cacheScope` of a resource: public only if its server says so, and if no
        caller could be answered otherwise (§1.6).
        """
        ttl = Raw(b"0") if ttl_of(head.ttl) is None else head.ttl
        public = bytes(head.scope) == PUBLIC and self._dialogue.may_share(served_by)
        return ttl, Raw(PUBLIC if public else PRIVATE)

    def _meta(self, head: ResultHead, served_by: str) -> Raw:
        meta = honest_meta(head.meta)
        meta[SERVED_BY] = Raw(_encode(self._seen(served_by)))
        if self.call.era is _MODERN and not head.result_type and SERVER_INFO_KEY not in meta:
            meta[SERVER_INFO_KEY] = Raw(SERVER_INFO)
        return Raw(_encode(meta))

    def _tail(self, served_by: str) -> bytes:
        """What stands for the last brace of a result without `_meta`."""
        seen = self._seen(served_by)
        tail = _tails.get(seen)
        if tail is None:
            tail = b',"_meta":%b}' % _encode({SERVED_BY: seen})
            if len(_tails) < TAILS_MAX:
                _tails[seen] = tail
        return tail

    def _seen(self, served_by: str) -> str:
        """A caller that may see the primary may not know its fallbacks."""
        known = served_by == self.call.endpoint or self.call.caller.sees(served_by)
        return served_by if known else ELSEWHERE

    # ------------------------------------------------------------ errors

    def _upstream_error(self, reply: Reply) -> tuple[int, str, bytes | None]:
        """Code, message and raw data for the client."""
        call, code = self.call, reply.code
        said = _error(reply.error)
        message = said.message if isinstance(said.message, str) else ""
        data = bytes(said.data) or None
        if code in OWN_CODES or code in OF_THE_HOP:
            # Passed on, it would read as if the hub had said it of the client's request.
            raise UpstreamProtocol(f"The server answered with the error {code}: {message[:300]}")
        if call.era is _MODERN:
            if code == LEGACY_NOT_FOUND:
                return INVALID_PARAMS, message, self._not_found_data(data)
        elif code == MISSING_CAPABILITY:
            raise Interactive(f"The server needs more of the client: {message[:300]}")
        elif code == INVALID_PARAMS and _has_uri(call, data):
            return LEGACY_NOT_FOUND, message, self._not_found_data(data)
        if self.face and _has_uri(call, data):
            data = self._not_found_data(data)
        return code, message, data

    def _not_found_data(self, data: bytes | None) -> bytes | None:
        """With the URI as the client knows it."""
        call = self.call
        if call.method != READ:
            return data
        uri = target.join_uri(self.face, call.name) if self.face else call.name
        members = _members(data) if data and data[:1] == b"{" else {}
        return _encode({**members, "uri": uri})


def _make_legacy(members: dict[str, Raw], head: ResultHead) -> None:
    for name in MODERN_ONLY:
        members.pop(name, None)
    if _is_odd(head):
        del members["structuredContent"]  # the text stands beside it


def _is_odd(head: ResultHead) -> bool:
    """Until 2025-11-25 `structuredContent` is an object, and clients refuse what is none."""
    return bool(head.structured) and bytes(head.structured)[:1] != b"{"


def _has_uri(call: Call, data: bytes | None) -> bool:
    return call.method == READ and bool(data) and b'"uri"' in (data or b"")


def wants_log(meta: Mapping[str, Raw], params: bytes) -> bool:
    """Whether the client asked for log messages that are as grave as this one."""
    wish = meta.get(LOG_LEVEL_KEY)
    if wish is None:
        return False
    try:
        return LOG_LEVELS.index(_log(params).level) >= LOG_LEVELS.index(msgspec.json.decode(wish))
    except ValueError:
        return False
