"""A PostgreSQL that dies, refuses and is shared (L7, F48): nothing is lost, double or over."""

import asyncio
import random
from contextlib import AsyncExitStack

import psycopg
import pytest
from msgspec import structs
from support.money import AT_S, FACTS, Teller, budget, hold, settlement
from support.postgres import NEEDS_POSTGRES, Cluster

from agenthub.domain.errors import StorageFailed
from agenthub.ledger import OverBudget, Proof, Standing
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.postgres import PostgresDatabase, open_postgres
from agenthub.outbound.usage import DatabaseUsage

pytestmark = [NEEDS_POSTGRES, pytest.mark.timeout(90)]
B = budget("b", 1_000)
SETTLED = "SELECT call FROM agenthub.charge WHERE state = 'settled'"


class Ledgered(DatabaseLedger, DatabaseUsage):
    pass


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("-c", "max_connections=12")
    yield cluster
    cluster.close()


@pytest.fixture
def url(cluster, request):
    return cluster.create(f"t{abs(hash(request.node.nodeid))}")


@pytest.fixture
async def hubs(url):
    """Two hubs on one ledger."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            database = await stack.enter_async_context(open_postgres(url))
            found.append(Ledgered(database, LoopClock()))
        await found[0].put_budget(B)
        yield found
        for one in found:
            one.close()


@pytest.mark.parametrize(
    "seeds", [25, pytest.param(200, marks=(pytest.mark.soak, pytest.mark.timeout(900)))]
)
async def test_two_hubs_are_never_over_the_bound_of_one_budget(hubs, seeds):
    tells = [Teller(one) for one in hubs]
    for seed in range(seeds):
        chance = random.Random(seed)
        one = structs.replace(B, id=f"s{seed}")
        await hubs[0].put_budget(one)
        amounts = [chance.randint(1, 40) for _ in range(200)]
        names = [f"{seed}-{number}" for number in range(200)]
        told = await asyncio.gather(
            *(
                chance.choice(tells).reserve(hold(name, amount, one))
                for name, amount in zip(names, amounts, strict=True)
            )
        )
        held = sum(amount for amount, no in zip(amounts, told, strict=True) if no is None)
        assert all(no is None or isinstance(no, OverBudget) for no in told)
        on = [one.hold_on(FACTS, AT_S)]
        assert 960 < held <= one.wall
        assert await hubs[1].standing(on) == (Standing(held),)
        await asyncio.gather(*(chance.choice(tells).release(name) for name in names))
        assert await hubs[0].standing(on) == (Standing(),)


async def test_a_hub_that_starts_takes_no_holds_of_one_that_lives(hubs):
    first, second = hubs
    await first.recover("one", AT_S)
    await Teller(first).reserve(hold("1", 10, B, boot="one", expires_at_s=AT_S + 99))
    await Teller(first).reserve(hold("2", 20, B, boot="dead", expires_at_s=AT_S + 99))
    assert await second.recover("two", AT_S) == 1
    assert (await first.charge("1")).state == "reserved"
    assert (await first.charge("2")).state == "unknown"


async def test_a_hub_that_says_nothing_for_half_a_minute_is_dead(hubs, url):
    first, second = hubs
    await first.recover("one", AT_S)
    await Teller(first).reserve(hold("1", 10, B, boot="one", expires_at_s=AT_S + 99))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute("UPDATE agenthub.hub SET seen_at = seen_at - interval '31 seconds'")
    assert await second.recover("two", AT_S) == 1


async def test_killed_again_and_again_under_load_it_loses_and_doubles_nothing(cluster, hubs, url):
    """F48: `kill -9` of all of PostgreSQL, and its restart."""
    tells, done = [Teller(one) for one in hubs], asyncio.Event()
    wide = structs.replace(B, id="wide", limit=10**12)
    await hubs[0].put_budget(wide)
    told = []

    async def caller(number):
        calls = 0
        while not done.is_set():
            name, calls = f"{number}-{calls}", calls + 1
            tell = tells[number % 2]
            if await tell.reserve(hold(name, 9, wide, expires_at_s=2**33)) is not None:
                await asyncio.sleep(0.02)
            elif await tell.settle(settlement(name, 3)) is None:
                told.append(name)

    callers = [asyncio.ensure_future(caller(number)) for number in range(40)]
    for _ in range(4):
        await asyncio.sleep(0.5)
        cluster.kill()
        await asyncio.to_thread(cluster.start)
    await asyncio.sleep(0.5)
    done.set()
    await asyncio.wait_for(asyncio.gather(*callers), 30)
    while any(one.unwritten or one.waiting for one in hubs):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    (now,) = await hubs[0].standing([wide.hold_on(FACTS, AT_S)])
    async with await psycopg.AsyncConnection.connect(url) as db:
        rows = await (await db.execute(SETTLED)).fetchall()
    kept = {name for (name,) in rows}
    assert len(told) > 100
    assert set(told) <= kept
    assert (now.reserved, now.settled) == (0, 3 * len(kept))
    assert await hubs[1].rebuild() == Proof(0, 0)


async def test_sums_that_differ_from_the_ledger_are_found_and_made_right(hubs, url):
    first, second = hubs
    tell = Teller(first)
    await tell.reserve(hold("1", 10, B, expires_at_s=AT_S + 99))
    await tell.reserve(hold("2", 10, B, expires_at_s=AT_S + 99))
    await tell.settle(settlement("1", 7))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute("UPDATE agenthub.budget_window SET reserved = 1, settled = 2")
        await db.execute("UPDATE agenthub.usage_slot SET cost = 3")
    assert await second.rebuild() == Proof(1, 2)
    assert await second.rebuild() == Proof(0, 0)
    assert await first.standing([B.hold_on(FACTS, AT_S)]) == (Standing(10, 7),)


async def test_sums_that_cannot_be_made_right_now_are_told_in_words(hubs, url, monkeypatch):
    await Teller(hubs[0]).reserve(hold("1", 10, B, expires_at_s=AT_S + 99))
    monkeypatch.setattr("agenthub.outbound.postgres.PROOF_S", 1)
    async with await psycopg.AsyncConnection.connect(url) as db:
        await db.execute("UPDATE agenthub.budget_window SET reserved = 1")
        await db.commit()
        await db.execute("SELECT pg_advisory_xact_lock(hashtext('agenthub ledger'))")
        with pytest.raises(StorageFailed, match=r"PostgreSQL: .*timeout"):
            await hubs[0].rebuild()
    assert await hubs[0].rebuild() == Proof(1, 0)


async def test_a_batch_that_was_written_before_its_connection_broke_counts_once(hubs, url):
    first, told = hubs[0], []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        for number in range(60):
            first.reserve(hold(str(number), 1, B), told.append)
            if number % 10 == 5:
                await asyncio.sleep(0.01)
                await db.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name ~ '^agenthub .{16}$'"
                )
        async with asyncio.timeout(20):
            while first.waiting:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    held = told.count(None)
    assert held >= 6
    assert await hubs[1].standing([B.hold_on(FACTS, AT_S)]) == (Standing(held),)


async def test_a_server_without_room_for_connections_is_told_and_waited_for(hubs, url, cluster):
    held = await asyncio.gather(
        *(psycopg.AsyncConnection.connect(url) for _ in range(20)), return_exceptions=True
    )
    with pytest.raises(StorageFailed, match=r"PostgreSQL: .*(too many|reserved)"):
        await PostgresDatabase(url).open()
    assert await Teller(hubs[0]).reserve(hold("1", 1, B)) is None
    for one in held:
        if isinstance(one, psycopg.AsyncConnection):
            await one.close()
    async with open_postgres(url) as database:
        assert database.problem == ""


async def test_a_ledger_that_cannot_be_reached_says_why_without_the_password():
    database = PostgresDatabase("postgresql://hub:geheim@127.0.0.1:1/x")
    with pytest.raises(StorageFailed) as caught:
        await database.open()
    assert "refused" in str(caught.value)
    assert "geheim" not in str(caught.value)
