"""A demo MCP server that calculates: `python -m agenthub.demo.calculator`."""

from collections.abc import Callable

from agenthub.demo.server import Server, Tool, ToolFailed

Number = int | float


def add(a: Number, b: Number) -> Number:
    return a + b


def subtract(a: Number, b: Number) -> Number:
    return a - b


def multiply(a: Number, b: Number) -> Number:
    return a * b


def divide(a: Number, b: Number) -> Number:
    if b == 0:
        raise ToolFailed("Division by zero")
    return a // b if isinstance(a, int) and isinstance(b, int) and a % b == 0 else a / b


def _tool(run: Callable[[Number, Number], Number], description: str) -> Tool:
    def bounded(a: Number, b: Number) -> Number:
        try:
            value = run(a, b)
            str(value)  # Integers of thousands of digits have no text.
        except (OverflowError, ValueError):
            raise ToolFailed("The result is too large") from None
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
            raise ToolFailed("The result is too large")
        return value

    number = {"type": "number"}
    definition = {
        "name": run.__name__,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": {"a": number, "b": number},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "properties": {"result": number},
            "required": ["result"],
        },
        "annotations": {
            "readOnlyHint": True,
            "idempotentHint": True,
            "destructiveHint": False,
            "openWorldHint": False,
        },
    }
    return Tool(bounded, definition)


def main() -> None:
    tools = (
        _tool(add, "Adds two numbers."),
        _tool(subtract, "Subtracts b from a."),
        _tool(multiply, "Multiplies two numbers."),
        _tool(divide, "Divides a by b."),
    )
    Server("agenthub-calculator", "1.0.0", tools).serve()


if __name__ == "__main__":
    main()
