"""What of a request opens a provider's service, or another one: never written out, with no setting for it.

A parameter decides nothing, so nothing is lost where a name only looks like that of a key.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Secret, SecretBytes, SecretStr

from ringfence.engine.decision.events import MARK

_NAMES: Final = ("token", "signature")
_ENDINGS: Final = (
    *("apikey", "accesskey", "accesskeyid", "secretkey", "privatekey", "subscriptionkey", "secret"),
    *("authorization", "authorizationtoken", "authtoken", "accesstoken", "sessiontoken", "securitytoken"),
    *("bearertoken", "refreshtoken", "idtoken", "adtoken", "apitoken"),
    *("password", "passwd", "passphrase", "credential", "credentials", "cookie", "cookies"),
)
_HEADERS: Final = "headers"
"""Whatever a header is called, providers and gateways take keys in it."""
_LOGIN: Final = re.compile(r"(://[^/?#\s:@]*:)[^/?#\s@]+@")
_SCHEMAS: Final = ("function", "parameters", "input_schema", "inputSchema")
"""A tool with one of these says what it takes; any other is the provider's own, with what it is set to."""


def without_keys(value: Any) -> Any:
    """Return a parameter of a request as it may stand in the log."""
    # SECURITY: an argument of a tool is decided as it is used; a parameter decides nothing.
    if isinstance(value, SecretStr | SecretBytes | Secret):
        return str(value)
    if isinstance(value, str):
        return _LOGIN.sub(rf"\1{MARK}@", value) if "://" in value else value
    if isinstance(value, Mapping):
        return {name: _named(str(name), inner) for name, inner in value.items()}
    return [without_keys(inner) for inner in value] if isinstance(value, list | tuple) else value


def tools_without_keys(tools: Any) -> Any:
    """Return the tools that a model is offered as they may stand in the log."""
    if not isinstance(tools, list | tuple):
        return tools
    return [
        without_keys(one) if isinstance(one, Mapping) and not any(name in one for name in _SCHEMAS) else one
        for one in tools
    ]


def _named(name: str, value: Any) -> Any:
    word = "".join(sign for sign in name.casefold() if sign.isalnum())
    if word in _NAMES or word.endswith(_ENDINGS):
        return _mark(value)
    if word.endswith(_HEADERS):
        if isinstance(value, Mapping):
            return {key: _mark(inner) for key, inner in value.items()}
        return _mark(value)
    return without_keys(value)


def _mark(value: Any) -> Any:
    """Return what stands for a key; what is masked already, or says nothing, as it is."""
    if value is None or isinstance(value, bool):
        return value
    return str(value) if isinstance(value, SecretStr | SecretBytes | Secret) else MARK
