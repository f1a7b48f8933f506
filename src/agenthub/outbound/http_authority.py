"""What one connection's owner shows of the hub's own token, and what becomes of a refusal.

Source: MCP specification 2026-07-28, "Authorization": 401 means another token, 403 another scope.
"""

from collections.abc import Callable, Mapping

from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.outbound.http_opening import Failed
from agenthub.outbound.http_request import RequestHead
from agenthub.outbound.oauth_tokens import TokenSource


class Authority:
    """For one upstream; without a token source it is always ready."""

    def __init__(
        self, tokens: TokenSource | None, head: RequestHead, changed: Callable[[], None]
    ) -> None:
        self._tokens = tokens
        self._head = head
        self._changed = changed
        if tokens is not None:
            tokens.listeners.append(changed)

    @property
    def failed(self) -> Failed | None:
        """Why there is no token; None: nobody knows yet.

        To calls it is what a server's 401 is: nothing that a circuit breaker could help.
        """
        if self._tokens is None or not self._tokens.problem.problem:
            return None
        why = self._tokens.problem
        detail = f"{why.problem}. {why.hint}"
        return Failed(Reply(Ending.STATUS, Written.NONE, status=401, detail=detail), why)

    def is_ready(self) -> bool:
        """Whether the head has all that it needs: the token that is good now."""
        if self._tokens is None:
            return True
        header = self._tokens.header()
        if header != self._head.authorization:
            self._head.authorize(header)
        return bool(header)

    def want(self) -> None:
        """Get a token; `changed` tells when there is one, or a problem."""
        if self._tokens is not None:
            self._tokens.want()

    def refused(self, status: int, shown: str, headers: Mapping[bytes, bytes]) -> bool:
        """The server said this status to what was shown. True: another token may do better."""
        if self._tokens is None or status not in {401, 403}:
            return False
        challenge = headers.get(b"www-authenticate", b"").decode("latin-1")
        if status == 401:
            self._tokens.refused(shown, challenge)
            return True
        return "insufficient_scope" in challenge and self._tokens.lacks(challenge)

    def close(self) -> None:
        if self._tokens is not None and self._changed in self._tokens.listeners:
            self._tokens.listeners.remove(self._changed)
