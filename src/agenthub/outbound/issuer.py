"""An authorization server whose access tokens open the hub: its keys, and the check of a token.

    start ─► keys fetched ─hourly─► again
                │ a token with a key that is not known: fetched at once, at most every 30 s;
                ▼ until then the caller is told to come again in a second
           verify: signature by a public key of the issuer ─► domain/bearer.py: the claims

Only asymmetric algorithms that the settings name are taken, so neither `none` nor the public key
as a secret opens anything (A24).
"""

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agenthub.admission import NotYet
from agenthub.domain.bearer import BadToken, Lent, Terms, lend, with_subject
from agenthub.domain.endpoint_check import is_safe
from agenthub.domain.errors import HubError, UpstreamUnavailable
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound.authorization_server import get_json, metadata_of
from agenthub.ports import Clock, Timer
from agenthub.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable

REFRESH: Final[Nanoseconds] = 3_600 * SECOND
AT_ONCE: Final[Nanoseconds] = 30 * SECOND
"""Between two fetches that tokens bring about."""
KEYS_MAX: Final = 100


class Issuer:
    """Implements `ports.TokenIssuer`."""

    def __init__(
        self, terms: Terms, algorithms: tuple[str, ...], jwks_url: str, clock: Clock, tasks: Tasks
    ) -> None:
        self.terms = terms
        self.problem = "its keys were not fetched yet"
        """Why tokens cannot be checked now; empty when they can."""
        self.changed: Callable[[], None] = lambda: None
        self._algorithms = algorithms
        self._jwks_url = jwks_url
        self._clock = clock
        self._tasks = tasks
        self._keys: Any = None
        self._known: frozenset[str | None] = frozenset()
        self._fetched_at: Nanoseconds | None = None
        self._fetching = False
        self._timer: Timer | None = None

    def start(self) -> None:
        self._fetch()

    def lend(self, token: bytes) -> Lent | None:
        """Who comes with this token; None: it is not of this issuer, or not good.

        Raises:
            NotYet: It may be good, and the key for it is being fetched.
        """
        try:
            header, claims = _peek(token)
        except ValueError:
            return None
        if claims.get("iss") != self.terms.issuer:
            return None
        if self._keys is None or header.get("kid") not in self._known:
            if self._may_fetch():
                self._fetch()
            if self._fetching:
                raise NotYet
            return None
        try:
            claims = self._verified(token)
            return with_subject(lend(claims, self.terms, self._clock.wall()), claims, token)
        except BadToken:
            return None

    def _verified(self, token: bytes) -> dict[str, Any]:
        from joserfc import jwt  # noqa: PLC0415 - 90 ms, and most hubs have no issuer
        from joserfc.errors import JoseError  # noqa: PLC0415

        try:
            return jwt.decode(token, self._keys, algorithms=list(self._algorithms)).claims
        except (JoseError, ValueError, TypeError) as error:
            raise BadToken(str(error)) from None

    # ------------------------------------------------------------ its keys

    def _may_fetch(self) -> bool:
        last = self._fetched_at
        return last is None or self._clock.now() - last >= AT_ONCE

    def _fetch(self) -> None:
        if not self._fetching:
            self._fetching = True
            self._tasks.start(self._fetch_keys(), f"keys of {self.terms.name}")

    async def _fetch_keys(self) -> None:
        try:
            url = self._jwks_url
            if not url:
                found = (await metadata_of(self.terms.issuer)).get("jwks_uri")
                if not isinstance(found, str) or not is_safe(found):
                    raise UpstreamUnavailable(f"{self.terms.issuer} names no keys: jwks_uri")
                url = found
            self._take((await get_json(url)).get("keys"))
            self.problem = ""
        except HubError as error:
            # The keys that are known stay good; tokens of others are refused meanwhile.
            self.problem = str(error)
        finally:
            self._fetching = False
            self._fetched_at = self._clock.now()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._clock.after(AT_ONCE if self.problem else REFRESH, self._fetch)

    def _take(self, found: Any) -> None:
        from joserfc.jwk import KeySet, import_key  # noqa: PLC0415

        keys: list[Any] = []
        for one in found[:KEYS_MAX] if isinstance(found, list) else ():  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(one, dict) or one.get("kty") == "oct" or one.get("use") == "enc":  # pyright: ignore[reportUnknownMemberType]
                continue
            try:
                keys.append(import_key(one))  # pyright: ignore[reportUnknownArgumentType]
            except Exception:  # noqa: BLE001, S112 - whatever is wrong with one key, others are well
                continue
        if not keys:
            raise UpstreamUnavailable(f"{self.terms.issuer} has no key that can be used")
        self._keys = KeySet(keys)
        self._known = frozenset(key.kid for key in keys)
        self.changed()


def _peek(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unbelieved. Raises ValueError."""
    head, body, _ = token.split(b".")

    def part(text: bytes) -> dict[str, Any]:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
        return msgspec.json.decode(raw, type=dict[str, Any])

    return part(head), part(body)
