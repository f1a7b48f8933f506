"""The hub's own access token for one upstream: got, renewed before it ends, and got anew.

    none ──want──► asking ──token──► good ──4/5 of its time──► renewing ──► good
     ▲  └─ a person must sign in       │                          │ refused, and its time is over
     └─────────────────────────────────┴── the upstream refused it ┘

However many ask for it, one question is under way, and after one that failed, or a new token that
was refused too, there is a pause. A token that the upstream refused is not shown again. What must
outlive a restart (registration, tokens) is in the vault, under all that it is for: another
address, issuer or client never sees it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import structs

from agenthub.admission import SignInState, SignOut
from agenthub.domain.endpoint import OAuth
from agenthub.domain.errors import HubError, InvalidParams
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound import oauth_server as server
from agenthub.outbound.challenge import SCOPES_MAX, scopes_in
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.oauth_kept import Kept
from agenthub.outbound.oauth_server import AuthorizationServer, Client, Refused
from agenthub.outbound.sign_in import InvalidScope, Registration, SignIn
from agenthub.outbound.vault import Shelf
from agenthub.ports import Clock, Timer
from agenthub.tasks import Tasks
from agenthub.wire.oauth_client import redirect_of

LASTS: Final = 3_600
"""Seconds after which a token is renewed whose server does not say how long it lasts."""
PAUSE: Final[Nanoseconds] = 10 * SECOND
"""After a token that could not be had, or was refused as soon as it was got."""
STEPS_MAX: Final = 3
STEPS_SPAN: Final[Nanoseconds] = 600 * SECOND
"""So often in this time a token with more scopes is asked for without a person."""


class TokenSource:
    """Of one endpoint; all its connections share it."""

    def __init__(
        self, name: str, url: str, oauth: OAuth, vault: Shelf, clock: Clock, tasks: Tasks
    ) -> None:
        self.name = name
        self.url = url
        self.oauth = oauth
        self.problem = Diagnosis("")
        """Why there is no token, or soon will be none."""
        self.registrar = self
        """Whose registration it uses."""
        self.listeners: list[Callable[[], None]] = []
        """Called whenever there is another token, or none, or word of why there is none."""
        self.place = "\0".join(
            (url, oauth.issuer, oauth.grant, oauth.client_id, " ".join(oauth.scopes))
        )
        """All that a token is for."""
        self._vault = vault
        self._clock = clock
        self._tasks = tasks
        self._challenge = ""
        """The upstream's last `WWW-Authenticate`."""
        self._wanted: tuple[str, ...] = ()
        """Scopes, since the upstream said that those of the token are too few."""
        self._server: AuthorizationServer | None = None
        self._steps: deque[Nanoseconds] = deque(maxlen=STEPS_MAX)
        """When tokens with more scopes were asked for."""
        self._closed = self._asking = self._finishing = False
        self._turn = 0
        """Another one: what was under way before is out of date."""
        self._not_before: Nanoseconds = clock.now()
        self._timer: Timer | None = None
        self._sign_in: SignIn | None = None
        self._kept = self._load()
        self._registration = self._kept.registration if self._kept else None
        if self.header():
            self._plan()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept that is for this address, issuer and client."""
        return self._kept is None and not self.problem.problem

    @property
    def remedy(self) -> str:
        """What helps when there is no token."""
        if self.oauth.grant == "authorization_code":
            return f"Run `agenthub login {self.name}`."
        return "Check `oauth` in its record."

    @property
    def needs_sign_in(self) -> bool:
        """Whether only a person can get a token."""
        is_renewable = self._kept is not None and bool(self._kept.refresh)
        return self.oauth.grant == "authorization_code" and not (is_renewable or self.header())

    def header(self) -> str:
        """What goes into `Authorization`; empty when there is no good token."""
        return "" if self._kept is None else self._kept.header(self._clock.wall())

    def close(self) -> None:
        """Another one takes its place, or nobody needs it any more."""
        self._closed, self._kept, self._sign_in = True, None, None
        self.listeners.clear()
        if self._timer is not None:
            self._timer.cancel()

    def want(self) -> None:
        """There is no token: get one. The listeners hear of the end, and never from inside."""
        if self._clock.now() < self._not_before:
            self._clock.after(0, self._tell)
        else:
            self._ask()

    def refused(self, header: str, challenge: str) -> None:
        """The upstream said 401 to this header. If it was the present one, there is none now.

        It may have gone over to another authorization server, so that is asked anew.
        """
        self._challenge = challenge or self._challenge
        kept = self._kept
        if kept is None or not header or header != self.header():
            return
        self._server = None
        if self._clock.wall() - kept.got_s * SECOND < PAUSE:
            self._pause("it refuses the token that it was just given")
        self._drop(kept)

    def lacks(self, challenge: str) -> bool:
        """The upstream said 403 for want of scopes. True: a token with more is asked for at once.

        The operator's own choice of scopes is not gone beyond.
        """
        kept, more = self._kept, scopes_in(challenge)
        needs_person = self.oauth.grant == "authorization_code"
        # A person may grant later what was not granted; without one it stays as it is.
        has = () if kept is None else kept.has if needs_person else kept.scopes
        if kept is None or self.oauth.scopes or not set(more) - set(has):
            return False
        if not needs_person and not self._may_step_up():
            return False
        wanted = tuple(dict.fromkeys((*kept.scopes, *self._wanted, *more)))[:SCOPES_MAX]
        self._wanted = wanted
        if needs_person:
            return False
        self._steps.append(self._clock.now())
        self._server = None
        self._turn += 1
        self._drop(structs.replace(kept, scopes=wanted))
        return True

    def _may_step_up(self) -> bool:
        """A server that wants yet another scope each time is not followed for ever."""
        steps = self._steps
        return len(steps) < STEPS_MAX or self._clock.now() - steps[0] > STEPS_SPAN

    # ------------------------------------------------------------ a person signs in

    @property
    def state(self) -> SignInState:
        begun, kept, problem = self._sign_in, self._kept, self.problem.problem
        waits = self._finishing or (begun is not None and self._clock.now() <= begun.until)
        if kept is None or not self.header():
            return SignInState(waits, problem or "there is no access token yet")
        renews = self._renews(kept.refresh)
        wanted = tuple(one for one in self._wanted if one not in kept.has)
        return SignInState(
            waits, problem, signed_in=True, renews=renews,
            ends_s=None if renews else kept.ends_s, issuer=kept.registration.issuer,
            scopes=kept.has, wanted=wanted,
        )  # fmt: skip

    async def begin(self, hub: str) -> str:
        """Where to sign in. Raises HubError."""
        if self.oauth.grant != "authorization_code":
            raise InvalidParams(f"{self.name} needs no person: {self.oauth.grant}")
        found = await server.find(self.url, self.oauth, self._challenge, self._wanted)
        registration = await self.registrar.register(found, hub)
        self._sign_in = SignIn(found, registration, self._clock.now())
        return self._sign_in.address

    async def end(self) -> SignOut:
        """Nothing is kept any more, nor good where it is from. Raises InvalidParams, StorageFailed.

        What is under way (a renewal, a sign-in) comes to nothing.
        """
        if self.oauth.grant != "authorization_code":
            raise InvalidParams(
                f"the hub signs in to {self.name} by itself; `agenthub disable` keeps it from that"
            )
        kept = self._kept
        self._turn += 1
        self._kept = self._registration = self._server = self._sign_in = None
        self._wanted = ()
        if self._timer is not None:
            self._timer.cancel()
        self._pause("nobody is signed in")
        self._tell()
        was_signed_in = kept is not None and bool(kept.tokens())
        try:
            await self._vault.forget(self.name)
        finally:
            problem = await _revoke(kept) if kept is not None and was_signed_in else ""
        return SignOut(was_signed_in, was_signed_in and not problem, problem)

    async def register(self, found: AuthorizationServer, hub: str) -> Registration:
        """By the settings, or once with each issuer."""
        known, redirect = self._registration, redirect_of(hub)
        is_known = known is not None and known.issuer == found.issuer
        if self.oauth.client_id:
            if known is not None and not is_known and not self.oauth.issuer:
                # Who the operator made known to one server is nobody to another.
                raise Refused(
                    f"it takes tokens of {found.issuer} now, and oauth.client_id was for"
                    f" {known.issuer}; set oauth.issuer, and a client_id that is known there"
                )
            client = Client(self.oauth.client_id, self.oauth.client_secret)
        elif known is not None and is_known and known.redirect == redirect and self._lasts(known):
            return known
        else:
            client = await server.register(found, hub)
        self._registration = Registration(found.issuer, client, redirect)
        return self._registration

    def _lasts(self, known: Registration) -> bool:
        ends = known.client.ends_s
        return ends == 0 or self._clock.wall() < ends * SECOND

    def unregister(self) -> None:
        """The authorization server does not know the hub any more."""
        self._registration = None

    def awaits(self, state: str) -> bool:
        """Whether this is the state of the sign-in that is under way."""
        return self._sign_in is not None and self._sign_in.is_answered_by(state)

    async def finish(self, answer: Mapping[str, str]) -> None:
        """The person came back with the state that is awaited. Raises HubError; it is good once."""
        begun, self._sign_in = self._sign_in, None
        assert begun is not None, "see awaits"
        self._finishing = True
        turn = self._turn
        try:
            got = await begun.exchange(answer, self._clock.now())
            if self._turn != turn:
                raise InvalidParams("it was signed out meanwhile")
            self._server, self._wanted, self._turn = begun.server, (), turn + 1
            await self._take(Kept(begun.registration, begun.server.scopes), got)
        except HubError as error:
            if isinstance(error, InvalidScope):
                self._wanted = ()
            self._pause(f"the sign-in failed: {error}")
            raise
        finally:
            self._finishing = False

    # ------------------------------------------------------------ tokens

    def _ask(self) -> None:
        self._timer = None
        if not self._asking and not self._closed:
            self._asking = True
            self._tasks.start(self._renew(), f"token for {self.name}")

    async def _renew(self) -> None:
        try:
            while not await self._has_asked():
                pass  # more scopes are lacking than it asked for
        finally:
            self._asking = False
            self._tell()

    async def _has_asked(self) -> bool:
        """False: the answer is out of date, and another question would bring a token."""
        turn = self._turn
        try:
            await self._get()
        except HubError as error:
            if self._turn == turn:
                self._fail(error)
        is_over = self._turn == turn or self._closed
        return is_over or self.needs_sign_in or bool(self.header())

    async def _get(self) -> None:
        """A token without a person. Raises Refused, UpstreamUnavailable or StorageFailed."""
        turn = self._turn
        if self._server is None:
            found = await server.find(self.url, self.oauth, self._challenge, self._wanted)
            if self._turn != turn:
                return
            self._server = found
        found = self._server
        kept, grant = self._grant(found)
        got = await server.ask(found, kept.registration.client, grant)
        if self._turn == turn:
            await self._take(kept, got)

    def _grant(self, found: AuthorizationServer) -> tuple[Kept, dict[str, str]]:
        """Who asks, and with what. Raises Refused."""
        kept = self._kept
        if self.oauth.grant == "client_credentials":
            return self._as_client(found, {"grant_type": "client_credentials"})
        if kept is not None and kept.registration.issuer != found.issuer:
            raise Refused(f"it takes tokens of {found.issuer} now; nobody is signed in there")
        if kept is None or not kept.refresh:
            raise Refused("nobody is signed in")
        return kept, {"grant_type": "refresh_token", "refresh_token": kept.refresh}

    def _as_client(
        self, found: AuthorizationServer, grant: dict[str, str]
    ) -> tuple[Kept, dict[str, str]]:
        """What the hub asks for in its own name."""
        client = Client(self.oauth.client_id, self.oauth.client_secret)
        named = {
            "scope": " ".join(found.scopes),
            "audience": self.oauth.audience,
            "resource": self.oauth.resource,
        }
        grant |= {name: value for name, value in named.items() if value}
        return Kept(Registration(found.issuer, client), found.scopes), grant

    async def _take(self, kept: Kept, got: server.Tokens) -> None:
        """Raises StorageFailed: then it is good, but not after a restart."""
        if self._closed:
            return
        now = self._clock.wall() // SECOND
        refresh = got.refresh or kept.refresh
        lasts = got.expires_in
        if lasts is None and self._renews(refresh):
            lasts = LASTS
        ends = None if lasts is None else now + lasts
        granted = kept.granted if got.scopes is None else got.scopes
        kept = structs.replace(
            kept, granted=granted, access=got.access, refresh=refresh, got_s=now, ends_s=ends
        )
        self._kept, self.problem = kept, Diagnosis("")
        self._plan()
        self._tell()
        await self._vault.write(self.name, self.place, msgspec.to_builtins(kept))

    def _fail(self, error: HubError) -> None:
        """What was found out may be out of date, and what is kept may be good for nothing."""
        self._server = None
        kept, word = self._kept, error.error if isinstance(error, Refused) else ""
        if word == "invalid_client":
            self.registrar.unregister()
        elif word == "invalid_scope":
            self._wanted = ()
            self._steps.extend([self._clock.now()] * STEPS_MAX)
        if kept is not None and word in {"invalid_grant", "invalid_client"}:
            self._kept = structs.replace(kept, refresh="")
        self._pause(str(error))
        if self.header() and not self._closed:
            self._timer = self._clock.after(PAUSE, self._ask)

    def _pause(self, why: str) -> None:
        self._not_before = self._clock.now() + PAUSE
        self.problem = Diagnosis(f"no access token: {why}"[:500], self.remedy)

    def _drop(self, kept: Kept) -> None:
        """The token is not shown again."""
        self._kept = structs.replace(kept, access="", ends_s=0)
        self._tell()

    def _plan(self) -> None:
        """Renew when 4/5 of the time is over, and never in a hurry."""
        if self._timer is not None:
            self._timer.cancel()
        assert self._kept is not None
        if self._kept.ends_s is None:
            return
        left = self._kept.ends_s * SECOND - self._clock.wall()
        self._timer = self._clock.after(max(left * 4 // 5, SECOND), self._ask)

    def _renews(self, refresh: str) -> bool:
        return bool(refresh) or self.oauth.grant != "authorization_code"

    # ------------------------------------------------------------ what is kept

    def _load(self) -> Kept | None:
        try:
            found = self._vault.read(self.name, self.place)
            return None if found is None else msgspec.convert(found, Kept)
        except HubError as error:
            self._pause(str(error))
        except msgspec.ValidationError:
            pass
        return None

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()


async def _revoke(kept: Kept) -> str:
    """Only who gave them ever sees them. Empty, or why they may still be good."""
    made = kept.registration
    return await server.revoke(made.issuer, made.client, kept.tokens())
