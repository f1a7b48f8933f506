"""Ignores what it does not know, and answers `initialize`."""

from base import serve, text

serve(
    lambda message, arguments: text(message, arguments["text"]),
    other=lambda message: message["method"] == "server/discover",
)
