"""Alerts, posted to the operator's address: signed, bounded, and to nobody else.

    webhook-id         of the alert: the same when it is sent again
    webhook-timestamp  seconds since 1970, of this try
    webhook-signature  v1,BASE64(HMAC-SHA256(secret, "id.timestamp.body"))

Source: Standard Webhooks, https://www.standardwebhooks.com.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agenthub.alerts import Alert
from agenthub.domain.endpoint_check import is_safe
from agenthub.domain.errors import BadSetting, UpstreamUnavailable
from agenthub.domain.money import show

TIMEOUT_S: Final = 10
"""For the whole answer."""
ANSWER_MAX: Final = 64 * 1024
PREFIX: Final = "whsec_"
SECRET_MIN: Final = 24
"""Bytes, as Standard Webhooks asks."""


class SignedWebhook:
    """Implements alerts.Webhook."""

    def __init__(self, url: str, secret: str) -> None:
        """Raises BadSetting."""
        if not is_safe(url):
            raise BadSetting(
                "alerts.webhook_url: expected an https address (http on this machine only)"
            )
        self._url = url
        self._key = _key(secret)

    async def send(self, alert: Alert, now_s: int) -> None:
        import httpx2  # noqa: PLC0415 - 0.1 s, and most hubs send nothing

        body = _body(alert)
        headers = {
            "content-type": "application/json",
            "webhook-id": alert.token,
            "webhook-timestamp": str(now_s),
            "webhook-signature": self._signature(alert.token, now_s, body),
            "user-agent": "agenthub",
        }
        came = 0
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx2.AsyncClient() as client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                async for part in answer.aiter_raw():
                    came += len(part)
                    if came > ANSWER_MAX:
                        break
        except TimeoutError:
            raise UpstreamUnavailable(f"{self._where}: no answer within {TIMEOUT_S} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            # Its text may hold the address, which may hold a secret.
            raise UpstreamUnavailable(f"{self._where}: {type(error).__name__}") from None
        if not answer.is_success:
            raise UpstreamUnavailable(f"{self._where}: HTTP {answer.status_code}")

    @property
    def _where(self) -> str:
        """The host alone: paths and queries of webhooks are secrets at many services."""
        return f"the webhook at {urlsplit(self._url).hostname}"

    def _signature(self, token: str, now_s: int, body: bytes) -> str:
        signed = b"%s.%d.%s" % (token.encode(), now_s, body)
        digest = hmac.digest(self._key, signed, hashlib.sha256)
        return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    """Raises BadSetting."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) < SECRET_MIN:
        raise BadSetting(
            f"alerts.webhook_secret: expected {PREFIX} and {SECRET_MIN} bytes or more in base64"
        )
    return key


def _body(alert: Alert) -> bytes:
    return msgspec.json.encode(
        {
            "type": f"budget.{alert.level.value}",
            "timestamp": _time(alert.told_at),
            "data": {
                "budget": alert.budget,
                "level": alert.level.value,
                "spent_usd": show(alert.spent),
                "limit_usd": show(alert.limit),
                "period_start": _time(alert.starts_at),
                "resets_at": _time(alert.ends_at),
            },
        }
    )


def _time(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
