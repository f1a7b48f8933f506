"""A real hub whose budget runs out: event, log and webhook, over a kill -9 too."""

import base64
import hashlib
import hmac
import json
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support.serve_hub import config, serving, until

KEY = b"k" * 32
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
ASKED = {"model": "demo/demo-1", "messages": [{"role": "user", "content": "hello " * 400}]}


class Receiver:
    """Takes what is posted, or refuses it."""

    def __init__(self):
        self.came, self.tries, self.status = [], 0, 204
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.tries += 1
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.status == 204:
                    outer.came.append((dict(self.headers), body))
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/T0P-SECRET"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def levels(self):
        for head, body in self.came:
            sent = {name.lower(): value for name, value in head.items()}
            signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
            found = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
            assert sent["webhook-signature"] == f"v1,{found}"
        return [json.loads(body)["data"]["level"] for _, body in self.came]


@pytest.fixture
def receiver():
    with closing(Receiver()) as receiver:
        yield receiver


@contextmanager
def hub_of(home, receiver):
    hook = "alerts: {webhook_url: '${HOOK}', webhook_secret: '${HOOK_SECRET}'}\n"
    config(home, hook + "endpoints: {demo: {llm: {preset: demo}}}\n")
    with serving(home, env={"HOOK": receiver.url, "HOOK_SECRET": SECRET}) as hub:
        yield hub


def spend_until_refused(hub):
    key = hub.ask("POST", "/api/keys", {"name": "k", "scopes": ["llm"]})[1]["key"]
    for _ in range(200):
        if hub.ask("POST", "/v1/chat/completions", ASKED, token=key)[0] == 403:
            return
    raise AssertionError("the budget has no end")


def alerts(hub):
    return {one["level"]: one["state"] for one in hub.get("/api/usage/alerts")["alerts"]}


def test_a_budget_that_runs_out_is_an_event_a_line_and_a_signed_post(tmp_path, receiver):
    with hub_of(tmp_path / "home", receiver) as hub, closing(hub.connection()) as line:
        head = {"authorization": f"Bearer {hub.token}"}
        line.request("GET", "/api/events?event=budget", headers=head)
        stream = line.getresponse()
        hub.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": "0.01"})
        spend_until_refused(hub)
        until(lambda: receiver.came and set(alerts(hub).values()) == {"sent"}, what="the post")
        levels = receiver.levels()
        assert levels
        assert len(set(levels)) == len(levels), "each once"
        assert set(levels) <= {"warning", "critical", "blocked"}
        while not (heard := stream.readline()).startswith(b"data: "):
            pass
        assert json.loads(heard.removeprefix(b"data: "))["budget"] == "default"
        assert f"A budget reached {levels[0]}" in hub.words()
        assert "T0P-SECRET" not in hub.words()
        assert hub.stop() == 0


def test_an_alert_survives_a_dead_receiver_and_a_killed_hub(tmp_path, receiver):
    receiver.status = 503
    home = tmp_path / "home"
    with hub_of(home, receiver) as hub:
        hub.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": "0.01"})
        spend_until_refused(hub)
        until(lambda: receiver.tries and "waiting" in alerts(hub).values(), what="a try")
        reasons = hub.get("/readyz")["reasons"] if hub.ask("GET", "/readyz")[0] == 200 else []
        assert all("T0P-SECRET" not in str(one) for one in reasons)
        told = alerts(hub)
        hub.process.kill()
        hub.process.wait(10)
    receiver.status = 204
    with hub_of(home, receiver) as hub:
        until(lambda: set(alerts(hub).values()) == {"sent"}, 90, what="the post")
        assert sorted(receiver.levels()) == sorted(told)
        assert hub.stop() == 0
