import pytest
from support.rest_hub import ADMIN

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.circuit_breaker import State
from agenthub.domain.outcome import Effect
from agenthub.domain.span import SECOND

URL = "/api/gateway/circuit-breaker/calculator"


@pytest.fixture
def breaker(hub):
    return hub.catalog.all["calculator"].lane.breaker


async def test_breakers_are_listed(rest):
    shown = (await rest.get("/api/gateway/circuit-breakers")).json()["circuit_breakers"]
    assert [(b["endpoint"], b["state"]) for b in shown] == [
        ("calculator", "closed"),
        ("other", "closed"),
    ]


async def test_an_open_breaker_says_why_and_for_how_long(rest, hub, breaker):
    for _ in range(5):
        ticket = breaker.admit(hub.clock.now(), 0.5)
        breaker.report(ticket, Effect.FAILURE, hub.clock.now(), 0.5)
    hub.store.history = [
        {"tool": "add", "cause": "of the tool"},
        {"tool": "", "cause": "consecutive_failures", "after": "open"},
    ]
    shown = (await rest.get(URL)).json()
    assert (shown["state"], shown["reason"]) == ("open", "consecutive_failures")
    assert shown["retry_after_ms"] == 5_000
    assert shown["history"] == hub.store.history
    assert shown["config"]["failure_threshold"] == 5


async def test_a_closed_breaker_has_no_reason(rest, hub):
    hub.store.history = [{"tool": "", "cause": "probes_ok", "after": "closed"}]
    assert (await rest.get(URL)).json()["reason"] == ""


async def test_an_operator_opens_closes_and_resets(rest, hub, breaker):
    opened = (await rest.post(f"{URL}/open", {"reason": "deploy", "ttl_s": 60})).json()
    assert (opened["state"], opened["reason"]) == ("forced_open", f"{ADMIN.id}: deploy")
    assert opened["retry_after_ms"] == 60_000
    closed = (await rest.post(f"{URL}/close")).json()
    assert (closed["state"], closed["retry_after_ms"]) == ("forced_closed", None)
    assert closed["reason"] == ADMIN.id
    reset = (await rest.post(f"{URL}/reset")).json()
    assert (reset["state"], reset["reason"]) == ("closed", "")
    hub.clock.time += 3600 * SECOND
    assert breaker.state is State.CLOSED
    causes = [t.cause for t in hub.catalog.all["calculator"].transitions]
    assert causes == ["operator: admin: deploy", "operator: admin", "operator: reset"]


@pytest.mark.parametrize("verb", ["open", "close", "reset"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"reason": 5}, "reason"),
        ({"who": "me"}, "who"),
        ([], "object"),
    ],
)
async def test_a_wrong_word_changes_nothing(rest, breaker, verb, body, words):
    answer = await rest.post(f"{URL}/{verb}", body)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]
    assert breaker.generation == 0


@pytest.mark.parametrize("ttl", [0, -1, 10**9, 2**62, "60", 1.5])
async def test_a_word_is_for_a_bounded_time(rest, breaker, ttl):
    answer = await rest.post(f"{URL}/open", {"ttl_s": ttl})
    assert answer.status_code == 400
    assert "ttl_s" in answer.json()["detail"]
    assert breaker.generation == 0


async def test_settings_change_at_run_time_and_what_is_not_named_stays(rest, hub):
    await rest.put(f"{URL}/config", {"failure_threshold": 2})
    answer = await rest.put(f"{URL}/config", {"recovery_timeout_ms": 100})
    expected = BreakerConfig(failure_threshold=2, recovery_timeout_ms=100)
    assert hub.catalog.all["calculator"].endpoint.breaker == expected
    assert answer.json()["config"]["recovery_timeout_ms"] == 100


@pytest.mark.parametrize(
    "body",
    [
        {"failure_threshold": 0},
        {"failure_threshold": True},
        {"recovery_timeout_ms": -5},
        {"failure_rate": 1.5},
        {"unknown": 1},
        {"max_open_ms": 2**62},
    ],
)
async def test_wrong_settings_are_refused_naming_the_field(rest, hub, body):
    answer = await rest.put(f"{URL}/config", body)
    assert answer.status_code == 400
    assert next(iter(body)) in answer.json()["detail"]
    assert hub.catalog.all["calculator"].endpoint.breaker == BreakerConfig()
