"""An HTTP exchange without HTTP, and requests in both eras: what an MCP door is driven with."""

import itertools

import msgspec
from support.house import ANNA

from agenthub.inbound.exchange import Request
from agenthub.wire.mcp_headers import encode

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
INFO = "io.modelcontextprotocol/clientInfo"
META = {VERSION: "2026-07-28", CAPABILITIES: {}, INFO: {"name": "test", "version": "1"}}
ACCEPT = (b"accept", b"application/json, text/event-stream")
NAMED = {
    "tools/call": "name", "prompts/get": "name", "resources/read": "uri",
    "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId",
}  # fmt: skip

_ids = itertools.count(1)


class FakeExchange:
    """exchange.Exchange, to look into. `gone()` is the client hanging up."""

    def __init__(self, request, caller=ANNA):
        self.request = request
        self.caller = caller
        self.closed = None
        self.drained = None
        self.backlog = 0
        self.status = None
        self.body = b""
        self.headers = ()
        self.streaming = False
        self.over = False
        self.is_gone = False
        self.chunks = []

    def answer(self, status, body, headers=()):
        assert self.status is None, "two answers"
        assert not self.is_gone, "an answer to nobody"
        self.status, self.body, self.headers, self.over = status, body, headers, True

    def begin(self, status, headers):
        assert self.status is None, "two answers"
        assert not self.is_gone
        self.status, self.headers, self.streaming = status, headers, True

    def write(self, data):
        assert self.streaming
        assert not self.over
        self.chunks.append(data)

    def end(self):
        assert self.streaming
        assert not self.over
        self.over = True

    # what a test does and looks at

    def gone(self):
        self.is_gone = True
        if not self.over and self.closed:
            self.closed()

    def header(self, name):
        return dict(self.headers).get(name)

    @property
    def json(self):
        """The one message of an answer, or the last event of a stream."""
        return self.events[-1] if self.streaming else msgspec.json.decode(self.body)

    @property
    def blocks(self):
        """The fields of each event so far, comments left out; `message` is what `data` says."""
        found = []
        for block in b"".join(self.chunks).split(b"\n\n"):
            fields = [line.split(b": ", 1) for line in block.split(b"\n") if line]
            assert len({name for name, _ in fields}) == len(fields), block
            read = {name.decode(): value for name, value in fields if name}
            if read.get("event") == b"message":
                read["message"] = msgspec.json.decode(read["data"])
            if read:
                found.append(read)
        return found

    @property
    def events(self):
        """The messages of the stream so far."""
        return [block["message"] for block in self.blocks if "message" in block]

    @property
    def last_id(self):
        """What the client would come back with."""
        return [block["id"] for block in self.blocks if "id" in block][-1]

    @property
    def code(self):
        return self.json["error"]["code"]

    @property
    def result(self):
        return self.json["result"]


def body_of(method, params=None, message_id=None, **more):
    """A JSON-RPC request's bytes; `message_id` False: a notification."""
    message = {"jsonrpc": "2.0"}
    if message_id is not False:
        message["id"] = next(_ids) if message_id is None else message_id
    message |= {"method": method, **({} if params is None else {"params": params}), **more}
    return msgspec.json.encode(message)


def post(body, headers=(), path="/mcp", caller=ANNA, method="POST"):
    """An exchange with exactly these headers."""
    return FakeExchange(Request(method, path, b"", tuple(headers), body), caller)


def modern(method, params=None, *, meta=None, message_id=None, path="/mcp", caller=ANNA, **headers):
    """A well-formed request of the new era; `headers` replace (None: leave out) by short name."""
    params = {**(params or {}), "_meta": {**META, **(meta or {})}}
    sent = {
        b"mcp-protocol-version": b"2026-07-28",
        b"mcp-method": method.encode(),
    }
    if method in NAMED and isinstance(name := params.get(NAMED[method]), str):
        sent[b"mcp-name"] = encode(name).encode()
    for short, value in headers.items():
        key = {
            "version": b"mcp-protocol-version", "method_": b"mcp-method", "name": b"mcp-name",
        }.get(short, short.replace("_", "-").encode())  # fmt: skip
        sent[key] = value
    listed = [ACCEPT] if b"accept" not in sent else []
    listed += [(key, value) for key, value in sent.items() if value is not None]
    return post(body_of(method, params, message_id), listed, path, caller)


def legacy(
    method, params=None, *, session=None, message_id=None, path="/mcp", caller=ANNA, **headers
):
    """A request of the old era; `message_id` False: a notification."""
    listed = [(key.replace("_", "-").encode(), value) for key, value in headers.items()]
    if session is not None:
        listed.append((b"mcp-session-id", session))
    return post(body_of(method, params, message_id), [ACCEPT, *listed], path, caller)


def initialize(version="2025-11-25", capabilities=None, **more):
    params = {
        "protocolVersion": version, "capabilities": capabilities or {},
        "clientInfo": {"name": "old", "version": "1"},
    }  # fmt: skip
    return legacy("initialize", params, **more)
