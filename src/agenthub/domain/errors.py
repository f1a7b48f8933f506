"""The hub's errors, in one tree. `code` never changes; the text may.

Codes stand outside -32768…-32000, as revision 2026-07-28 asks of everyone but itself.
Source: rule set §4.9.
"""

from typing import Any, ClassVar, Final

from msgspec import Struct

from agenthub.domain.span import Nanoseconds, milliseconds

MONEY: Final = ("scope", "budget", "used", "reserved", "limit", "resets_at")


class Refusal(Struct, frozen=True):
    """A guard's no, as data: machines return it, the gateway makes an error of it."""

    slug: str
    retry_after: Nanoseconds | None = None
    reason: str = ""


class HubError(Exception):
    """The hub could not do what was asked."""

    slug: ClassVar[str] = "internal"
    """The name in REST, logs and metrics."""
    code: ClassVar[int] = -32603
    """The JSON-RPC code."""
    status: ClassVar[int] = 500
    """The HTTP status, over REST."""
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without a change."""

    def __init__(  # noqa: PLR0913 - the error contract has these facts
        self,
        message: str = "",
        *,
        retry_after_ms: int | None = None,
        executed: str = "no",
        server: str = "",
        tool: str = "",
        attempt_count: int = 0,
        request_id: str = "",
    ) -> None:
        super().__init__(message or (self.__doc__ or "").partition("\n")[0])
        self.retry_after_ms = retry_after_ms
        self.executed = executed
        """`no`, `yes` or `unknown`: whether the upstream may have run it."""
        self.server = server
        self.tool = tool
        self.attempt_count = attempt_count
        self.request_id = request_id

    def data(self) -> dict[str, object]:
        """The `data` of the JSON-RPC error; the same keys always."""
        return {
            "code": self.slug,
            "retryable": self.retryable,
            "retry_after_ms": self.retry_after_ms,
            "executed": self.executed,
            "server": self.server,
            "tool": self.tool,
            "attempt_count": self.attempt_count,
            "request_id": self.request_id,
        }


class CircuitOpen(HubError):
    """The server's circuit breaker is open: it failed, and is left alone for a while."""

    slug, code, status, retryable = "circuit_open", -31001, 503, True


class RateLimited(HubError):
    """More calls than the rate limit allows: the server's, or the key's own."""

    slug, code, status, retryable = "rate_limited", -31002, 429, True


class BudgetExceeded(HubError):
    """The budget is used up."""

    slug, code, status = "budget_exceeded", -31003, 403

    def __init__(self, message: str = "", **facts: Any) -> None:
        """Beside those of every error: `scope`, `budget`, `used`, `reserved`, `limit` (decimal
        texts, US dollars) and `resets_at` (seconds since 1970).
        """
        self._money = {key: facts.pop(key) for key in MONEY if key in facts}
        super().__init__(message, **facts)

    def data(self) -> dict[str, object]:
        return {**super().data(), **self._money}


class Unpriced(HubError):
    """There is no price for this model, and a budget applies."""

    slug, code, status = "unpriced", -31003, 403


class DeadlineExceeded(HubError):
    """The call's time was over before it could be sent."""

    slug, code, status, retryable = "deadline_exceeded", -31004, 504, True


class Overloaded(HubError):
    """Too many calls are in flight."""

    slug, code, status, retryable = "overloaded", -31005, 503, True


class UpstreamUnavailable(HubError):
    """The server could not be reached; the call was not run."""

    slug, code, status, retryable = "upstream_unavailable", -31006, 502, True


class OutcomeUnknown(HubError):
    """The server may or may not have run the call, and running it again is not known to be safe."""

    slug, code, status = "outcome_unknown", -31007, 502


class UpstreamProtocol(HubError):
    """The server's answer breaks the protocol."""

    slug, code, status = "upstream_protocol", -31008, 502


class ResponseTooLarge(HubError):
    """The server's answer is larger than the limit."""

    slug, code, status = "response_too_large", -31009, 502


class ToolChanged(HubError):
    """The tool's definition changed since it was approved."""

    slug, code, status = "tool_changed", -31010, 409


class Forbidden(HubError):
    """The key may not do that."""

    slug, code, status = "forbidden", -31011, 403


class ThrottledUpstream(HubError):
    """The server asked for a pause."""

    slug, code, status, retryable = "throttled_upstream", -31012, 429, True


class UpstreamExhausted(HubError):
    """The provider's own quota or credit is used up."""

    slug, code, status = "upstream_exhausted", -31013, 502


class UnknownTarget(HubError):
    """No such server, tool, prompt or resource."""

    slug, code, status = "unknown_target", -32602, 404


class InvalidParams(HubError):
    """The parameters are not what was expected."""

    slug, code, status = "invalid_params", -32602, 400


class IdempotencyConflict(HubError):
    """The idempotency key was used before with other arguments."""

    slug, code, status = "idempotency_conflict", -32602, 422


class Interactive(HubError):
    """What the server asks the client could not be put to it, or was not answered."""

    slug, code, status = "interactive_unsupported", -31006, 501


class Poisoned(HubError):
    """Calls with these arguments killed the server twice; they rest for a minute."""

    slug, code, status, retryable = "poisoned", -31006, 503, True


class Conflict(HubError):
    """The name is taken."""

    slug, code, status = "conflict", -32602, 409


class BadSetting(HubError):
    """A setting is not what was expected."""

    slug, code, status = "bad_setting", -32602, 400


class StorageFailed(HubError):
    """The database could not be written or read; nothing was changed."""

    slug, code, status, retryable = "storage_failed", -31014, 503, True


BY_SLUG: dict[str, type[HubError]] = {
    kind.slug: kind
    for kind in (
        CircuitOpen, RateLimited, BudgetExceeded, Unpriced, DeadlineExceeded, Overloaded,
        UpstreamUnavailable, OutcomeUnknown, UpstreamProtocol, ResponseTooLarge, ToolChanged,
        Forbidden, ThrottledUpstream, UpstreamExhausted, UnknownTarget, InvalidParams,
        IdempotencyConflict, Interactive, Poisoned, Conflict, BadSetting, StorageFailed,
    )
}  # fmt: skip


def refused(refusal: Refusal, **facts: object) -> HubError:
    """The error that a refusal becomes; `facts` are those of `HubError`."""
    wait = None if refusal.retry_after is None else milliseconds(refusal.retry_after)
    # A machine's word, as `half_open`, is no sentence for people; the error has its own.
    words = refusal.reason if " " in refusal.reason else ""
    return BY_SLUG[refusal.slug](words, retry_after_ms=wait, **facts)  # pyright: ignore[reportArgumentType]
