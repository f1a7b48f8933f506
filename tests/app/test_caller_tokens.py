"""Each caller's own tokens through a whole hub: exchanged, or signed in for (A24, A25)."""

import asyncio
import logging
import os
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from support.caller_hub import EXCHANGE, SIGNED_IN, URL_MODE, caller_hub


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AGENTHUB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HUB_SECRET", "secret-of-the-hub")
    return tmp_path / "home"


# ---------------------------------------------------------------- token exchange (RFC 8693)


async def test_a_call_goes_with_a_token_that_its_callers_own_was_exchanged_for(home):
    async with caller_hub(home, {**EXCHANGE, "audience": "notes", "scopes": ["n:read"]}) as house:
        anna = house.token("anna")
        assert await house.whose(anna) == "anna"
        (form,) = house.forms("token-exchange")
        assert form == {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": anna,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "audience": "notes",
            "resource": house.upstream.url,
            "scope": "n:read",
        }
        await house.listed()
        lists = {token for method, token in house.shown if method == "tools/list"}
        assert {house.accepted[token] for token in lists} == {"the hub"}


async def test_fifty_calls_bring_about_one_exchange_and_each_caller_has_its_own(home):
    async with caller_hub(home, EXCHANGE) as house:
        anna, bert = house.token("anna"), house.token("bert")
        whose = await asyncio.gather(*map(house.whose, [anna, bert] * 25))
        assert whose == ["anna", "bert"] * 25
        assert len(house.forms("token-exchange")) == 2


async def test_a_newer_token_of_the_same_rights_uses_what_is_there_and_lesser_ones_do_not(home):
    async with caller_hub(home, EXCHANGE) as house:
        assert await house.whose(house.token("anna", scope="agenthub:tools mail")) == "anna"
        again = house.token("anna", scope="agenthub:tools mail", jti="another")
        assert await house.whose(again) == "anna"
        assert len(house.forms("token-exchange")) == 1
        assert await house.whose(house.token("anna", scope="agenthub:tools")) == "anna"
        assert len(house.forms("token-exchange")) == 2


async def test_a_key_of_the_hubs_cannot_be_exchanged_and_is_told_what_to_do(home):
    async with caller_hub(home, EXCHANGE) as house:
        _, key = await house.hub.keys.create("laptop")
        await house.listed()
        error = await house.whose(key)
        assert error["code"] == -31006
        assert "came with a key of the hub's" in error["message"]
        assert "access token of an issuer in `auth.issuers`" in error["message"]
        assert error["data"]["executed"] == "no"
        assert not house.forms("token-exchange")
        assert not [one for one in house.shown if one[0] == "tools/call"]
        breaker = house.hub.catalog.get("notes").lane.breaker
        assert breaker.state.value == "closed", "who has no token is no failure of the server"


async def test_an_exchange_that_is_refused_is_told_and_harms_no_other_caller(home):
    async with caller_hub(home, EXCHANGE) as house:
        anna, eve = house.token("anna"), house.token("eve")
        house.login.replies["/token"] = lambda post: (
            (400, {"error": "invalid_target"})
            if post.form.get("subject_token") == eve
            else house.grant(post)
        )
        error = await house.whose(eve)
        assert "invalid_target" in error["message"]
        assert eve not in str(error)
        assert await house.whose(anna) == "anna"
        house.login.replies["/token"] = house.grant
        newer = house.token("eve", exp=house.work.claims()["exp"] + 60)
        assert await house.whose(newer) == "eve"


async def test_what_a_caller_came_in_with_is_in_no_request_log_error_or_file(home, caplog):
    caplog.set_level(logging.DEBUG)
    async with caller_hub(home, EXCHANGE) as house:
        anna = house.token("anna")
        assert await house.whose(anna) == "anna"
        house.accepted.clear()
        said = str(await house.whose(anna))
        assert anna not in str(house.upstream.requests)
        assert "subject_token" not in str(house.upstream.requests)
        caller = house.hub.keys.authenticate(anna.encode())
        said += repr(caller) + caplog.text
        exchanged = [token for _, token in house.shown if token]
        await house.hub.store.load()
    for secret in (anna, *exchanged):
        assert secret not in said
        assert secret.encode() not in house.said(home)
    assert anna not in exchanged


# ---------------------------------------------------------------- each caller signs in


async def signed_in(house, address, code, **more):
    """A browser that opens the page, agrees and comes back from the authorization server."""
    async with httpx2.AsyncClient(base_url=house.url) as browser:
        page = await browser.get(address)
        assert page.status_code == 200
        agreed = await browser.post(address, headers={"origin": house.url})
        assert agreed.status_code == 200
        begun = agreed.text.partition("<a href='")[2].partition("'")[0].replace("&amp;", "&")
        asked = {key: values[0] for key, values in parse_qs(urlsplit(begun).query).items()}
        return await come_back(browser, asked["state"], code, **more), page.text, asked


async def come_back(browser, state, code, **more):
    return await browser.get("/oauth/callback", params={"state": state, "code": code}, **more)


async def key_of(house, name):
    _, key = await house.hub.keys.create(name)
    return key


def address_in(result):
    (asked,) = result["inputRequests"].values()
    assert asked["method"] == "elicitation/create"
    assert asked["params"]["mode"] == "url"
    assert asked["params"]["message"].startswith("notes: Sign in to notes")
    return asked["params"]["url"]


async def test_a_caller_is_asked_to_open_the_hubs_page_and_its_next_try_goes_through(home):
    async with caller_hub(home, SIGNED_IN) as house:
        key = await key_of(house, "anna's laptop")
        first = (await house.call(key, capabilities=URL_MODE))["result"]
        assert first["resultType"] == "input_required"
        address = address_in(first)
        assert address.startswith(f"{house.url}/oauth/sign-in?ticket=")
        back, page, asked = await signed_in(house, address, "anna")
        assert back.status_code == 200
        assert "anna&#x27;s laptop" in page
        assert asked["redirect_uri"] == f"{house.url}/oauth/callback"
        assert asked["code_challenge_method"] == "S256"
        answers = {name: {"action": "accept"} for name in first["inputRequests"]}
        retry = {"inputResponses": answers, "requestState": first["requestState"]}
        assert await house.whose(key, capabilities=URL_MODE, **retry) == "anna"
        assert await house.whose(key) == "anna"


async def test_a_client_that_opens_no_pages_gets_the_address_in_the_error(home):
    async with caller_hub(home, SIGNED_IN) as house:
        key = await key_of(house, "plain")
        error = await house.whose(key)
        assert error["code"] == -31006
        assert f"{house.url}/oauth/sign-in?ticket=" in error["message"]
        assert error["data"]["executed"] == "no"
        assert error == {**await house.whose(key), "data": error["data"]}, "the same address"


async def test_tokens_of_one_caller_are_never_used_for_another(home):
    async with caller_hub(home, SIGNED_IN) as house:
        anna, bert = await key_of(house, "anna"), await key_of(house, "bert")
        pages = [
            address_in((await house.call(key, capabilities=URL_MODE))["result"])
            for key in (anna, bert)
        ]
        await signed_in(house, pages[0], "anna")
        assert await house.whose(anna) == "anna"
        assert "ticket=" in (await house.whose(bert))["message"]
        await signed_in(house, pages[1], "bert")
        whose = await asyncio.gather(*map(house.whose, [anna, bert] * 20))
        assert whose == ["anna", "bert"] * 20


async def test_a_sign_in_counts_only_in_the_browser_that_agreed_on_the_hubs_page(home):
    """Who sends the authorization server's address on gets nobody else's token (phishing)."""
    async with caller_hub(home, SIGNED_IN) as house:
        key = await key_of(house, "mallory")
        address = address_in((await house.call(key, capabilities=URL_MODE))["result"])
        async with httpx2.AsyncClient(base_url=house.url) as browser:
            agreed = await browser.post(address)
            state = agreed.text.partition("state=")[2].partition("&")[0]
        async with httpx2.AsyncClient(base_url=house.url) as victim:
            refused = await come_back(victim, state, "victim")
            assert refused.status_code == 400
            victim.cookies.set("agenthub-sign-in", "x" * 43)
            assert (await come_back(victim, state, "victim")).status_code == 400
        assert "ticket=" in (await house.whose(key))["message"]
        assert not house.forms("authorization_code")


async def test_a_page_elsewhere_cannot_press_the_button_and_a_wrong_link_opens_nothing(home):
    async with caller_hub(home, SIGNED_IN) as house:
        key = await key_of(house, "anna")
        address = address_in((await house.call(key, capabilities=URL_MODE))["result"])
        async with httpx2.AsyncClient() as browser:
            foreign = {"origin": "https://evil.example.com", "sec-fetch-site": "cross-site"}
            assert (await browser.post(address, headers=foreign)).status_code == 403
            for wrong in (f"{house.url}/oauth/sign-in", f"{address}x", f"{address}&ticket=y"):
                assert (await browser.get(wrong)).status_code == 400
                assert (await browser.post(wrong)).status_code == 400
            assert (await browser.put(address)).status_code == 405
        assert house.login.asked.count("/authorize") == 0


async def test_what_a_caller_signed_in_for_is_kept_encrypted_and_not_longer_than_its_key(home):
    async with caller_hub(home, SIGNED_IN) as house:
        row, key = await house.hub.keys.create("anna")
        address = address_in((await house.call(key, capabilities=URL_MODE))["result"])
        await signed_in(house, address, "anna")
        assert await house.whose(key) == "anna"
        (token,) = [token for token, who in house.accepted.items() if who == "anna"]
        secrets = (await house.hub.store.load()).secrets
        assert f"oauth:notes/{row.id}" in secrets
        assert token.encode() not in b"".join(secrets.values())
        await house.hub.keys.revoke(row.id)
        async with asyncio.timeout(10):
            while f"oauth:notes/{row.id}" in (await house.hub.store.load()).secrets:  # noqa: ASYNC110 - a database has no events
                await asyncio.sleep(0.01)
    assert token.encode() not in house.said(home)


async def test_a_client_of_the_old_era_gets_the_error_that_its_revision_has_for_it(home):
    async with caller_hub(home, SIGNED_IN) as house:
        key = await key_of(house, "old")
        headers = {
            "authorization": f"Bearer {key}", "accept": "application/json, text/event-stream",
        }  # fmt: skip
        hello = {
            "protocolVersion": "2025-11-25", "capabilities": URL_MODE,
            "clientInfo": {"name": "old", "version": "1"},
        }  # fmt: skip
        async with httpx2.AsyncClient(headers=headers) as client:

            async def ask(method, params, number=1):
                body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
                return await client.post(f"{house.url}/mcp", json=body)

            begun = await ask("initialize", hello)
            client.headers["mcp-session-id"] = begun.headers["mcp-session-id"]
            client.headers["mcp-protocol-version"] = "2025-11-25"
            said = (await ask("tools/call", {"name": "notes__whoami", "arguments": {}}, 2)).text
            assert '"code":-32042' in said
            assert f"{house.url}/oauth/sign-in?ticket=" in said
            assert '"elicitationId"' in said
            address = said.partition('"url":"')[2].partition('"')[0]
            await signed_in(house, address, "anna")
            again = (await ask("tools/call", {"name": "notes__whoami", "arguments": {}}, 3)).text
            assert '"text":"anna"' in again
