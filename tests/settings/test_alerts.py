"""Where alerts are posted, in the settings and from the environment."""

import base64

import pytest

from agenthub.app.wiring import webhook_of
from agenthub.domain.errors import BadSetting
from agenthub.settings import load

SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
BOTH = "alerts: {webhook_url: '${HOOK}', webhook_secret: '${HOOK_SECRET}'}"


def alerts(tmp_path, text):
    file = tmp_path / "agenthub.yaml"
    file.write_text(text)
    return load(file, {}).alerts


def test_unasked_nothing_is_posted(tmp_path):
    assert webhook_of(alerts(tmp_path, ""), {}) is None


def test_address_and_secret_may_come_from_the_environment(tmp_path):
    found = {"HOOK": "https://example.com/hook", "HOOK_SECRET": SECRET}
    assert webhook_of(alerts(tmp_path, BOTH), found) is not None


def test_what_is_missing_there_is_named(tmp_path):
    with pytest.raises(BadSetting, match=r"alerts\.webhook_secret: .* HOOK_SECRET is not set"):
        webhook_of(alerts(tmp_path, BOTH), {"HOOK": "https://example.com/hook"})


@pytest.mark.parametrize("key", ["webhook_url", "webhook_secret"])
def test_one_without_the_other_is_refused(tmp_path, key):
    with pytest.raises(BadSetting, match="expected webhook_url and webhook_secret, or none"):
        alerts(tmp_path, f"alerts: {{{key}: x}}")
