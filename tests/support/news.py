"""A server whose resource can be watched, and clients that listen."""

from msgspec import Raw
from support.exchange import modern
from support.fake_upstream import OK
from support.house import BERT

URI = "agenthub://docs/a:b"


def docs(fake):
    fake.capabilities = {"tools": {}, "resources": {"subscribe": True}}
    fake.resources = {"a:b": Raw(b'{"uri":"a:b","name":"n"}')}
    fake.answers["resources/subscribe"] = fake.answers["resources/unsubscribe"] = OK


def listen(message_id=1, path="/mcp", caller=BERT, **notifications):
    return modern(
        "subscriptions/listen", {"notifications": notifications}, message_id=message_id,
        path=path, caller=caller,
    )  # fmt: skip
