"""Heads that are known: the whole way is left out, and nothing that it decides.

The oracle is the whole way itself: a reader that knows no head.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.edge_hub import ADMIN_TOKEN, SECRET, KeyStore, open_house, settings

from agenthub.domain.caller import Scope
from agenthub.domain.span import SECOND
from agenthub.inbound.edge import Edge
from agenthub.inbound.gate import Gate
from agenthub.inbound.known import HEAD_BYTES_MAX, HEADS_MAX
from agenthub.inbound.reader import Reader, Stage
from agenthub.keys import ADMIN, KeyRing

LIMITS = {"header_bytes": 4096, "body_bytes": 4096}


class StillClock:
    """ports.Clock; time stands."""

    def __init__(self):
        self.wall_now = 1_800_000_000 * SECOND

    def now(self):
        return 0

    def wall(self):
        return self.wall_now

    def chance(self):
        raise AssertionError

    def after(self, span, callback):
        return None


class KnowsNothing:
    """known.KnownHeads, with the whole way for everything."""

    def find(self, data, peer, last):
        return None

    def learn(self, *found):
        pass


def door(exchange):
    raise AssertionError("nothing is served here")


class Line:
    """A connection, as its reader knows it; all turns are kept."""

    def __init__(self, edge, peer="127.0.0.1"):
        self.turns = []
        self.sent = []
        self.send = self.sent.append
        self.is_busy = False
        self.take = self.turns.append
        self.reader = Reader(edge, self, peer)

    def feed(self, *pieces):
        for piece in pieces:
            self.reader.feed(piece)
        return self

    def said(self):
        """All that anyone can see of what was read."""
        return [
            (turn.request.method, turn.request.path, turn.request.query,
             list(turn.request.headers), turn.request.body, turn.caller, turn.door, turn.keep,
             turn.is_chunked, turn.refusal)
            for turn in self.turns
        ], self.sent, self.reader.stage  # fmt: skip


class Lab:
    """An edge, its gate and keys. `judged` counts the heads that went the whole way."""

    def __init__(self, *, knows=True, **made):
        self.clock = StillClock()
        self.store = KeyStore()
        self.keys = KeyRing([], SECRET, ADMIN_TOKEN, self.store, self.clock)
        self.settings = settings(**LIMITS, **made)
        self.gate = Gate(self.settings, self.keys, 8787)
        self.judged = 0
        self._check, self.gate.check = self.gate.check, self.count
        hot = lambda path: door if path.startswith("/mcp") else None  # noqa: E731
        self.edge = Edge(self.gate, hot, self.settings.limits, self.clock, lambda: "r-1")
        if not knows:
            self.edge.known = KnowsNothing()

    def count(self, *asked):
        self.judged += 1
        return self._check(*asked)

    def line(self, peer="127.0.0.1"):
        return Line(self.edge, peer)


def request(body=b"{}", *headers, line="POST /mcp/a?b=c HTTP/1.1", key=ADMIN_TOKEN, host=None):
    lines = [line, host or "Host: 127.0.0.1:8787", "Content-Type: application/json", *headers]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if not any("ncoding" in one for one in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_a_head_that_was_let_in_is_not_judged_again_on_any_connection():
    lab = Lab()
    first = lab.line().feed(request(b"[1]"), request(b"[2]"))
    second = lab.line().feed(request(b"[3]"), request(b"[4]"))
    assert lab.judged == 2  # The first of a connection goes the whole way.
    assert [turn.request.body for turn in first.turns + second.turns] == [
        b"[1]", b"[2]", b"[3]", b"[4]",
    ]  # fmt: skip
    assert first.said()[0][1][:4] == (
        "POST", "/mcp/a", b"b=c",
        [(b"host", b"127.0.0.1:8787"), (b"content-type", b"application/json"),
         (b"authorization", b"Bearer " + ADMIN_TOKEN.encode()), (b"content-length", b"3")],
    )  # fmt: skip
    assert first.turns[1].caller is ADMIN


def test_requests_with_equal_heads_share_their_notes_and_no_others():
    lab = Lab()
    line = lab.line().feed(request(), request(), request(), request(b"[10]"))
    first, second, third, other = (turn.request.notes for turn in line.turns)
    assert first is not second  # What went the whole way has its own.
    assert second is third
    assert other is not third


@pytest.mark.parametrize(
    "changed",
    [
        request(host="Host: evil.example"),
        request(key="wrong"),
        request(key=None),
        request(line="POST /mcp/b?b=c HTTP/1.1"),
        request(line="PUT /mcp/a?b=c HTTP/1.1"),
        request(b"{}", "Origin: http://evil.example"),
        request(b"{} "),
        request().replace(b"POST", b"POST", 1).replace(b"Host", b"hOST"),
    ],
)
def test_a_head_that_differs_in_one_byte_goes_the_whole_way(changed):
    lab, plain = Lab(), Lab(knows=False)
    line = lab.line().feed(request(), request())
    before = lab.judged
    line.feed(changed)
    assert lab.judged == before + 1
    assert line.said() == plain.line().feed(request(), request(), changed).said()


async def test_a_key_that_was_revoked_opens_nothing_on_the_next_request():
    lab = Lab()
    row, key = await lab.keys.create("k")
    line = lab.line().feed(request(key=key), request(key=key))
    assert [turn.refusal for turn in line.turns] == [None, None]
    await lab.keys.revoke(row.id)
    line.feed(request(key=key))
    assert line.turns[2].refusal.status == 401


async def test_a_key_that_ended_opens_nothing_on_the_next_request():
    lab = Lab()
    _, key = await lab.keys.create("k", expires_at=1_800_000_060)
    line = lab.line().feed(request(key=key), request(key=key))
    lab.clock.wall_now += 60 * SECOND
    line.feed(request(key=key))
    assert [turn.refusal and turn.refusal.status for turn in line.turns] == [None, None, 401]


async def test_a_key_that_was_found_anew_is_judged_anew():
    """Its scopes may have changed since."""
    lab = Lab()
    _, key = await lab.keys.create("k", [Scope.TOOLS])
    line = lab.line().feed(request(key=key), request(key=key))
    other, _ = await lab.keys.create("other")
    await lab.keys.revoke(other.id)  # All keys at hand are forgotten.
    judged = lab.judged
    line.feed(request(key=key), request(key=key))
    assert lab.judged == judged + 1
    assert line.turns[3].caller is line.turns[2].caller


def test_who_needs_no_key_here_needs_one_elsewhere():
    lab = Lab(anonymous=True)
    near = lab.line().feed(request(key=None), request(key=None))
    assert [turn.refusal for turn in near.turns] == [None, None]
    far = lab.line("192.0.2.9").feed(request(), request(key=None))
    assert [turn.refusal and turn.refusal.status for turn in far.turns] == [None, 401]


def test_what_is_not_kept():
    """Odd heads, large ones, those of other doors, of refusals, and of what came in pieces."""
    whole = request()
    for data in (
        (request(b"2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),),
        (request(b"{}", "Expect: 100-continue"),),
        (request(b"{}", "Connection: close"),),
        (request(b"{}", line="POST /mcp HTTP/1.0"),),
        (request(b"{}", f"X-Large: {'x' * HEAD_BYTES_MAX}"),),
        (request(line="POST /api/keys HTTP/1.1"),),
        (request(key="wrong"),),
        (whole + whole,),
        (whole[:9], whole[9:]),
        (whole + b"\r\n",),
        (b"\r\n\r\n" + whole,),
    ):
        lab = Lab()
        lab.line().feed(*data)
        assert lab.judged == 1 + (data == (whole + whole,))
        lab.line().feed(whole, *data)
        assert len(lab.edge.known._heads) == 1, data


def test_the_heads_that_are_kept_are_bounded():
    lab = Lab()
    line = lab.line()
    for number in range(HEADS_MAX + 1):
        line.feed(request(b"{}", f"X-Number: {number}"))
    assert len(lab.edge.known._heads) == 1


# ---------------------------------------------------------------- however it comes


KINDS = [
    request(b"{}"), request(b"[1]"), request(b"[2]"),
    request(b"2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    request(b"{}", "Expect: 100-continue"), request(b"", line="GET /mcp/a HTTP/1.1"),
    request(line="POST /api/keys HTTP/1.1"), request(key="wrong"), b"\r\n",
    request(b"{}", "Connection: Upgrade", "Upgrade: h2c"),
    request(b"", "Connection: Upgrade", "Upgrade: h2c"),
    request(b"{}", "Connection: close"), request(host="Host: evil.example"), b"\x00",
]  # fmt: skip


@st.composite
def pieces(draw):
    """Requests, mostly good ones, cut anywhere, but mostly between two."""
    kinds = st.one_of(st.sampled_from(KINDS[:3]), st.sampled_from(KINDS))
    found = []
    rest = b""
    for one in draw(st.lists(kinds, min_size=1, max_size=8)):
        rest += one
        how = draw(st.integers(0, 9))
        if how > 3:
            found.append(rest)
            rest = b""
        elif how == 0:
            cut = draw(st.integers(0, len(rest)))
            found.append(rest[:cut])
            rest = rest[cut:]
    return [piece for piece in (*found, rest) if piece]


@given(pieces())
@example([KINDS[0], KINDS[0] + KINDS[0], KINDS[0]])
@example([KINDS[0], KINDS[0][:-1], KINDS[0][-1:] + KINDS[0]])
@example([KINDS[0], KINDS[0] + b"\r\n", KINDS[0]])
@example([KINDS[9], KINDS[0], KINDS[0]])
@example([KINDS[10], KINDS[0], KINDS[0]])
def test_however_the_bytes_come_the_same_is_read_as_by_the_whole_way(data):
    knows = Lab()
    knows.line().feed(*KINDS[:3])
    whole = Lab(knows=False)
    assert knows.line().feed(*data).said() == whole.line().feed(*data).said()


async def test_it_is_so_through_a_socket_too():
    async with open_house() as house, house.client() as client:
        for number in range(5):
            answer = await client.ask(house.head(body=b'{"n":%d}' % number))
            assert answer.json["body"] == f'{{"n":{number}}}'
        row, key = await house.hub.keys.create("k")
        for _ in range(3):
            assert (await client.ask(house.head(body=b"{}", key=key))).json["caller"] == row.id
        await house.hub.keys.revoke(row.id)
        assert (await client.ask(house.head(body=b"{}", key=key))).status == 401
        assert (await client.ask(house.head(body=b"{}"))).status == 200


def test_a_known_head_leaves_the_reader_between_two_requests():
    lab = Lab()
    line = lab.line().feed(request(), request())
    assert line.reader.stage is Stage.IDLE
    lab.edge.now = 7
    line.feed(request())
    assert line.reader.since == 7
