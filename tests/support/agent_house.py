"""An agent in a house of fakes: the model says what the test wrote down for it.

async with agents("calc") as hub:
    hub.model(wishes(("calc__add", {"a": 2})), says("It is 5"))
    events = await hub.talk("2+3?")
"""

import asyncio
import json
from contextlib import asynccontextmanager

from msgspec import structs
from support.fake_upstream import Act, tool
from support.house import House, server
from support.model_calls import saw
from support.virtual_time import settled

from agenthub.agents.runs import Asked
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.provider import CHAT, GEMINI, MESSAGES, Llm
from agenthub.domain.span import MILLISECOND
from agenthub.domain.usage import Usage

CAROL = Caller("carol", frozenset({Scope.LLM, Scope.TOOLS, Scope.READ}))
DAVE = Caller("dave", CAROL.scopes)
SAFE = {"annotations": {"readOnlyHint": True}}


def chunk(finish=None, **delta):
    said = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: %s\n\n" % json.dumps(said).encode()


def streams(*pieces, used=(100, 10), after=MILLISECOND, **reply):
    seen = saw(Usage(input_tokens=used[0], output_tokens=used[1]))
    end = structs.replace(Reply(Ending.RESULT, status=200, seen=seen), **reply)
    notes = (("llm/head", b""), *(("llm/chunk", piece) for piece in pieces))
    return Act(end, after=after, notes=notes)


def says(text, *, finish="stop", **more):
    """A streamed answer, word by word."""
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1].rstrip()
    return streams(*(chunk(content=word) for word in words), chunk(finish), b"data: [DONE]\n\n",
                   **more)  # fmt: skip


def wishes(*calls, text="", **more):
    """It wants tools: (name, arguments), or the arguments as it writes them."""
    pieces = [chunk(content=text)] if text else []
    for number, (name, arguments) in enumerate(calls):
        written = arguments if isinstance(arguments, str) else json.dumps(arguments)
        function = {"name": name, "arguments": written}
        one = {"index": number, "id": f"w{number}", "function": function}
        pieces.append(chunk(tool_calls=[one]))
    return streams(*pieces, chunk("tool_calls"), **more)


def provider(name="p", wires=(CHAT, MESSAGES, GEMINI), **more):
    return server(name, llm=Llm(provider=more.pop("prices", name), wires=wires), **more)


class AgentHouse(House):
    def model(self, *acts, name="small"):
        """What it does, one after the other; the last one for ever."""
        self["p"].answers[name] = list(acts)

    async def begin_run(self, text="Hello", *, caller=CAROL, door="chat", **asked):
        asked.setdefault("model", "p/small")
        return await self.runs.start(Asked(text, **asked), caller, door)

    async def talk(self, text="Hello", **asked):
        """All events of a run."""
        return await self.events_of(await self.begin_run(text, **asked))

    async def events_of(self, run, after=0):
        found = []
        async for some in run.follow(after):
            found += [json.loads(one.data) for one in some]
        return found

    def said(self, run=None):
        """What is kept of the only conversation, or the run's."""
        name = run.conversation if run else next(iter(self.conversations.known))
        return [one.message for one in self.conversations.said[name]]

    def asked_of_model(self, number=-1):
        """The body of a request to the model."""
        bodies = [one.content.body for one in self["p"].sent if one.content is not None]
        return json.loads(bodies[number])


@asynccontextmanager
async def agents(*endpoints, chat=None, tools=None, wires=(CHAT,), **more):
    """`tools`: of the servers that have others than a harmless `add`."""
    built = AgentHouse(**more)
    if chat:
        built.chat_with(**chat)
    named = {name: {"add": tool("add", **SAFE)} for name in endpoints if isinstance(name, str)}
    for name, some in {**named, **(tools or {})}.items():
        built.prepare[name] = lambda fake, some=some: setattr(fake, "tools", some)
    records = [one if not isinstance(one, str) else server(one) for one in endpoints]
    built.catalog.load([provider(wires=wires), *records], await built.store.load())
    built.catalog.start()
    await asyncio.sleep(0.5)
    await settled()
    try:
        yield built
    finally:
        await built.runs.close()
        await built.catalog.close()
        await built.tasks.close()


def of(events, kind):
    return [one for one in events if one["type"] == kind]


def text_of(events):
    return "".join(one["text"] for one in of(events, "delta"))
