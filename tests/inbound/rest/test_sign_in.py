import pytest
from msgspec import structs
from support.rest_hub import LIMITED, READER

from agenthub.admission import SignInState
from agenthub.domain.errors import InvalidParams, UpstreamUnavailable
from agenthub.settings import ServerSettings, Settings

LOGIN = "/api/endpoints/calculator/login"


@pytest.mark.parametrize(
    ("public", "address"),
    [
        ("", "http://hub.test"),
        ("https://hub.example.com/", "https://hub.example.com"),
    ],
)
async def test_a_sign_in_begins_and_comes_back_to_the_hubs_own_address(rest, hub, public, address):
    hub.settings = Settings(server=structs.replace(ServerSettings(), public_url=public))
    answer = await rest.post(LOGIN)
    assert answer.status_code == 200
    assert answer.json() == {"url": "https://login.test/authorize?state=s"}
    assert hub.sign_ins.begun == [("calculator", address)]


async def test_a_sign_in_that_cannot_begin_says_why(rest, hub):
    hub.sign_ins.error = UpstreamUnavailable("it names no authorization server")
    answer = await rest.post(LOGIN)
    assert answer.status_code == 502
    assert "names no authorization server" in answer.json()["detail"]


SIGNED_IN = SignInState(
    False, "", signed_in=True, ends_s=1_700_000_100, issuer="https://login.test",
    scopes=("a",), wanted=("b",),
)  # fmt: skip
SHOWN = {
    "waits": False, "problem": "", "signed_in": True, "renews": False, "ends_s": 1_700_000_100,
    "issuer": "https://login.test", "scopes": ["a"], "wanted": ["b"],
}  # fmt: skip


async def test_how_it_stands_is_told(rest, hub):
    hub.sign_ins.states = [SignInState(waits=True, problem="x"), SIGNED_IN]
    waiting = (await rest.get(LOGIN)).json()
    assert (waiting["waits"], waiting["problem"], waiting["signed_in"]) == (True, "x", False)
    assert (await rest.get(LOGIN)).json() == SHOWN


async def test_a_server_that_nobody_signs_in_to_has_no_such_state(rest, hub):
    answer = await rest.get(LOGIN)
    assert answer.status_code == 400
    assert "calculator has no `oauth` in its record, or is switched off" in answer.json()["detail"]


async def test_an_admin_sees_it_beside_each_server(rest, hub):
    assert (await rest.get("/api/endpoints/calculator")).json()["sign_in"] is None
    hub.sign_ins.states = [SIGNED_IN]
    assert (await rest.get("/api/endpoints/calculator")).json()["sign_in"] == SHOWN
    assert (await rest.get("/api/check")).json()["servers"][0]["sign_in"] == SHOWN
    for path in ("/api/endpoints/calculator", "/api/check"):
        assert "login.test" not in (await rest.get(path, as_=READER)).text


async def test_a_sign_out_says_what_became_of_the_tokens(rest, hub):
    answer = await rest("DELETE", LOGIN)
    assert answer.status_code == 200
    assert answer.json() == {"was_signed_in": True, "revoked": True, "problem": ""}
    assert hub.sign_ins.ended == ["calculator"]
    hub.sign_ins.error = InvalidParams("the hub signs in to calculator by itself")
    answer = await rest("DELETE", LOGIN)
    assert (answer.status_code, "by itself" in answer.text) == (400, True)
    hub.sign_ins.error = None
    assert (await rest("DELETE", LOGIN, as_=READER)).status_code == 403
    assert hub.sign_ins.ended == ["calculator"] * 2


async def test_only_for_servers_that_there_are_and_that_the_key_may_see(rest, hub):
    for name, caller in (("nothing", None), ("other", LIMITED)):
        for method in ("GET", "POST", "DELETE"):
            more = {} if caller is None else {"as_": caller}
            answer = await rest(method, f"/api/endpoints/{name}/login", **more)
            assert answer.status_code == 404
    assert hub.sign_ins.begun == hub.sign_ins.ended == []
