"""The hub beside LiteLLM's proxy and Portkey's gateway: what a call of a model costs each.

    make interop && python bench/rivals.py [rounds] [seconds]

In one run, before one provider (upstream.c), on one core: every round measures the bare provider
and then each gateway, and medians are shown. LiteLLM is the one of the interop tests, Portkey's is
installed from npm into a folder of its own; who does not start is left out, and it is said why. The
hub does more meanwhile: it holds and books the money of each call durably, on three budgets.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from caller import Refused
from models import BRIEF, PATH, STREAMED, WHOLE, Asking, ModelHub, measured
from models import _call as call_row
from models import _chunk as chunk_row
from process import SUBJECT_CORE, Process
from subject import Upstream, first_answer_ms, free_port
from tool import tool
from traffic import Work

ROOT = Path(__file__).resolve().parent.parent
INTEROP = ROOT / ".interop"
PORTKEY = "@portkey-ai/gateway@1.15.2"
MASTER = "sk-" + "m" * 40
FEW = 2_000
"""Calls that a slow one is asked for at most."""
START_S = 90


class LiteLlm:
    """One worker, no database, no callbacks: the quickest that it has."""

    def __init__(self, home: Path, upstream: Upstream) -> None:
        home.mkdir()
        self.port = free_port()
        params = {
            "model": "openai/*", "api_base": f"http://127.0.0.1:{upstream.port}/v1",
            "api_key": "x", "input_cost_per_token": 1e-6, "output_cost_per_token": 5e-6,
        }  # fmt: skip
        config = home / "config.yaml"
        config.write_text(json.dumps({"model_list": [
            {"model_name": "*", "litellm_params": params}
        ]}))  # fmt: skip
        command = [
            str(INTEROP / "litellm" / "bin" / "litellm"), "--config", str(config),
            "--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1",
        ]  # fmt: skip
        environment = {
            "LITELLM_MASTER_KEY": MASTER, "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
        }  # fmt: skip
        self.process = Process(command, SUBJECT_CORE, home / "log", **environment)
        self.caller = Asking(self.port, PATH, headers={"Authorization": f"Bearer {MASTER}"})
        first_answer_ms(self.process, self.caller, START_S)


class Portkey:
    """As `npx @portkey-ai/gateway` starts it."""

    def __init__(self, home: Path, upstream: Upstream) -> None:
        home.mkdir()
        path = f"{INTEROP}/bin:{os.environ['PATH']}"
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PORTKEY],
            cwd=home, check=True, capture_output=True, timeout=300,
            env={**os.environ, "PATH": path},
        )  # fmt: skip
        self.port = free_port()
        server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        command = ["node", str(server), f"--port={self.port}", "--headless"]
        environment = {"PATH": path, "TRUSTED_CUSTOM_HOSTS": "127.0.0.1", "NODE_ENV": "production"}
        self.process = Process(command, SUBJECT_CORE, home / "log", **environment)
        self.caller = Asking(self.port, PATH, headers={
            "Authorization": "Bearer x", "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream.port}/v1",
        })  # fmt: skip
        first_answer_ms(self.process, self.caller, START_S)


def rivals(home: Path, rounds: int, seconds: float) -> dict[str, Any]:
    with ExitStack() as stack:
        upstream = Upstream(caller=Asking(0, PATH))
        stack.enter_context(upstream.process)
        subjects: dict[str, Any] = {"direct": upstream}
        hub = ModelHub(home / "hub", upstream)
        hub.start()
        stack.enter_context(hub.process)
        subjects["hub"] = hub
        left_out = {}
        for name, kind in (("litellm", LiteLlm), ("portkey", Portkey)):
            try:
                subjects[name] = kind(home / name, upstream)
                stack.enter_context(subjects[name].process)
            except (OSError, subprocess.SubprocessError, Refused) as error:
                left_out[name] = f"{type(error).__name__}: {str(error)[-300:]}"
        return _measured(subjects, rounds, seconds) | {"left_out": left_out}


def _measured(subjects: dict[str, Any], rounds: int, seconds: float) -> dict[str, Any]:
    works = [Work(one.kind, one.connections, calls_max=FEW) for one in WHOLE]
    works += [STREAMED[0], Work(BRIEF.kind, STREAMED[0].connections)]
    seen: dict[tuple[Work, str], list[dict[str, Any]]] = {}
    errors: dict[str, int] = {}
    for _ in range(rounds):
        for work in works:
            for name, subject in subjects.items():
                one = measured(subject, work, seconds)
                if one["errors"]:
                    place = f"{name} {work.kind} {work.connections}"
                    errors[place] = errors.get(place, 0) + one["errors"]
                seen.setdefault((work, name), []).append(one)
    *whole, paced, brief = works
    found: dict[str, Any] = {"errors": errors}
    for work in whole:
        found[f"call_{work.connections}"] = {
            name: call_row(seen[work, name], seen[work, "direct"]) for name in subjects
        }
    found[f"chunk_{paced.connections}"] = {
        name: chunk_row(seen[paced, name], seen[paced, "direct"], seen[brief, name])
        for name in subjects
    }
    return found


def show(found: dict[str, Any]) -> None:
    for section, rows in found.items():
        if section.startswith(("call", "chunk")):
            for name, row in rows.items():
                told = "  ".join(f"{key} {value:,.1f}" for key, value in row.items())
                print(f"{section:9} {name:8} {told}")
    print("errors", found["errors"])
    for name, why in found["left_out"].items():
        print(f"left out: {name}: {why}")


if __name__ == "__main__":
    for program in ("upstream", "load"):
        tool(program)
    with tempfile.TemporaryDirectory(prefix="agenthub-bench-") as folder:
        result = rivals(
            Path(folder), int((*sys.argv, 3, 3)[1]), float((*sys.argv, 0.6, 0.6, 0.6)[2])
        )
    show(result)
    print(json.dumps(result))
