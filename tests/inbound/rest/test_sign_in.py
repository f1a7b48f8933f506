import pytest
from msgspec import structs
from support.rest_hub import LIMITED

from agenthub.admission import SignInState
from agenthub.domain.errors import UpstreamUnavailable
from agenthub.settings import ServerSettings, Settings

LOGIN = "/api/endpoints/calculator/login"


@pytest.mark.parametrize(
    ("public", "redirect"),
    [
        ("", "http://hub.test/oauth/callback"),
        ("https://hub.example.com/", "https://hub.example.com/oauth/callback"),
    ],
)
async def test_a_sign_in_begins_and_comes_back_to_the_hub(rest, hub, public, redirect):
    hub.settings = Settings(server=structs.replace(ServerSettings(), public_url=public))
    answer = await rest.post(LOGIN)
    assert answer.status_code == 200
    assert answer.json() == {"url": "https://login.test/authorize?state=s"}
    assert hub.sign_ins.begun == [("calculator", redirect)]


async def test_a_sign_in_that_cannot_begin_says_why(rest, hub):
    hub.sign_ins.error = UpstreamUnavailable("it names no authorization server")
    answer = await rest.post(LOGIN)
    assert answer.status_code == 502
    assert "names no authorization server" in answer.json()["detail"]


async def test_how_it_stands_is_told(rest, hub):
    hub.sign_ins.states = [SignInState(waits=True, problem="x"), SignInState(False, "")]
    assert (await rest.get(LOGIN)).json() == {"waits": True, "problem": "x"}
    assert (await rest.get(LOGIN)).json() == {"waits": False, "problem": ""}


async def test_only_for_servers_that_there_are_and_that_the_key_may_see(rest, hub):
    for name, caller in (("nothing", None), ("other", LIMITED)):
        for method in ("GET", "POST"):
            more = {} if caller is None else {"as_": caller}
            answer = await rest(method, f"/api/endpoints/{name}/login", **more)
            assert answer.status_code == 404
    assert hub.sign_ins.begun == []
