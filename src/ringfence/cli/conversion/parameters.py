"""What tools take, from the schemas that frameworks give: the `takes` of a converted policy."""

import re
from collections.abc import Mapping
from typing import Any

from ringfence.cli.exits import CommandError
from ringfence.dsl.live import LiveTool, parameters_of
from ringfence.dsl.live.takes import Untakable, said, type_of

NAME = re.compile(r"[a-z_][a-z0-9_]*")
"""What the language can say."""


def takes(schema: Mapping[str, Any]) -> str:
    """Return the parameters as `takes` says them; what the language cannot type is refused.

    Raises:
        CommandError: A parameter has a type that no policy can name.
    """
    parameters = parameters_of(LiveTool("", schema))
    assert parameters is not None, "it has a schema"
    parts = []
    for name, shape in parameters.shapes.items():
        if not NAME.fullmatch(name):
            raise CommandError(
                f"the parameter `{name}` has a name that no policy can say",
                help="small letters, digits and `_`",
            )
        type = type_of(shape)
        if isinstance(type, Untakable):
            raise CommandError(
                f"the parameter `{name}` has no type that a policy can name: {type.why}",
                help="give it one in the tool's schema",
            )
        is_optional = name not in parameters.required or "null" in shape.kinds
        parts.append(f"{name}: {said(type)}{' optional' if is_optional else ''}")
    return ", ".join(parts)
