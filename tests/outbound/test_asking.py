"""What becomes of a server's requests in the middle of an attempt: no I/O."""

import msgspec
import pytest

from agenthub.domain.span import SECOND
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.asking import ASKED_MAX, OPEN_MAX, Asking

ALL = b'{"elicitation":{},"roots":{},"sampling":{}}'
FORM = {"message": "Your name?", "requestedSchema": {}}


class Client:
    """Hears questions; `session` hears what goes back to the server."""

    def __init__(self, declared=ALL):
        self.questions = []
        self.told = []
        self.arrived = []
        self.asking = Asking(declared, self.told.append, self.arrived.append)
        self.now = 0

    def asked(self, question):
        self.questions.append(question)

    def notified(self, method, params): ...

    def finished(self, reply): ...

    def hear(self, server_id, method="elicitation/create", params=FORM):
        body = {"id": server_id, "method": method}
        line = msgspec.json.encode(body | ({} if params is None else {"params": params}))
        return self.asking.hear(wire.parse(line), server_id, self, self.now)

    def withdraw(self, server_id):
        line = msgspec.json.encode({"method": wire.CANCELLED, "params": {"requestId": server_id}})
        self.asking.withdraw(wire.parse(line))

    @property
    def refusals(self):
        """Codes of the errors that went back."""
        return [msgspec.json.decode(one)["error"]["code"] for one in self.told]


@pytest.mark.parametrize("server_id", [7, "q"])
def test_an_answer_goes_back_raw_under_the_servers_own_id(server_id):
    client = Client()
    assert client.hear(server_id)
    (question,) = client.questions
    assert (question.method, msgspec.json.decode(question.params)) == ("elicitation/create", FORM)
    assert client.asking.is_open
    client.asking.answer(question.id, b'{"action" : "accept"}', b"")
    assert not client.asking.is_open
    number = msgspec.json.encode(server_id)
    assert client.arrived == [b'{"jsonrpc":"2.0","id":%b,"result":{"action" : "accept"}}' % number]
    assert not client.told


def test_an_error_of_the_client_goes_back_too():
    client = Client()
    client.hear(1)
    client.asking.answer(client.questions[0].id, b"", b'{"code":-1,"message":"no"}')
    assert client.arrived == [b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}']


def test_an_answer_counts_once_and_only_to_an_open_question():
    client = Client()
    client.hear("q")
    client.asking.answer("q", b"{}", b"")
    client.asking.answer(99, b"{}", b"")
    client.asking.answer(True, b"{}", b"")
    assert not client.arrived
    for _ in range(2):
        client.asking.answer(client.questions[0].id, b"{}", b"")
    assert len(client.arrived) == 1


def test_a_question_without_params_has_an_empty_object():
    client = Client()
    client.hear(1, "roots/list", None)
    assert client.questions[0].params == b"{}"


@pytest.mark.parametrize(
    ("declared", "method", "params", "code"),
    [
        (b"{}", "elicitation/create", FORM, -32601),
        (b'{"roots":{}}', "sampling/createMessage", {}, -32601),
        (b'{"sampling":{}}', "roots/list", None, -32601),
        (b'{"elicitation":{}}', "elicitation/create", {"mode": "url"}, -32602),
        (b'{"elicitation":{"url":{}}}', "elicitation/create", FORM, -32602),
        (b'{"sampling":{}}', "sampling/createMessage", {"tools": []}, -32602),
        (ALL, "elicitation/create", [1], -32602),
        (ALL, "what/ever", {}, -32601),
    ],
)
def test_what_was_not_declared_is_refused_as_a_client_would(declared, method, params, code):
    client = Client(declared)
    assert client.hear(1, method, params)
    assert client.refusals == [code]
    assert not client.questions
    assert not client.asking.is_open


def test_a_ping_is_answered():
    client = Client()
    assert client.hear("p", "ping", None)
    assert client.told == [b'{"jsonrpc":"2.0","id":"p","result":{}}']


def test_an_id_that_is_open_already_asks_nothing_more():
    """An error would be the answer to the open question for a server that confuses its ids."""
    client = Client()
    client.hear(1)
    client.hear(1)
    assert (len(client.questions), client.told) == (1, [])
    client.hear("1")
    assert len(client.questions) == 2


def test_an_answer_to_a_question_is_never_taken_for_that_to_another_of_the_same_id():
    client = Client()
    client.hear("q")
    client.withdraw("q")
    client.hear("q", params={"message": "May I delete everything?", "requestedSchema": {}})
    first, second = client.questions
    client.asking.answer(first.id, b'{"action":"accept"}', b"")
    assert not client.arrived
    client.asking.answer(second.id, b'{"action":"decline"}', b"")
    assert b"decline" in client.arrived[0]


def test_a_question_that_was_taken_back_waits_no_more():
    client = Client()
    client.hear(1)
    for other in (2, "1", True):
        client.withdraw(other)
    client.asking.withdraw(wire.parse(b'{"method":"notifications/cancelled"}'))
    assert client.asking.is_open
    client.withdraw(1)
    assert not client.asking.is_open


def test_only_so_many_questions_wait_at_a_time():
    client = Client()
    for number in range(OPEN_MAX + 1):
        assert client.hear(number)
    assert len(client.questions) == OPEN_MAX
    assert client.refusals == [-32603]
    client.asking.answer(client.questions[0].id, b"{}", b"")
    client.hear("more")
    assert len(client.questions) == OPEN_MAX + 1


def test_a_flood_is_noticed_and_not_answered():
    client = Client()
    heard = [client.hear(number) for number in range(10_000)]
    assert heard.count(True) == ASKED_MAX
    assert not any(heard[ASKED_MAX:])
    assert len(client.questions) + len(client.told) == ASKED_MAX


def test_who_asks_at_leisure_may_ask_for_ever():
    client = Client()
    for number in range(5 * ASKED_MAX):
        client.now = number * SECOND
        assert client.hear(number)
        client.asking.answer(client.questions[-1].id, b"{}", b"")
    assert len(client.arrived) == 5 * ASKED_MAX
