"""What the hub adds to an endpoint's record before it is checked and kept."""

from msgspec import structs

from agenthub.domain.endpoint import Endpoint, RateLimit, Timeouts
from agenthub.domain.provider import CALL_MS, IDLE_MS, PRESETS, filled


def completed(endpoint: Endpoint) -> Endpoint:
    """A provider with what its preset says; any other endpoint as it is. Raises BadSetting."""
    if endpoint.llm is None:
        return endpoint
    llm = filled(endpoint.llm)
    preset = PRESETS.get(llm.preset)
    url, headers = endpoint.url, endpoint.headers
    if preset is not None and url is None:
        given = {name.lower() for name in headers}
        url = preset.url
        if "authorization" not in given:
            headers = {k: v for k, v in preset.headers.items() if k.lower() not in given} | headers
    return structs.replace(
        endpoint,
        url=url,
        headers=headers,
        llm=structs.replace(llm, provider=llm.provider or endpoint.name),
        # What is right for tools, which are quick, is wrong for models.
        timeouts=_timeouts(endpoint.timeouts),
        rate_limit=None if endpoint.rate_limit == RateLimit() else endpoint.rate_limit,
    )


def _timeouts(given: Timeouts) -> Timeouts:
    usual = Timeouts()
    return structs.replace(
        given,
        idle_ms=IDLE_MS if given.idle_ms == usual.idle_ms else given.idle_ms,
        call_ms=CALL_MS if given.call_ms == usual.call_ms else given.call_ms,
    )
