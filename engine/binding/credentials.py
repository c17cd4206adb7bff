"""What of a request opens a provider's service, or another one: never written out, with no setting for it.

A parameter decides nothing, so nothing is lost where a name only looks like that of a key.
"""

import re
from typing import Any, Final

from pydantic import Secret, SecretBytes, SecretStr

from ringfence.dsl.plan import Json
from ringfence.engine.binding.values import Hide, json_of
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


def without_keys(value: object, *, hide: Hide | None = None) -> Json:
    """Return a parameter of a request, or all of them, as JSON that may stand in the log."""
    # SECURITY: unlike an argument of a tool, which is decided as it is used, it keeps what is masked masked.
    return _masked(json_of(value, own=_stars, hide=hide))


def _stars(value: Any) -> Any:
    return str(value) if isinstance(value, SecretStr | SecretBytes | Secret) else value


def _masked(value: Json) -> Json:
    if isinstance(value, str):
        return _LOGIN.sub(rf"\1{MARK}@", value) if "://" in value else value
    if isinstance(value, dict):
        return {name: _named(name, inner) for name, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _named(name: str, value: Json) -> Json:
    word = "".join(sign for sign in name.casefold() if sign.isalnum())
    if word.endswith(_HEADERS) and isinstance(value, dict):
        return {key: _mark(inner) for key, inner in value.items()}
    if word in _NAMES or word.endswith((*_ENDINGS, _HEADERS)):
        return _mark(value)
    return _masked(value)


def _mark(value: Json) -> Json:
    """Return what stands for a key; what says nothing as it is."""
    return value if value is None or isinstance(value, bool) else MARK
