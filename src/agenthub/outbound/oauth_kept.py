"""What is kept of a sign-in to an upstream, over restarts."""

from msgspec import Struct

from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound.sign_in import Registration


class Kept(Struct, frozen=True):
    """In the vault."""

    registration: Registration
    scopes: tuple[str, ...] = ()
    """That were asked for."""
    granted: tuple[str, ...] | None = None
    """Those that were given; None: all."""
    access: str = ""
    refresh: str = ""
    got_s: int = 0
    ends_s: int | None = 0
    """Wall time, as `got_s`; None: nobody said, and it cannot be renewed."""

    @property
    def has(self) -> tuple[str, ...]:
        """The scopes of the token, as far as anybody said."""
        return self.scopes if self.granted is None else self.granted

    def header(self, wall: Nanoseconds) -> str:
        """What goes into `Authorization` at this time; empty when there is no good token."""
        is_over = self.ends_s is not None and wall >= self.ends_s * SECOND
        return "" if is_over or not self.access else f"Bearer {self.access}"

    def tokens(self) -> dict[str, str]:
        """Those that it has, by what RFC 7009 calls their kind."""
        tokens = {"refresh_token": self.refresh, "access_token": self.access}
        return {kind: token for kind, token in tokens.items() if token}
