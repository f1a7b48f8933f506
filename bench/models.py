"""What a priced call of a model costs: held and settled on three budgets, whole and streamed.

    python bench/models.py [rounds] [seconds] [streams]

Every round measures the bare provider (upstream.c), nginx before it, the hub, and a hub whose files
are in memory (/dev/shm): what the disk costs is the difference. Every answer is checked: status,
text, its own id; every chunk bears the time at which it was written.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from caller import Caller, Load, Refused
from process import memory_kib
from subject import UNBOUND, Hub, Nginx, Subject, Upstream
from tool import tool
from traffic import Work, measure, under_load

PATH = "/v1/chat/completions"
MEMORY = Path("/dev/shm")
PACED, SHORT = "fake-200x2000", "fake-20x20000"
"""Chunks, and the microseconds between them. Both take 0.4 s: what a chunk costs is the difference,
for a stream's own call costs as much as many chunks."""
OPEN = "fake-60x100000"
"""Of streams that are open all at once, for six seconds."""
CHUNKS, CHUNKS_SHORT, STREAM_S = 200, 20, 0.4
OPEN_S = 3
"""When those are counted and weighed."""
WHOLE = [Work("fake-0x0", 1, calls_max=2_000), Work("fake-0x0", 16, calls_max=10_000)]
STREAMED = [Work(PACED, 4), Work(PACED, 64)]
BRIEF = Work(SHORT, 64)
MODEL = {"llm": {"provider": "bench", "wires": ["chat"], "models": ["fake-*"]}}
PRICES = [{"provider": "bench", "model": "*", "input": "1", "output": "5"}]
PLENTY = "9000000"
"""US dollars that no load here uses up."""


class Asking(Caller):
    """A client of models: a kind of call is the model's name, and more than no chunks a stream."""

    def tool_names(self) -> dict[str, str]:
        return {name: name for name in ("fake-0x0", PACED, SHORT, OPEN)}

    def expected(self, kind: str) -> str:
        return "[DONE]" if _streams(kind) else "It answers at once"

    def call(self, kind: str) -> Any:
        """One answer, whatever the kind."""
        del kind
        headers = {"Content-Type": "application/json", **self.headers}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", self.path, _body("fake-0x0"), headers)
            answer = connection.getresponse()
            raw = answer.read()
        if answer.status != HTTPStatus.OK:
            raise Refused(f"HTTP {answer.status} {raw[:300]!r}")
        return json.loads(raw)

    def request(self, kind: str, name: str, session: str | None) -> bytes:
        del session
        headers = {
            "Host": f"127.0.0.1:{self.port}", "User-Agent": "bench",
            "Content-Type": "application/json", **self.headers,
        }  # fmt: skip
        body = _body(name, streams=_streams(kind))
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        head = f"POST {self.path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


def _streams(kind: str) -> bool:
    return not kind.startswith("fake-0x")


def _body(model: str, *, streams: bool = False) -> bytes:
    """Eight '@' stand where the load generator writes the id."""
    words = "Say something that takes no time, for this is only a measurement of what lies between."
    said: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": words}]}
    said |= {"user": "@@@@@@@@", "max_tokens": 400}
    return json.dumps(said | {"stream": True} if streams else said).encode()


class ModelHub(Hub):
    """Three budgets concern each call: of all, of the key, and of the model, by day."""

    def __init__(self, home: Path, upstream: Upstream) -> None:
        record = {"url": f"http://127.0.0.1:{upstream.port}/v1", **MODEL}
        record |= {"rate_limit": UNBOUND, "concurrency": 4_000}
        super().__init__(home, {"bench": record}, PATH, prices=PRICES)
        self.caller = Asking(self.port, PATH, headers=self.caller.headers)
        key_id = self.caller.headers["Authorization"].split("_")[1]
        self.command("budget", "set", PLENTY)
        self.command("budget", "add", "keys", PLENTY, "--of", f"key:{key_id}")
        self.command("budget", "add", "models", PLENTY, "--of", "endpoint:bench", "--period", "day")


def models(
    home: Path, rounds: int = 3, seconds: float = 0.6, streams: int = 1_000
) -> dict[str, Any]:
    home.mkdir()
    with ExitStack() as stack:
        upstream = Upstream(caller=Asking(0, PATH))
        stack.enter_context(upstream.process)
        subjects: dict[str, Subject] = {"direct": upstream}
        if Nginx.program():
            subjects["nginx"] = Nginx(home / "nginx", upstream)
            stack.enter_context(subjects["nginx"].process)
        places = {"hub": home / "hub"}
        if MEMORY.is_dir():
            folder = tempfile.TemporaryDirectory(prefix="agenthub-bench-", dir=MEMORY)
            places["in_memory"] = Path(stack.enter_context(folder)) / "hub"
        for name, place in places.items():
            hub = ModelHub(place, upstream)
            hub.start()
            stack.enter_context(hub.process)
            subjects[name] = hub
        found = _calls(subjects, rounds, seconds)
        found["streams"] = _open(subjects["hub"], streams)
        found["errors"] += found["streams"].pop("errors")
    return found


def _calls(subjects: dict[str, Subject], rounds: int, seconds: float) -> dict[str, Any]:
    """Medians over rounds, in each of which all subjects are measured."""
    works = [*WHOLE, *STREAMED, BRIEF]
    seen: dict[tuple[Work, str], list[dict[str, Any]]] = {}
    errors = 0
    for _ in range(rounds):
        for work in works:
            for name, subject in subjects.items():
                if name == "in_memory" and work.connections != 1:
                    continue
                one = measured(subject, work, seconds)
                errors += one["errors"]
                seen.setdefault((work, name), []).append(one)
    found: dict[str, Any] = {}
    for work in WHOLE:
        found[f"call_{work.connections}"] = {
            name: _call(seen[work, name], seen[work, "direct"])
            for name in subjects
            if (work, name) in seen
        }
    for work in STREAMED:
        found[f"chunk_{work.connections}"] = {
            name: _chunk(seen[work, name], seen[work, "direct"], seen.get((BRIEF, name)))
            for name in subjects
            if (work, name) in seen
        }
    return found | {"errors": errors}


def measured(subject: Subject, work: Work, seconds: float) -> dict[str, Any]:
    """Streams take as long as they take: each connection has one, and then `seconds` of them."""
    if not _streams(work.kind):
        return measure(subject, work, seconds)
    load = Load(subject.caller, work.kind, work.connections)
    load.run(work.connections)
    return under_load(subject, load, work.connections * (1 + math.ceil(seconds / STREAM_S)))


def _call(ones: list[dict[str, Any]], direct: list[dict[str, Any]]) -> dict[str, float]:
    pairs = list(zip(ones, direct, strict=True))
    return {
        "calls_s": _median(one["rps"] for one in ones),
        "cpu_us": _median(one["cpu_us"] for one in ones),
        "own_cpu_us": _median(one["own_cpu_us"] for one in ones),
        "p50_us": _median(one["lat"]["p50"] for one in ones),
        "added_p50_us": _median(one["lat"]["p50"] - base["lat"]["p50"] for one, base in pairs),
        "added_p50_us_min": min(one["lat"]["p50"] - base["lat"]["p50"] for one, base in pairs),
    }


def _chunk(
    ones: list[dict[str, Any]], direct: list[dict[str, Any]], brief: list[dict[str, Any]] | None
) -> dict[str, float]:
    """`cpu_us`: of a chunk. `with_call_cpu_us`: with its share of the stream's own call."""
    pairs = list(zip(ones, direct, strict=True))
    found = {"with_call_cpu_us": _median(one["cpu_us"] / CHUNKS for one in ones)}
    if all("chunk" in one for one in ones):  # who writes chunks anew leaves their times out
        for rank in ("p50", "p99"):
            found[f"added_{rank}_us"] = _median(
                one["chunk"][rank] - base["chunk"][rank] for one, base in pairs
            )
    if brief is not None and ones[0]["conns"] == brief[0]["conns"]:
        both = zip(ones, brief, strict=True)
        more = [one["cpu_us"] - less["cpu_us"] for one, less in both]
        found["cpu_us"] = _median(one / (CHUNKS - CHUNKS_SHORT) for one in more)
    return found


def _median(figures: Any) -> float:
    return statistics.median(figures)


def _open(hub: Subject, streams: int) -> dict[str, float]:
    """MiB of all processes, before and while so many streams are open; what a chunk then costs."""
    load = Load(hub.caller, OPEN, streams)
    before = memory_kib(hub.process.pid)
    client = subprocess.Popen(load.command(streams), stdout=subprocess.PIPE)
    time.sleep(OPEN_S)
    within = memory_kib(hub.process.pid)
    out, _ = client.communicate(timeout=120)
    told = json.loads(out)
    return {
        "streams": streams,
        "errors": told["errors"],
        "rss_mib": within["rss"] / 1024,
        "pss_mib": within["pss"] / 1024,
        "stream_kib": (within["pss"] - before["pss"]) / streams,
        "chunk_p50_us": told["chunk"]["p50"],
    }


def show(found: dict[str, Any]) -> None:
    for work, subjects in found.items():
        if not isinstance(subjects, dict):
            print(f"models {work}: {subjects}")
            continue
        for name, figures in subjects.items():
            if isinstance(figures, dict):
                told = ", ".join(f"{key} {value:,.1f}" for key, value in figures.items())
                print(f"models {work} {name}: {told}")
            else:
                print(f"models {work}: {name} {figures:,.1f}")


def main() -> None:
    rounds, seconds, streams = (sys.argv[1:] + ["3", "0.6", "1000"][len(sys.argv) - 1 :])[:3]
    for program in ("upstream", "load"):
        tool(program)
    with tempfile.TemporaryDirectory(prefix="agenthub-bench-") as folder:
        found = models(Path(folder) / "models", int(rounds), float(seconds), int(streams))
    show(found)
    if found["errors"]:
        sys.exit(f"{found['errors']} wrong answers")


if __name__ == "__main__":
    main()
