"""Legacy sessions: ids that describe themselves, and open nothing to anybody else (A17, A40)."""

import base64

import msgspec
import pytest
from support.house import ANNA, BERT

from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import InvalidParams
from agenthub.domain.outcome import Cause
from agenthub.inbound.mcp.transport import session as session_module
from agenthub.inbound.mcp.transport.session import (
    ID_MAX,
    RunningRequests,
    Sessions,
    read_initialize,
)
from agenthub.wire.jsonrpc import read_message


def message(method="initialize", **params):
    return read_message(
        msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    )


def hello(version="2025-11-25", **more):
    return message(protocolVersion=version, **more)


class Left(list):
    """Who left, in order."""

    def __call__(self, session):
        self.append(session)
        session.close()


class Request:
    def __init__(self):
        self.causes = []

    def cancel(self, cause):
        self.causes.append(cause)


@pytest.fixture
def sessions():
    return Sessions(b"s" * 32, Left())


def test_a_session_is_known_by_its_id_to_its_own_caller_at_its_own_face(sessions):
    session_id, session = sessions.begin(hello(), ANNA, "calc")
    assert sessions.find(session_id, ANNA, "calc") is session
    assert sessions.find(session_id, BERT, "calc") is None
    assert sessions.find(session_id, ANNA, None) is None
    assert sessions.find(session_id, ANNA, "files") is None


def test_an_id_is_visible_ascii_and_short_whatever_the_client_says(sessions):
    capabilities = {"experimental": {"x": "y" * 100_000}, "sampling": {"tools": {}}}
    info = {"name": "n" * 100_000, "version": "1"}
    session_id, session = sessions.begin(
        hello(capabilities=capabilities, clientInfo=info), ANNA, None
    )
    assert session_id.isascii()
    assert session_id.isprintable()
    assert len(session_id) <= ID_MAX
    assert msgspec.json.decode(session.context.capabilities) == {"sampling": {"tools": {}}}
    assert session.context.client_info == b""


def test_a_session_outlives_the_process(sessions):
    declared = {"elicitation": {}, "roots": {"listChanged": True}}
    session_id, _ = sessions.begin(
        hello("2025-06-18", capabilities=declared, clientInfo={"name": "c"}), ANNA, None
    )
    found = Sessions(b"s" * 32, Left()).find(session_id, ANNA, None)
    assert found is not None
    assert found.facts.version == "2025-06-18"
    assert msgspec.json.decode(found.context.capabilities) == declared
    assert msgspec.json.decode(found.context.client_info) == {"name": "c"}
    assert Sessions(b"t" * 32, Left()).find(session_id, ANNA, None) is None


def test_a_forged_id_opens_nothing(sessions):
    session_id, _ = sessions.begin(hello(), ANNA, None)
    fresh = Sessions(b"s" * 32, Left())
    facts, signature = session_id.split(".")
    other = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(facts + "=" * (-len(facts) % 4)).replace(b"anna", b"bert")
    )
    for forged in (
        "", ".", "a.b", facts, signature, f"{facts}.", f".{signature}", f"{facts}.{signature}.x",
        f"{facts}.{signature[::-1]}", f"{facts}=.{signature}", f"{facts}.{signature}=",
        f"{other.decode().rstrip('=')}.{signature}", session_id + " ", "é.é", "x" * (ID_MAX + 1),
        "bench-00000001", "\x00",
    ):  # fmt: skip
        assert fresh.find(forged, ANNA, None) is None, forged
        assert fresh.find(forged, BERT, None) is None, forged


def test_what_a_key_may_see_is_that_of_the_request_not_of_the_session(sessions):
    session_id, _ = sessions.begin(hello(), ANNA, None)
    narrower = Caller("anna", frozenset({Scope.TOOLS}), frozenset({"calc"}))
    found = sessions.find(session_id, narrower, None)
    assert found is not None
    assert found.context.caller is narrower


def test_an_ended_session_stays_ended_and_its_calls_are_given_up(sessions):
    session_id, session = sessions.begin(hello(), ANNA, None)
    request = Request()
    session.running.add(b"1", request)
    sessions.end(session_id, ANNA.id)
    assert request.causes == [Cause.CLIENT]
    assert sessions.find(session_id, ANNA, None) is None
    sessions.end(session_id, ANNA.id)
    assert sessions.find(session_id, ANNA, None) is None


def test_memory_for_sessions_is_bounded(monkeypatch):
    monkeypatch.setattr(session_module, "KEPT_MAX", 3)
    left = Left()
    sessions = Sessions(b"s" * 32, left)
    begun = [sessions.begin(hello(), ANNA, None) for _ in range(5)]
    assert left == [begun[0][1], begun[1][1]]
    assert sessions.find(begun[0][0], ANNA, None) is not None, "it describes itself"
    for session_id, _ in begun:
        sessions.end(session_id, ANNA.id)
    assert len(sessions._ended) == 3
    assert len(sessions._kept) == 0


def test_who_begins_sessions_without_end_loses_its_own_first(monkeypatch):
    """A60: what others have under way is not given up for it."""
    monkeypatch.setattr(session_module, "KEPT_MAX", 5)
    left = Left()
    sessions = Sessions(b"s" * 32, left)
    bert = [sessions.begin(hello(), BERT, None)[1] for _ in range(2)]
    anna = [sessions.begin(hello(), ANNA, None)[1] for _ in range(20)]
    assert left == anna[:17]
    assert not set(bert) & set(left)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("2025-03-26", "2025-03-26"),
        ("2026-07-28", "2025-11-25"), ("2024-11-05", "2024-11-05"), ("x", "2025-11-25"),
        ("", "2025-11-25"),
    ],
)  # fmt: skip
def test_the_version_is_the_clients_if_it_is_known_and_else_the_newest_of_the_old(wanted, given):
    assert read_initialize(hello(wanted), ANNA, None).version == given


@pytest.mark.parametrize(
    "params",
    [{}, {"protocolVersion": 7}, {"protocolVersion": "2025-11-25", "capabilities": []}],
)
def test_an_initialize_of_the_wrong_shape_is_refused(params):
    with pytest.raises(InvalidParams):
        read_initialize(message(**params), ANNA, None)


def test_a_log_level_is_one_of_eight(sessions):
    _, session = sessions.begin(hello(), ANNA, None)
    assert session.context.log_level == b'"info"'
    session.set_level(message(level="alert"))
    assert session.context.log_level == b'"alert"'
    for level in ("loud", 7, None, ["alert"]):
        with pytest.raises(InvalidParams):
            session.set_level(message(level=level))
    assert session.context.log_level == b'"alert"'


def test_cancelling_reaches_the_sessions_own_request_of_that_very_id(sessions):
    _, session = sessions.begin(hello(), ANNA, None)
    _, other = sessions.begin(hello(), ANNA, None)
    mine, text, theirs = Request(), Request(), Request()
    session.running.add(b"1", mine)
    session.running.add(b'"1"', text)
    other.running.add(b"1", theirs)
    session.cancelled(message("notifications/cancelled", requestId=1))
    session.cancelled(message("notifications/cancelled", requestId=2))
    session.cancelled(message("notifications/cancelled"))
    assert (mine.causes, text.causes, theirs.causes) == ([Cause.CLIENT], [], [])


def test_an_id_in_use_takes_nothing_from_its_first_owner():
    """A15."""
    running, first, second = RunningRequests(), Request(), Request()
    running.add(b"1", first)
    running.add(b"1", second)
    running.discard(b"1", second)
    running.discard(b"1", second)
    running.cancel(b"1")
    assert (first.causes, second.causes) == ([Cause.CLIENT], [])
    running.discard(b"1", first)
    running.discard(b"2", first)
    running.cancel(b"1")
    assert len(first.causes) == 1
