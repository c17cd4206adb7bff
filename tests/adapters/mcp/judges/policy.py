"""A policy that lets through whatever a server has."""

import re
from collections.abc import Iterable

PROTOCOL = (
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "sampling/createMessage",
    "roots/list",
    "elicitation/create",
)
"""What of the protocol is a tool of the policy."""


def allow_all(tools: Iterable[str]) -> str:
    """Return a policy in which these tools, and all requests of the protocol, are allowed.

    They take what their own schemas say: none of them has a `takes`.  What a tool says of its failure passes.
    """
    bound = [*tools, *(f"mcp/{method}" for method in PROTOCOL)]
    words = [f"t{number}_{re.sub('[^a-z0-9]+', '_', name.lower())}" for number, name in enumerate(bound)]
    lines = [
        "language 1",
        "policy all",
        "responses { failure says because }",
        "capability anything is read",
        "agent client { holds anything stop after 60 minutes at most 100000 calls }",
        *(
            f'tool {word} is "{name}" {{ needs anything allow always rate 100000 per run }}'
            for word, name in zip(words, bound, strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"
