"""An MCP server of a few lines (ports.Upstream), in virtual time, with a journal: the judge.

server.tools = {"add": tool("add")}
server.answers["add"] = refused            # or a list: one after the other; or a function
server.executed("add")                     # how often it ran, whatever was answered
"""

import itertools

import msgspec
from msgspec import Raw, structs

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.domain.span import MILLISECOND
from agenthub.ports import UpstreamState
from agenthub.wire.questions import missing_for

_losses = itertools.count(1)


class Act(msgspec.Struct, frozen=True):
    """What the server does with a request: after a while, this reply; None: never one."""

    reply: Reply | None
    after: int = MILLISECOND
    runs: bool = True
    """Whether the request is carried out."""
    arrives: bool = True
    """Whether the server sees it at all."""
    notes: tuple = ()
    """Notifications before it: (method, params)."""
    questions: tuple = ()
    """It asks the client these at once (ports.Question)."""
    cut: object = None
    """What a model had been seen to use when it was cut off."""
    after_answers: int = 0
    """It ends with OK a moment after so many answers; 0: when `reply` says."""


def result(content=b'{"content":[{"type":"text","text":"5"}]}', **facts):
    return Act(Reply(Ending.RESULT, result=content, **facts))


def error(code, *, runs=True, **facts):
    words = msgspec.json.encode({"code": code, "message": "no"})
    return Act(Reply(Ending.ERROR, error=words, code=code, **facts), runs=runs)


def status(number, *, runs=False, **facts):
    return Act(Reply(Ending.STATUS, status=number, **facts), runs=runs)


def lost(loss=None, *, runs=True, **facts):
    """The connection breaks after the request was read."""
    number = next(_losses) if loss is None else loss
    return Act(Reply(Ending.LOST, loss=number, detail="connection reset", **facts), runs=runs)


def later(act, span):
    return structs.replace(act, after=span)


OK = result()
TOOL_ERROR = result(b'{"content":[],"isError":true}', is_error=True)
REFUSED = Act(
    Reply(Ending.UNREACHED, Written.NONE, detail="connection refused"), runs=False, arrives=False
)
BUSY = status(429, retry_after_ms=2_000)
HANGS = Act(None)
NOT_DECLARED = b'{"code":-32601,"message":"The client did not declare it"}'
GARBAGE = Act(Reply(Ending.PROTOCOL, detail="no JSON"))


def tool(name, schema=None, **more):
    made = {"name": name, "inputSchema": schema or {"type": "object"}, **more}
    return Raw(msgspec.json.encode(made))


class FakeUpstream:
    """`alive` False: nobody listens. Its own lists are answered at once, unless `mute`."""

    def __init__(self, endpoint, watcher, clock):
        self.endpoint = endpoint
        self.watcher = watcher
        self.clock = clock
        self.tools = {"add": tool("add")}
        self.prompts = {}
        self.resources = {}
        self.templates = {}
        self.answers = {}
        """By the tool's name, or the method; what is not in it is answered by `otherwise`."""
        self.otherwise = OK
        self.alive = True
        self.mute = False
        """Hangs on whatever it is asked, its lists too."""
        self.page = 1_000
        self.caching = {}
        """`ttlMs` and `cacheScope`, said with each page."""
        self.capabilities = None
        self.instructions = ""
        self.era = Era.MODERN
        self.state = UpstreamState()
        self.asked = []
        """Requests that arrived: (method, name)."""
        self.sent = []
        """Each Outgoing as it was given."""
        self.journal = []
        """What was carried out: (method, name, params)."""
        self.answered = []
        """Answers of clients: (question's id, result, error)."""
        self.flying = set()
        self.most_at_once = 0
        """Of tools/call."""
        self.started = self.closed = 0

    # ports.Upstream

    def start(self):
        self.started += 1
        self.clock.after(0, self.connect)

    def send(self, outgoing, receiver):
        self.sent.append(outgoing)
        return _Attempt(self, outgoing, receiver)

    async def close(self):
        self.closed += 1
        self.state = structs.replace(self.state, connected=False)
        for attempt in list(self.flying):
            attempt.end(Reply(Ending.LOST, loss=next(_losses), detail="closed"))

    # what happens to it

    def connect(self):
        if self.closed or self.mute or self.state.connected:
            return
        if not self.alive:
            self.state = structs.replace(self.state, problem="connection refused", hint="Start it.")
            self.watcher.unreachable("connection refused")
            return
        declared = self.capabilities
        if declared is None:
            lists = {"tools": self.tools, "prompts": self.prompts, "resources": self.resources}
            declared = {name: {} for name, items in lists.items() if items}
        self.state = UpstreamState(
            connected=True, era=self.era, version="2026-07-28",
            capabilities=msgspec.json.encode(declared), server_info=b'{"name":"fake"}',
            instructions=self.instructions,
        )  # fmt: skip
        self.watcher.connected()

    def die(self):
        """The process or the connection is gone; whoever asks from now on is refused."""
        loss = next(_losses)
        self.alive = False
        self.state = structs.replace(self.state, connected=False, problem="it died")
        for attempt in list(self.flying):
            attempt.end(Reply(Ending.LOST, loss=loss, detail="it died"))
        self.watcher.lost(loss, "it died")

    def revive(self):
        self.alive, self.mute = True, False
        self.connect()

    def executed(self, name):
        return sum(1 for _, run, _ in self.journal if run == name)

    def arrived(self, name):
        return sum(1 for _, run in self.asked if run == name)

    def act(self, outgoing):
        if self.mute:
            return structs.replace(HANGS, runs=False)
        if not self.alive:
            return REFUSED
        if outgoing.method not in self.answers and (kept := self._list(outgoing)):
            return Act(kept, runs=False)
        key = outgoing.name if outgoing.name in self.answers else outgoing.method
        answer = self.answers.get(key, self.otherwise)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer if isinstance(answer, Act) else answer(outgoing)

    def _list(self, outgoing):
        lists = {
            "tools/list": ("tools", self.tools), "prompts/list": ("prompts", self.prompts),
            "resources/list": ("resources", self.resources),
            "resources/templates/list": ("resourceTemplates", self.templates),
        }  # fmt: skip
        if outgoing.method in {"ping", "server/discover"}:
            return Reply(Ending.RESULT, result=b"{}")
        if outgoing.method not in lists:
            return None
        key, items = lists[outgoing.method]
        start = msgspec.json.decode(outgoing.params.get("cursor", b'"0"'))
        names = sorted(items)[int(start) : int(start) + self.page]
        page = {key: [items[name] for name in names], **self.caching}
        if int(start) + self.page < len(items):
            page["nextCursor"] = str(int(start) + self.page)
        return Reply(Ending.RESULT, result=msgspec.json.encode(page))


class _Attempt:
    def __init__(self, server, outgoing, receiver):
        self.server, self.outgoing, self.receiver = server, outgoing, receiver
        self.act = server.act(outgoing)
        self.paused = 0
        self.over = False
        self.timer = None
        self.open = set()
        """Ids of questions that wait for the client."""
        server.flying.add(self)
        if self.act.arrives:
            server.asked.append((outgoing.method, outgoing.name))
        if self.act.runs:
            server.journal.append((outgoing.method, outgoing.name, dict(outgoing.params)))
        if outgoing.method == "tools/call":
            calls = sum(1 for a in server.flying if a.outgoing.method == "tools/call")
            server.most_at_once = max(server.most_at_once, calls)
        for number, (method, params) in enumerate(self.act.notes):
            server.clock.after((number + 1) * 1_000, lambda m=method, p=params: self.note(m, p))
        for question in self.act.questions:
            server.clock.after(MILLISECOND, lambda q=question: self.ask(q))
        if self.act.reply is not None:
            self.timer = server.clock.after(self.act.after, lambda: self.end(self.act.reply))

    def note(self, method, params):
        if not self.over:
            self.receiver.notified(method, params)

    def end(self, reply):
        if not self.over:
            self.over = True
            self.server.flying.discard(self)
            if self.timer:
                self.timer.cancel()
            self.receiver.finished(reply)

    def cancel(self, cause):
        if not self.over:
            written = Written.ALL if self.act.arrives else Written.NONE
            seen = self.act.cut
            reply = Reply(Ending.CANCELLED, written, seen=seen, detail=cause.value)
            self.server.clock.after(0, lambda: self.end(reply))

    def ask(self, question):
        """The server asks the client, in the middle of the request."""
        if self.over:
            return
        if missing_for(question.method, question.params, self.outgoing.capabilities):
            self.heard(question.id, b"", NOT_DECLARED)
            return
        self.open.add(question.id)
        self.receiver.asked(question)

    def answer(self, question_id, result, error=b""):
        if not self.over and question_id in self.open:
            self.open.discard(question_id)
            self.heard(question_id, result, error)

    def heard(self, question_id, result, error):
        self.server.answered.append((question_id, result, error))
        if self.act.after_answers and len(self.server.answered) >= self.act.after_answers:
            self.timer = self.server.clock.after(MILLISECOND, lambda: self.end(OK.reply))

    def pause(self):
        self.paused += 1

    def resume(self):
        self.paused -= 1
