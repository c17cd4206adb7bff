"""One frame of the protocol, from text to message: what reads two ways is refused.

A client's frame is read strictly: a name that stands twice, NaN or an integer that readers round would be
decided as one thing and run as another.  A server's is read once and written anew, so that only what JSON
cannot say is refused.
"""

import json
from typing import Any, Final, NoReturn, TypeGuard

import mcp_types as types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from ringfence.dsl.canonical import LARGEST_INTEGER, loads_strict

CLIENT_FRAME_BYTES: Final = 4 * 1024 * 1024
"""A larger frame of a client is refused unread."""
SERVER_FRAME_BYTES: Final = 16 * 1024 * 1024
"""A server that sends a larger frame is taken for broken."""


class BadFrameError(ValueError):
    """A frame that is no message; `answer` tells the sender so, if it can be told."""

    def __init__(self, why: str, *, id: object = None, code: int = types.PARSE_ERROR) -> None:
        super().__init__(why)
        known = id if _is_id(id) else None
        self.id = known
        self.answer = types.JSONRPCError(
            jsonrpc="2.0", id=known, error=types.ErrorData(code=code, message=why)
        )


def client_frame(data: bytes) -> SessionMessage:
    """Read a frame of a client; raise BadFrameError with constant texts."""
    if len(data) > CLIENT_FRAME_BYTES:
        raise BadFrameError("the message is too large", code=types.INVALID_REQUEST)
    try:
        value = loads_strict(data)
    except ValueError:  # refused, and said so; whatever it was is not repeated
        raise BadFrameError("the message is no JSON that reads only one way", id=_id_of(data)) from None
    return _message(value)


def server_frame(data: bytes) -> SessionMessage:
    """Read a frame of a server; raise BadFrameError, whose `id` says which call has no answer, if known."""
    try:
        value = json.loads(data, parse_constant=_no_json, parse_float=_finite)
        if b"\\u" in data:
            # SECURITY: half a character (a lone surrogate) can be read, but never written to the client.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # no message: whoever waits for it is told, if that can be known
        raise BadFrameError("a message is no JSON", id=_id_of(data)) from None
    return _message(value)


def _message(value: Any) -> SessionMessage:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_python(value, by_name=False))
    except (ValidationError, RecursionError):  # refused, and said so
        id = value.get("id") if isinstance(value, dict) else None
        raise BadFrameError("the message is no JSON-RPC", id=id, code=types.INVALID_REQUEST) from None


def _is_id(id: object) -> TypeGuard[str | int]:
    """Say whether an answer can bear this id: half a character (a lone surrogate) cannot be written."""
    if isinstance(id, str):
        return not any("\ud800" <= character <= "\udfff" for character in id)
    return isinstance(id, int) and not isinstance(id, bool) and abs(id) <= LARGEST_INTEGER


def _id_of(data: bytes) -> object:
    """Return the id that a frame seems to have that is no proper one; for the answer alone."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # nobody to answer
        return None
    return value.get("id") if isinstance(value, dict) else None


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number
