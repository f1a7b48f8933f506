import asyncio

import pytest
from support.rest_hub import LIMITED, READER, USER

from agenthub.domain.endpoint import Endpoint
from agenthub.health import ServerHealth
from agenthub.settings.redaction import HIDDEN

NEW = {"name": "new", "url": "http://new.test/mcp"}


async def test_servers_are_listed_with_their_state(rest, hub):
    hub.health.servers = {"other": ServerHealth("down", "port refused")}
    shown = (await rest.get("/api/endpoints")).json()["endpoints"]
    assert [(e["name"], e["health"], e["reason"]) for e in shown] == [
        ("calculator", "ok", ""),
        ("other", "down", "port refused"),
    ]
    first = shown[0]
    assert (first["era"], first["transport"], first["tools_count"]) == ("modern", "http", 1)
    assert first["config"]["attempts"] == 3, "defaults are shown"
    assert first["breaker"]["state"] == "closed"
    assert first["excluded"] == {"bad": "why"}


async def test_a_server_is_added_shown_replaced_and_removed(rest, hub):
    made = await rest.post("/api/endpoints", NEW)
    assert (made.status_code, made.headers["location"]) == (201, "/api/endpoints/new")
    assert made.headers["cache-control"] == "no-store"
    assert (await rest.get("/api/endpoints/new")).json()["config"]["url"] == NEW["url"]
    changed = await rest.put("/api/endpoints/new", {"url": "http://new.test/v2", "attempts": 1})
    assert changed.status_code == 200
    assert hub.catalog.all["new"].endpoint == Endpoint("new", url="http://new.test/v2", attempts=1)
    gone = await rest.delete("/api/endpoints/new")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await rest.get("/api/endpoints/new")).status_code == 404


async def test_a_hundred_at_once_make_one_server(rest):
    answers = await asyncio.gather(*(rest.post("/api/endpoints", NEW) for _ in range(100)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(201), codes.count(409)) == (1, 99)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_admin": True}, "is_admin"),
        ({"spent": 0}, "spent"),
        ({"breaker": {"failure_treshold": 3}}, "breaker: "),
        ({"breaker": {"failure_threshold": "3"}}, "breaker.failure_threshold: "),
        ({"breaker": {"failure_threshold": 0}}, "breaker.failure_threshold"),
        ({"url": "ftp://x/"}, "url"),
        ({"url": 5}, "url: "),
        ({"command": ["python"]}, "command"),
        ({"name": "../etc"}, "name"),
        ({"name": "a__b"}, "name"),
        ({"rate_limit": {"rps": -1}}, "rate_limit.rps"),
        ({"timeouts": {"call_ms": 10**18}}, "timeouts.call_ms"),
        ({"fallbacks": ["new"]}, "fallbacks"),
    ],
)
async def test_a_wrong_record_is_refused_naming_the_field(rest, hub, change, words):
    """A56: also what nobody may set."""
    answer = await rest.post("/api/endpoints", NEW | change)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert set(hub.catalog.all) == {"calculator", "other"}


async def test_secrets_are_masked_in_every_answer_and_survive_their_return(rest, hub):
    """A48."""
    record = {
        "name": "new",
        "url": "https://new.test/mcp?api_key=canary&ref=${REF}",
        "headers": {"Authorization": "Bearer canary", "X-Ref": "Bearer ${TOKEN}"},
        "fallback_url": "https://two.test/mcp?token=canary",
    }
    made = await rest.post("/api/endpoints", record)
    listed = await rest.get("/api/endpoints")
    config = (await rest.get("/api/endpoints/new")).json()["config"]
    assert config["url"] == f"https://new.test/mcp?api_key={HIDDEN}&ref=${{REF}}"
    assert config["headers"] == {"Authorization": HIDDEN, "X-Ref": "Bearer ${TOKEN}"}
    replaced = await rest.put("/api/endpoints/new", config | {"attempts": 2})
    assert not any("canary" in a.text for a in (made, listed, replaced))
    kept = hub.catalog.all["new"].endpoint
    assert (kept.url, kept.attempts) == (record["url"], 2)
    assert (kept.headers, kept.fallback_url) == (record["headers"], record["fallback_url"])


async def test_a_commands_secrets_are_masked_and_survive_their_return(rest, hub):
    command = ("npx", "server", "--token", "canary", "--api-key=canary", "--dir", "/tmp")
    env = {"A": "canary", "B": "${C}"}
    made = await rest.post("/api/endpoints", {"name": "new", "command": command, "env": env})
    config = made.json()["config"]
    assert "canary" not in made.text
    assert config["env"] == {"A": HIDDEN, "B": "${C}"}
    config["env"]["D"] = "more"
    await rest.put("/api/endpoints/new", config)
    kept = hub.catalog.all["new"].endpoint
    assert (kept.command, kept.env) == (command, env | {"D": "more"})


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"command": ["npx"], "env": {"A": HIDDEN}}, "env.A"),
        ({"command": ["npx", f"--token={HIDDEN}"]}, "command"),
        ({"url": f"http://x/?k={HIDDEN}"}, "url"),
        ({"url": "http://x/", "headers": {"X-Key": HIDDEN}}, "headers.X-Key"),
        ({"url": "http://x/", "fallback_url": f"http://x/?k={HIDDEN}"}, "fallback_url"),
    ],
)
async def test_a_mask_that_stands_for_nothing_is_refused(rest, record, field):
    for answer in (
        await rest.post("/api/endpoints", {"name": "new"} | record),
        await rest.put("/api/endpoints/calculator", record),
    ):
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"{field}: expected the value itself")


async def test_a_test_says_what_it_found(rest, hub):
    answer = await rest.post("/api/endpoints/calculator/test?seconds=2")
    assert answer.json() == {"ok": False, "problem": "port refused"}
    assert hub.catalog.tested == [("calculator", 2)]
    for seconds in ("0", "31", "x", "1e3"):
        refused = await rest.post(f"/api/endpoints/calculator/test?seconds={seconds}")
        assert refused.status_code == 400
        assert "seconds" in refused.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [{"command": ["sh", "-c", "id"]}, {"url": "http://169.254.169.254/"}, {"name": "x"}, []],
)
async def test_a_test_takes_no_command_and_no_address(rest, hub, body):
    """A27: what was not saved is not run, whoever asks."""
    answer = await rest.post("/api/endpoints/calculator/test", body)
    assert (answer.status_code, hub.catalog.tested) == (400, [])
    assert (await rest.post("/api/endpoints/unsaved/test", body)).status_code == 404
    answer = await rest.post("/api/endpoints/calculator/test", as_=USER)
    assert (answer.status_code, hub.catalog.tested) == (403, [])


async def test_a_provider_is_added_by_its_preset_and_replaced_by_another_one(rest, hub):
    made = await rest.post("/api/endpoints", {"name": "gpt", "llm": {"preset": "openai"}})
    assert (made.status_code, made.json()["config"]["url"]) == (201, "https://api.openai.com/v1")
    other = await rest.put("/api/endpoints/gpt", {"llm": {"preset": "groq"}})
    assert other.json()["config"]["url"] == "https://api.groq.com/openai/v1"
    wrong = await rest.post("/api/endpoints", {"name": "x", "llm": {"preset": "nobody"}})
    assert (wrong.status_code, "llm.preset" in wrong.json()["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"command": ["./run"]}, "command: expected an absolute path or a name on PATH"),
        ({"command": ["../../bin/sh"]}, "command: expected an absolute path"),
        ({"command": ["x\0y"]}, "command: expected words without NUL"),
        ({"command": [""]}, "command: expected a program"),
        ({"command": "sh -c id"}, "command: "),
        ({"command": ["x"], "cwd": "etc"}, "cwd: expected an absolute path"),
        ({"command": ["x"], "env": {"LD_PRELOAD": "/x.so"}}, "env.LD_PRELOAD"),
        ({"command": ["x"], "env": {"PYTHONSTARTUP": "/x.py"}}, "env.PYTHONSTARTUP"),
        ({"command": ["x"], "env": {"NODE_OPTIONS": "--require /x.js"}}, "env.NODE_OPTIONS"),
        ({"command": ["x"], "env": {"PATH": ".:/bin"}}, "env.PATH"),
        ({"command": ["x"], "env": {"A=B": "c"}}, "env: expected names"),
        ({"command": ["x"], "shell": True}, "shell"),
        ({"url": "file:///etc/passwd"}, "url: "),
        ({"url": "http://me:secret@x/"}, "url: expected an address without user or password"),
        ({"url": "http://x/", "headers": {"Host": "y"}}, "headers.Host"),
        ({"url": "http://x/", "headers": {"A": "b\r\nC: d"}}, "headers.A"),
    ],
)
async def test_what_would_run_other_code_is_refused(rest, hub, record, words):
    """A26, A19: also when it comes as a change of a server that is there."""
    for answer in (
        await rest.post("/api/endpoints", {"name": "new", **record}),
        await rest.put("/api/endpoints/calculator", record),
    ):
        assert (answer.status_code, words in answer.json()["detail"]) == (400, True)
        assert "secret" not in answer.text
    assert set(hub.catalog.all) == {"calculator", "other"}
    assert hub.catalog.all["calculator"].endpoint.command == ()


async def test_starting_programs_is_for_admins(rest, hub):
    """A26: registering a command is running code."""
    for caller in (USER, READER):
        answer = await rest.post("/api/endpoints", {"name": "new", "command": ["id"]}, as_=caller)
        assert answer.status_code == 403
        answer = await rest.put("/api/endpoints/other", {"command": ["id"]}, as_=caller)
        assert answer.status_code == 403
    assert set(hub.catalog.all) == {"calculator", "other"}
    assert hub.catalog.all["other"].endpoint.command == ()


async def test_a_shells_signs_are_words(rest, hub):
    command = ["tool", "; rm -rf /", "$(id)", "`id`", "| cat", "${HOME}"]
    await rest.post("/api/endpoints", {"name": "new", "command": command})
    assert hub.catalog.all["new"].endpoint.command == tuple(command)


async def test_a_limited_key_stays_within_its_servers(rest, hub):
    shown = (await rest.get("/api/endpoints", as_=LIMITED)).json()["endpoints"]
    assert [e["name"] for e in shown] == ["calculator"]
    assert (await rest.get("/api/endpoints/other", as_=LIMITED)).status_code == 404
    assert (await rest.delete("/api/endpoints/other", as_=LIMITED)).status_code == 404
    assert (await rest.post("/api/endpoints", NEW, as_=LIMITED)).status_code == 403
    by_fallback = {"url": "http://x/", "fallbacks": ["other"]}
    answer = await rest.put("/api/endpoints/calculator", by_fallback, as_=LIMITED)
    assert answer.status_code == 403
    assert set(hub.catalog.all) == {"calculator", "other"}
    assert hub.catalog.all["calculator"].endpoint.fallbacks == ()
