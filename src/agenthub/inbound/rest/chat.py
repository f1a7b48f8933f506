"""`/api/chat`: an agent's answer is a run that lives in the hub; who asked may go and come back.

POST /api/chat ─► a run ─► GET …/runs/ID/events (Last-Event-ID)
                    ▲────── POST …/approve, …/answer, …/cancel
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from msgspec import Raw, Struct
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from agenthub.agents.run import Numbered, RunUnderWay
from agenthub.agents.runs import Asked
from agenthub.conversations import Conversation, Said
from agenthub.domain import money
from agenthub.domain.caller import Scope
from agenthub.domain.dialogue import Role
from agenthub.domain.errors import InvalidParams
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.events import HEADERS, gone, number_of, send_part
from agenthub.inbound.rest.request import TheCaller, TheHub, needs, read_body

PAGE_MAX = 100
EXPORT_PAGE = 1_000

router = APIRouter(prefix="/api/chat", tags=["chat"])
callers = [Depends(needs(Scope.LLM))]


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """What the user looks at. The model is told that it is not the user's word."""

    text: str
    title: str = ""
    url: str = ""


class Wish(Struct, frozen=True, forbid_unknown_fields=True):
    message: str
    conversation: str | None = None
    """Its id, to go on with it; null: a new one."""
    model: str | None = None
    """As in `/v1/models`; null: the conversation's, or the settings' `chat.model`."""
    page: Page | None = None
    approval: str | None = None
    """`destructive` or `all`: which tools wait for a word; never less than the settings say."""
    max_cost_usd: str | None = None
    """Of this run; never more than the settings say."""


class Word(Struct, frozen=True, forbid_unknown_fields=True):
    """On a tool that waits."""

    id: str
    """As the event `approval` has it."""
    allow: bool


class Elicited(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """On what a server asks."""

    id: str
    """As the event `elicitation` has it."""
    action: str
    """`accept`, `decline` or `cancel`."""
    content: dict[str, Any] | None = None
    """With `accept`: what the form asks for."""


class Title(Struct, frozen=True, forbid_unknown_fields=True):
    title: str


class RunView(Struct, frozen=True):
    run: str
    conversation: str
    model: str
    state: str
    """`running`, `done`, `failed`, `cancelled` or `interrupted`."""
    cost_usd: str
    problem: str


class ConversationView(Struct, frozen=True):
    id: str
    title: str
    model: str
    created_at_s: int
    changed_at_s: int
    messages: int


class ConversationList(Struct, frozen=True):
    conversations: list[ConversationView]
    next_before: str | None
    """For the next page; null: there is none."""


class MessageView(Struct, frozen=True):
    number: int
    run: str
    at_s: int
    message: Raw
    """`role`, `text`, and what there is of `context`, `calls`, `call_id`, `tool`, `is_error`."""


class RunLine(Struct, frozen=True):
    run: str
    state: str
    started_at_s: int
    ended_at_s: int
    problem: str


class ConversationWhole(Struct, frozen=True):
    conversation: ConversationView
    messages: list[MessageView]
    runs: list[RunLine]
    next_after: int | None
    """Number to go on behind; null: these were the last."""


# ---------------------------------------------------------------- runs


@router.post("", dependencies=callers, **described(RunView, status=202, body=Wish))
async def start_chat(hub: TheHub, caller: TheCaller, request: Request) -> Response:
    """Begin an answer; what happens is at `/api/chat/runs/{run}/events`."""
    wish = await read_body(request, Wish)
    asked = Asked(
        wish.message, wish.conversation or "", wish.model or "", _page(wish.page),
        wish.approval or "", _amount(wish.max_cost_usd),
    )  # fmt: skip
    return answer(_view(await hub.runs.start(asked, caller, "chat")), status=202)


@router.get("/runs/{run}", dependencies=callers, **described(RunView))
async def chat_run(hub: TheHub, caller: TheCaller, run: str) -> Response:
    return answer(_view(hub.runs.running(run, caller)))


@router.get("/runs/{run}/events", dependencies=callers, **described())
async def follow_chat(
    hub: TheHub, caller: TheCaller, run: str, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """A stream of `id`, `event`, `data` (JSON) from the run's beginning, or behind that id."""
    found = hub.runs.running(run, caller)
    return RunStream(found, number_of(last_event_id) or 0)


@router.post("/runs/{run}/cancel", dependencies=callers, **described(RunView))
async def cancel_chat(hub: TheHub, caller: TheCaller, run: str) -> Response:
    """Stop it; what it has said is kept. A run that is over stays as it is."""
    found = hub.runs.running(run, caller)
    hub.runs.cancel(found)
    return answer(_view(found))


@router.post("/runs/{run}/approve", dependencies=callers, **described(RunView, body=Word))
async def approve_tool(hub: TheHub, caller: TheCaller, run: str, request: Request) -> Response:
    """Let a tool be called that waits for it, or not."""
    word = await read_body(request, Word)
    found = hub.runs.running(run, caller)
    found.approved(word.id, allow=word.allow)
    return answer(_view(found))


@router.post("/runs/{run}/answer", dependencies=callers, **described(RunView, body=Elicited))
async def answer_elicitation(
    hub: TheHub, caller: TheCaller, run: str, request: Request
) -> Response:
    """Answer what a server asks in the middle of a call."""
    said = await read_body(request, Elicited)
    found = hub.runs.running(run, caller)
    result: dict[str, Any] = {"action": said.action}
    if said.content is not None:
        result["content"] = said.content
    found.answered(said.id, msgspec.json.encode(result))
    return answer(_view(found))


# ---------------------------------------------------------------- conversations


@router.get("/conversations", dependencies=callers, **described(ConversationList))
async def list_conversations(
    hub: TheHub,
    caller: TheCaller,
    before: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
) -> Response:
    """The caller's own, the one that was last spoken in first; an admin's token sees all."""
    owner = None if caller.may(Scope.ADMIN) else caller.id
    found = await hub.runs.storage.list(owner, limit=limit, before=_before(before))
    last = found[-1] if len(found) == limit else None
    following = f"{last.changed_at_s}.{last.id}" if last else None
    return answer(ConversationList([_shown(one) for one in found], following))


@router.get("/conversations/{name}", dependencies=callers, **described(ConversationWhole))
async def read_conversation(
    hub: TheHub, caller: TheCaller, name: str, after: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """Its messages, a thousand at a time, and its runs."""
    known = await hub.runs.find(name, caller)
    said = await hub.runs.storage.messages(known.id, after=after, limit=EXPORT_PAGE)
    runs = await hub.runs.storage.runs(known.id)
    lines = [
        RunLine(one.id, one.state.value, one.started_at_s, one.ended_at_s, one.problem)
        for one in runs
    ]
    following = said[-1].number if len(said) == EXPORT_PAGE else None
    return answer(ConversationWhole(_shown(known), [_message(one) for one in said], lines,
                                    following))  # fmt: skip


@router.put(
    "/conversations/{name}", dependencies=callers, **described(ConversationView, body=Title)
)
async def rename_conversation(
    hub: TheHub, caller: TheCaller, name: str, request: Request
) -> Response:
    said = await read_body(request, Title)
    return answer(_shown(await hub.runs.rename(name, said.title, caller)))


@router.delete("/conversations/{name}", dependencies=callers, **described(status=204))
async def delete_conversation(hub: TheHub, caller: TheCaller, name: str) -> Response:
    """With all that was said in it; an answer that is under way is stopped."""
    await hub.runs.delete(name, caller)
    return Response(status_code=204)


@router.get("/conversations/{name}/export", dependencies=callers, **described())
async def export_conversation(hub: TheHub, caller: TheCaller, name: str) -> Response:
    """All of it as Markdown."""
    known = await hub.runs.find(name, caller)
    parts, after = [f"# {known.title}\n"], 0
    while True:
        said = await hub.runs.storage.messages(known.id, after=after, limit=EXPORT_PAGE)
        parts += [_markdown(one) for one in said]
        if len(said) < EXPORT_PAGE:
            break
        after = said[-1].number
    headers = {"cache-control": "no-store"}
    return Response("\n".join(parts), media_type="text/markdown; charset=utf-8", headers=headers)


def _view(run: RunUnderWay) -> RunView:
    return RunView(
        run.id, run.conversation, run.model, run.state.value, money.show(run.cost), run.problem
    )


def _shown(one: Conversation) -> ConversationView:
    return ConversationView(
        one.id, one.title, one.model, one.created_at_s, one.changed_at_s, one.messages
    )


def _message(one: Said) -> MessageView:
    return MessageView(one.number, one.run, one.at_s, Raw(msgspec.json.encode(one.message)))


def _markdown(one: Said) -> str:
    said = one.message
    head = f"{said.role.value} {said.tool}".strip()
    parts = [f"## {one.number}. {head}\n"]
    if said.context:
        parts.append("".join(f"> {line}\n" for line in said.context.splitlines()))
    if said.role is Role.TOOL:
        parts.append("".join(f"    {line}\n" for line in said.text.splitlines()))
    elif said.text:
        parts.append(f"{said.text}\n")
    parts += [f"- {call.name} `{call.arguments}`\n" for call in said.calls]
    return "\n".join(parts)


def _page(page: Page | None) -> str:
    if page is None:
        return ""
    return "\n".join(one for one in (page.title, page.url, page.text) if one)


def _amount(text: str | None) -> int | None:
    return None if text is None else money.parse(text)


def _before(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    at, dot, name = text.partition(".")
    if not dot or not (at.isascii() and at.isdigit() and len(at) <= 12):
        raise InvalidParams("before: expected what the page before gave as next_before")
    return int(at), name


# ---------------------------------------------------------------- the stream


class RunStream(Response):
    """The events of a run for one follower, until the run is over or the follower has gone."""

    def __init__(self, run: RunUnderWay, after: int) -> None:
        super().__init__()
        self._run, self._after = run, after

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        del scope
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write_while_there(send))
            watching = group.create_task(gone(receive))
            watching.add_done_callback(lambda _: writing.cancel())
            writing.add_done_callback(lambda _: watching.cancel())

    async def _write_while_there(self, send: Send) -> None:
        """Some servers raise when the client has gone."""
        with contextlib.suppress(OSError):
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send_part(send, b": events of a run\n\n")
            async with contextlib.aclosing(self._run.follow(self._after)) as following:
                async for events in following:
                    await send_part(send, self._rendered(events))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _rendered(self, events: Sequence[Numbered]) -> bytes:
        if not events:
            return b": alive\n\n"
        parts: list[bytes] = []
        if lost := events[0].number - self._after - 1:
            parts.append(b'event: dropped\ndata: {"events":%d}\n\n' % lost)
        parts += [
            b"id: %d\nevent: %s\ndata: %s\n\n" % (one.number, one.name.encode(), one.data)
            for one in events
        ]
        self._after = events[-1].number
        return b"".join(parts)
