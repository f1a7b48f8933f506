import logging

import pytest
from support.rest_hub import LIMITED

KEYS = "/api/keys"


async def test_a_key_is_made_shown_once_listed_and_revoked(rest):
    made = await rest.post(KEYS, {"name": "laptop", "endpoints": ["calculator"], "ttl_s": 60})
    assert made.status_code == 201
    assert made.json() == {
        "id": "k0",
        "name": "laptop",
        "scopes": ["tools", "llm", "read"],
        "endpoints": ["calculator"],
        "created_at": 1_700_000_000,
        "expires_at": 1_700_000_060,
        "revoked": False,
        "terms": {},
        "former_until": None,
        "key": "ah_k0_the-secret",
    }
    listed = await rest.get(KEYS)
    assert [key["id"] for key in listed.json()["keys"]] == ["k0"]
    assert "secret" not in listed.text
    assert "digest" not in listed.text
    assert (await rest.delete(f"{KEYS}/k0")).status_code == 204
    assert (await rest.get(KEYS)).json()["keys"][0]["revoked"] is True
    assert (await rest.delete(f"{KEYS}/none")).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes"),
        ({"name": "a", "ttl_s": 0}, "ttl_s"),
        ({"name": "a", "ttl_s": 10**12}, "ttl_s"),
        ({"name": "a", "id": "k9"}, "id"),
        ({"name": "a", "endpoints": "all"}, "endpoints"),
    ],
)
async def test_a_wrong_wish_is_refused_naming_the_field(rest, hub, body, words):
    answer = await rest.post(KEYS, body)
    assert (answer.status_code, hub.keys.rows) == (400, {})
    assert words in answer.json()["detail"]


async def test_a_server_that_is_not_there_is_told_before_a_key_is_made_for_it(rest, hub):
    answer = await rest.post(KEYS, {"name": "a", "endpoints": ["calculator", "calculater"]})
    assert (answer.status_code, hub.keys.rows) == (404, {})
    assert "'calculater'" in answer.json()["detail"]


async def test_a_limited_key_makes_no_keys(rest, hub):
    """It could make one that is not limited."""
    answer = await rest.post(KEYS, {"name": "a"}, as_=LIMITED)
    assert (answer.status_code, hub.keys.rows) == (403, {})
    assert (await rest.get(KEYS, as_=LIMITED)).status_code == 403


async def test_a_key_is_rotated_and_its_new_secret_shown_once(rest):
    await rest.post(KEYS, {"name": "laptop"})
    made = await rest.post(f"{KEYS}/k0/rotate", {"grace_s": 600})
    assert made.status_code == 200
    assert (made.json()["id"], made.json()["key"]) == ("k0", "ah_k0_another-secret")
    assert made.json()["former_until"] == 1_700_000_600
    listed = await rest.get(KEYS)
    assert listed.json()["keys"][0]["former_until"] == 1_700_000_600
    assert "secret" not in listed.text
    at_once = (await rest.post(f"{KEYS}/k0/rotate", {})).json()
    assert at_once["former_until"] is None
    assert (await rest.post(f"{KEYS}/none/rotate", {})).status_code == 404
    assert (await rest.post(f"{KEYS}/k0/rotate", {"grace": 5})).status_code == 400
    assert (await rest.post(f"{KEYS}/k0/rotate", {}, as_=LIMITED)).status_code == 403


async def test_who_changed_which_key_stands_in_the_log_and_no_secret_does(rest, caplog):
    caplog.set_level(logging.INFO, logger="agenthub.inbound.rest.keys")
    await rest.post(KEYS, {"name": "laptop"})
    await rest.put(f"{KEYS}/k0/terms", {"team": "ops"})
    await rest.post(f"{KEYS}/k0/rotate", {"grace_s": 5})
    await rest.delete(f"{KEYS}/k0")
    said = [(one.message, one.key, one.by) for one in caplog.records]
    assert said == [
        ("A key was made", "k0", "admin"),
        ("A key's terms were changed", "k0", "admin"),
        ("A key has a new secret", "k0", "admin"),
        ("A key was revoked", "k0", "admin"),
    ]
    assert caplog.records[2].grace_s == 5
    assert "secret" not in "".join(repr(one.__dict__) for one in caplog.records).replace(
        "A key has a new secret", ""
    )
