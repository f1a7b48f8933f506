"""How long Hypothesis drives a state machine: longer in `make soak` and `make mutants`."""

import os

from hypothesis import settings

LONG = "AGENTHUB_LONG_MACHINES"


def machine(short, long, steps):
    """So many examples of so many steps."""
    examples = long if os.environ.get(LONG) else short
    return settings(max_examples=examples, stateful_step_count=steps, deadline=None)
