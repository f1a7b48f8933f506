"""What a breaker gives to each attempt that it lets pass."""

from msgspec import Struct

from agenthub.domain.span import Nanoseconds


class Ticket(Struct, eq=False, gc=False):
    """Permission for one attempt. To be reported once, and to nobody but the breaker it is from."""

    generation: int
    started: Nanoseconds
    probe: bool
    done: bool = False
