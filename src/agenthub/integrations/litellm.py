"""LiteLLM tells the hub what each of its calls used and cost.

In the proxy's configuration:

    litellm_settings:
      callbacks: ["agenthub.integrations.litellm.hub"]

or in a program: `litellm.callbacks = [AgentHubLogger()]`. A call is in a file before LiteLLM goes
on (some 20 us), and delivered beside it; a hub that is away costs nothing and loses nothing. What
was asked and answered is left out before that. Each call counts once, however often it is told.
Source: LiteLLM 1.108, `integrations/custom_logger.py`, `types/utils.py` (StandardLoggingPayload).
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from agenthub.integrations.courier import Courier
from agenthub.integrations.spool import Spool

try:
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as error:
    raise ImportError("agenthub.integrations.litellm is loaded by LiteLLM: install litellm") from (
        error
    )

PATH: Final = "/api/ingest/litellm"
URL, KEY, KEY_FILE = "AGENTHUB_URL", "AGENTHUB_INGEST_KEY", "AGENTHUB_INGEST_KEY_FILE"
SPOOL: Final = "AGENTHUB_SPOOL"
SPOOL_BYTES: Final = 64 * 1024 * 1024
"""Some 100,000 calls."""
KEPT: Final = (
    "id", "litellm_call_id", "trace_id", "session_id", "status", "cache_hit", "api_base",
    "custom_llm_provider", "model", "prompt_tokens", "completion_tokens", "response_cost",
    "startTime", "endTime",
)  # fmt: skip
"""Of a payload; all else, messages and answers above all, is not kept."""


class AgentHubLogger(CustomLogger):  # type: ignore[misc]
    """Reports each call that succeeded."""

    def __init__(
        self, url: str | None = None, key: str | None = None, spool: str | Path | None = None
    ) -> None:
        """What is not given is in the environment: AGENTHUB_URL (http://127.0.0.1:8787),
        AGENTHUB_INGEST_KEY or AGENTHUB_INGEST_KEY_FILE, AGENTHUB_SPOOL (a folder).

        Raises ValueError or OSError, in words.
        """
        super().__init__()
        folder = Path(spool or os.environ.get(SPOOL) or _state()).expanduser()
        address = url or os.environ.get(URL) or "http://127.0.0.1:8787"
        self.spool = Spool(folder, SPOOL_BYTES)
        self.courier = Courier(self.spool, address, PATH, key or _key())
        self.courier.start()

    def log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """LiteLLM's hook of calls that are no coroutines."""
        del response_obj, start_time, end_time
        self._report(kwargs.get("standard_logging_object"))

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """LiteLLM's hook of all others."""
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    def _report(self, payload: object) -> None:
        if isinstance(payload, Mapping):
            self.courier.add(line_of(cast("Mapping[str, Any]", payload)))


def line_of(payload: Mapping[str, Any]) -> bytes:
    """What the hub needs of a payload, as JSON."""
    kept: dict[str, Any] = {name: payload.get(name) for name in KEPT}
    metadata = payload.get("metadata")
    if isinstance(metadata, Mapping):
        usage = cast("Mapping[str, Any]", metadata).get("usage_object")
        kept["metadata"] = {"usage_object": usage}
    return json.dumps(kept, default=str).encode()


def _key() -> str:
    file = os.environ.get(KEY_FILE)
    key = Path(file).expanduser().read_text().strip() if file else os.environ.get(KEY, "")
    if not key:
        raise ValueError(f"{KEY}: expected a key of the hub with the scope ingest, or {KEY_FILE}")
    return key


def _state() -> Path:
    """Source: XDG Base Directory Specification."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "agenthub" / "litellm"


def __getattr__(name: str) -> AgentHubLogger:
    """`hub`: the logger that the environment describes, for the proxy's configuration."""
    if name != "hub":
        raise AttributeError(name)
    global hub  # noqa: PLW0603 - made when it is first asked for, and once
    hub = AgentHubLogger()
    return hub


hub: AgentHubLogger
