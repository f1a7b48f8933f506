"""Whether a call may be sent once more: the one place where that is decided (R28-R31).

    certainty        same server                  fallback server
    ──────────────────────────────────────────────────────────────────────────────────────────
    NOT_SENT         any tool                     any tool
    REFUSED          after a pushback             after a pushback
    UNKNOWN          replay-safe tools            read-only tools, or replay-safe ones where both
                                                  servers act on the same data
    DONE, INPUT      never                        never

Once something was forwarded to the client the call is committed, and nothing is repeated (R31).
What a server says of its own tools counts only if the operator trusts it; the defaults are those
of the specification, the cautious ones. "Idempotent" speaks of one server's world: the same call
on another server is a second effect (R29).
"""

from collections.abc import Mapping
from typing import Any

from agenthub.domain.endpoint import ToolPolicy
from agenthub.domain.outcome import Certainty


def may_replay(  # noqa: PLR0913 - the row and the column of the table
    certainty: Certainty,
    *,
    pushback: bool,
    replay_safe: bool,
    read_only: bool,
    same_backend: bool,
    same_server: bool,
    committed: bool,
) -> bool:
    """Whether another attempt can do no harm. `pushback`: refused for now, by 429, 529 or 503."""
    if committed:
        return False
    if certainty is Certainty.NOT_SENT:
        return True
    if certainty is Certainty.REFUSED:
        return pushback
    if certainty is Certainty.UNKNOWN:
        if same_server:
            return replay_safe
        return read_only or (same_backend and replay_safe)
    return False


def replay_safe(
    policy: ToolPolicy | None,
    trusted: bool,  # noqa: FBT001
    annotations: Mapping[str, Any] | None,
) -> bool:
    """Whether running the tool twice is the same as once: by the operator, or by a trusted server.

    `annotations` are those of the pinned definition (R30); None if there is none.
    """
    if policy is not None and policy.replay is not None:
        return policy.replay == "safe"
    return trusted and _hints(annotations, "readOnlyHint", "idempotentHint")


def read_only(
    policy: ToolPolicy | None,
    trusted: bool,  # noqa: FBT001
    annotations: Mapping[str, Any] | None,
) -> bool:
    """Whether the tool changes nothing, so that any server may be asked again."""
    if policy is not None and policy.replay == "never":
        return False
    return changes_nothing(policy, trusted, annotations)


def changes_nothing(
    policy: ToolPolicy | None,
    trusted: bool,  # noqa: FBT001
    annotations: Mapping[str, Any] | None,
) -> bool:
    """Whether who may only read may call it; `annotations` as above."""
    if policy is not None and policy.read_only is not None:
        return policy.read_only
    return trusted and _hints(annotations, "readOnlyHint")


def _hints(annotations: Mapping[str, Any] | None, *hints: str) -> bool:
    # Exactly true: a hint of 1 or "true" is no hint.
    return annotations is not None and any(annotations.get(hint) is True for hint in hints)
