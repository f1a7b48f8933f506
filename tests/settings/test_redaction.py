import pytest

from agenthub.domain.endpoint import Endpoint
from agenthub.settings.redaction import HIDDEN, redact, redact_command, redact_url, secrets_of

CANARY = "canary7f3a"


def test_a_record_is_shown_without_its_secrets():
    endpoint = Endpoint(
        "web",
        url=f"https://example.org/mcp?key={CANARY}&ref=${{REF}}",
        fallback_url=f"https://two.example.org/mcp?{CANARY}",
        headers={"Authorization": f"Bearer {CANARY}", "X-Ref": "Bearer ${TOKEN}"},
    )
    shown = redact(endpoint)
    assert shown.url == f"https://example.org/mcp?key={HIDDEN}&ref=${{REF}}"
    assert shown.fallback_url == f"https://two.example.org/mcp?{HIDDEN}"
    assert shown.headers == {"Authorization": HIDDEN, "X-Ref": "Bearer ${TOKEN}"}
    assert shown.name == "web"


def test_a_commands_environment_is_hidden_but_for_references():
    env = {"A": CANARY, "B": "${C}", "D": "", "E": "${F:-" + CANARY + "}", "G": "${file:/x}"}
    shown = redact(Endpoint("git", command=("git-server",), env=env))
    assert shown.env == {"A": HIDDEN, "B": "${C}", "D": "", "E": HIDDEN, "G": "${file:/x}"}
    assert (shown.url, shown.fallback_url) == (None, None)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["npx", "server", "--dir", "/tmp"], ["npx", "server", "--dir", "/tmp"]),
        (["x", "--token", CANARY, "y"], ["x", "--token", HIDDEN, "y"]),
        (["x", "--token", "--verbose"], ["x", "--token", "--verbose"]),
        (["x", f"--api-key={CANARY}"], ["x", f"--api-key={HIDDEN}"]),
        (["x", "--api-key=${KEY}"], ["x", "--api-key=${KEY}"]),
        (["docker", "-e", f"A={CANARY}"], ["docker", "-e", f"A={HIDDEN}"]),
        (["docker", "-e", "A"], ["docker", "-e", "A"]),
        (["x", "--header", f"X-A: {CANARY}"], ["x", "--header", f"X-A: {HIDDEN}"]),
        (["x", f"postgres://me:{CANARY}@db/x"], ["x", f"postgres://{HIDDEN}@db/x"]),
        (["x", f"--db=pg://me:{CANARY}@db/x"], ["x", f"--db=pg://{HIDDEN}@db/x"]),
        (["x", f"http://h/?q={CANARY}"], ["x", f"http://h/?q={HIDDEN}"]),
        (["x", "ghp_0123456789abcdef"], ["x", HIDDEN]),
        (["x", "--level=debug"], ["x", "--level=debug"]),
    ],
)
def test_a_commands_words_are_shown_one_for_one(command, shown):
    assert redact_command(command) == tuple(shown)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("${ADDRESS}", "${ADDRESS}"),
        ("http://h:1/mcp", "http://h:1/mcp"),
        ("http://h/mcp/server-everything", "http://h/mcp/server-everything"),
        ("http://h/s/a1b2c3d4e5f6a7b8c9d0/mcp", f"http://h/s/{HIDDEN}/mcp"),
        ("http://h/sk-abcdefghijkl/mcp", f"http://h/{HIDDEN}/mcp"),
        (f"http://me:{CANARY}@h/mcp#{CANARY}", f"http://{HIDDEN}@h/mcp"),
        ("http://[h/mcp", HIDDEN),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_secret(url, shown):
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "word",
    [
        f"--token={CANARY}", f"sk-{CANARY}-{CANARY}", f"https://u:{CANARY}@host/x?y=1",
        f"https://host/?key={CANARY}#part",
    ],
)  # fmt: skip
def test_what_is_hidden_of_a_process_can_be_blotted_out(word: str):
    env = {"A": f"{CANARY}-env"}
    endpoint = Endpoint("git", command=("run", "-x", word, "--password", f"{CANARY}-2"), env=env)
    said = f"run: bad word {word}, {CANARY}-2, {CANARY}-env"
    for secret in sorted(secrets_of(endpoint), key=len, reverse=True):
        said = said.replace(secret, HIDDEN)
    assert CANARY not in said
    assert said.startswith("run: bad word ")
