"""Names, TCP and TLS: how connections come about, and why they do not."""

import asyncio
import contextlib
import datetime as dt
import os
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from support.http_servers import FaultServer, HttpHouse, modern
from support.stdio_hub import text_of

from agenthub.domain.outcome import Ending, Written
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.outbound import http_dial
from agenthub.outbound.http_connection import Connection, HttpLimits
from agenthub.outbound.http_dial import Dial, Unreachable, explain, is_address
from agenthub.outbound.http_heads import Heads
from agenthub.outbound.http_request import Origin
from agenthub.outbox import Outbox


class Nobody:
    is_quiet = True

    def free(self, connection: Connection) -> None: ...

    def gone(self, connection: Connection) -> None: ...


def make() -> Connection:
    return Connection(Nobody(), HttpLimits(), Heads(), Outbox())


def origin(host: str, port: int, *, tls: bool = False) -> Origin:
    return Origin(host, port, tls, "/mcp")


async def refusal(target: Origin, span: int = SECOND) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        await Dial(target, span).connect(make)
    return caught.value


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str, seconds: float = 0) -> list[str]:
    """Every name has these addresses; returns the names that were asked for."""
    asked: list[str] = []

    def look_up(host: str, port: int) -> list[str]:
        asked.append(host)
        time.sleep(seconds)
        return list(addresses)

    monkeypatch.setattr(http_dial, "look_up", look_up)
    return asked


async def test_a_name_is_looked_up():
    async with (
        FaultServer(modern()) as server,
        HttpHouse(f"http://localhost:{server.port}/mcp") as house,
    ):
        assert text_of(await house.call("hi")) == "hi"
        assert server.requests[0].headers["host"] == f"localhost:{server.port}"


async def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    names(monkeypatch, "127.0.0.9", "127.0.0.1")
    async with FaultServer(modern()) as server:
        connection = await Dial(origin("two.test", server.port), SECOND).connect(make)
        assert connection.usable
        connection.abort()


async def test_one_lookup_serves_all_who_dial(monkeypatch: pytest.MonkeyPatch):
    asked = names(monkeypatch, "127.0.0.1", seconds=0.05)
    async with FaultServer(modern()) as server:
        dial = Dial(origin("one.test", server.port), SECOND)
        connections = await asyncio.gather(*(dial.connect(make) for _ in range(5)))
        assert asked == ["one.test"]
        for connection in connections:
            connection.abort()
        (await dial.connect(make)).abort()
        assert asked == ["one.test"] * 2, "no address is kept: it may change (F49)"


async def test_a_resolver_that_hangs_costs_the_connect_timeout(monkeypatch: pytest.MonkeyPatch):
    """F49."""
    names(monkeypatch, "127.0.0.1", seconds=1.5)
    began = time.monotonic()
    error = await refusal(origin("slow.test", 9), 100 * MILLISECOND)
    assert time.monotonic() - began < 1.4
    assert "within 100 ms" in error.diagnosis.problem
    assert not error.refused


async def test_who_gives_up_does_not_end_the_lookup_of_others(monkeypatch: pytest.MonkeyPatch):
    names(monkeypatch, "127.0.0.1", seconds=0.1)
    async with FaultServer(modern()) as server:
        dial = Dial(origin("shared.test", server.port), SECOND)
        other = asyncio.ensure_future(dial.connect(make))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await dial.connect(make)
        (await other).abort()


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70 + ".test"])
async def test_an_unknown_name_is_said_so(host: str):
    error = await refusal(origin(host, 9), 5 * SECOND)
    assert "is not known" in error.diagnosis.problem


async def test_a_closed_port_is_refused():
    error = await refusal(origin("127.0.0.1", 1))
    assert error.refused
    assert error.diagnosis.problem == "nothing listens on 127.0.0.1:1"


def test_other_failures_are_told_in_the_systems_words():
    target = origin("h.test", 9)
    assert "No route to host" in explain(OSError(113, "No route to host"), target).problem
    assert explain(OSError(), target).problem == "no connection to h.test:9: OSError"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("localhost", False)],
)
def test_an_address_is_no_name(host: str, expected: object):
    assert is_address(host) is expected


async def test_work_beside_the_loop_may_end_after_the_loop():
    """As a hanging lookup does when the hub stops."""
    over = threading.Event()

    def alone() -> None:
        async def main() -> None:
            http_dial.aside(lambda: over.wait(5))

        asyncio.run(main())

    await asyncio.to_thread(alone)
    over.set()
    for thread in threading.enumerate():
        if thread.name == "agenthub-dial":
            thread.join(10)
            assert not thread.is_alive()


async def test_who_waits_no_longer_gets_nothing():
    future = http_dial.aside(lambda: 1)
    future.cancel()
    await asyncio.sleep(0.05)
    assert future.cancelled()


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def make_certificates(folder: Path) -> Path:
    """`good`, `expired` and `other`, each its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    for name, host, until in (
        ("good", "localhost", now + day),
        ("expired", "localhost", now - day),
        ("other", "example.test", now + day),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * day)
            .not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return folder


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, certificates: Path) -> Path:
    """The process trusts these authorities, and only them."""
    bundle = certificates / "all.crt"
    bundle.write_bytes(b"".join(path.read_bytes() for path in certificates.glob("[ego]*.crt")))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setattr(http_dial, "_tls", [])
    return certificates


@contextlib.asynccontextmanager
async def tls_server(folder: Path, name: str):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    server = FaultServer(modern())
    server.tls = context
    async with server:
        yield server


async def test_tls_carries_calls_on_one_connection(trusted: Path):
    async with (
        tls_server(trusted, "good") as server,
        HttpHouse(f"https://localhost:{server.port}/mcp") as house,
    ):
        for text in ("one", "two", "x" * 300_000):
            reply = await house.call("echo", text=text)
            assert text_of(reply) == text
            assert reply.written is Written.ALL
        assert server.connections == 1
        assert len(http_dial._tls) == 1
        await house.upstream.close()


@pytest.mark.parametrize(("name", "word"), [("expired", "expired"), ("other", "mismatch")])
async def test_a_certificate_that_is_not_valid_is_refused_and_nothing_is_sent(
    trusted: Path, name: str, word: str
):
    """F50."""
    async with (
        tls_server(trusted, name) as server,
        HttpHouse(f"https://localhost:{server.port}/mcp") as house,
    ):
        reply = await house.call("x")
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert "is not valid" in reply.detail
        assert word in reply.detail.lower()
        assert server.requests == []


async def test_a_stranger_is_not_trusted(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(http_dial, "_tls", [])
    async with tls_server(certificates, "good") as server:
        error = await refusal(origin("localhost", server.port, tls=True), 5 * SECOND)
        assert "self-signed" in error.diagnosis.problem
    monkeypatch.setattr(http_dial, "_tls", [])


async def test_a_port_without_tls_is_explained(trusted: Path):
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = await refusal(origin("127.0.0.1", port, tls=True), 5 * SECOND)
    assert "no TLS with" in error.diagnosis.problem
    server.close()


async def test_a_handshake_that_stalls_costs_the_connect_timeout(trusted: Path):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    error = await refusal(origin("127.0.0.1", port, tls=True), 200 * MILLISECOND)
    assert "within 200 ms" in error.diagnosis.problem
    listener.close()


def test_the_context_is_made_once_for_all_threads(trusted: Path):
    assert os.environ["SSL_CERT_FILE"]
    found: list[ssl.SSLContext] = []
    threads = [
        threading.Thread(target=lambda: found.append(http_dial.tls_context())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
