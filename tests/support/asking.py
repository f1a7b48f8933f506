"""Servers that ask in the middle of a call, and clients that answer, in both eras."""

import msgspec
from support.exchange import initialize, legacy, modern, post
from support.fake_upstream import Act, result

from agenthub.ports import Question
from agenthub.wire.jsonrpc import result_message

EVERY = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}
"""What a client declares that answers whatever it is asked."""
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
ADD = {"name": "add", "arguments": {"a": 1}}
PATH = "/mcp/calc"

NAME = Question(7, "elicitation/create", b'{"message":"Your name?","requestedSchema":{}}')
TOWN = Question("town", "elicitation/create", b'{"message":"Your town?","requestedSchema":{}}')
ROOTS = Question(8, "roots/list", b"{}")
ACCEPT = {"action": "accept", "content": {"name": "Eve"}}

FORM = {"method": "elicitation/create", "params": {"message": "Name?", "requestedSchema": {}}}
SAMPLE = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
LIST = {"method": "roots/list", "params": {}}
PAGE = {
    "method": "elicitation/create",
    "params": {"mode": "url", "url": "https://x.test/a", "message": "Log in"},
}


def asks_live(*questions, ends_after=None, notes=()):
    """A server of the old era: it asks these, and ends when all are answered."""
    count = len(questions) if ends_after is None else ends_after
    return Act(None, questions=questions, after_answers=count, notes=notes)


def asks_back(state=None, **requests):
    """A server of the new era: it wants these answered, and to be asked again."""
    body = {"resultType": "input_required"}
    if requests:
        body["inputRequests"] = requests
    if state is not None:
        body["requestState"] = state
    return result(msgspec.json.encode(body), result_type="input_required")


# ---------------------------------------------------------------- a client of the new era


def call(params=ADD, *, declared=EVERY, path=PATH, meta=None, **more):
    return modern("tools/call", params, meta={CAPABILITIES: declared, **(meta or {})}, path=path,
                  **more)  # fmt: skip


def again(asked, params=ADD, *, state=None, answers=None, **more):
    """The next round of a call that ended with `asked`."""
    given = asked.result
    if answers is None:
        answers = dict.fromkeys(given.get("inputRequests", {}), ACCEPT)
    state = given.get("requestState") if state is None else state
    kept = {} if state is None else {"requestState": state}
    return call({**params, **kept, "inputResponses": answers}, **more)


def is_question(exchange):
    return exchange.result["resultType"] == "input_required"


def is_refused(exchange):
    """A state that is lost, expired, used, foreign or edited: they look the same."""
    answer = exchange.json.get("error", {})
    told = (exchange.status, answer.get("code"), answer.get("message"))
    return told == (400, -32602, "invalid or expired requestState")


# ---------------------------------------------------------------- a client of the old era


class OldClient:
    """A session, and what its client does."""

    def __init__(self, hub, session, path, caller):
        self.hub, self.session = hub, session
        self._more = {"path": path, "caller": caller}

    def request(self, method="tools/call", params=ADD, **more):
        """Ask, and wait for nothing."""
        return legacy(method, params, session=self.session, **{**self._more, **more})

    async def call(self, params=ADD, **more):
        return await self.hub(self.request(params=params, **more))

    async def answer(self, question, reply=ACCEPT, *, error=None, session=None):
        """The response to a request of the hub's; returns the exchange."""
        told = result_message(msgspec.json.encode(question["id"]), msgspec.json.encode(reply))
        if error is not None:
            body = {"jsonrpc": "2.0", "id": question["id"], "error": error}
            told = msgspec.json.encode(body)
        headers = [(b"mcp-session-id", session or self.session)]
        return await self.hub(post(told, headers, **self._more))

    async def note(self, method, params):
        sent = legacy(method, params, session=self.session, message_id=False, **self._more)
        return await self.hub(sent)


async def old_client(hub, *, declared=EVERY, path=PATH, **more):
    begun = await hub(initialize(capabilities=declared, path=path, **more))
    caller = begun.caller
    return OldClient(hub, begun.header(b"mcp-session-id"), path, caller)


def questions(exchange):
    """The requests of the hub on this stream so far."""
    return [event for event in exchange.events if "method" in event and "id" in event]


def notes(exchange, method):
    return [event["params"] for event in exchange.events if event.get("method") == method]
