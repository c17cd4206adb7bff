"""The policy's words, for a client, and the few that the protocol wants of us."""

from typing import Final

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ringfence.adapters.mcp.back import ClientLacksError
from ringfence.adapters.mcp.connections import Context
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.seams.errors import RingfenceError


def told(error: RingfenceError, plan: Plan) -> str:
    """Return what the client is told of a refusal: nothing but the policy's own text."""
    return error.model_text if error.model_text is not None else (plan.responses.deny or "not authorized")


_LACKS: Final = "the client declares nothing of what this needs"


def require_nothing_lacks(error: Exception, context: Context) -> None:
    """Raise the protocol's own error if a request failed because of what the client cannot be asked (2026).

    The words are ours; of the server's, only which of the capabilities it is that the policy has.
    """
    if isinstance(error, ClientLacksError) and context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        wanted: dict[str, Json] = {"requiredCapabilities": {kind: {} for kind in sorted(error.kinds)}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, _LACKS, wanted) from error
