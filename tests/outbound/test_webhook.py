"""The webhook of alerts, against a real server that is nearby."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from contextlib import asynccontextmanager

import pytest

from agenthub.alerts import Alert
from agenthub.domain.budget import Level
from agenthub.domain.errors import BadSetting, UpstreamUnavailable
from agenthub.domain.money import USD
from agenthub.outbound import webhook
from agenthub.outbound.webhook import SignedWebhook

KEY = b"k" * 24
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
NOW = 1_795_600_000
ALERT = Alert(
    7, "abc123", "team-ops", "month", Level.CRITICAL, 100 * USD, 90 * USD, NOW - 60, NOW + 60,
    NOW - 5, "waiting", 1,
)  # fmt: skip
FINE = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def receiver(answer=FINE, *, hangs=False, stays=False):
    """A server that answers so; yields its address and what came: heads and bodies."""
    came, over = [], asyncio.Event()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
        lines = {name.lower(): value for name, value in lines.items()}
        came.append(
            (head.split()[1], lines, await reader.readexactly(int(lines["content-length"])))
        )
        if hangs:
            await over.wait()
        writer.write(answer)
        with contextlib.suppress(OSError):
            await writer.drain()
        if stays:
            await over.wait()
        writer.transport.abort() if hangs else writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/hooks/T0P-SECRET?key=s3cr3t", came
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0.05)


async def send(url, alert=ALERT):
    await SignedWebhook(url, SECRET).send(alert, NOW)


async def test_an_alert_is_posted_and_signed_so_that_its_receiver_can_check_it():
    async with receiver() as (url, came):
        await send(url)
    ((path, head, body),) = came
    assert path == "/hooks/T0P-SECRET?key=s3cr3t"
    signed = b".".join((head["webhook-id"].encode(), head["webhook-timestamp"].encode(), body))
    expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    assert head["webhook-signature"] == f"v1,{expected}"
    assert (head["webhook-id"], head["webhook-timestamp"]) == ("abc123", str(NOW))
    said = json.loads(body)
    assert said["type"] == "budget.critical"
    assert said["data"]["spent_usd"] == "100.00"
    assert said["data"]["limit_usd"] == "90.00"
    assert said["data"]["budget"] == "team-ops"
    assert said["data"]["period_start"] < said["timestamp"] < said["data"]["resets_at"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "HTTP 500"),
        (b"HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
         "HTTP 301"),
        (b"", "RemoteProtocolError"), (b"rubbish\r\n\r\n", "RemoteProtocolError"),
    ],
)  # fmt: skip
async def test_what_is_no_yes_is_a_no_in_words_without_the_secret_address(answer, why):
    async with receiver(answer) as (url, came):
        with pytest.raises(UpstreamUnavailable) as caught:
            await send(url)
    assert len(came) == 1, "no redirect is followed"
    assert why in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_nobody_there_is_a_no_too():
    async with receiver() as (url, _):
        pass
    with pytest.raises(UpstreamUnavailable, match=r"the webhook at 127\.0\.0\.1: ConnectError"):
        await send(url)


async def test_a_receiver_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.2)
    async with receiver(hangs=True) as (url, _):
        with pytest.raises(UpstreamUnavailable, match="no answer within"):
            await send(url)


async def test_an_endless_answer_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(webhook, "TIMEOUT_S", 3)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 17)
    async with receiver(endless, stays=True) as (url, came):
        await send(url)
    assert len(came) == 1


@pytest.mark.parametrize(
    ("url", "secret", "key"),
    [
        ("http://example.com/hook", SECRET, "webhook_url"),
        ("https://user:pass@example.com/", SECRET, "webhook_url"),
        ("ftp://example.com/", SECRET, "webhook_url"),
        ("https://example.com/", "hunter2", "webhook_secret"),
        ("https://example.com/", "whsec_c2hvcnQ=", "webhook_secret"),
        ("https://example.com/", "whsec_%%%", "webhook_secret"),
        ("https://example.com/", base64.b64encode(KEY).decode(), "webhook_secret"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key_and_not_repeated(url, secret, key):
    with pytest.raises(BadSetting, match=rf"alerts\.{key}: expected") as caught:
        SignedWebhook(url, secret)
    assert "hunter2" not in str(caught.value)
    assert "pass@" not in str(caught.value)
