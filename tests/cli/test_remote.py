import json
import socket
import threading

import pytest
from support.cli_hub import TOKEN, Bearer, listening, running

from agenthub.cli.ending import Failed
from agenthub.cli.remote import RemoteHub, find_hub
from agenthub.cli.requests import Request
from agenthub.domain.errors import StorageFailed


@pytest.fixture
def silent():
    """A port that takes connections and says what it is told to, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def url_of(listener):
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def say(listener, text):
    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(text)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_the_running_hub_is_found_by_its_files_and_gets_the_admin_token(home, module):
    door = Bearer(module)
    with listening(door, home) as url:
        hub = find_hub(home)
        assert hub is not None
        assert hub.url == url
        answers = hub.send_all([Request("GET", "/api/endpoints"), Request("GET", "/api/none")])
        assert [answer.status for answer in answers] == [200, 404]
        made = hub.send(Request("POST", "/api/keys", {"name": "ü"}))
        assert json.loads(made.body)["name"] == "ü"
    assert set(door.tokens) == {TOKEN}


def test_without_files_none_runs(home):
    assert find_hub(home) is None


def test_a_hub_that_does_not_listen_is_none(home, silent):
    url = url_of(silent)
    silent.close()
    with running(home, url):
        assert find_hub(home) is None


def test_the_file_of_a_hub_that_was_killed_is_none(home, silent):
    """Whoever has its port now must not get the admin token."""
    with running(home, url_of(silent)):
        assert find_hub(home) is not None
    assert find_hub(home) is None


def test_without_its_token_a_running_hub_cannot_be_asked(home, silent):
    with running(home, url_of(silent)):
        (home / "admin-token").unlink()
        with pytest.raises(Failed, match="admin-token is gone; start the hub anew"):
            find_hub(home)


def test_a_file_that_others_may_write_is_not_followed(home, silent):
    """It says where the admin token goes."""
    with running(home, url_of(silent)):
        (home / "hub.json").chmod(0o666)
        with pytest.raises(StorageFailed, match=r"hub\.json"):
            find_hub(home)


def test_a_hub_that_does_not_answer_is_told_after_a_while(silent):
    with pytest.raises(Failed, match=r"did not answer within 0\.05 s"):
        RemoteHub(url_of(silent), TOKEN).send(Request("GET", "/", patience_s=0.05))


@pytest.mark.parametrize(
    "text", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"]
)
def test_a_hub_that_breaks_off_is_told(silent, text):
    thread = say(silent, text)
    with pytest.raises(Failed, match="broke off"):
        RemoteHub(url_of(silent), TOKEN).send(Request("GET", "/"))
    thread.join(5)


def test_the_token_is_never_in_what_is_told(silent):
    silent.close()
    with pytest.raises(Failed) as failed:
        RemoteHub("http://127.0.0.1:1", TOKEN).send(Request("GET", "/"))
    assert TOKEN not in str(failed.value)
