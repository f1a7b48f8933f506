import pytest

from agenthub.cli.address import configured, is_own

OWN = "http://127.0.0.1:8787"


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ("", "http://127.0.0.1:8787"),
        ("server: {host: 0.0.0.0, port: 80}", "http://127.0.0.1:80"),
        ("server: {host: '::'}", "http://[::1]:8787"),
        ("server: {host: hub.test}", "http://hub.test:8787"),
    ],
)
def test_the_address_is_one_that_a_client_can_use(home, settings, address):
    (home / "agenthub.yaml").write_text(settings)
    assert configured(home) == address


@pytest.mark.parametrize(
    ("url", "own", "same"),
    [
        ("http://127.0.0.1:8787/mcp", OWN, True),
        ("http://localhost:8787/mcp/git", OWN, True),
        ("http://[::1]:8787/mcp/", OWN, True),
        ("http://localhost:8787/sse", OWN, True),
        ("http://localhost:8787/sse/git", OWN, True),
        ("http://127.0.0.1:8787/other", OWN, False),
        ("http://127.0.0.1:8787", OWN, False),
        ("http://127.0.0.1:8787/ssex", OWN, False),
        ("http://127.0.0.1:8787/mcpx", OWN, False),
        ("http://127.0.0.1:8788/mcp", OWN, False),
        ("http://10.0.0.1:8787/mcp", OWN, False),
        ("http://hub.test/mcp", "http://hub.test", True),
        ("http://[/mcp", OWN, False),
        ("http://x:port/mcp", OWN, False),
        ("", OWN, False),
    ],
)
def test_the_hub_knows_its_own_address(url, own, same):
    assert is_own(url, own) is same
