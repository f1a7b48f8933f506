"""Who may come in: the admin token, the client keys, and tokens of issuers, as the one gate asks.

A key reads `ah_<id>_<secret>`. The hub keeps its HMAC-SHA256 and no more, under a secret of this
home, so that neither a copied database nor a key of another home opens anything. Whatever is
presented costs one HMAC and two comparisons in constant time, known id or not; only a key that was
found good is remembered, so that a repeated one costs a dictionary's look-up. A key that is rotated
stays the same principal with another secret; the one before may be good for a while yet. What has
the shape of an access token is no key of the hub's, and is shown to the issuers of the settings.
Source: rule T3, attacks A01, A02, A62.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from agenthub.admission import TokenIssuer
from agenthub.domain.bearer import OAUTH
from agenthub.domain.caller import Caller, KeyTerms, Scope, check_terms, reach_of
from agenthub.domain.errors import BadSetting, Conflict, InvalidParams, UnknownTarget
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.ports import Clock, KeyRow, Rotation, Store

if TYPE_CHECKING:
    from agenthub.domain.view import View

PREFIX: Final = "ah"
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
"""256 bits: not to be guessed, so no attempt need be counted and nobody can be locked out."""
TOKEN_MAX: Final = 256
"""Bytes of a key; longer ones are refused unread."""
ACCESS_TOKEN_MAX: Final = 8 * 1024
LENT_MAX: Final = 10_000
"""Principals of issuers whose streams may be open."""
REMEMBERED: Final = 1_024
"""Good tokens kept at hand; when there are more, all are forgotten and found again."""
GRACE_MAX_S: Final = 24 * 3600
"""How long a secret may be good beside the one that takes its place."""
FOREVER: Final[Nanoseconds] = 1 << 62
DEFAULT_SCOPES: Final = (Scope.TOOLS, Scope.LLM, Scope.READ)

ADMIN: Final = Caller("admin", frozenset({Scope.ADMIN}))


class _Found(Struct, frozen=True):
    caller: Caller
    ends: Nanoseconds | None
    """Wall time."""


class KeyRing:
    """Every key of this home, and the admin token."""

    def __init__(
        self,
        rows: Sequence[KeyRow],
        secret: bytes,
        admin_token: str,
        store: Store,
        clock: Clock,
        issuers: Sequence[TokenIssuer] = (),
    ) -> None:
        self._rows = {row.id: row for row in rows}
        self._secret = secret
        self._admin = self._digest(admin_token.encode())
        self._nobody = secrets.token_bytes(32)
        """Compared with when there is no such id, so that this takes as long."""
        self._store = store
        self._clock = clock
        self._remembered: dict[bytes, _Found] = {}
        self._issuers = issuers
        for issuer in issuers:
            issuer.changed = self._remembered.clear
        self._lent: dict[str, Nanoseconds] = {}
        """Until when issuers' principals may stay."""
        self._changing = asyncio.Lock()
        self._alike: bool | None = None
        self.views: Mapping[str, View] = {}
        """Those of the hub, for keys that are limited to some; without them they open nothing."""
        self.listeners: list[Callable[[str], None]] = []
        """Are told the id of a key that is other than before, or revoked."""

    def authenticate(self, token: bytes) -> Caller | None:
        """Who holds this token; None for anything that is not good now.

        Raises:
            NotYet: An issuer's keys are being fetched.
        """
        found = self._remembered.get(token)
        if found is None:
            found = self._search(token)
            if found is None:
                return None
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[token] = found
        if found.ends is not None and self._clock.wall() >= found.ends:
            return None
        return found.caller

    def holds(self, caller: Caller) -> bool:
        """Whether the key that let this caller in is still good: streams outlive a request."""
        return self.left(caller) > 0

    def left(self, caller: Caller) -> Nanoseconds:
        """How long who came in may stay, by the wall clock; `FOREVER` if there is no end to it."""
        row = self._rows.get(caller.id)
        if row is None:
            ends = self._lent.get(caller.id, 0) if caller.id.startswith(OAUTH) else None
        elif row.revoked:
            return 0
        else:
            ends = _ends(row, caller.secret)
        return FOREVER if ends is None else max(ends - self._clock.wall(), 0)

    @property
    def alike(self) -> bool:
        """Whether all who may come in are shown the same: no key has limits, or terms of its own.

        Whom issuers vouch for may be limited by their tokens.
        """
        if self._alike is None:
            rows = (row for row in self._rows.values() if not row.revoked)
            own = any(row.endpoints is not None or row.terms != KeyTerms() for row in rows)
            self._alike = not (own or self._issuers)
        return self._alike

    def forget(self) -> None:
        """Find every caller anew: what is known of them may be other than before."""
        self._remembered.clear()

    def caller(self, key_id: str) -> Caller | None:
        """Who holds this key, as of now; None if there is no such key."""
        row = self._rows.get(key_id)
        return None if row is None else self._caller(row, row.rotation.count)

    def renewed(self, caller: Caller) -> Caller | None:
        """The same, under the terms of now, as it came in; None if it came with no key."""
        row = self._rows.get(caller.id)
        return None if row is None else self._caller(row, caller.secret)

    def list(self) -> list[KeyRow]:
        """Revoked and expired ones too; the oldest first."""
        return sorted(self._rows.values(), key=lambda row: (row.created_at, row.id))

    async def create(
        self,
        name: str,
        scopes: Sequence[Scope] = DEFAULT_SCOPES,
        endpoints: Sequence[str] | None = None,
        expires_at: int | None = None,
        terms: KeyTerms = KeyTerms(),  # noqa: B008 - frozen
    ) -> tuple[KeyRow, str]:
        """The key's row, and the key itself, which nobody can show again.

        Raises:
            BadSetting: Such a key cannot be.
            StorageFailed: There is no such key then.
        """
        _check_limits(scopes, terms)
        key_id = secrets.token_hex(ID_BYTES)
        while key_id in self._rows:
            key_id = secrets.token_hex(ID_BYTES)
        token = _new_token(key_id)
        row = KeyRow(
            key_id,
            name,
            self._digest(token.encode()),
            tuple(scope.value for scope in scopes),
            None if endpoints is None else tuple(endpoints),
            self._clock.wall() // SECOND,
            expires_at,
            terms=terms,
        )
        await self._store.put_key(row)
        self._rows[key_id], self._alike = row, None
        return row, token

    async def change(self, key_id: str, terms: KeyTerms) -> KeyRow:
        """From the moment this returns, the key is held to these terms; open streams, too.

        Raises:
            UnknownTarget: There is no such key.
            BadSetting: It cannot have such terms.
            StorageFailed: It is as it was before.
        """
        async with self._changing:
            row = self._row(key_id)
            _check_limits([Scope(scope) for scope in row.scopes], terms)
            row = structs.replace(row, terms=terms)
            await self._put(row)
        self._tell(key_id)
        return row

    async def rotate(self, key_id: str, grace_s: int = 0) -> tuple[KeyRow, str]:
        """The key's row, and its new secret, which nobody can show again.

        The secret that it had ends when this returns, and with it the streams that it opened; or
        after so many seconds. One from before that ends at once.

        Raises:
            UnknownTarget: There is no such key.
            InvalidParams: So long a grace cannot be.
            Conflict: The key has ended.
            StorageFailed: Its secret is the one that it had.
        """
        if not 0 <= grace_s <= GRACE_MAX_S:
            raise InvalidParams(f"grace_s: expected a whole number from 0 to {GRACE_MAX_S:,}")
        async with self._changing:
            row = self._row(key_id)
            if row.revoked or self._is_over(row):
                raise Conflict("The key has ended: make a new one")
            token, until = _new_token(key_id), self._clock.wall() // SECOND + grace_s
            rotation = Rotation(row.rotation.count + 1, row.digest if grace_s else b"", until)
            row = structs.replace(row, digest=self._digest(token.encode()), rotation=rotation)
            await self._put(row)
        self._tell(key_id)
        return row, token

    async def revoke(self, key_id: str) -> None:
        """From the moment this returns, the key opens nothing.

        Raises:
            UnknownTarget: There is no such key.
            StorageFailed: It is as good as before.
        """
        async with self._changing:
            await self._put(structs.replace(self._row(key_id), revoked=True))
        self._tell(key_id)

    def _tell(self, key_id: str) -> None:
        for listener in self.listeners:
            listener(key_id)

    def _row(self, key_id: str) -> KeyRow:
        row = self._rows.get(key_id)
        if row is None:
            raise UnknownTarget("There is no such key")
        return row

    async def _put(self, row: KeyRow) -> None:
        await self._store.put_key(row)
        self._rows[row.id], self._alike = row, None
        self._remembered.clear()

    def _search(self, token: bytes) -> _Found | None:
        if self._issuers and token.count(b".") == 2 and len(token) <= ACCESS_TOKEN_MAX:
            return self._borrow(token)
        if len(token) > TOKEN_MAX:
            return None
        digest = self._digest(token)
        row = self._rows.get(_id_of(token))
        now, former = (self._nobody,) * 2 if row is None else (row.digest, row.rotation.former)
        is_key = hmac.compare_digest(digest, now)
        was_key = hmac.compare_digest(digest, former or self._nobody)
        if hmac.compare_digest(digest, self._admin):
            return _Found(ADMIN, None)
        if row is None or row.revoked or not (is_key or was_key):
            return None
        secret = row.rotation.count - was_key
        ends = _ends(row, secret)
        if ends is not None and self._clock.wall() >= ends:
            return None
        return _Found(self._caller(row, secret), ends)

    def _caller(self, row: KeyRow, secret: int) -> Caller:
        """`secret`: as in `Caller`."""
        return Caller(
            row.id,
            frozenset(map(Scope, row.scopes)),
            None if row.endpoints is None else frozenset(row.endpoints),
            reach_of(row.terms, self.views),
            row.terms.search,
            row.terms.names,
            row.terms.models,
            row.terms.team,
            row.terms.rate_limit,
            secret,
        )

    def _borrow(self, token: bytes) -> _Found | None:
        for issuer in self._issuers:
            lent = issuer.lend(token)
            if lent is not None:
                name, wall = lent.caller.id, self._clock.wall()
                if len(self._lent) >= LENT_MAX:
                    self._lent = {who: ends for who, ends in self._lent.items() if ends > wall}
                if len(self._lent) < LENT_MAX or name in self._lent:
                    self._lent[name] = max(lent.ends, self._lent.get(name, 0))
                limits = lent.limits
                caller = structs.replace(
                    lent.caller, reach=reach_of(limits, self.views), search=limits.search,
                    names=limits.names, models=limits.models, team=limits.team,
                    rate_limit=limits.rate_limit,
                )  # fmt: skip
                return _Found(caller, lent.ends)
        return None

    def _is_over(self, row: KeyRow) -> bool:
        return row.expires_at is not None and self._clock.wall() >= row.expires_at * SECOND

    def _digest(self, token: bytes) -> bytes:
        return hmac.digest(self._secret, token, "sha256")


def _check_limits(scopes: Sequence[Scope], terms: KeyTerms) -> None:
    """Who may change the hub could lift any limit, so such a key has none. Raises BadSetting."""
    check_terms(terms)
    if Scope.ADMIN in scopes and reach_of(terms, {}) is not None:
        raise BadSetting("scopes: a key with the scope admin cannot be limited to some tools")


def _new_token(key_id: str) -> str:
    return f"{PREFIX}_{key_id}_{secrets.token_hex(SECRET_BYTES)}"


def _ends(row: KeyRow, secret: int) -> Nanoseconds | None:
    """When who came with this secret has to leave, by the wall clock; None: never."""
    ends = None if row.expires_at is None else row.expires_at * SECOND
    before = row.rotation.count - secret
    if not before:
        return ends
    until = row.rotation.until * SECOND if before == 1 and row.rotation.former else 0
    return until if ends is None else min(until, ends)


def _id_of(token: bytes) -> str:
    prefix, _, rest = token.partition(b"_")
    if prefix != PREFIX.encode():
        return ""
    return rest.partition(b"_")[0].decode("latin-1")
