"""What the hub's protocol class uses of uvicorn's; a release that changes it fails here first."""

import asyncio
import inspect
from importlib.metadata import version

import httptools
import pytest
from support.edge_hub import open_house
from uvicorn import Config
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

Theirs = httptools_impl.HttpToolsProtocol
Cycle = httptools_impl.RequestResponseCycle


def names(function):
    return list(inspect.signature(function).parameters)


def test_the_release_is_one_that_was_looked_at():
    major, minor = map(int, version("uvicorn").split(".")[:2])
    assert (0, 54) <= (major, minor) < (0, 56)


def test_a_protocol_is_made_with_config_state_and_app_state():
    assert names(Theirs.__init__) == ["self", "config", "server_state", "app_state", "_loop"]


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("connection_made", ["self", "transport"]),
        ("connection_lost", ["self", "exc"]),
        ("data_received", ["self", "data"]),
        ("pause_writing", ["self"]),
        ("resume_writing", ["self"]),
        ("shutdown", ["self"]),
        ("on_message_begin", ["self"]),
        ("on_headers_complete", ["self"]),
        ("on_body", ["self", "body"]),
        ("on_message_complete", ["self"]),
        ("on_response_complete", ["self"]),
    ],
)
def test_each_method_that_is_called_or_replaced_is_there(method, parameters):
    assert names(getattr(Theirs, method)) == parameters


def test_none_of_these_is_a_coroutine():
    for name in ("on_headers_complete", "on_response_complete", "connection_lost", "shutdown"):
        assert not inspect.iscoroutinefunction(getattr(Theirs, name))


def test_no_private_name_of_ours_is_theirs():
    async def app(scope, receive, send):
        raise AssertionError

    async def look():
        config = Config(app, ws="none", lifespan="off", log_config=None)
        return vars(Theirs(config, ServerState(), {}))

    theirs = set(asyncio.run(look())) | set(dir(Theirs))
    ours = {
        "_edge", "_turn", "_queue", "_is_starting", "_sent", "_stalled", "_reader", "_linger",
        "_sweep_stalled", "_is_listening", "_start", "_serve", "_failed", "_serve_asgi",
        "is_busy", "take", "send", "head", "backlog", "is_last", "finished", "sweep",
    }  # fmt: skip
    assert not ours & theirs


def test_a_connection_begins_with_these_attributes():
    async def look():
        async def app(scope, receive, send):
            raise AssertionError

        config = Config(app, ws="none", lifespan="off", log_config=None)
        return Theirs(config, ServerState(), {})

    protocol = asyncio.run(look())
    for name in (
        "flow",
        "client",
        "transport",
        "cycle",
        "parser",
        "server_state",
        "url",
        "headers",
    ):
        assert hasattr(protocol, name) or name == "url"


def test_flow_control_pauses_and_resumes_reading():
    for name in ("pause_reading", "resume_reading", "pause_writing", "resume_writing"):
        assert names(getattr(FlowControl, name)) == ["self"]


def test_a_cycle_calls_back_when_it_is_complete():
    assert "on_response" in names(Cycle.__init__)
    source = inspect.getsource(Cycle.send)
    assert "self.on_response()" in source
    assert "self.response_complete = True" in source
    assert "self.keep_alive" in source


def test_the_parser_is_asked_only_what_our_stand_in_answers():
    """The request is whole when uvicorn's methods run, so they get a stand-in for the parser."""
    source = "".join(
        inspect.getsource(getattr(Theirs, name))
        for name in ("on_message_begin", "on_headers_complete", "on_body", "on_message_complete")
    )
    asked = {part.split("(")[0] for part in source.split("self.parser.")[1:]}
    assert asked == {"get_http_version", "get_method", "should_upgrade", "should_keep_alive"}


def test_the_defaults_of_an_answer_are_the_servers():
    assert isinstance(ServerState().default_headers, list)
    assert isinstance(ServerState().tasks, set)
    assert "self.server_state.default_headers" in inspect.getsource(Theirs.on_headers_complete)


class Events:
    def __init__(self):
        self.seen = []
        self.error = None

    def on_headers_complete(self):
        if self.error is not None:
            raise self.error


def test_httptools_tells_of_an_error_in_a_callback_with_its_cause():
    events = Events()
    events.error = KeyError("ours")
    parser = httptools.HttpRequestParser(events)
    with pytest.raises(httptools.HttpParserCallbackError) as caught:
        parser.feed_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert caught.value.__context__ is events.error


def test_httptools_tells_where_an_upgrade_begins():
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    parser = httptools.HttpRequestParser(Events())
    with pytest.raises(httptools.HttpParserUpgrade) as caught:
        parser.feed_data(head + b"more")
    assert caught.value.args[0] == len(head)


async def test_the_whole_of_it_works():
    async with open_house() as house, house.client() as client:
        assert (await client.ask(house.head(body=b"{}"))).status == 200
        assert (await client.ask(house.head("GET /healthz HTTP/1.1"))).status == 200
