"""A provider that answers in OpenAI's and in Anthropic's wire, always with the same usage."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPENAI = {
    "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 400},
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 100, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 300,
    "output_tokens": 50,
}  # fmt: skip


class PricedProvider:
    def __init__(self):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                is_messages = self.path.endswith("/messages")
                if asked.get("stream"):
                    events = messages_events(asked) if is_messages else chat_events(asked)
                    self._send("text/event-stream", "".join(events).encode())
                else:
                    answer = message(asked) if is_messages else completion(asked)
                    self._send("application/json", json.dumps(answer).encode())

            def _send(self, kind, body):
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def completion(asked):
    said = {"role": "assistant", "content": "Hi!"}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"],
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": OPENAI,
    }  # fmt: skip


def chat_events(asked):
    head = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
        "model": asked["model"],
    }  # fmt: skip
    for delta, reason in (({"role": "assistant", "content": "Hi!"}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
    if asked.get("stream_options", {}).get("include_usage"):
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': OPENAI})}\n\n"
    yield "data: [DONE]\n\n"


def message(asked):
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"],
        "content": [{"type": "text", "text": "Hi!"}], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": ANTHROPIC,
    }  # fmt: skip


def messages_events(asked):
    start = {**message(asked), "content": [], "stop_reason": None}
    start["usage"] = {**ANTHROPIC, "output_tokens": 1}
    for event in (
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "Hi!"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 50}},
        {"type": "message_stop"},
    ):  # fmt: skip
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
