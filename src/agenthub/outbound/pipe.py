"""One way to a server and back that all its calls share: a process's pipes, or HTTP+SSE."""

from typing import Protocol

from msgspec import Struct

from agenthub.domain.outcome import Reply, Written
from agenthub.domain.span import Nanoseconds
from agenthub.outbound.child_output import Overlong
from agenthub.outbound.diagnosis import Diagnosis


class Letter:
    """A message to the server, and how much of it is written."""

    __slots__ = ("data", "sent", "size")

    def __init__(self) -> None:
        self.data = b""
        """Empty once it is written."""
        self.size = self.sent = 0

    @property
    def written(self) -> Written:
        if not self.sent:
            return Written.NONE
        return Written.PARTIAL if self.sent < self.size else Written.ALL


class Ended(Struct, frozen=True):
    """How a pipe ended: its process by itself with a `code`, or for a `reason` of the hub's."""

    code: int | None = None
    """Negative: the number of the signal."""
    reason: str = ""
    failure: Diagnosis | None = None
    """It never came to be."""
    reply: Reply | None = None
    """What those get who wait for it; None: it was not reached."""


class NotStarted(Exception):
    """The pipe cannot be had now."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.problem)
        self.diagnosis = diagnosis


class PipeOwner(Protocol):
    def line(self, line: bytes | Overlong) -> None:
        """A line of the server's."""
        ...

    def undelivered(self, letter: Letter, reply: Reply) -> None:
        """The server did not take this one, and others it may; `reply` says what became of it."""
        ...

    def mint_loss(self) -> int:
        """A new number for what was lost beside the pipe itself (R6)."""
        ...

    def ended(self, end: Ended) -> None:
        """It is over, or given up. Once, last, and never from inside the opening."""
        ...


class Words(Protocol):
    """What a server says beside its messages."""

    def lines(self) -> tuple[str, ...]: ...


class Pipe(Protocol):
    """Open, from its owner's `open` to the `ended` that it hears."""

    @property
    def pid(self) -> int | None: ...

    @property
    def stderr(self) -> Words: ...

    @property
    def life_span(self) -> Nanoseconds:
        """How long a server that is well takes at most to answer a ping."""
        ...

    def post(self, letter: Letter, data: bytes) -> bool:
        """Send, now or as soon as the server reads. False: too much is waiting already."""
        ...

    def withdraw(self, letter: Letter) -> None:
        """Take back what was not begun."""
        ...

    def kill(self, reason: str) -> None:
        """Give it up at once."""
        ...

    async def stop(self) -> None:
        """Let the server go, in good order and a bounded time. The owner hears no more."""
        ...
