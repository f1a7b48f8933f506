"""Where the hub listens, and what it says when it cannot."""

import socket

import pytest
from msgspec import structs

from agenthub.app.address import bind, url_of
from agenthub.domain.errors import BadSetting
from agenthub.settings import AuthSettings, ServerSettings, Settings


def settings(host="127.0.0.1", port=0, **auth):
    return Settings(server=ServerSettings(host=host, port=port), auth=AuthSettings(**auth))


def refusal(given):
    with pytest.raises(BadSetting) as caught:
        bind(given).close()
    return str(caught.value)


def test_any_free_port_is_found_and_named():
    with bind(settings()) as listening:
        port = listening.getsockname()[1]
        assert url_of(listening) == f"http://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_port_that_is_taken_is_said_in_words():
    with bind(settings()) as listening:
        port = listening.getsockname()[1]
        assert refusal(settings(port=port)) == (
            f"server.port: port {port} of 127.0.0.1 is taken by another program; stop that, or"
            " choose another port with --port (0: any free one)"
        )


def test_a_port_in_time_wait_is_free():
    with bind(settings()) as listening:
        port = listening.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), 1)
        listening.setblocking(True)
        listening.accept()[0].close()
        client.close()
    bind(settings(port=port)).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "256.1.1.1"])
def test_a_host_that_nobody_knows_is_said_in_words(host):
    assert refusal(settings(host)) == f"server.host: {host} is no address that this machine knows"


def test_an_address_of_another_machine_is_said_in_words():
    assert refusal(settings("192.0.2.1")) == (
        "server.host: 192.0.2.1 is not an address of this machine"
    )


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)
def test_clients_get_an_address_that_they_can_use(host, shown):
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        listening = bind(settings(host))
    except BadSetting:
        pytest.skip("no IPv6 address here")
    with listening:
        assert url_of(listening) == f"http://{shown}:{listening.getsockname()[1]}"


def test_callers_without_a_key_are_let_in_from_loopback_only():
    words = refusal(settings("0.0.0.0", anonymous_loopback=True))
    assert words.startswith("auth.anonymous_loopback: callers without a key")
    bind(settings("localhost", anonymous_loopback=True)).close()


@pytest.mark.parametrize(
    ("errno", "words"),
    [(13, "this user may not listen on port 80"), (12, "cannot be listened on: ")],
)
def test_other_failures_are_said_in_words(monkeypatch, errno, words):
    class Refused(socket.socket):
        def bind(self, address):
            raise OSError(errno, "Out of memory")

    monkeypatch.setattr(socket, "socket", Refused)
    assert words in refusal(structs.replace(settings(), server=ServerSettings(port=80)))
