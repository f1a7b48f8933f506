import json
import os
import socket
import threading

import pytest
from support.cli_hub import TOKEN, Bearer, leave_files, listening

from agenthub.cli.access import Request
from agenthub.cli.ending import Failed
from agenthub.cli.remote import RemoteHub, find_hub

UNUSED_PID = 2**22 + 1


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


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"pid": 1}', '{"pid": "1", "url": "u"}',
                                  '{"pid": -1, "url": "u"}', '{"pid": true, "url": "u"}',
                                  '{"pid": 1, "url": 5}'])  # fmt: skip
def test_a_piece_of_a_file_is_none(home, text):
    leave_files(home, "http://127.0.0.1:1")
    (home / "hub.json").write_text(text)
    assert find_hub(home) is None


@pytest.mark.parametrize("pid", [UNUSED_PID, 2**80])
def test_the_file_of_a_hub_that_is_gone_is_none(home, silent, pid):
    leave_files(home, url_of(silent), pid)
    assert find_hub(home) is None


def test_a_hub_that_does_not_listen_is_none(home, silent):
    url = url_of(silent)
    silent.close()
    leave_files(home, url)
    assert find_hub(home) is None


def test_a_hub_of_another_user_is_alive_too(home, silent, monkeypatch):
    leave_files(home, url_of(silent))

    def kill(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    assert find_hub(home) is not None


def test_an_address_that_is_not_http_is_told(home):
    leave_files(home, "https://127.0.0.1:1")
    with pytest.raises(Failed, match="names no http address"):
        find_hub(home)


def test_a_file_that_others_may_write_is_not_followed(home, silent):
    """It says where the admin token goes."""
    leave_files(home, url_of(silent))
    (home / "hub.json").chmod(0o666)
    with pytest.raises(Failed, match="may have been written by others"):
        find_hub(home)


def test_a_link_in_place_of_the_file_is_not_followed(home, silent):
    leave_files(home, url_of(silent))
    (home / "hub.json").rename(home / "elsewhere")
    (home / "hub.json").symlink_to(home / "elsewhere")
    with pytest.raises(Failed, match="cannot be read"):
        find_hub(home)


def test_without_its_token_a_running_hub_cannot_be_asked(home, silent):
    leave_files(home, url_of(silent))
    (home / "admin-token").unlink()
    with pytest.raises(Failed, match="admin-token cannot be read"):
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
