"""What the hub does not own passes as it was written, in all four pairs of eras.

Compared is the text: numbers keep their digits (1.0, 1e2, 30 digits), strings their escapes,
members their order and their spaces inside.
"""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw, structs
from support.exchange import ACCEPT, META, initialize, post
from support.fake_upstream import result
from support.mcp_hub import doors
from support.virtual_time import virtual_time

from agenthub.domain.call import Era
from agenthub.outbound.http_request import Origin, RequestHead
from agenthub.outbound.mcp_message import attempt_request, parse, reply_of

OURS = frozenset({"_meta", "resultType", "ttlMs", "cacheScope"})
ODD = "structuredContent"
PATHS = ("/mcp/calc", "/mcp")
members_of = msgspec.json.Decoder(dict[str, Raw]).decode

NUMBERS = ("0", "-0", "1", "1.0", "1.10", "1e2", "1E+2", "-0.0", "9007199254740993", "0.1e-7")
HUGE = "1" * 30
"""From servers only: two readers may read it differently, so no client may say it (A14)."""
numbers = st.sampled_from(NUMBERS)
words = st.sampled_from(
    ['"a"', '"\\u00e9"', '"é"', '"\\/"', '"/"', '"\\ud83d\\ude00"', '"\\u0041"', '""', '"\\n"']
)
keys = st.sampled_from(
    ['"$defs"', '"$anchor"', '"x-own"', '"\\u006b"', '"é"', '"type"', '"z"', '"a"', '"_meta"']
)
spaces = st.sampled_from(["", " ", "  "])


def _object(parts):
    unlike = {msgspec.json.decode(key): (key, value) for key, value in parts[1]}
    inner = ",".join(f"{key}:{parts[0]}{value}" for key, value in unlike.values())
    return f"{{{parts[0]}{inner}}}"


def written(scalars):
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.tuples(spaces, st.lists(inner, max_size=3)).map(
                lambda parts: f"[{parts[0]}{','.join(parts[1])}]"
            ),
            st.tuples(spaces, st.lists(st.tuples(keys, inner), max_size=3)).map(_object),
        ),
        max_leaves=8,
    )


constants = st.sampled_from(["null", "true", "false"])
values = written(st.one_of(numbers, words, constants))
of_servers = written(st.one_of(numbers, st.just(HUGE), words, constants))
blocks = st.lists(
    st.tuples(st.sampled_from(['"text"', '"hologram"', '"audio"']), of_servers).map(
        lambda parts: f'{{"type":{parts[0]}, "x":{parts[1]}}}'
    ),
    max_size=2,
).map(lambda parts: f"[{','.join(parts)}]")
results = st.fixed_dictionaries(
    {"content": blocks},
    optional={
        "zeta": of_servers, "alpha": of_servers, ODD: of_servers, "own/x": of_servers,
        "isError": constants,
    },
)  # fmt: skip
arguments_of = st.dictionaries(keys.map(msgspec.json.decode), values)
META_KEYS = ["own.example/a", "b", "traceless", "io.other/x"]


def metas(inner):
    return st.dictionaries(st.sampled_from(META_KEYS), inner, max_size=3)


def text_of(members):
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"


def raws(members):
    return [(name, bytes(value).decode()) for name, value in members.items() if name not in OURS]


class Client:
    """Of one era, with raw params."""

    def __init__(self, hub, era, path):
        self.hub = hub
        self.era = era
        self.path = path
        self.session = None

    async def call(self, method, named, params, meta):
        own = {k: bytes(msgspec.json.encode(v)).decode() for k, v in META.items()}
        meta = {**meta, **(own if self.era is Era.MODERN else {})}
        params = {**params, **({"_meta": text_of(meta)} if meta else {})}
        text = f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{text_of(params)}}}'
        if self.era is Era.MODERN:
            headers = [
                ACCEPT, (b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", method.encode()),
                (b"mcp-name", named.encode()),
            ]  # fmt: skip
        else:
            begun = await self.hub(initialize(path=self.path))
            headers = [ACCEPT, (b"mcp-session-id", begun.header(b"mcp-session-id"))]
        asked = await self.hub(post(text.encode(), headers, self.path))
        assert not asked.streaming
        return members_of(asked.body)


def pairs():
    return pytest.mark.parametrize(("client", "server"), [(c, s) for c in Era for s in Era])


def sent_on(outgoing, era):
    """What the adapters make of it: params, over both transports alike."""
    line = attempt_request(7, outgoing, era, 0)
    head = RequestHead(Origin("h", 80, False, "/"), {})
    head.settle(era, "2026-07-28")
    over_http = head.call(7, outgoing, 0).partition(b"\r\n\r\n")[2]
    params = members_of(members_of(over_http)["params"])
    assert raws(members_of(members_of(line)["params"])) == raws(params)
    return params


@pairs()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=results, meta=metas(of_servers), asked=arguments_of, own=metas(values))
def test_a_tools_call_and_its_result_pass_as_they_were_written(
    client, server, said, meta, asked, own
):
    @virtual_time()
    async def run():
        answer = {**said, **({"_meta": text_of(meta)} if meta else {})}
        if server is Era.MODERN:
            answer["resultType"] = '"complete"'
        line = f'{{"jsonrpc":"2.0","id":7,"result":{text_of(answer)}}}'.encode()
        reply = reply_of(parse(line), line)

        def prepare(fake):
            fake.era = server
            fake.answers["add"] = structs.replace(result(), reply=reply)

        async with doors("calc", prepare={"calc": prepare}) as hub:
            for path in PATHS:
                name = "add" if path != "/mcp" else "calc__add"
                arguments = _object(("", [(f'"{k}"', v) for k, v in asked.items()]))
                params = {"zz": '[1.0, "\\u00e9"]', "name": f'"{name}"', "arguments": arguments}
                heard = await Client(hub, client, path).call("tools/call", name, params, own)
                got = members_of(heard["result"])
                expected = {**said}
                if client is Era.LEGACY and not expected.get(ODD, "{").startswith("{"):
                    del expected[ODD]
                assert raws(got) == list(expected.items())
                kept = {k: bytes(v).decode() for k, v in members_of(got["_meta"]).items()}
                assert {k: kept[k] for k in meta} == meta
                passed = sent_on(hub["calc"].sent[-1], server)
                assert raws(passed) == [
                    ("zz", params["zz"]), ("name", '"add"'), ("arguments", arguments),
                ]  # fmt: skip
                on = (
                    {k: bytes(v).decode() for k, v in members_of(passed["_meta"]).items()}
                    if ("_meta" in passed)
                    else {}
                )
                assert {k: on[k] for k in own} == own

    run()


@given(schema=st.dictionaries(st.sampled_from(["x-own", "x-é"]), values), more=metas(values))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_tools_definition_is_shown_as_it_was_written(schema, more):
    @virtual_time()
    async def run():
        inner = {"type": '"object"', **schema, "$anchor": '"a"'}
        inner["$defs"] = '{"é":{"const":1.0,"x-y":1e2}}'
        item = {
            "x-first": "1.0", "name": '"add"', "inputSchema": text_of(inner),
            "_meta": text_of(more), "last": '"\\u00e9"',
        }  # fmt: skip

        def prepare(fake):
            fake.tools = {"add": Raw(text_of(item).encode())}

        async with doors("calc", prepare={"calc": prepare}) as hub:
            for path, name in (("/mcp/calc", '"add"'), ("/mcp", '"calc__add"')):
                heard = await Client(hub, Era.MODERN, path).call("tools/list", "", {}, {})
                (shown,) = msgspec.json.decode(members_of(heard["result"])["tools"], type=list[Raw])
                got = {k: bytes(v).decode() for k, v in members_of(shown).items()}
                assert list(got.items()) == list({**item, "name": name}.items())

    run()
