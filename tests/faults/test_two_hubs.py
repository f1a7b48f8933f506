"""Two hub processes on one PostgreSQL: one budget, and money that outlives either of them."""

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from support.postgres import NEEDS_POSTGRES, Cluster
from support.serve_hub import Served, config, until

pytestmark = [NEEDS_POSTGRES, pytest.mark.timeout(120)]
NUMBERS = itertools.count()
CONFIG = """
ledger: {url: "${LEDGER_URL}"}
prices: [{provider: demo, model: '*', input: '1000.00', output: '2000.00'}]
endpoints: {demo: {llm: {preset: demo}}}
"""
HELD = """SELECT boot, count(*), sum(hold)::bigint FROM charge WHERE state = 'reserved'
    GROUP BY boot"""
CALLERS, CALLS = 16, 12
"""So many at once at each hub, and how often each of them asks."""


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("-c", "fsync=off", "-c", "max_connections=30")
    yield cluster
    cluster.close()


@pytest.fixture
def url(cluster):
    return cluster.schema(f"two{next(NUMBERS)}")


@pytest.fixture
def hubs(url, tmp_path):
    started = []
    for name in "ab":
        config(tmp_path / name, CONFIG)
        started.append(Served(tmp_path / name, env={"LEDGER_URL": url}))
    try:
        yield [hub.up() for hub in started]
    finally:
        for hub in started:
            hub.end()


@pytest.fixture
def db(url):
    with closing(psycopg.connect(url, autocommit=True)) as db:
        db.execute("SET search_path = agenthub")
        yield db


def said(words, **more):
    message = {"role": "user", "content": words}
    return {"model": "demo/demo-1", "max_tokens": 20, "messages": [message], **more}


def ask(hub, words, **more):
    status, _ = hub.ask("POST", "/v1/chat/completions", said(words, **more))
    return status


def stream(hub, words):
    """A call that is under way: its connection, and the answer's head."""
    line = hub.connection(timeout=60)
    body = said(words, stream=True)
    line.request("POST", "/v1/chat/completions", json.dumps(body), headers(hub))
    return line, line.getresponse()


def headers(hub):
    return {"authorization": f"Bearer {hub.token}", "content-type": "application/json"}


def limit(hub, dollars):
    status, _ = hub.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": dollars})
    assert status == 200


def counters(db):
    return db.execute("SELECT reserved, settled FROM budget_window").fetchall()


class Watch:
    """Looks at the counters, as fast as it can, for what should never be there."""

    def __init__(self, url):
        self.looks = self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url,))
        self._thread.start()

    def _run(self, url):
        with closing(psycopg.connect(url, autocommit=True)) as db:
            db.execute("SET search_path = agenthub")
            while not self._done.is_set():
                self.looks += 1
                self.most = max([self.most, *map(sum, counters(db))])
                time.sleep(0.001)

    def close(self):
        self._done.set()
        self._thread.join(10)


def test_of_callers_that_race_at_two_hubs_none_gets_over_their_one_budget(hubs, url, db):
    limit(hubs[0], "5.00")
    wall = 5_000_000_000 * 110 // 100

    def caller(number):
        return [ask(hubs[number % 2], f"call {number} {n}") for n in range(CALLS)]

    with closing(Watch(url)) as watch, ThreadPoolExecutor(2 * CALLERS) as pool:
        found = list(itertools.chain(*pool.map(caller, range(2 * CALLERS))))
    assert set(found) == {200, 403}
    until(lambda: all(reserved == 0 for reserved, _ in counters(db)))
    ((_, spent),) = counters(db)
    (rows,) = db.execute("SELECT count(*) FILTER (WHERE state = 'settled') FROM charge").fetchone()
    print(f"{len(found)} calls, {rows} let in, {spent} of {wall}, {watch.looks} looks")
    assert rows == found.count(200)
    assert wall - 100_000_000 < spent <= watch.most <= wall
    assert watch.looks > 20
    for hub in hubs:
        (seen,) = hub.get("/api/usage/budgets")["budgets"]
        assert (seen["spent_usd"], seen["reserved_usd"]) == (
            f"{spent / 10**9:.9f}".rstrip("0"),
            "0.00",
        )
        assert hub.ask("POST", "/api/usage/rebuild", {}) == (200, {"counters": 0, "slots": 0})


def test_a_budget_that_one_hub_makes_changes_or_removes_counts_at_the_other(hubs, db):
    first, second = hubs
    path, body = "/api/usage/budgets", {"id": "small", "limit_usd": "0.001"}
    assert first.ask("POST", path, body)[0] == 201
    until(lambda: ask(second, "no room") == 403)
    assert second.ask("PUT", f"{path}/small", body | {"limit_usd": "5.00"})[0] == 200
    until(lambda: ask(first, "room enough") == 200)
    assert first.ask("DELETE", f"{path}/small")[0] == 204
    until(lambda: [one["id"] for one in second.get(path)["budgets"]] == ["default"])
    assert second.ask("DELETE", f"{path}/small")[0] == 404


@pytest.mark.parametrize("waits", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_of_a_hub_that_is_killed_the_other_counts_the_holds_as_spent_and_marks_them(
    hubs, db, waits
):
    """`waits`: for the half minute after which a hub that says nothing is dead."""
    dying, living = hubs
    limit(living, "1000.00")
    with ThreadPoolExecutor(9) as pool:
        asked = [dying] * 8 + [living]
        *lines, own = pool.map(lambda hub: stream(hub, "!slow, and says all this again"), asked)
    ((boot, number, money),) = [row for row in db.execute(HELD).fetchall() if row[1] == 8]
    dying.process.kill()
    dying.process.wait(10)
    if not waits:
        db.execute("UPDATE hub SET seen_at = seen_at - interval '31 s' WHERE boot = %s", (boot,))
    unknown = "SELECT count(*), sum(cost)::bigint FROM charge WHERE state = 'unknown' AND boot = %s"
    until(lambda: db.execute(unknown, (boot,)).fetchone() == (number, money), 45)
    for line, _ in lines:
        line.close()
    doubtful = living.get("/api/usage/reconcile")["calls"]
    assert [one["state"] for one in doubtful] == ["unknown"] * 8
    assert {one["basis"] for one in doubtful} == {"expired"}
    line, answer = own
    assert b"[DONE]" in answer.read()
    line.close()
    until(lambda: not db.execute(HELD).fetchall())
    assert db.execute("SELECT count(*) FROM charge WHERE state = 'settled'").fetchone() == (1,)
    assert living.ask("POST", "/api/usage/rebuild", {}) == (200, {"counters": 0, "slots": 0})


def test_what_two_hubs_are_told_of_one_call_counts_once(hubs, db):
    """P10, across hubs: a report that both get, and a call that both put right."""
    dollars = {"litellm_call_id": "l1", "status": "success", "model": "m", "response_cost": 0.5}
    with ThreadPoolExecutor(8) as pool:
        told = list(
            pool.map(lambda n: hubs[n % 2].ask("POST", "/api/ingest/litellm", [dollars]), range(8))
        )
    assert sum(body["booked"] for _, body in told) == 1
    (row,) = hubs[0].get("/api/usage/calls")["calls"]
    path = f"/api/usage/reconcile/{row['id']}"
    evidence = {"cost_usd": "0.20", "reason": "the invoice"}
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: hubs[n % 2].ask("POST", path, evidence), range(8)))
    assert {status for status, _ in told} == {200}, (told, row)
    assert counters(db) == [(0, 200_000_000)]
    assert hubs[1].ask("POST", "/api/usage/rebuild", {}) == (200, {"counters": 0, "slots": 0})
