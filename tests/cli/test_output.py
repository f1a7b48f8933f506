import json

from agenthub.cli.output import show_json


def test_json_keeps_the_order_and_the_letters(capsys):
    show_json({"b": 1, "a": "ü\x1b"})
    text = capsys.readouterr().out
    assert text == '{\n  "b": 1,\n  "a": "ü\\u001b"\n}\n'
    assert json.loads(text) == {"b": 1, "a": "ü\x1b"}
