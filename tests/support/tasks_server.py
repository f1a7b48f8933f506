"""A server of the new era that has the tasks extension (SEP-2663), as the conformance suite wants.

    python tests/support/tasks_server.py --port N

It is written from the specification, without a library, so that it says exactly what it says. It
listens on 127.0.0.1 only.
"""

import argparse
import asyncio
import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime

import uvicorn

VERSION = "2026-07-28"
PROTOCOL = "io.modelcontextprotocol/"
TASKS = PROTOCOL + "tasks"
NAMED = {
    "tools/call": "name", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId",
}  # fmt: skip
TTL_MS = 600_000
OPEN = {"working", "input_required"}
FORM = {"type": "object", "properties": {"name": {"type": "string"}}}


class Refused(Exception):
    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.error = {"code": code, "message": message, **({"data": data} if data else {})}


def needs_tasks():
    return Refused(
        -32021, "This needs tasks", {"requiredCapabilities": {"extensions": {TASKS: {}}}}
    )


def text(words, **more):
    return {"content": [{"type": "text", "text": words}], **more}


def elicit(message):
    params = {"mode": "form", "message": message, "requestedSchema": FORM}
    return {"method": "elicitation/create", "params": params}


def now():
    return datetime.now(UTC).isoformat()


class Task:
    """One task: what its job did so far."""

    def __init__(self, job, tell):
        self.id = secrets.token_urlsafe(12)
        self.facts = {"status": "working"}
        self.created = self.updated = now()
        self.asked = {}
        self.given = {}
        self.changed = asyncio.Event()
        self._tell = tell
        self._running = asyncio.ensure_future(self._run(job))

    async def _run(self, job):
        try:
            result = await job(self)
        except Refused as refused:
            self.become(status="failed", error=refused.error)
        except asyncio.CancelledError:
            self.become(status="cancelled")
        else:
            self.become(status="completed", result=result)

    def become(self, **facts):
        self.facts, self.updated = facts, now()
        self._tell(self)

    async def ask(self, **asked):
        """Wait until the client has answered all of it."""
        self.asked = asked
        self.become(status="input_required", inputRequests=self.asked)
        while self.asked:
            self.changed.clear()
            await self.changed.wait()
        self.become(status="working")
        return self.given

    def update(self, answers):
        for key in self.asked.keys() & answers.keys():
            del self.asked[key]
            self.given[key] = answers[key]
        if self.facts["status"] in OPEN:
            self.changed.set()

    def cancel(self):
        if self.facts["status"] in OPEN:
            self._running.cancel()

    def base(self):
        return {
            "taskId": self.id, "status": self.facts["status"], "createdAt": self.created,
            "lastUpdatedAt": self.updated, "ttlMs": TTL_MS, "pollIntervalMs": 50,
        }  # fmt: skip

    def detailed(self):
        return {**self.base(), **self.facts}


def slow(arguments):
    async def job(task):
        await asyncio.sleep(arguments.get("seconds", 0))
        return text(f"done {arguments.get('label', '')}", structuredContent={"exact": 1.0})

    return job


def failing(arguments):
    async def job(task):
        await asyncio.sleep(0.5)
        return text("it failed", isError=True)

    return job


def broken(arguments):
    async def job(task):
        raise Refused(-32603, "it broke", {"why": "on purpose"})

    return job


def confirm(arguments):
    async def job(task):
        given = await task.ask(confirm=elicit(f"Delete {arguments.get('filename')}?"))
        return text(f"{given['confirm']['action']} {arguments.get('filename')}")

    return job


def two(arguments):
    async def job(task):
        given = await task.ask(first=elicit("First?"), second=elicit("Second?"))
        return text(json.dumps(given))

    return job


JOBS = {
    "slow_compute": slow, "failing_job": failing, "protocol_error_job": broken,
    "confirm_delete": confirm, "multi_input": two,
}  # fmt: skip
REQUIRED = {"failing_job", "protocol_error_job", "confirm_delete", "multi_input"}
TOOLS = ["greet", *JOBS, "test_tool_with_task"]


class Server:
    """The messages; HTTP is below."""

    def __init__(self):
        self.tasks = {}
        self.streams = {}
        """Queue of news → the task ids it is about."""

    def tell(self, task):
        for queue, task_ids in self.streams.items():
            if task.id in task_ids:
                queue.put_nowait(("notifications/tasks", task.detailed()))

    def answer(self, method, params, capabilities):
        has_tasks = TASKS in capabilities.get("extensions", {})
        if method == "server/discover":
            return {
                "supportedVersions": [VERSION], "ttlMs": 0, "cacheScope": "public",
                "capabilities": {"tools": {"listChanged": True}, "extensions": {TASKS: {}}},
            }  # fmt: skip
        if method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            return {"tools": tools, "ttlMs": 60_000, "cacheScope": "public"}
        if method == "tools/call":
            return self.call(params, has_tasks=has_tasks)
        if method not in NAMED:
            raise Refused(-32601, "Method not found")
        if not has_tasks:
            raise needs_tasks()
        task = self.tasks.get(params.get("taskId"))
        if task is None:
            raise Refused(-32602, "Unknown task")
        if method == "tasks/get":
            return task.detailed()
        if method == "tasks/update":
            task.update(params.get("inputResponses", {}))
        else:
            task.cancel()
        return {}

    def call(self, params, *, has_tasks):
        name, arguments = params["name"], params.get("arguments", {})
        if name == "greet":
            return text(f"Hello, {arguments.get('name')}!")
        if name == "test_tool_with_task":
            answers = params.get("inputResponses", {})
            if "user_name" not in answers:
                asked = {"user_name": elicit("Your name?")}
                return {
                    "resultType": "input_required", "inputRequests": asked,
                    "requestState": "round-1",
                }  # fmt: skip
            who = answers["user_name"]["content"]["name"]
            return self.begin(slow({"label": f"for {who}"}))
        if name not in JOBS:
            raise Refused(-32602, f"Unknown tool: {name}")
        if not has_tasks:
            if name in REQUIRED:
                raise needs_tasks()
            return text("done at once")
        return self.begin(JOBS[name](arguments))

    def begin(self, job):
        task = Task(job, self.tell)
        self.tasks[task.id] = task
        return {"resultType": "task", **task.base()}


class App:
    """ASGI: one endpoint, POST only."""

    def __init__(self):
        self.server = Server()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        if scope["method"] != "POST":
            await self.json(send, 405, b"")
            return
        message, headers = json.loads(body), dict(scope["headers"])
        if "id" not in message:
            await self.json(send, 202, b"")
            return
        params = message.get("params", {})
        try:
            self.check(message, params, headers)
            if message["method"] == "subscriptions/listen":
                await self.listen(message["id"], params, receive, send)
                return
            declared = params["_meta"][PROTOCOL + "clientCapabilities"]
            result = self.server.answer(message["method"], params, declared)
            result = {"result": {"resultType": "complete", **result}}
            status = 200
        except Refused as refused:
            result = {"error": refused.error}
            status = 404 if refused.error["code"] == -32601 else 400
        whole = {"jsonrpc": "2.0", "id": message["id"], **result}
        await self.json(send, status, json.dumps(whole).encode())

    @staticmethod
    def check(message, params, headers):
        method, meta = message["method"], params.get("_meta", {})
        version = headers.get(b"mcp-protocol-version", b"").decode()
        if version not in {"", VERSION} or PROTOCOL + "protocolVersion" not in meta:
            supported = {"supported": [VERSION], "requested": version}
            raise Refused(-32022, "Unsupported protocol version", supported)
        named_by = NAMED.get(method)
        if headers.get(b"mcp-method") != method.encode() or (
            named_by and headers.get(b"mcp-name") != str(params.get(named_by)).encode()
        ):
            raise Refused(-32020, "A header is not what the body says")

    async def listen(self, message_id, params, receive, send):
        wanted = params["notifications"]
        queue = asyncio.Queue()
        task_ids = [one for one in wanted.get("taskIds", []) if one in self.server.tasks]
        queue.put_nowait(
            ("notifications/subscriptions/acknowledged", {"notifications": {"taskIds": task_ids}})
        )
        self.server.streams[queue] = task_ids
        for task_id in task_ids:  # What happened before it listened is not lost.
            self.server.tell(self.server.tasks[task_id])
        kind = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        gone = asyncio.ensure_future(self.gone(receive))
        try:
            while not gone.done():
                with suppress(TimeoutError):
                    method, news = await asyncio.wait_for(queue.get(), 0.5)
                    tagged = {**news, "_meta": {PROTOCOL + "subscriptionId": message_id}}
                    event = {"jsonrpc": "2.0", "method": method, "params": tagged}
                    data = b"event: message\ndata: %b\n\n" % json.dumps(event).encode()
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            gone.cancel()
            del self.server.streams[queue]

    @staticmethod
    async def gone(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    @staticmethod
    async def json(send, status, body):
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    uvicorn.run(App(), host="127.0.0.1", port=parser.parse_args().port, log_level="warning")


if __name__ == "__main__":
    main()
