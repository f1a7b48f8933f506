"""Stands for a server whose record cannot work: it is listed, sick, and says why."""

from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.ports import Attempt, AttemptReceiver, Clock, Outgoing, UpstreamState


class Unusable:
    """ports.Upstream to which nothing is ever sent; each attempt says what is wrong."""

    def __init__(self, problem: str, hint: str, clock: Clock) -> None:
        self._clock = clock
        self._state = UpstreamState(problem=problem, hint=hint)

    @property
    def state(self) -> UpstreamState:
        return self._state

    def start(self) -> None: ...

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Attempt:
        del outgoing
        reply = Reply(Ending.UNREACHED, Written.NONE, detail=self._state.problem)
        self._clock.after(0, lambda: receiver.finished(reply))
        return self

    async def close(self) -> None: ...

    def cancel(self, cause: Cause) -> None: ...

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...
