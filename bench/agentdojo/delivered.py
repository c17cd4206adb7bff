"""What an adapter would have delivered: recorded texts, back in the structure that the tool returned.

The recordings hold what the model saw: YAML for records and lists of records, Python's `repr` for plain
dictionaries, bare text for the rest; some models were given it between `<<` and `>>`.
"""

from ast import literal_eval
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, get_origin

import yaml
from pydantic import BaseModel

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@lru_cache(maxsize=4096)
def delivered(text: str, returns: Any) -> Any:
    """Return a result as JSON values; `returns` is the tool's declared return type."""
    if text.startswith("<<") and text.endswith(">>"):
        text = text[2:-2]
    try:
        if get_origin(returns) is list or (isinstance(returns, type) and issubclass(returns, BaseModel)):
            return _json(yaml.load(text, LOADER))
        if get_origin(returns) is dict:
            return _json(literal_eval(text))
        if returns is float:
            return float(text)
    except (ValueError, SyntaxError, yaml.YAMLError):  # fails closed: text without fields matches no field
        return text
    return text


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    return str(value) if isinstance(value, date) else value
