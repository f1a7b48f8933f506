import threading
import time
from contextlib import asynccontextmanager

import pytest
from support.cli_hub import held, listening

from agenthub.cli import offline
from agenthub.cli.ending import Failed
from agenthub.cli.offline import offline_hub
from agenthub.cli.requests import Request
from agenthub.domain.errors import StorageFailed

LIST = Request("GET", "/api/endpoints")


def test_the_hub_is_opened_asked_and_closed(home, module):
    with offline_hub(home, ["a"]) as requests:
        assert requests.url is None
        assert requests.send(LIST).status == 200
        both = requests.send_all([LIST, Request("POST", "/api/keys", {"name": "x"})])
        assert [answer.status for answer in both] == [200, 201]
    assert module.opened == [(home, ["a"])]
    assert oct(home.stat().st_mode)[-3:] == "700"


def test_what_fails_while_it_opens_is_raised_as_it_is(home, module):
    module.error = StorageFailed("The disk is full.")
    with pytest.raises(StorageFailed, match="disk is full"), offline_hub(home, None):
        pass


def test_what_fails_while_it_closes_is_raised(home, module):
    @asynccontextmanager
    async def breaking(home, connect):
        yield module.door
        raise StorageFailed("The disk is full.")

    module.offline = breaking
    with pytest.raises(StorageFailed, match="disk is full"), offline_hub(home, None) as requests:
        requests.send(LIST)


def test_an_answer_that_does_not_come_is_told(home, module):
    async def never(method, path, body):
        import asyncio

        await asyncio.Event().wait()

    module.door.request = never
    with (
        pytest.raises(Failed, match=r"No answer within 0\.01 s"),
        offline_hub(home, None) as requests,
    ):
        requests.send(Request("GET", "/", patience_s=0.01))


def test_a_hub_that_has_started_meanwhile_is_used(home, module):
    with listening(module.gate, home) as url, offline_hub(home, None) as requests:
        assert requests.url == url
    assert module.opened == []


def test_a_hub_that_is_starting_is_waited_for(home, module, monkeypatch):
    monkeypatch.setattr(offline, "find_hub", Later(offline.find_hub))
    with listening(module.gate, home) as url, offline_hub(home, None) as requests:
        assert requests.url == url
    assert module.opened == []


class Later:
    """Finds nothing at first."""

    def __init__(self, find):
        self._find = find
        self._times = 0

    def __call__(self, home):
        self._times += 1
        return None if self._times < 3 else self._find(home)


def test_a_hub_that_is_stopping_is_waited_for(home, module):
    lock = held(home)
    lock.__enter__()
    timer = threading.Timer(0.15, lock.__exit__, [None, None, None])
    timer.start()
    began = time.monotonic()
    with offline_hub(home, None) as requests:
        assert requests.url is None
    assert time.monotonic() - began < 5
    timer.join()


def test_a_hub_that_never_listens_is_not_waited_for_for_ever(home, module, monkeypatch):
    monkeypatch.setattr(offline, "SETTLE_S", 0.01)
    with held(home), offline_hub(home, None):
        assert module.opened == [(home, None)], "opening says then who has it"


def test_commands_take_their_turns(home, module):
    lock = held(home, "cli.lock")
    lock.__enter__()
    timer = threading.Timer(0.1, lock.__exit__, [None, None, None])
    timer.start()
    with offline_hub(home, None) as requests:
        assert requests.send(LIST).status == 200
    timer.join()


def test_a_command_does_not_wait_for_another_for_ever(home, monkeypatch):
    monkeypatch.setattr(offline, "QUEUE_S", 0.01)
    with (
        held(home, "cli.lock"),
        pytest.raises(Failed, match="for too long"),
        offline_hub(home, None),
    ):
        pass
