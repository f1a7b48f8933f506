"""A provider that keeps a journal of what it billed: the judge of the hub's ledger.

It lives in the test's process, so that a hub which is killed takes nothing of it along.
"""

import http.server
import json
import random
import threading
import time

READ, WRITTEN = 10, 20
"""Tokens of each answer."""
USAGE = {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN}
THROTTLED, REFUSED, CUT = 0.1, 0.15, 0.95
"""Below, below and above these a request is throttled, broken, and cut in its stream."""


class BillingProvider:
    """`with BillingProvider(seed) as provider: … provider.billed` (session → how often)."""

    def __init__(self, seed):
        self.billed = {}
        self.refused = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.provider = self

    def fate(self, session):
        """A number that says what becomes of a request; from 0.15 on it is billed."""
        with self._lock:
            fate = self._random.random()
            if fate < REFUSED:
                self.refused += 1
            else:
                self.billed[session] = self.billed.get(session, 0) + 1
            return fate

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A hub that is killed leaves its connections."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._whole(200, {"data": []})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        fate = self.server.provider.fate(body["messages"][0]["content"])
        if fate < THROTTLED:
            self._whole(429, {"error": {"message": "slow down"}}, ("retry-after-ms", "20"))
        elif fate < REFUSED:
            self._whole(500, {"error": {"message": "oops"}})
        elif body.get("stream"):
            self._stream(cut=fate > CUT)
        else:
            time.sleep(fate / 50)
            choice = {"message": {"content": "x" * 60}, "finish_reason": "stop"}
            self._whole(200, {"model": "m", "choices": [choice], "usage": USAGE})

    def _whole(self, status, said, *headers):
        data = json.dumps(said).encode()
        self.send_response(status)
        for name, value in (*headers, ("content-type", "application/json")):
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, *, cut):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(6):
            delta = {"model": "m", "choices": [{"delta": {"content": "x" * 10}}]}
            self._chunk(b"data: %b\n\n" % json.dumps(delta).encode())
            time.sleep(0.003)
            if cut and number == 3:
                self.connection.close()
                return
        last = {"model": "m", "choices": [], "usage": USAGE}
        self._chunk(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(last).encode())
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *_):
        """No word."""
