"""Using a tool for a model: the arguments read, the user asked, the call made, the result in words.

wish ─► known? ─► JSON? ─► a loop? ─► approved? ─► gateway ─► result, as text
          └─────────┴─────────┴──────────┴────────────┴─────► why not, in words it can act on
"""

import hashlib
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final, cast

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.agents.events import ToolBegun, ToolEnded
from agenthub.agents.hearing import heard
from agenthub.agents.terms import ALL, NONE, Desk, Stopped, Task
from agenthub.agents.tools import Tool, Toolbox, tool_of
from agenthub.catalog import Catalog
from agenthub.domain.call import Call
from agenthub.domain.caller import Scope
from agenthub.domain.dialogue import Message, Role, ToolCall
from agenthub.domain.errors import HubError
from agenthub.domain.loop_breaker import LoopBreaker, Verdict
from agenthub.domain.money import show
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.domain.target import split
from agenthub.gateway import Gateway
from agenthub.passage import Answer
from agenthub.ports import Clock, Question
from agenthub.wire.questions import ELICIT, InputRequired, read_input_required
from agenthub.wire.tool_text import cut, text_of

CAPABILITIES: Final = b'{"elicitation":{"form":{},"url":{}}}'
CALL_CAP_MS: Final = 300_000
ROUNDS_MAX: Final = 10
"""Times that a server may ask the user during one call."""
SHOWN: Final = 2_000
"""Bytes of a result in an event."""
NOT_ASKED: Final = b'{"code":-32601,"message":"This agent only answers elicitations"}'
OK, TOOL_ERROR, NOT_DELIVERED, DENIED, REFUSED = (
    "ok", "tool_error", "not_delivered", "denied", "refused",
)  # fmt: skip


class Outcome(Struct, frozen=True):
    """What came of a wish."""

    kind: str
    text: str
    served_by: str = ""
    attempts: int = 0
    cost_usd: str | None = None


class ToolUser:
    """Of one run."""

    def __init__(
        self,
        gateway: Gateway,
        catalog: Catalog,
        clock: Clock,
        ids: Callable[[], str],
        task: Task,
        desk: Desk,
    ) -> None:
        self._gateway, self._catalog, self._clock, self._ids = gateway, catalog, clock, ids
        self._task, self._desk = task, desk
        self._loops = LoopBreaker(task.limits.loops)
        self.count = 0

    async def use(self, wish: ToolCall, box: Toolbox) -> Message:
        """The result as the model is told it. Raises Stopped: the run is to end."""
        began = self._clock.now()
        tool = self._tool(wish.name, box)
        use = f"{self.count + 1}"
        self.count += 1
        server, name = (tool.server, tool.name) if tool else ("", wish.name[:128])
        arguments = _arguments(wish.arguments)
        shown = arguments or Raw(msgspec.json.encode(wish.arguments[:SHOWN]))
        self._desk.tell(ToolBegun(use, server, name, shown))
        outcome = Outcome("cancelled", "")
        try:
            outcome = await self._outcome(use, wish, tool, arguments, box)
        finally:
            took = (self._clock.now() - began) // MILLISECOND
            self._desk.tell(
                ToolEnded(
                    use, outcome.kind, cut(outcome.text, SHOWN), outcome.served_by,
                    outcome.attempts, took, outcome.cost_usd,
                )
            )  # fmt: skip
        return Message(
            Role.TOOL, outcome.text, call_id=wish.id, tool=wish.name, is_error=outcome.kind != OK
        )

    async def _outcome(
        self, use: str, wish: ToolCall, tool: Tool | None, arguments: Raw | None, box: Toolbox
    ) -> Outcome:
        if tool is None:
            near = get_close_matches(wish.name, box.tools, 3) or list(box.tools)[:20]
            words = f"There is no tool {wish.name[:128]!r}. There are, among others: "
            return Outcome(REFUSED, words + (", ".join(near) or "none"))
        if arguments is None:
            return Outcome(REFUSED, "The arguments are no JSON object; nothing was called.")
        if int(use) > self._task.limits.tool_calls:
            raise Stopped("run_limit", f"The run has called tools {int(use) - 1} times, its limit.")
        digest = hashlib.sha256(b"\0".join((wish.name.encode(), bytes(arguments)))).digest()
        verdict = self._loops.ask(digest)
        if verdict is Verdict.STOP:
            raise Stopped("loop", f"The agent calls {wish.name} with the same arguments for ever.")
        if verdict is Verdict.REFUSE:
            words = "was called with the same arguments several times, and said the same each time"
            return Outcome(REFUSED, f"{wish.name} {words}: it is not called again. Do otherwise.")
        why = self._why_ask(tool)
        if why and not await self._desk.approve(use, tool.server, tool.name, arguments, why):
            return Outcome(DENIED, "The user did not allow this call; nothing was called.")
        outcome = await self._call(use, tool, arguments)
        if not tool.polls:
            told = self._loops.told(digest, hashlib.sha256(outcome.text.encode()).digest())
            if told is Verdict.NOTE:
                note = "(Note of the hub: the same call has had the same result several times.)"
                outcome = structs.replace(outcome, text=f"{outcome.text}\n{note}")
        return outcome

    def _tool(self, name: str, box: Toolbox) -> Tool | None:
        """One that the model was told of, or that it names by itself: the gateway will say."""
        if name in box.tools:
            return box.tools[name]
        caller, (server, own) = self._task.caller, split(name) or ("", "")
        found = self._catalog.find_mcp(server, caller) if caller.may(Scope.TOOLS) else None
        if found is None or found.facts(own) is None:
            return None
        is_shown = caller.admits(name, reads=found.changes_nothing(own))
        return tool_of(found, own, name) if is_shown else None

    def _why_ask(self, tool: Tool) -> str:
        """Why the user is asked first; empty: the user is not."""
        if self._task.approval == ALL:
            return "every tool is to be approved"
        if tool.is_harmless or (self._task.approval == NONE and not self._task.has_page):
            return ""
        if self._task.has_page:
            return "it may change something, and a page's text is in the conversation"
        return "it may change something"

    # ------------------------------------------------------------ the call

    async def _call(self, use: str, tool: Tool, arguments: Raw) -> Outcome:
        try:
            end = await self._ended(use, tool, arguments)
        except HubError as error:
            return Outcome(NOT_DELIVERED, told(error))
        total = None if end.cost is None else show(end.cost)
        self._desk.paid(end.cost)
        # Who may see a server may not know what stands in for it.
        known = end.served_by in {tool.server, ""} or self._task.caller.sees(end.served_by)
        served_by = end.served_by if known else "another"
        if end.error is not None:
            return Outcome(NOT_DELIVERED, told(end.error), served_by, end.attempts, total)
        reply = end.reply
        assert reply is not None, "a call ends with a reply or an error"
        kind, text = _said(reply)
        if served_by not in {tool.server, ""} and kind != NOT_DELIVERED:
            text = f"(Answered by {served_by}, for {tool.server} is not available.)\n{text}"
        return Outcome(kind, text, served_by, end.attempts, total)

    async def _ended(self, use: str, tool: Tool, arguments: Raw) -> Answer:
        """The end of the call, and of those by which the user's answers go to a new server."""
        task = self._task
        params = {"name": Raw(msgspec.json.encode(tool.name)), "arguments": arguments}
        call = Call(
            id=self._ids(), caller=task.caller, door=task.door, endpoint=tool.server,
            method="tools/call", name=tool.name, params=params, meta={},
            deadline=self._deadline(tool), capabilities=CAPABILITIES,
            idempotency_key=f"{task.run}/{use}", size_bytes=len(bytes(arguments)),
            session=task.run,
        )  # fmt: skip
        end = await self._one(call)
        for _ in range(ROUNDS_MAX):
            reply = end.reply
            if reply is None or reply.result_type != "input_required":
                return end
            try:
                wanted = read_input_required(reply.result)
            except ValueError:
                return end
            answers = await self._answers(end.served_by, wanted)
            more = {"inputResponses": Raw(msgspec.json.encode(answers))} if answers else {}
            if wanted.state:
                more["requestState"] = wanted.state
            call = structs.replace(
                call, id=self._ids(), params={**params, **more}, only=end.served_by,
                deadline=self._deadline(tool), idempotency_key=None,
            )  # fmt: skip
            end = await self._one(call)
        return end

    async def _one(self, call: Call) -> Answer:
        async with heard(self._gateway, call) as hearing:
            while (news := await hearing.next()) is not None:
                if isinstance(news, Question):
                    if news.method == ELICIT:
                        hearing.answer(news, await self._elicit(call.endpoint, news.params))
                    else:
                        hearing.answer(news, b"", NOT_ASKED)
        assert hearing.end is not None, "it is over"
        return hearing.end

    async def _answers(self, server: str, wanted: InputRequired) -> dict[str, Raw]:
        cancel = Raw(b'{"action":"cancel"}')
        return {
            key: Raw(await self._elicit(server, bytes(asked.params)))
            if asked.method == ELICIT
            else cancel
            for key, asked in wanted.requests.items()
        }

    async def _elicit(self, server: str, params: bytes) -> bytes:
        return await self._desk.elicit(server, params)

    def _deadline(self, tool: Tool) -> Nanoseconds:
        server = self._catalog.find(tool.server, self._task.caller)
        policy = server.endpoint.tools.get(tool.name) if server else None
        span = (policy and policy.timeout_ms) or (server.endpoint.timeouts.call_ms if server else 0)
        return self._clock.now() + min(span or CALL_CAP_MS, CALL_CAP_MS) * MILLISECOND


def _arguments(text: str) -> Raw | None:
    """What the model wrote, if it is an object; nothing at all counts as an empty one."""
    try:
        value: Any = msgspec.json.decode(text or "{}")
    except (ValueError, RecursionError):
        return None
    return Raw(msgspec.json.encode(cast("Any", value))) if isinstance(value, dict) else None


def _said(reply: Reply) -> tuple[str, str]:
    """How a reply went, and what it says."""
    if reply.ending is not Ending.RESULT:
        try:
            words = msgspec.json.decode(reply.error, type=_Error).message
        except ValueError:
            words = reply.detail
        return TOOL_ERROR, f"The server answered with an error: {cut(words, SHOWN)}"
    if reply.result_type not in {"complete", ""}:
        return NOT_DELIVERED, "The server did not finish the call, and asks for what nobody gives."
    return TOOL_ERROR if reply.is_error else OK, text_of(reply.result)


def told(error: HubError) -> str:
    """A hub's error in words that a model can act on."""
    words = f"The tool was not called: {error}" if error.executed == "no" else str(error)
    if error.executed == "unknown":
        words += " (It may have run: look before you call it again.)"
    if error.retry_after_ms is not None:
        seconds = -(-error.retry_after_ms * MILLISECOND // SECOND)
        words += f" (It can be tried again in {seconds} s.)"
    elif not error.retryable:
        words += " (Trying again does not help.)"
    return words


class _Error(Struct):
    message: str = ""
