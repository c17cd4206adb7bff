"""The settings of a request: without tools that a provider would run, and as they may stand in the log."""

from collections.abc import Mapping
from typing import Any, Final

from ringfence.dsl.plan import Json
from ringfence.engine.binding.values import json_of
from ringfence.engine.decision.events import MARK

_ELSEWHERE: Final = frozenset({"tools", "functions", "mcp_servers", "plugins", "web_search_options"})
"""Fields of a request's `extra_body` through which a provider could be offered tools as well."""
_NAMES: Final = ("token", "signature")
_ENDINGS: Final = (
    *("apikey", "accesskey", "accesskeyid", "secretkey", "privatekey", "subscriptionkey", "secret"),
    *("authorization", "authorizationtoken", "authtoken", "accesstoken", "sessiontoken", "securitytoken"),
    *("bearertoken", "refreshtoken", "idtoken", "apitoken", "password", "passwd", "passphrase"),
    *("credential", "credentials", "cookie", "cookies"),
)


def offering(settings: Mapping[str, Any] | None) -> list[str]:
    """Return the fields of the settings that would offer a model tools of its provider."""
    body = settings.get("extra_body") if settings else None
    return sorted(_ELSEWHERE & body.keys()) if isinstance(body, Mapping) else []


def without(settings: Mapping[str, Any], fields: list[str]) -> dict[str, Any]:
    """Return the settings without these fields of the request's body."""
    body = {name: value for name, value in settings["extra_body"].items() if name not in fields}
    return {**settings, "extra_body": body}


def shown(settings: Mapping[str, Any] | None) -> Json:
    """Return settings as they may stand in the log: no header's value, and nothing that is named as a key.

    SECURITY: a setting decides nothing, so nothing is lost where a name only looks like that of a key.
    """
    return {} if settings is None else _masked(json_of(dict(settings)))


def _masked(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _named(name, inner) for name, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _named(name: str, value: Json) -> Json:
    word = "".join(sign for sign in name.casefold() if sign.isalnum())
    if word.endswith("headers") and isinstance(value, dict):
        return dict.fromkeys(value, MARK)
    if word in _NAMES or word.endswith((*_ENDINGS, "headers")):
        return value if value is None or isinstance(value, bool) else MARK
    return _masked(value)
