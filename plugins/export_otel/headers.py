"""What goes with each request, from one text: `NAME=VALUE,NAME=VALUE`, as OpenTelemetry writes it.

No message quotes a part of it: most of the values are secrets.
"""

import os
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""Where OpenTelemetry's own library finds such a text: the first that is not empty counts."""

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def headers_of(text: str) -> dict[str, str]:
    """Return the headers that a text says; raise ValueError, which quotes nothing of it."""
    found: dict[str, str] = {}
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, equals, value = part.partition("=")
        name, value = unquote(name).strip().lower(), unquote(value).strip()
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"header {number} is not NAME=VALUE, a comma in a value being written as %2C")
        found[name] = value
    return found


def surrounding(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers of the environment; raise ValueError if it says something else.

    SECURITY: checked before the library reads them: it would quote in its log what it cannot read.
    """
    there = os.environ if variables is None else variables
    for variable in VARIABLES:
        if text := there.get(variable):
            try:
                return headers_of(text)
            except ValueError as error:
                raise ValueError(f"{variable}: {error}") from None
    return {}
