"""A hub that is killed again and again under load, in front of a provider with its own journal.

Never lost: whatever the provider billed is in the ledger, once. Never over: what was spent and held
stays within the wall. After the last start nothing is held any more.
"""

import http.client
import itertools
import json
import random
import signal
import threading
import time
import urllib.parse

import pytest
from support.billing_provider import READ, WRITTEN, BillingProvider
from support.serve_hub import Served, config, until

PRICES = "prices:\n  - {provider: p, model: '*', input: '1000.00', output: '2000.00'}\n"
EXACT = READ * 1_000_000 + WRITTEN * 2_000_000
"""Nano-dollars of one whole answer."""
CALLERS = 8


def record(url):
    endpoint = {"url": url, "llm": {"wires": ["chat"], "models": ["m"]}, "attempts": 3}
    return f"{PRICES}endpoints:\n  p: {json.dumps(endpoint)}\n"


class Crowd:
    """Callers that ask without end, each call in a session of its own name."""

    def __init__(self, seed):
        self.asked, self.delivered, self.refused = set(), set(), set()
        self.url, self.key = "", ""
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self._stopped.set()
        for thread in self.threads:
            thread.join(20)

    def _run(self):
        while not self._stopped.is_set():
            try:
                self._ask(f"s{next(self._numbers)}")
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)

    def _ask(self, session):
        if not self.url:
            time.sleep(0.02)
            return
        kind = self._random.random()
        body = {
            "model": "p/m", "max_tokens": WRITTEN, "stream": kind > 0.5,
            "messages": [{"role": "user", "content": session}],
        }  # fmt: skip
        headers = {
            "authorization": f"Bearer {self.key}", "content-type": "application/json",
            "x-agenthub-session": session,
        }  # fmt: skip
        place = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=15)
        try:
            self.asked.add(session)
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.status == 403:
                self.refused.add(session)
                time.sleep(0.05)
                return
            if kind > 0.92:
                return  # it hangs up
            said = answer.read()
            if answer.status == 200 and (b"[DONE]" in said or b'"usage"' in said):
                self.delivered.add(session)
        finally:
            connection.close()


def rows_of(hub):
    status, said = hub.ask("GET", "/api/usage/calls?period=month&limit=500")
    assert status == 200, said
    found = list(said["calls"])
    while said["next_before"]:
        path = f"/api/usage/calls?period=month&limit=500&before={said['next_before']}"
        _, said = hub.ask("GET", path)
        found += said["calls"]
    return found


def nano(text):
    whole, _, part = text.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))


def suffer(home, seed, kills, limit):
    """Kill it so often; what is there at the end: rows, crowd, provider, the budget."""
    chance = random.Random(seed)
    crowd = Crowd(seed)
    with BillingProvider(seed) as provider:
        config(home, record(provider.url))
        hub = Served(home).up()
        try:
            _, key = hub.ask("POST", "/api/keys", {"name": "crowd"})
            crowd.key = key["key"]
            hub.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": limit})
            for _ in range(kills):
                crowd.url = hub.url
                time.sleep(chance.uniform(0.1, 0.6))
                crowd.url = ""
                hub.stop(signal.SIGKILL)
                hub.end()
                hub = Served(home).up()
            crowd.url = hub.url
            time.sleep(0.5)
            crowd.stop()
            until(lambda: not [row for row in rows_of(hub) if row["state"] == "reserved"], 20)
            _, budgets = hub.ask("GET", "/api/usage/budgets")
            _, proof = hub.ask("POST", "/api/usage/rebuild", {})
            return rows_of(hub), crowd, provider, budgets["budgets"][0], proof
        finally:
            crowd.stop()
            hub.end()


def check(rows, crowd, provider, budget, proof):
    by_session = {}
    for row in rows:
        by_session.setdefault(row["session"], []).append(row)
    assert all(len(found) == 1 for found in by_session.values()), "a call is booked once"
    assert by_session.keys() <= crowd.asked
    missing = provider.billed.keys() - by_session.keys()
    assert not missing, f"billed, and not in the ledger: {len(missing)}"
    for session, times in provider.billed.items():
        (row,) = by_session[session]
        assert row["state"] in {"settled", "unknown"}, (session, times, row)
        assert nano(row["cost_usd"]) > 0
    for session in crowd.delivered:
        (row,) = by_session[session]
        assert nano(row["cost_usd"]) >= EXACT, row
    spent = sum(nano(row["cost_usd"]) for row in rows if row["cost_usd"])
    assert nano(budget["spent_usd"]) == spent
    assert budget["reserved_usd"] == "0.00"
    assert proof == {"counters": 0, "slots": 0}
    truth = EXACT * len(crowd.delivered)
    assert spent >= truth
    return spent


@pytest.mark.parametrize(
    "kills", [3, pytest.param(60, marks=(pytest.mark.soak, pytest.mark.timeout(900)))]
)
def test_whatever_a_provider_billed_is_in_the_ledger_once_however_often_the_hub_is_killed(
    tmp_path, kills
):
    found = suffer(tmp_path / "hub", kills, kills, "1000000.00")
    spent = check(*found)
    rows, crowd, provider, *_ = found
    print(
        f"{kills} kills, {len(crowd.asked)} asked, {len(provider.billed)} billed,"
        f" {len(crowd.delivered)} delivered, {provider.refused} refused by the provider,"
        f" {len(rows)} rows, {spent / 1e9:.2f} $ booked, 0 lost, 0 double"
    )
    assert len(provider.billed) > kills


def test_a_tight_budget_is_never_over_its_wall_however_often_the_hub_is_killed(tmp_path):
    limit = 20 * EXACT
    found = suffer(tmp_path / "hub", 7, 2, f"{limit / 1e9:.9f}")
    rows, crowd, _, budget, _ = found
    spent = check(*found)
    estimate = max(nano(row["held_usd"]) for row in rows)
    # A call that was repeated may have been billed twice: that is what may come on top.
    extra = sum(max(0, nano(row["cost_usd"] or "0") - nano(row["held_usd"])) for row in rows)
    assert spent <= limit * 110 // 100 + extra
    assert spent > limit * 110 // 100 - 2 * estimate
    assert crowd.refused
    assert not budget["can_proceed"] or spent <= limit * 110 // 100
