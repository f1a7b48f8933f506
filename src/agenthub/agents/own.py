"""The own loop: ask the model, use the tools that it wishes, until it wishes none.

┌─► ask ─► text only ─► done
│    └─► wishes ─► used side by side, in their order told ─┐
└──────────────────────────────────────────────────────────┘   at most `limits.rounds` times
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from agenthub.agents import context
from agenthub.agents.events import Context, Piece, Problem, Used
from agenthub.agents.model import Answered, Asker, ModelAsker, ModelFailed
from agenthub.agents.terms import Desk, Stopped, Task
from agenthub.agents.tools import Toolbox, Toolboxes
from agenthub.agents.use import ToolUser
from agenthub.catalog import Catalog
from agenthub.domain.dialogue import Ask, Delta, Message, Role, Stop, ToolCall
from agenthub.domain.errors import HubError
from agenthub.domain.money import show
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.gateway import Gateway
from agenthub.ledger import UsageStorage
from agenthub.ports import Clock
from agenthub.wire.tool_text import cut

TRIES: Final = 4
"""How often a model that is busy is asked, the first time included."""
PAUSE: Nanoseconds = 2 * SECOND
"""Before it is asked again, where it does not say; then doubled."""
PAUSE_MAX: Nanoseconds = 60 * SECOND
"""Who asks for a longer pause is not waited for."""
BESIDE: Final = 8
"""Tools that are used at a time."""
WISHES_MAX: Final = 32
"""Of one answer; those beyond are told so."""


class House:
    """What a runner needs of the hub."""

    def __init__(
        self,
        gateway: Gateway,
        catalog: Catalog,
        clock: Clock,
        ids: Callable[[], str],
        asker: ModelAsker,
        usage: UsageStorage,
    ) -> None:
        self.gateway, self.catalog, self.clock, self.ids = gateway, catalog, clock, ids
        self.asker, self.usage = asker, usage
        self.toolboxes = Toolboxes(catalog)


class OwnRunner:
    """terms.Runner."""

    name = "own"

    def __init__(self, house: House) -> None:
        self._house = house

    async def run(self, task: Task, desk: Desk) -> None:
        await _Loop(self._house, task, desk).run()


class _Loop:
    """One run."""

    def __init__(self, house: House, task: Task, desk: Desk) -> None:
        self._house, self._task, self._desk = house, task, desk
        self._user = ToolUser(house.gateway, house.catalog, house.clock, house.ids, task, desk)
        self._messages = list(task.messages)
        self._summary, self._summarised = task.summary, 0
        self._tokens = 0
        self._until = house.clock.now() + task.limits.span

    async def run(self) -> None:
        for _ in range(self._task.limits.rounds):
            box = self._house.toolboxes.of(self._task.caller)
            await self._fit(box)
            self._tell_context(box)
            wishes = await self._turn(box)
            if not wishes:
                return
            await self._use(wishes, box)
        raise Stopped("run_limit", f"The model was asked {self._task.limits.rounds} times.")

    def _tell_context(self, box: Toolbox) -> None:
        given = self._given()
        tokens = context.tokens_of(given, box.specs, self._task.system)
        self._desk.tell(Context(len(given), tokens, len(box.tools), box.left_out, self._summarised))

    def _given(self) -> tuple[Message, ...]:
        return context.with_summary(self._summary, self._messages)

    async def _fit(self, box: Toolbox) -> None:
        """Let a summary stand for what does not fit the model."""
        task = self._task
        room = context.room_of(task.window, box.specs, task.system)
        count = context.split(self._messages, room)
        if not count:
            return
        self._check_limits()
        old = context.with_summary(self._summary, self._messages[:count])
        ask = Ask(task.model, task.system, (*old, Message(Role.USER, context.SUMMARISE)))
        answered = await self._asked(ask, lambda _: None, [])
        await self._tell_usage(answered)
        self._summary = cut(answered.turn.text, context.SUMMARY_BYTES)
        del self._messages[:count]
        self._summarised += count
        self._desk.summarise(self._summary, count)

    # ------------------------------------------------------------ the model

    async def _turn(self, box: Toolbox) -> tuple[ToolCall, ...]:
        """One answer, kept; what it wishes."""
        task, text = self._task, list[str]()
        self._check_limits()
        ask = Ask(task.model, task.system, self._given(), box.specs)

        def told(delta: Delta) -> None:
            text.append(delta.text)
            self._desk.tell(Piece(delta.text))

        try:
            answered = await self._asked(ask, told, text)
        except BaseException:
            if text:  # What the user has seen is to be found again.
                self._say(Message(Role.ASSISTANT, "".join(text), cut=True))
            raise
        turn = answered.turn
        is_cut = turn.stop in {Stop.LENGTH, Stop.BROKEN}
        self._say(Message(Role.ASSISTANT, turn.text, calls=turn.calls, cut=is_cut))
        await self._tell_usage(answered)
        if turn.stop is Stop.BROKEN:
            raise Stopped("model_error", turn.problem)
        if turn.stop is Stop.LENGTH and not turn.calls:
            raise Stopped("too_long", "The answer was longer than it may be, and was cut.")
        return turn.calls

    async def _asked(self, ask: Ask, told: Callable[[Delta], None], text: list[str]) -> Answered:
        """Asked again while the model is busy, as long as nothing of an answer was told (R37)."""
        task, clock = self._task, self._house.clock
        asker = Asker(task.caller, task.door, task.run)
        for count in range(TRIES):
            try:
                return await self._house.asker.ask(ask, asker, told)
            except HubError as error:
                pause = self._pause(error, count)
                if pause is None or text or clock.now() + pause >= self._until:
                    raise
                words = str(error)
                self._desk.tell(Problem(error.slug, words, pause // MILLISECOND))
                await asyncio.sleep(pause / SECOND)
        raise AssertionError("the last try has no pause")

    def _pause(self, error: HubError, count: int) -> Nanoseconds | None:
        """How long to wait before another try; None: there is none."""
        busy = error.busy if isinstance(error, ModelFailed) else error.retryable
        if not busy or error.executed == "yes" or count + 1 >= TRIES:
            return None
        if error.retry_after_ms is not None:
            pause = max(error.retry_after_ms * MILLISECOND, MILLISECOND)
            return pause if pause <= PAUSE_MAX else None
        return PAUSE << count

    async def _tell_usage(self, answered: Answered) -> None:
        """What the ledger has of it."""
        total = self._desk.paid(answered.cost)
        row = await self._house.usage.charge(answered.call)
        if row is None:
            return
        usage = row.usage
        self._tokens += usage.input_tokens + usage.output_tokens
        cost = None if row.cost is None else show(row.cost)
        self._desk.tell(
            Used(
                row.served_model or row.facts.model, answered.served_by, usage.input_tokens,
                usage.cache_read_tokens, usage.output_tokens, cost, show(total),
            )
        )  # fmt: skip

    def _check_limits(self) -> None:
        limits, spent = self._task.limits, self._desk.paid(None)
        if spent >= limits.cost:
            raise Stopped("run_limit", f"The run cost ${show(spent)}, its limit.")
        if self._tokens >= limits.tokens:
            raise Stopped("run_limit", f"The run took {self._tokens} tokens, its limit.")

    # ------------------------------------------------------------ tools

    async def _use(self, wishes: tuple[ToolCall, ...], box: Toolbox) -> None:
        """All side by side; the results in the order of the wishes."""
        places = asyncio.Semaphore(BESIDE)

        async def one(wish: ToolCall) -> Message:
            async with places:
                return await self._user.use(wish, box)

        done: list[asyncio.Task[Message]] = []
        try:
            async with asyncio.TaskGroup() as group:
                done = [group.create_task(one(wish)) for wish in wishes[:WISHES_MAX]]
        except BaseExceptionGroup as failed:
            raise _first(failed) from None
        finally:
            results = [
                task.result()
                for task in done
                if task.done() and not task.cancelled() and task.exception() is None
            ]
            results += [_too_many(wish) for wish in wishes[WISHES_MAX:]]
            self._say(*results)

    def _say(self, *messages: Message) -> None:
        self._messages += messages
        self._desk.say(messages)


def _too_many(wish: ToolCall) -> Message:
    words = f"Not called: an answer may wish for {WISHES_MAX} tools at a time."
    return Message(Role.TOOL, words, call_id=wish.id, tool=wish.name, is_error=True)


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """What one of them raised; a stop of the run before all else."""
    leaves = list(_leaves(failed))
    return next((one for one in leaves if isinstance(one, Stopped)), leaves[0])


def _leaves(failed: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for one in failed.exceptions:
        if isinstance(one, BaseExceptionGroup):
            found += _leaves(cast("BaseExceptionGroup[BaseException]", one))
        else:
            found.append(one)
    return found
