"""OpenTelemetry's protobuf, as the tree that its JSON would be (otlp.py).

What no usage can be in is left out: bodies of records, which may hold what somebody wrote to a
model, events and links. The library is loaded with the first such message: 0.04 s and 6.5 MB.
"""

from typing import Any, Final

from google.protobuf.message import DecodeError

LEFT_OUT: Final = frozenset({"body", "events", "links", "exemplars"})


def tree(kind: str, data: bytes) -> dict[str, Any]:
    """The export of this kind ("Logs", "Spans", "Metrics"). Raises ValueError: it is none."""
    request = _request(kind)
    try:
        request.ParseFromString(data)
    except DecodeError:
        raise ValueError("The body is no protobuf of an OTLP export") from None
    return _tree(request)


def _request(kind: str) -> Any:
    """An empty one."""
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData  # noqa: PLC0415 - see above
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData  # noqa: PLC0415
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: PLC0415

    # On the wire they are what the requests to export are.
    return {"Logs": LogsData, "Metrics": MetricsData, "Spans": TracesData}[kind]()


def _tree(message: Any) -> dict[str, Any]:
    return {
        field.json_name: _plain(value)
        for field, value in message.ListFields()
        if field.name not in LEFT_OUT
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (str, int, float)):
        return value
    if hasattr(value, "ListFields"):
        return _tree(value)
    return [_plain(one) for one in value]
