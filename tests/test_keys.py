"""The key ring: attacks A01, A02 and A62, and what REST does with keys."""

import asyncio
import hmac
import re
import statistics
import time

import pytest

from agenthub import keys
from agenthub.domain.bearer import Lent
from agenthub.domain.caller import Caller, KeyTerms, Scope
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.errors import (
    BadSetting,
    Conflict,
    InvalidParams,
    StorageFailed,
    UnknownTarget,
)
from agenthub.domain.span import SECOND
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import View
from agenthub.keys import ADMIN, REMEMBERED, KeyRing
from agenthub.ports import KeyRow

SECRET = b"s" * 32
ADMIN_TOKEN = "ahadmin-0123456789"
NOW_S = 1_700_000_000


class Clock:
    def __init__(self):
        self.seconds = NOW_S

    def wall(self):
        return self.seconds * SECOND


class Store:
    def __init__(self):
        self.rows = {}
        self.error = None

    async def put_key(self, row):
        if self.error is not None:
            raise self.error
        self.rows[row.id] = row


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def ring(store, clock):
    return KeyRing([], SECRET, ADMIN_TOKEN, store, clock)


def again(ring, store, clock, secret=SECRET):
    """The ring of the next start."""
    del ring
    return KeyRing(list(store.rows.values()), secret, ADMIN_TOKEN, store, clock)


async def test_a_new_key_opens_tools_models_and_read_and_no_more(ring):
    row, key = await ring.create("laptop")
    caller = ring.authenticate(key.encode())
    assert caller == Caller(row.id, frozenset({Scope.TOOLS, Scope.LLM, Scope.READ}), None)


async def test_a_key_shows_its_id_and_256_bits_of_secret(ring):
    row, key = await ring.create("laptop")
    assert re.fullmatch(r"ah_[0-9a-f]{12}_[0-9a-f]{64}", key)
    assert key.split("_")[1] == row.id


async def test_only_the_hmac_of_a_key_is_kept(ring, store):
    row, key = await ring.create("laptop")
    assert store.rows == {row.id: row}
    assert row.digest == hmac.digest(SECRET, key.encode(), "sha256")
    secret = key.rpartition("_")[2]
    assert secret not in repr(store.rows) + repr(ring.list())


async def test_scopes_and_endpoints_of_a_key_are_the_callers(ring):
    row, key = await ring.create("x", [Scope.READ], ["git", "time"], NOW_S + 60)
    caller = ring.authenticate(key.encode())
    assert caller == Caller(row.id, frozenset({Scope.READ}), frozenset({"git", "time"}))
    assert (row.created_at, row.expires_at, row.endpoints) == (NOW_S, NOW_S + 60, ("git", "time"))


async def test_keys_survive_a_restart(ring, store, clock):
    _, key = await ring.create("laptop")
    assert again(ring, store, clock).authenticate(key.encode()) is not None


async def test_a_key_of_another_home_opens_nothing(ring, store, clock):
    """A02: even if its row was copied here."""
    _, key = await ring.create("laptop")
    assert again(ring, store, clock, b"t" * 32).authenticate(key.encode()) is None


def test_the_admin_token_opens_everything(ring):
    assert ring.authenticate(ADMIN_TOKEN.encode()) is ADMIN
    assert all(ADMIN.may(scope) for scope in Scope)
    assert ADMIN.endpoints is None


async def test_nothing_but_the_key_itself_opens(ring):
    """A01, A02."""
    row, key = await ring.create("laptop")
    token = key.encode()
    changed = [token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :] for at in range(len(token))]
    wrong = [
        b"", b"ah", b"ah_", b"ah__", token[:-1], token + b"0", token.upper(), b" " + token,
        f"ah_{row.id}".encode(), f"ah_{row.id}_".encode(), row.digest, b"\0" + token,
        token + b"\0", b"' OR 1=1--", b"x'); DROP TABLE keys;--", b"\xff" * 40, b"a" * 1_000_000,
        ADMIN_TOKEN.upper().encode(), ADMIN_TOKEN[:-1].encode(), b"admin",
    ]  # fmt: skip
    for attempt in changed + wrong:
        assert ring.authenticate(attempt) is None, attempt[:80]
    assert ring.authenticate(token) is not None


async def test_a_revoked_key_opens_nothing_from_then_on(ring, store, clock):
    row, key = await ring.create("laptop")
    caller = ring.authenticate(key.encode())
    assert ring.holds(caller)
    await ring.revoke(row.id)
    assert ring.authenticate(key.encode()) is None
    assert not ring.holds(caller)
    assert again(ring, store, clock).authenticate(key.encode()) is None
    assert [row.revoked for row in ring.list()] == [True]


async def test_who_serves_a_key_hears_that_it_is_revoked(ring):
    row, _ = await ring.create("laptop")
    told = []
    ring.listeners.append(lambda key_id: told.append((key_id, ring.list()[0].revoked)))
    await ring.revoke(row.id)
    assert told == [(row.id, True)]


async def test_a_key_ends_at_its_second(ring, clock):
    _, key = await ring.create("guest", expires_at=NOW_S + 60)
    caller = ring.authenticate(key.encode())
    clock.seconds = NOW_S + 59
    assert ring.authenticate(key.encode()) == caller
    assert ring.holds(caller)
    clock.seconds = NOW_S + 60
    assert ring.authenticate(key.encode()) is None
    assert not ring.holds(caller)


@pytest.mark.parametrize("years", [-10, 10])
async def test_a_step_of_the_clock_ends_what_it_passes_and_nothing_else(ring, clock, years):
    """A62."""
    _, for_ever = await ring.create("for ever")
    _, hour = await ring.create("an hour", expires_at=NOW_S + 3600)
    clock.seconds += years * 366 * 86_400
    assert ring.authenticate(for_ever.encode()) is not None
    assert (ring.authenticate(hour.encode()) is None) == (years > 0)


async def test_an_expired_key_that_was_never_used_opens_nothing(ring, store, clock):
    _, key = await ring.create("guest", expires_at=NOW_S - 1)
    assert again(ring, store, clock).authenticate(key.encode()) is None


async def test_revoking_an_unknown_key_is_an_error(ring):
    with pytest.raises(UnknownTarget):
        await ring.revoke("0123456789ab")


async def test_what_the_store_refuses_did_not_happen(ring, store):
    row, key = await ring.create("kept")
    store.error = StorageFailed("disk full")
    with pytest.raises(StorageFailed):
        await ring.create("not kept")
    with pytest.raises(StorageFailed):
        await ring.revoke(row.id)
    assert ring.list() == [row]
    assert ring.authenticate(key.encode()) is not None


async def test_the_list_is_in_the_order_of_making(store, clock):
    rows = [KeyRow(name, name, b"", ("read",), None, at) for name, at in [("b", 2), ("a", 1)]]
    ring = KeyRing(rows, SECRET, ADMIN_TOKEN, store, clock)
    assert [row.id for row in ring.list()] == ["a", "b"]


def test_callers_without_a_key_of_their_own_are_held(ring):
    assert ring.holds(ADMIN)
    assert ring.holds(Caller("anonymous", frozenset()))


async def test_what_is_remembered_is_bounded_and_only_good_tokens(ring):
    for number in range(REMEMBERED + 50):
        assert ring.authenticate(b"ah_%d_x" % number) is None
    assert ring._remembered == {}
    ring._remembered = dict.fromkeys(map(str, range(REMEMBERED)))
    assert ring.authenticate(ADMIN_TOKEN.encode()) is ADMIN
    assert list(ring._remembered) == [ADMIN_TOKEN.encode()]


async def test_a_new_id_is_never_one_that_was_given(ring, monkeypatch):
    ids = iter(["aaaaaaaaaaaa", "f" * 64, "aaaaaaaaaaaa", "bbbbbbbbbbbb", "f" * 64])
    monkeypatch.setattr("agenthub.keys.secrets.token_hex", lambda _: next(ids))
    first, _ = await ring.create("one")
    second, _ = await ring.create("two")
    assert (first.id, second.id) == ("aaaaaaaaaaaa", "bbbbbbbbbbbb")


async def test_time_tells_nothing_of_a_wrong_key(ring):
    """A02: over 10,000 attempts of each kind, in turn."""
    row, key = await ring.create("laptop")
    kinds = {
        "no such id": f"ah_000000000000_{'0' * 64}".encode(),
        "wrong from the start": f"ah_{row.id}_{'0' * 64}".encode(),
        "wrong at the end": key[:-1].encode() + b"x",
        "no key at all": b"x" * len(key),
    }
    spans = {kind: [] for kind in kinds}
    for _ in range(10_000):
        for kind, token in kinds.items():
            start = time.perf_counter_ns()
            ring.authenticate(token)
            spans[kind].append(time.perf_counter_ns() - start)
    medians = [statistics.median(one) for one in spans.values()]
    assert max(medians) < 2 * min(medians), medians
    assert max(medians) < 5_000_000


class Lender:
    """ports.TokenIssuer: tokens read `lent.<name>.<seconds>`."""

    limits = KeyTerms()

    def __init__(self):
        self.changed = lambda: None
        self.asked = 0

    def lend(self, token):
        self.asked += 1
        kind, name, seconds = token.decode().split(".")
        if kind != "lent":
            return None
        caller = Caller(f"oauth:work:{name}", frozenset({Scope.TOOLS}))
        return Lent(caller, (NOW_S + int(seconds)) * SECOND, self.limits)


@pytest.fixture
def lender():
    return Lender()


@pytest.fixture
def lending(store, clock, lender):
    return KeyRing([], SECRET, ADMIN_TOKEN, store, clock, [Lender(), lender])


def test_a_token_of_an_issuer_is_good_until_it_ends(lending, clock):
    caller = lending.authenticate(b"lent.anna.60")
    assert caller.id == "oauth:work:anna"
    assert lending.holds(caller)
    clock.seconds += 60
    assert lending.authenticate(b"lent.anna.60") is None
    assert not lending.holds(caller)


def test_whom_an_issuer_vouches_for_is_held_to_the_issuers_limits(lending):
    lending._issuers[0].limits = KeyTerms(
        ToolSet(allow=("git__*",)), ("research",), "on", "spec", ("gpt-*",), "ops", RateLimit(1, 5)
    )
    lending.views = {"research": View("research", allow=("git__log",))}
    caller = lending.authenticate(b"lent.anna.60")
    assert (caller.search, caller.names) == ("on", "spec")
    assert (caller.models, caller.team, caller.rate_limit) == (("gpt-*",), "ops", RateLimit(1, 5))
    assert caller.admits("git__log", reads=False)
    for name in ("git__push", "files__read"):
        assert not caller.admits(name, reads=False)
    assert caller.is_limited
    assert caller.sees_view("research")
    assert not caller.sees_view("all")


def test_a_newer_token_of_the_same_principal_prolongs_its_streams(lending, clock):
    caller = lending.authenticate(b"lent.anna.60")
    lending.authenticate(b"lent.anna.120")
    lending.authenticate(b"lent.anna.90")
    clock.seconds += 119
    assert lending.holds(caller)


def test_an_issuers_token_is_remembered_until_its_keys_change(lending, lender):
    issuers = lending._issuers
    assert lending.authenticate(b"lent.anna.60") is lending.authenticate(b"lent.anna.60")
    assert issuers[0].asked == 1
    issuers[0].changed()
    lending.authenticate(b"lent.anna.60")
    assert issuers[0].asked == 2
    assert lender.asked == 0, "the first issuer that knows it says so"


def test_a_token_that_no_issuer_knows_opens_nothing(lending, lender):
    assert lending.authenticate(b"other.anna.60") is None
    assert lender.asked == 1
    assert lending.authenticate(b"lent.anna." + b"6" * 9_000) is None
    assert lender.asked == 1, "what is too long is not even shown"


def test_the_principals_of_issuers_that_are_remembered_are_bounded(lending, clock, monkeypatch):
    monkeypatch.setattr(keys, "LENT_MAX", 2)
    anna = lending.authenticate(b"lent.anna.10")
    lending.authenticate(b"lent.bert.60")
    cora = lending.authenticate(b"lent.cora.60")
    assert not lending.holds(cora), "there is no room: its streams end with the next sweep"
    clock.seconds += 20
    lending._remembered.clear()
    assert lending.holds(lending.authenticate(b"lent.cora.60"))
    assert not lending.holds(anna)


FILES = KeyTerms(tools=ToolSet(("files__*",)), search="on", names="spec")


async def test_a_key_is_held_to_its_terms_over_restarts(ring, store, clock):
    _, key = await ring.create("laptop", terms=FILES)
    caller = again(ring, store, clock).authenticate(key.encode())
    assert (caller.reach.tools, caller.reach.views) == (FILES.tools, None)
    assert (caller.search, caller.names) == ("on", "spec")


async def test_new_terms_hold_from_the_next_request_on(ring, store):
    row, key = await ring.create("laptop")
    told = []
    ring.listeners.append(told.append)
    before = ring.authenticate(key.encode())
    assert (await ring.change(row.id, FILES)).terms == FILES
    assert ring.authenticate(key.encode()) != before
    assert ring.authenticate(key.encode()) == ring.caller(row.id)
    assert (store.rows[row.id].terms, told) == (FILES, [row.id])


async def test_terms_that_cannot_be_kept_are_not_held(ring, store):
    row, _ = await ring.create("laptop")
    store.error = StorageFailed()
    with pytest.raises(StorageFailed):
        await ring.change(row.id, FILES)
    assert ring.caller(row.id).reach is None
    with pytest.raises(UnknownTarget):
        await ring.change("none", FILES)
    assert ring.caller("none") is None


async def test_a_key_that_is_revoked_meanwhile_stays_revoked(ring, store):
    """Two changes of one key never undo one another."""
    row, key = await ring.create("laptop")
    await asyncio.gather(ring.revoke(row.id), ring.change(row.id, FILES))
    assert store.rows[row.id].revoked
    assert ring.authenticate(key.encode()) is None


async def test_who_may_change_the_hub_cannot_be_limited_to_tools(ring):
    """It could make itself a key without the limit."""
    for terms in (FILES, KeyTerms(views=())):
        with pytest.raises(BadSetting, match="scope admin"):
            await ring.create("root", (Scope.ADMIN,), terms=terms)
    row, _ = await ring.create("root", (Scope.ADMIN,), terms=KeyTerms(search="on"))
    with pytest.raises(BadSetting, match="scope admin"):
        await ring.change(row.id, FILES)
    with pytest.raises(BadSetting, match="search"):
        await ring.create("root", terms=KeyTerms(search="x"))


async def test_a_key_for_views_follows_them(ring):
    views = {"web": View("web", allow=("web__*",))}
    _, key = await ring.create("laptop", terms=KeyTerms(views=("web",)))
    assert not ring.authenticate(key.encode()).sees("web")
    ring.views = views
    ring.forget()
    assert ring.authenticate(key.encode()).sees("web")


# ---------------------------------------------------------------- rotation


async def test_a_rotated_key_is_the_same_one_with_another_secret(ring, store, clock):
    terms = KeyTerms(ToolSet(("git__*",)), team="ops", rate_limit=RateLimit(1, 5))
    row, key = await ring.create("laptop", [Scope.READ], ["git"], NOW_S + 60, terms)
    before = ring.authenticate(key.encode())
    rotated, other = await ring.rotate(row.id)
    assert re.fullmatch(r"ah_[0-9a-f]{12}_[0-9a-f]{64}", other)
    assert other.split("_")[1] == row.id
    for one in (ring, again(ring, store, clock)):
        assert one.authenticate(key.encode()) is None
        after = one.authenticate(other.encode())
        assert (after.id, after.scopes, after.endpoints) == (row.id, {Scope.READ}, {"git"})
        assert (after.team, after.rate_limit, after.reach) == ("ops", RateLimit(1, 5), before.reach)
        assert (one.list()[0].created_at, one.list()[0].expires_at) == (NOW_S, NOW_S + 60)
        assert not one.holds(before)
        assert one.holds(after)
    assert other.rpartition("_")[2] not in repr(store.rows) + repr(rotated)
    assert rotated.digest == hmac.digest(SECRET, other.encode(), "sha256")
    assert rotated.rotation.former == b"", "nothing is kept of a secret that opens nothing"


async def test_the_secret_before_is_good_until_its_grace_is_over(ring, store, clock):
    row, key = await ring.create("laptop")
    _, other = await ring.rotate(row.id, 600)
    for one in (ring, again(ring, store, clock)):
        old, new = (one.authenticate(token.encode()) for token in (key, other))
        assert old.id == new.id == row.id
        assert (one.left(old), one.left(new)) == (600 * SECOND, keys.FOREVER)
        clock.seconds += 599
        assert one.authenticate(key.encode()) is not None
        clock.seconds += 1
        assert one.authenticate(key.encode()) is None
        assert not one.holds(old)
        assert one.holds(one.authenticate(other.encode()))
        clock.seconds -= 600


async def test_a_grace_is_no_longer_than_the_key(ring, clock):
    row, key = await ring.create("laptop", expires_at=NOW_S + 60)
    old = ring.authenticate(key.encode())
    _, other = await ring.rotate(row.id, 600)
    assert ring.left(old) == 60 * SECOND
    clock.seconds += 60
    assert ring.authenticate(key.encode()) is None
    assert ring.authenticate(other.encode()) is None


async def test_of_the_secrets_before_only_the_last_may_have_a_grace(ring):
    row, first = await ring.create("laptop")
    came_first = ring.authenticate(first.encode())
    _, second = await ring.rotate(row.id, 600)
    came_second = ring.authenticate(second.encode())
    _, third = await ring.rotate(row.id, 600)
    good = [ring.authenticate(token.encode()) is not None for token in (first, second, third)]
    assert good == [False, True, True]
    assert [ring.holds(one) for one in (came_first, came_second)] == [False, True]
    await ring.rotate(row.id)
    assert not any(ring.authenticate(token.encode()) for token in (first, second, third))
    assert not ring.holds(came_second)


async def test_new_terms_prolong_no_secret(ring):
    """A stream that is shown new terms stays one of the secret that opened it."""
    row, key = await ring.create("laptop")
    old = ring.authenticate(key.encode())
    await ring.rotate(row.id, 600)
    renewed = ring.renewed(old)
    assert ring.left(renewed) == 600 * SECOND
    assert ring.renewed(ADMIN) is None


async def test_who_serves_a_key_hears_that_it_was_rotated(ring):
    row, _ = await ring.create("laptop")
    heard = []
    ring.listeners.append(heard.append)
    await ring.rotate(row.id)
    assert heard == [row.id]


@pytest.mark.parametrize("grace_s", [-1, 24 * 3600 + 1])
async def test_a_grace_has_bounds(ring, grace_s):
    row, key = await ring.create("laptop")
    with pytest.raises(InvalidParams, match="grace_s: expected a whole number from 0 to 86,400"):
        await ring.rotate(row.id, grace_s)
    assert ring.authenticate(key.encode()) is not None


async def test_a_key_that_has_ended_gets_no_new_secret(ring, clock):
    row, _ = await ring.create("laptop")
    await ring.revoke(row.id)
    short, _ = await ring.create("short", expires_at=NOW_S + 1)
    clock.seconds += 1
    for key_id in (row.id, short.id):
        with pytest.raises(Conflict, match="has ended"):
            await ring.rotate(key_id)
    with pytest.raises(UnknownTarget):
        await ring.rotate("nobody")


async def test_a_rotation_that_cannot_be_kept_did_not_happen(ring, store):
    row, key = await ring.create("laptop")
    store.error = StorageFailed()
    with pytest.raises(StorageFailed):
        await ring.rotate(row.id)
    assert ring.authenticate(key.encode()) is not None
    assert ring.list() == [row]


async def test_a_rate_limit_that_cannot_be_is_refused(ring):
    with pytest.raises(BadSetting, match=r"rate_limit\.rps: expected a number"):
        await ring.create("x", terms=KeyTerms(rate_limit=RateLimit(0, 5)))
