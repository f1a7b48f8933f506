"""The hub's address."""

import pytest

from agenthub.app.address import url_of


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8787"),
        ("localhost", "http://localhost:8787"),
        ("hub.example", "http://hub.example:8787"),
        ("10.0.0.7", "http://10.0.0.7:8787"),
        ("0.0.0.0", "http://127.0.0.1:8787"),
        ("::", "http://[::1]:8787"),
        ("::1", "http://[::1]:8787"),
        ("fe80::1%eth0", "http://[fe80::1%eth0]:8787"),
    ],
)
def test_clients_get_an_address_that_they_can_use(host, url):
    assert url_of(host, 8787) == url
