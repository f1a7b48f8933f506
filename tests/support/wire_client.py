"""A client of a real hub's MCP door, made of sockets: streams that stay open, answers read late."""

import json
import socket
from contextlib import contextmanager

from support.exchange import ACCEPT, FakeExchange, initialize, legacy, modern, post

from agenthub.inbound.exchange import Request

ALL = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
DECLARED = {"io.modelcontextprotocol/clientCapabilities": ALL}
YES = {"action": "accept", "content": {}}


class Answer:
    """One HTTP answer, read as far as it is asked for."""

    def __init__(self, line):
        self._line = line
        self._answer = line.getresponse()
        self.status = self._answer.status
        self.headers = {name.lower(): value for name, value in self._answer.getheaders()}
        self.last_id = ""
        """Of the events that were read."""

    def event(self):
        """The next event's (name, data); None at the end of the stream."""
        name, data = "", b""
        for line in iter(self._answer.readline, b""):
            word, _, value = line.rstrip(b"\n").partition(b": ")
            if not line.strip():
                if data:
                    return name, data.decode()
            elif word == b"event":
                name = value.decode()
            elif word == b"id":
                self.last_id = value.decode()
            elif word == b"data":
                data = value
        return None

    def message(self):
        """The next message of a stream; or the whole answer, if it is none."""
        if "event-stream" in self.headers.get("content-type", ""):
            found = self.event()
            return found and json.loads(found[1])
        body = self._answer.read()
        return json.loads(body) if body else None

    def last(self):
        """The answer itself: what was told before it is passed by."""
        message = self.message()
        while message is not None and "method" in message:
            message = self.message()
        return message

    def close(self):
        self._line.close()
        self._answer.close()


class Wire:
    """One client, with one key. Each request has a connection of its own."""

    def __init__(self, hub, token=None, path="/mcp"):
        self.hub, self.token, self.path = hub, token or hub.token, path
        self.session = None

    def open(self, exchange, timeout=10, buffer=None):
        """Send a request of the kit; what comes is read when the test likes."""
        request = exchange.request
        line = self.hub.connection(timeout)
        if buffer:
            line.sock = small(self.hub, buffer, timeout)
        sent = {k.decode(): v.decode() for k, v in request.headers}
        sent |= {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        query = b"?" + request.query if request.query else b""
        line.request(request.method, request.path + query.decode(), request.body, sent)
        return Answer(line)

    def send(self, exchange, timeout=10):
        """The status, and the last message of the answer."""
        with shut(self.open(exchange, timeout)) as answer:
            return answer.status, answer.last()

    # ------------------------------------------------------------ the new era

    def modern(self, method, params=None, *, meta=None, path=None, **more):
        meta = {**DECLARED, **(meta or {})}
        return self.send(modern(method, params, meta=meta, path=path or self.path, **more))[1]

    def call(self, name, arguments=None, **more):
        """A call, by a client that answers everything; more: the state, and the answers."""
        params = {"name": name, "arguments": arguments or {}}
        for known in ("inputResponses", "requestState"):
            if known in more:
                params[known] = more.pop(known)
        return self.modern("tools/call", params, **more)

    def go_on(self, asked, name, arguments=None, answer=None, **more):
        """The next round of a call: the same answer for all that was asked."""
        result = asked["result"]
        given = dict.fromkeys(result.get("inputRequests", {}), answer or YES)
        more = {"inputResponses": given, "requestState": result["requestState"], **more}
        return self.call(name, arguments, **more)

    # ------------------------------------------------------------ the old era

    def begin(self, declared=None, **more):
        wish = initialize(capabilities=ALL if declared is None else declared, path=self.path)
        with shut(self.open(wish, **more)) as answer:
            self.session = answer.headers["mcp-session-id"].encode()
            answer.last()
        return self

    def listen(self, meta=None, **wanted):
        """An open stream of news."""
        wanted = wanted or {"toolsListChanged": True}
        asked = modern("subscriptions/listen", {"notifications": wanted}, meta=meta, path=self.path)
        return self.open(asked)

    def get(self, path, *headers):
        """A stream of the old era: the session's, or that of HTTP+SSE."""
        sent = ((b"accept", b"text/event-stream"), *headers)
        return self.open(FakeExchange(Request("GET", path, b"", sent, b"")))

    def answer(self, question_id, result):
        """What the server asked, in the old era."""
        body = json.dumps({"jsonrpc": "2.0", "id": question_id, "result": result}).encode()
        headers = [ACCEPT, (b"mcp-session-id", self.session)]
        assert self.send(post(body, headers, self.path))[0] == 202

    def legacy(self, method, params=None, **more):
        """An open answer."""
        return self.open(legacy(method, params, session=self.session, path=self.path, **more))


@contextmanager
def shut(answer):
    try:
        yield answer
    finally:
        answer.close()


def address(hub):
    host, _, port = hub.url.removeprefix("http://").rpartition(":")
    return host, int(port)


def small(hub, buffer, timeout=10):
    """A connection of a client whose system keeps little of what comes."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.settimeout(timeout)
    made.connect(address(hub))
    return made
