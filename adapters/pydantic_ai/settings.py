"""The settings of a request, without tools that a provider would run."""

from collections.abc import Mapping
from typing import Any, Final

_ELSEWHERE: Final = frozenset({"tools", "functions", "mcp_servers", "plugins", "web_search_options"})
"""Fields of a request's `extra_body` through which a provider could be offered tools as well."""


def offering(settings: Mapping[str, Any] | None) -> list[str]:
    """Return the fields of the settings that would offer a model tools of its provider."""
    body = settings.get("extra_body") if settings else None
    return sorted(_ELSEWHERE & body.keys()) if isinstance(body, Mapping) else []


def without(settings: Mapping[str, Any], fields: list[str]) -> dict[str, Any]:
    """Return the settings without these fields of the request's body."""
    body = {name: value for name, value in settings["extra_body"].items() if name not in fields}
    return {**settings, "extra_body": body}
