"""What the end of a call is called in the log."""

from agenthub.domain.errors import HubError
from agenthub.domain.outcome import Cause, Ending, Reply

# An attribute of an Enum class costs more than a global name, and this stands on the hot path.
_ERROR = Ending.ERROR


def outcome_of(
    reply: Reply | None, error: HubError | None, cause: Cause | None
) -> tuple[str, int, int]:
    """The outcome's name, the code and the size in bytes of what the client got."""
    if error is not None:
        return ("cancelled" if cause is Cause.CLIENT else error.slug), error.code, 0
    assert reply is not None, "a call ends with a reply or an error"
    if reply.ending is _ERROR:
        return "upstream_error", reply.code, len(reply.error)
    if reply.result_type == "input_required":
        return "input_required", 0, len(reply.result)
    return ("tool_error" if reply.is_error else "ok"), 0, len(reply.result)
