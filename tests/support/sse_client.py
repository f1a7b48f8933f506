"""A client of HTTP+SSE without HTTP: a stream that stays open, and posts beside it."""

import asyncio

import msgspec
from support.exchange import FakeExchange, body_of
from support.house import ANNA
from support.virtual_time import settled

from agenthub.inbound.exchange import Request
from agenthub.wire.jsonrpc import result_message

ACCEPT = {"action": "accept", "content": {"name": "Eve"}}


def get(path="/sse", caller=ANNA, method="GET", headers=((b"accept", b"text/event-stream"),)):
    return FakeExchange(Request(method, path, b"", tuple(headers), b""), caller)


async def pass_time(seconds=0.5):
    await asyncio.sleep(seconds)
    await settled()


class SseClient:
    """Its stream is open; what came on it is in `heard`."""

    def __init__(self, hub, path="/sse", caller=ANNA):
        self.hub = hub
        self.caller = caller
        self.stream = hub.send(get(path, caller))

    @property
    def address(self):
        """Where to post, as the first event says it."""
        first = self.stream.chunks[0].decode()
        event, data, *rest = first.split("\n")
        assert (event, rest) == ("event: endpoint", ["", ""])
        return data.removeprefix("data: ")

    @property
    def heard(self):
        return self.stream.events

    def to(self, message_id):
        """The answer to a request, as it came on the stream."""
        (found,) = [
            one for one in self.heard if one.get("id") == message_id and "method" not in one
        ]
        return found

    def post(self, body, *, caller=None, address=None, headers=(), method="POST"):
        path, _, query = (self.address if address is None else address).partition("?")
        request = Request(method, path, query.encode(), tuple(headers), body)
        return self.hub.send(FakeExchange(request, caller or self.caller))

    def say(self, method, params=None, message_id=None, **more):
        """`message_id` False: a notification."""
        return self.post(body_of(method, params, message_id), **more)

    async def ask(self, method, params=None, message_id=1):
        sent = self.say(method, params, message_id)
        await pass_time()
        assert sent.status == 202, sent.body
        return self.to(message_id)

    async def begin(self, declared=None, version="2024-11-05"):
        info = {"name": "old", "version": "1"}
        wish = {"protocolVersion": version, "capabilities": declared or {}, "clientInfo": info}
        welcome = await self.ask("initialize", wish, "init")
        self.say("notifications/initialized", message_id=False)
        return welcome["result"]

    def answer(self, question, reply=ACCEPT):
        body = result_message(msgspec.json.encode(question["id"]), msgspec.json.encode(reply))
        return self.post(body)
