"""All runs of the hub: started, followed, answered, stopped; and the conversations they are in.

A run lives here and not in a request: who started it may go, and come back to it by its id. When
it is over it is forgotten after a while; what was said stays in its conversation.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

from agenthub.agents.events import Begun, Done, Problem
from agenthub.agents.model import ModelAsker
from agenthub.agents.run import RunUnderWay
from agenthub.agents.terms import Limits, Runner, Stopped, Task
from agenthub.conversations import (
    MESSAGE_BYTES,
    MESSAGES_MAX,
    TITLE_MAX,
    Conversation,
    ConversationStorage,
    Run,
    RunState,
    Said,
)
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.dialogue import Message, Role
from agenthub.domain.errors import Conflict, HubError, InvalidParams, Overloaded, UnknownTarget
from agenthub.domain.money import show
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.ports import Clock
from agenthub.tasks import Tasks
from agenthub.wire.tool_text import cut

log = logging.getLogger(__name__)

RUNS_MAX: Final = 100
"""Under way at a time."""
RUNS_EACH: Final = 10
"""Of one caller."""
KEPT: Nanoseconds = 600 * SECOND
"""How long one that is over can still be followed."""
KEPT_MAX: Final = 50
READ_MAX: Final = 2_000
"""Messages that are read for a run; older ones are in the summary, or not told."""
PAGE_BYTES: Final = 48_000
"""Of a page's text; what is beyond is left out, and that is said."""
CLOSE_S: Final = 5
GONE: Final = (
    "The hub ended before this call had an answer. It may have run: look before you repeat it."
)
NOT_KEPT: Final = "What was said is not kept: the conversation is full, or gone. Begin a new one."


class Chat(Struct, frozen=True):
    """How agents are, by the settings."""

    model: str
    """What is asked where nobody says; empty: see `Runs.model`."""
    system: str
    approval: str
    window: int
    limits: Limits
    patience: Nanoseconds
    """How long a question waits for the user."""
    runner: str


class Asked(Struct, frozen=True):
    """What a user wants of an agent."""

    text: str
    conversation: str = ""
    """Empty: a new one."""
    model: str = ""
    page: str = ""
    """Text of a page that the user looks at."""
    approval: str = ""
    """Stricter than the settings' only; empty: as they are."""
    cost: int | None = None
    """Less than the settings' only, nano-dollars."""


class Runs:
    """Of all callers. Each sees its own, an admin all."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of the hub
        self,
        storage: ConversationStorage,
        runners: Mapping[str, Runner],
        asker: ModelAsker,
        clock: Clock,
        ids: Callable[[], str],
        tasks: Tasks,
        chat: Chat,
        default_model: Callable[[Caller], str],
    ) -> None:
        self.storage = storage
        self.chat = chat
        self._runners, self._asker = runners, asker
        self._clock, self._ids, self._tasks = clock, ids, tasks
        self._default_model = default_model
        self._runs: dict[str, RunUnderWay] = {}
        self._busy: dict[str, str] = {}
        """Conversations in which a run is under way or begins, each with whose it is."""
        self._closing = False

    # ------------------------------------------------------------ life

    async def open(self) -> None:
        """Runs that another process had are over."""
        count = await self.storage.interrupt(self._clock.wall() // SECOND)
        if count:
            log.warning("Runs were interrupted by the hub's end", extra={"runs": count})

    async def close(self) -> None:
        """Cancel what is under way; what was said is kept."""
        self._closing = True
        running = [run for run in self._runs.values() if run.ended is None]
        for run in running:
            self.cancel(run)
        if running:
            await asyncio.wait([run.task for run in running if run.task], timeout=CLOSE_S)

    # ------------------------------------------------------------ runs

    async def start(self, asked: Asked, caller: Caller, door: str) -> RunUnderWay:
        """Raises InvalidParams, UnknownTarget, Conflict, Overloaded, Forbidden, StorageFailed."""
        if not asked.text.strip():
            raise InvalidParams("message: expected what to answer")
        self._check_room(caller)
        conversation = asked.conversation or self._ids()
        if conversation in self._busy:
            raise Conflict("An answer is under way in this conversation; cancel it, or wait")
        self._busy[conversation] = caller.id
        try:
            return await self._start(asked, conversation, caller, door)
        except BaseException:
            del self._busy[conversation]
            raise

    async def _start(
        self, asked: Asked, conversation: str, caller: Caller, door: str
    ) -> RunUnderWay:
        now_s = self._clock.wall() // SECOND
        limits, approval = self._limits(asked), self._approval(asked)
        known = await self.find(asked.conversation, caller) if asked.conversation else None
        if known is not None and known.messages >= MESSAGES_MAX:
            raise Conflict(f"This conversation is full ({MESSAGES_MAX} messages): begin a new one")
        model = asked.model or (known.model if known else "") or self.model(caller)
        self._asker.wire(model, caller)
        told = Message(Role.USER, asked.text, context=cut(asked.page, PAGE_BYTES))
        new = None
        if known is None:
            title = " ".join(asked.text.split())[:TITLE_MAX]
            known = new = Conversation(conversation, caller.id, title, model, now_s, now_s, 0)
        said = () if new else await self._read(known)
        run = RunUnderWay(self._ids(), known.id, caller.id, model, self._clock, self.chat.patience)
        row = Run(run.id, known.id, RunState.RUNNING, now_s)
        if not await self.storage.begin(row, _bounded(told), new):
            raise UnknownTarget(f"There is no conversation {known.id[:64]!r}")
        messages = (*(one.message for one in said), told)
        task = Task(
            run.id, caller, door, model, self.chat.system, known.summary, mended(messages),
            limits, approval, any(one.context for one in messages),
            self.chat.window,
        )  # fmt: skip
        self._forget_old()
        self._runs[run.id] = run
        first = known.summarised
        run.work = self._tasks.start(self._work(task, run), f"work of {run.id}")
        run.task = self._tasks.start(self._run(task, run, first), f"run {run.id}")
        return run

    async def _read(self, known: Conversation) -> Sequence[Said]:
        after = max(known.summarised, known.messages - READ_MAX)
        return await self.storage.messages(known.id, after=after, limit=READ_MAX)

    def model(self, caller: Caller) -> str:
        """What is asked where nobody says: by the settings, else an alias, else the demo's."""
        return self.chat.model or self._default_model(caller)

    def _limits(self, asked: Asked) -> Limits:
        limits = self.chat.limits
        if asked.cost is None or asked.cost >= limits.cost:
            return limits
        return structs.replace(limits, cost=asked.cost)

    def _approval(self, asked: Asked) -> str:
        order = ("none", "destructive", "all")
        wish = asked.approval or self.chat.approval
        if wish not in order:
            raise InvalidParams(f"approval: expected one of {', '.join(order)}")
        return max(wish, self.chat.approval, key=order.index)

    def _check_room(self, caller: Caller) -> None:
        own = sum(one == caller.id for one in self._busy.values())
        if self._closing or len(self._busy) >= RUNS_MAX or own >= RUNS_EACH:
            raise Overloaded("As many answers are under way as the hub takes", retry_after_ms=5_000)

    def _forget_old(self) -> None:
        now = self._clock.now()
        over = [run for run in self._runs.values() if run.ended is not None]
        for at, run in enumerate(over):
            assert run.ended is not None, "it is over"
            if run.ended + KEPT <= now or at < len(over) - KEPT_MAX:
                del self._runs[run.id]

    async def _run(self, task: Task, run: RunUnderWay, first: int) -> None:
        """Until it is over, however; the last event comes when all that was said is kept."""
        work = run.work
        assert work is not None, "it was begun"
        keeping = self._tasks.start(self._keep(run, first), f"what is said in {run.id}")
        await asyncio.wait([work], timeout=task.limits.span / SECOND)
        state, problem = RunState.CANCELLED, ""
        if not work.done():
            work.cancel()
            await asyncio.wait([work])
            words = "The run took longer than it may."
            state, problem = RunState.FAILED, _told(run, "run_limit", words)
        elif not work.cancelled():
            state, problem = work.result()
        elif self._closing:
            state = RunState.INTERRUPTED
        run.over = True
        run.some.set()
        # Side by side, for one sync of the disk.
        await asyncio.gather(keeping, self._close(run, state, problem))
        took = (self._clock.now() - run.started) // MILLISECOND
        run.tell(Done(state.value, show(run.cost), took, run.asked, run.tools))
        run.finish(state, problem)
        del self._busy[run.conversation]

    async def _close(self, run: RunUnderWay, state: RunState, problem: str) -> None:
        with contextlib.suppress(HubError):  # The next start will find it interrupted.
            await self.storage.end(run.id, state, problem, self._clock.wall() // SECOND)

    async def _work(self, task: Task, run: RunUnderWay) -> tuple[RunState, str]:
        """How it ended, and why."""
        runner = self._runners[self.chat.runner]
        run.tell(Begun(run.id, run.conversation, run.model, runner.name))
        try:
            await runner.run(task, run)
        except Stopped as stop:
            return RunState.FAILED, _told(run, stop.code, str(stop))
        except HubError as error:
            return RunState.FAILED, _told(run, error.slug, str(error))
        except Exception:
            log.exception("A run failed", extra={"run": run.id})
            words = "The agent failed; the hub's log says why."
            return RunState.FAILED, _told(run, "internal", words)
        return RunState.DONE, ""

    async def _keep(self, run: RunUnderWay, first: int) -> None:
        """Write down what is said, in its order, while the run goes on."""
        while True:
            await run.some.wait()
            run.some.clear()
            while run.to_keep:
                spoken = run.to_keep.popleft()
                now_s = self._clock.wall() // SECOND
                try:
                    if spoken.messages:
                        bounded = [_bounded(one) for one in spoken.messages]
                        kept = await self.storage.add(run.conversation, run.id, bounded, now_s)
                        if kept is None:
                            _told(run, "not_kept", NOT_KEPT)
                            return
                    else:
                        first += spoken.count
                        await self.storage.summarise(run.conversation, spoken.summary, first)
                except HubError as error:
                    _told(run, error.slug, f"What was said could not be kept: {error}")
                    return
            if run.over:
                return

    def running(self, run: str, caller: Caller) -> RunUnderWay:
        """One that is under way, or was a little ago. Raises UnknownTarget."""
        found = self._runs.get(run)
        if found is None or not _may_see(caller, found.caller):
            raise UnknownTarget(f"There is no run {run[:64]!r}, or it was over long ago")
        return found

    def cancel(self, run: RunUnderWay) -> None:
        """Idempotent."""
        if run.work is not None:
            run.work.cancel()

    def forget_caller(self, caller: str) -> None:
        """Nobody comes as this caller any more: what was begun in its name ends."""
        for run in self._runs.values():
            if run.caller == caller:
                self.cancel(run)

    # ------------------------------------------------------------ conversations

    async def find(self, conversation: str, caller: Caller) -> Conversation:
        """Raises UnknownTarget."""
        found = await self.storage.find(conversation)
        if found is None or not _may_see(caller, found.caller):
            raise UnknownTarget(f"There is no conversation {conversation[:64]!r}")
        return found

    async def rename(self, conversation: str, title: str, caller: Caller) -> Conversation:
        """Raises UnknownTarget, InvalidParams."""
        if not 0 < len(title.strip()) <= TITLE_MAX:
            raise InvalidParams(f"title: expected 1 to {TITLE_MAX} characters")
        known = await self.find(conversation, caller)
        await self.storage.rename(known.id, title.strip(), self._clock.wall() // SECOND)
        return await self.find(conversation, caller)

    async def delete(self, conversation: str, caller: Caller) -> None:
        """With a run that is under way in it. Raises UnknownTarget."""
        known = await self.find(conversation, caller)
        for run in self._runs.values():
            if run.conversation == known.id:
                self.cancel(run)
        await self.storage.delete(known.id)


def mended(messages: Sequence[Message]) -> tuple[Message, ...]:
    """With a result for each call that never had one: a model must know that it may have run."""
    found: list[Message] = []
    waiting: dict[str, Message] = {}
    for one in messages:
        if one.role is Role.TOOL:
            waiting.pop(one.call_id, None)
        else:
            found += waiting.values()
            waiting = {
                call.id: Message(Role.TOOL, GONE, call_id=call.id, tool=call.name, is_error=True)
                for call in one.calls
            }
        found.append(one)
    found += waiting.values()
    return tuple(found)


def _bounded(message: Message) -> Message:
    """What is kept of a message has a size."""
    most = MESSAGE_BYTES // 4
    return structs.replace(
        message, text=cut(message.text, most), context=cut(message.context, most)
    )


def _may_see(caller: Caller, owner: str) -> bool:
    return caller.id == owner or caller.may(Scope.ADMIN)


def _told(run: RunUnderWay, code: str, words: str) -> str:
    run.tell(Problem(code, words))
    return words
