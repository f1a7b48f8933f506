import os

import pytest
from msgspec import structs

from agenthub.domain.endpoint import Endpoint, OAuth
from agenthub.domain.errors import BadSetting
from agenthub.settings.references import resolve

CANARY = "canary-7f3a"


def http(**more) -> Endpoint:
    return Endpoint("web", url=more.pop("url", "https://example.org/mcp"), **more)


def stdio(**env: str) -> Endpoint:
    return Endpoint("git", command=("git-server",), env=env)


def test_a_record_without_references_stays_the_same_object():
    endpoint = http(headers={"X-A": "b"})
    assert resolve(endpoint, {}) is endpoint


def test_references_are_filled_in_everywhere_they_may_stand():
    endpoint = http(
        url="https://${HOST}/mcp?key=${KEY}",
        fallback_url="${OTHER}",
        headers={"Authorization": "Bearer ${TOKEN}", "X-A": "b"},
    )
    environ = {"HOST": "h", "KEY": "k", "OTHER": "http://o/", "TOKEN": "t"}
    found = resolve(endpoint, environ)
    assert found.url == "https://h/mcp?key=k"
    assert found.fallback_url == "http://o/"
    assert found.headers == {"Authorization": "Bearer t", "X-A": "b"}
    assert resolve(stdio(A="${TOKEN}${TOKEN}", B="x"), environ).env == {"A": "tt", "B": "x"}


def test_a_clients_secret_is_filled_in_for_the_connection_alone():
    oauth = OAuth("client_credentials", "hub", "${A}", issuer="https://login.example.com")
    endpoint = Endpoint("a", url="https://x/", oauth=oauth)
    assert resolve(endpoint, {"A": "s"}).oauth == structs.replace(oauth, client_secret="s")
    assert endpoint.oauth.client_secret == "${A}"
    with pytest.raises(BadSetting, match=r"^oauth.client_secret: the environment variable A is"):
        resolve(endpoint, {})
    plain = Endpoint("a", url="https://x/", oauth=OAuth())
    assert resolve(plain, {}) is plain


def test_a_default_stands_in_for_a_variable_that_is_missing_or_empty():
    endpoint = stdio(A="${A:-one}", B="${B:-}", C="${C:-a:-b}")
    assert resolve(endpoint, {"B": "", "C": ""}).env == {"A": "one", "B": "", "C": "a:-b"}
    assert resolve(endpoint, {"A": "x"}).env["A"] == "x"


def test_vs_codes_way_to_name_a_variable_is_understood():
    assert resolve(stdio(A="${env:TOKEN}"), {"TOKEN": "t"}).env == {"A": "t"}


def test_what_a_reference_brings_is_not_searched_for_references():
    environ = {"A": "${B}", "B": "${A}"}
    assert resolve(stdio(X="${A}"), environ).env == {"X": "${B}"}


def test_a_doubled_dollar_is_a_brace_to_keep():
    assert resolve(stdio(A="$${B} $C $$"), {}).env == {"A": "${B} $C $$"}


def test_a_commands_words_are_passed_as_they_are():
    endpoint = Endpoint("a", command=("x", "${HOME}", "$(id)", ";|"), env={"A": "${B:-c}"})
    assert resolve(endpoint, {}).command == ("x", "${HOME}", "$(id)", ";|")


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (stdio(A="${NOPE}"), "env.A: the environment variable NOPE is not set for the hub"),
        (http(headers={"X-A": "${NOPE}"}), "headers.X-A: the environment variable NOPE is not"),
        (http(url="${NOPE}"), "url: the environment variable NOPE is not set for the hub"),
        (stdio(A="${A"), "env.A: a reference begins with ${ and does not end with }"),
        (stdio(A="${A${B}}"), "env.A: a reference begins with ${ and does not end with }"),
        (stdio(A="${}"), "env.A: expected ${NAME} or ${file:/path}, got ${}"),
        (stdio(A="${input:x}"), "env.A: expected ${NAME} or ${file:/path}, got ${input:x}"),
        (stdio(A="${file:relative}"), "env.A: expected an absolute path, got 'relative'"),
        (stdio(A="${file:/no/such}"), "env.A: /no/such cannot be read: No such file"),
        (stdio(A="${file:/dev/zero}"), "env.A: /dev/zero cannot be read: Not a regular file"),
        (stdio(A="${file:/proc}"), "env.A: /proc cannot be read: Not a regular file"),
    ],
)
def test_a_reference_that_cannot_be_filled_in_is_named(endpoint, said):
    with pytest.raises(BadSetting) as caught:
        resolve(endpoint, {})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        (http(url="${X}"), "url"),
        (http(url="http://${X}/"), "url"),
        (http(fallback_url="${X}"), "fallback_url"),
        (http(headers={"X-A": "${X}"}), "headers.X-A"),
        (stdio(A="${X}"), "env.A"),
    ],
)
@pytest.mark.parametrize("value", ["u:canary-7f3a@h\0", "canary-7f3a\0\r\nHost: x"])
def test_what_a_reference_brings_must_fit_its_place_and_is_not_repeated(endpoint, key, value):
    with pytest.raises(BadSetting) as caught:
        resolve(endpoint, {"X": value})
    assert str(caught.value).startswith(f"{key}: ")
    assert CANARY not in str(caught.value)


def test_a_secret_comes_from_a_file_without_the_lines_end(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("s3cret\r\n")
    assert resolve(stdio(A=f"${{file:{file}}}"), {}).env == {"A": "s3cret"}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve(stdio(A="${file:~/token}"), {}).env == {"A": "s3cret"}


def test_a_secrets_file_must_be_small_and_text(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(b"x" * 65_537)
    with pytest.raises(BadSetting, match="more than 65536 bytes"):
        resolve(stdio(A=f"${{file:{file}}}"), {})
    file.write_bytes(b"\xff")
    with pytest.raises(BadSetting, match="not UTF-8"):
        resolve(stdio(A=f"${{file:{file}}}"), {})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadSetting, match="Not a regular file"):
        resolve(stdio(A=f"${{file:{tmp_path}/pipe}}"), {})
