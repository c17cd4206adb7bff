"""Who may connect over HTTP: bearer tokens, each with the principal on whose behalf it acts."""

import hmac
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from mcp.server.auth.provider import AccessToken

from ringfence.adapters.mcp.connections import Context, Whose
from ringfence.adapters.mcp.servers import ServerMistakeError
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal
from ringfence.engine.seams.escape import escaped

SHORTEST: Final = 24
"""Characters of a token at least: what is shorter can be guessed."""
_OPEN_TO_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class Token:
    """One row of the file."""

    name: str
    digest: str
    """SHA-256 of the token, in hex: the token itself is not kept."""
    principal: Principal | None


class Tokens:
    """Knows the tokens of one file."""

    def __init__(self, tokens: Mapping[str, Token]) -> None:
        self._tokens = tokens

    @classmethod
    def read(cls, path: Path, plan: Plan) -> "Tokens":
        """Read a file of TOML tables: `[NAME]` with `token` or `sha256`, and the principal's values.

        Raises:
            ServerMistakeError: With what is wrong; no token is repeated.
        """
        try:
            mode = path.stat().st_mode
            read = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ServerMistakeError(f"{path} cannot be read: {error.strerror or error}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ServerMistakeError(f"{path} is not TOML") from error
        if os.name == "posix" and mode & _OPEN_TO_OTHERS:
            raise ServerMistakeError(f"{path} may be read or written by others: `chmod 600 {path}`")
        tokens = [_token(path, name, row, plan) for name, row in read.items()]
        if not tokens:
            raise ServerMistakeError(f"{path} holds no token, so nobody could connect")
        if len({one.digest for one in tokens}) < len(tokens):
            raise ServerMistakeError(f"{path}: one token stands there twice, for two principals")
        return cls({one.name: one for one in tokens})

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whose a token is; None: nobody's."""
        given = sha256(token.encode("utf-8", "backslashreplace")).hexdigest()
        found: Token | None = None
        for one in self._tokens.values():  # all of them, so that the time says nothing
            if hmac.compare_digest(given, one.digest):
                found = one
        if found is None:
            return None
        return AccessToken(token="", client_id=found.name, scopes=[], subject=found.name)

    def whose(self, context: Context) -> Whose:
        """Return on whose behalf a request comes; only ones with a known token arrive here."""
        # SECURITY: from the token that was verified, never from what the client says of itself.
        user: Any = context.request.user if context.request is not None else None
        found = self._tokens[user.access_token.client_id]
        return Whose(found.name, found.principal)


def _token(path: Path, name: str, row: Any, plan: Plan) -> Token:
    said = escaped(name[:100])
    if not isinstance(row, dict):
        raise ServerMistakeError(f"{path}: `{said}` is no table: write `[{said}]` and below it `token = …`")
    values = dict(row)
    token, digest = values.pop("token", None), values.pop("sha256", None)
    if (token is None) == (digest is None):
        raise ServerMistakeError(f"{path}: `[{said}]` has either `token` or `sha256`")
    if token is not None:
        if not isinstance(token, str) or len(token) < SHORTEST:
            raise ServerMistakeError(f"{path}: the token of `[{said}]` has less than {SHORTEST} characters")
        digest = sha256(token.encode()).hexdigest()
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ServerMistakeError(f"{path}: `sha256` of `[{said}]` is 64 digits of hex, in lower case")
    unknown = sorted(values.keys() - {"user", "workspace", *plan.principal})
    if unknown:
        raise ServerMistakeError(
            f"{path}: `[{said}]` says `{escaped(unknown[0][:100])}`, which the policy asks of no principal"
        )
    return Token(name, digest, Principal(**values) if values else None)
