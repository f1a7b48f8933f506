"""What became of an attempt: facts from the wire, and what they mean.

    facts (Reply)  ──►  certainty: may it have run?     ──►  replay (domain/replay.py)
                   ──►  effect on the server's breaker
                   ──►  effect on the tool's breaker

Source: execution certainty is Jepsen's ok / fail / info; the table is rule set §4.1, §4.2.
"""

from enum import Enum, IntEnum
from typing import Any

from msgspec import Raw, Struct, field


class Written(IntEnum):
    """How much of the request left this process."""

    NONE = 0
    PARTIAL = 1
    """Fewer bytes than promised, or no final newline: the other side cannot have read it whole."""
    ALL = 2


class Ending(Enum):
    """How the exchange ended, as seen on the wire."""

    RESULT = "result"
    ERROR = "error"
    """A JSON-RPC error; `Reply.code` says which. Over HTTP, `Reply.status` too."""
    STATUS = "status"
    """An HTTP status without a JSON-RPC body."""
    UNREACHED = "unreached"
    """DNS, connect or TLS failure; or the program did not start."""
    LOST = "lost"
    """Reset, end of file, broken stream, or process death, before the answer was whole."""
    PROTOCOL = "protocol"
    """Garbage, a wrong id, a wrong shape, or a content type that is no answer."""
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    """By the hub, with a cause (`Cause`)."""


class Cause(Enum):
    """Why the hub cancels an attempt. A cancellation without a cause is a transport failure."""

    CLIENT = "client"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    SHED = "shed"
    BUDGET = "budget"
    """It costs more than was held, and there is no more."""


NOTHING = Raw()


class ResultHead(Struct, frozen=True, gc=False):
    """What has to be known of a result; the rest is skipped, not read."""

    is_error: bool | None = field(name="isError", default=None)
    result_type: str | None = field(name="resultType", default=None)
    """Empty or null counts as none."""
    meta: Raw = field(name="_meta", default=NOTHING)
    ttl: Raw = field(name="ttlMs", default=NOTHING)
    scope: Raw = field(name="cacheScope", default=NOTHING)
    structured: Raw = field(name="structuredContent", default=NOTHING)


class Reply(Struct, frozen=True):
    """The end of one attempt: facts only. Adapters fill it, the waist judges it."""

    ending: Ending
    written: Written = Written.ALL
    result: bytes = b""
    """Raw JSON of the result, byte for byte, when `ending` is RESULT."""
    head: ResultHead | None = None
    """What the adapter read of the result, so that a large one is gone through once."""
    error: bytes = b""
    """Raw JSON of the error object, when `ending` is ERROR."""
    code: int = 0
    """The JSON-RPC error code."""
    status: int = 0
    """The HTTP status; 0 for stdio or when none came."""
    is_error: bool = False
    """`result.isError` of a tool's result."""
    result_type: str = "complete"
    """`result.resultType`; an older server sends none, which means `complete`."""
    retry_after_ms: int | None = None
    """From `Retry-After` or `retry-after-ms`; None when absent or garbled."""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """Headers of a provider's answer, for the client."""
    seen: Any = None
    """What was read of a model's answer (wire/llm): above all, what it used."""
    exhausted: bool = False
    """Whether a 429 says that the account has no credit left: waiting will not help (F31)."""
    loss: int = 0
    """Names the connection or process that was lost: equal numbers are one loss (R6)."""
    detail: str = ""
    """For people, in one line: what happened. Never a secret."""


class Certainty(Enum):
    """Whether the upstream may have carried the request out."""

    NOT_SENT = "not_sent"
    REFUSED = "refused"
    DONE_OK = "done_ok"
    DONE_ERR = "done_err"
    INPUT_REQUIRED = "input_required"
    UNKNOWN = "unknown"


class Effect(Enum):
    """What an attempt tells a breaker."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORE = "ignore"
