"""The type of a parameter, read back from the one spelling in which the plan keeps it."""

import re

from ringfence.dsl.plan import Parameter
from ringfence.dsl.types import DECLARABLE, Type

_WRITTEN = re.compile(r"(list of )?([a-z]+)(?: at most ([0-9]+)(?: (bytes|KB|MB|GB))?)?")
_FACTORS = {"bytes": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}


def shape_of(parameter: Parameter) -> Type:
    """Return the type that `dsl.types.written` wrote."""
    found = _WRITTEN.fullmatch(parameter.type)
    if found is None or found[2] not in DECLARABLE:
        raise ValueError(f"`{parameter.type}` is no type of a parameter")
    is_list, kind = found[1] is not None, found[2]
    if found[3] is None:
        return Type(kind, is_list)
    if found[4] is not None:
        return Type(kind, is_list, int(found[3]) * _FACTORS[found[4]], "bytes")
    return Type(kind, is_list, int(found[3]), "elements" if is_list else "characters")
