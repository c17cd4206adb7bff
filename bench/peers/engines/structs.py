"""msgspec: the arguments converted to a struct per tool, which checks them on the way."""

from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec

from bench.peers.workload import Call, Check, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return whether the arguments convert; the rule over all tools is the type of `env`."""
    structs = {
        name: msgspec.defstruct(
            name, [("env", Literal["dev", "stage"]), *((check.parameter, _type(check)) for check in checks)]
        )
        for name, checks in tools.items()
    }

    def allowed(call: Call) -> bool:
        struct = structs.get(call.tool)
        if struct is None:
            return False
        try:
            msgspec.convert(call.arguments, struct)
        except msgspec.ValidationError:  # how it says no
            return False
        return True

    return allowed


def _type(check: Check) -> Any:
    if check.kind == "one of":
        return Literal[check.among]
    if check.kind == "begins":
        return Annotated[str, msgspec.Meta(pattern=f"^{check.text}")]
    if check.kind == "pattern":
        return Annotated[str, msgspec.Meta(pattern=f"^{check.text}$")]
    if check.kind == "between":
        return Annotated[int, msgspec.Meta(ge=check.low, le=check.high)]
    return GenericAlias(list, (Literal[check.among],))
