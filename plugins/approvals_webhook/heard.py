"""Which answers were heard already: a message that comes again changes nothing, and is told the same."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256

from ringfence.plugins.approvals_webhook.signing import TOLERANCE_S, Seal

_MOST = 10_000
"""Messages remembered at once; more than these within ten minutes are not taken."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the sender is told."""

    status: int
    body: dict[str, str | bool]
    lasting: bool = True
    """False: it could not be taken now, and may be tried again."""


@dataclass(slots=True)
class _Message:
    digest: bytes
    forget_s: float
    reply: asyncio.Future[Reply]


class Heard:
    """Remembers each genuine message for as long as its time would still be accepted."""

    def __init__(self) -> None:
        self._messages: dict[str, _Message] = {}

    async def once(
        self, seal: Seal, body: bytes, answer: Callable[[], Awaitable[Reply]], *, now_s: float
    ) -> Reply:
        """Return what `answer` says to this message, or said when it came first."""
        known, digest = self._messages.get(seal.id), sha256(body).digest()
        if known is not None:
            if known.digest != digest:
                return Reply(409, {"error": "this webhook-id was used for another answer"})
            return await asyncio.shield(known.reply)
        self._forget(now_s)
        if len(self._messages) >= _MOST:  # fails closed: what cannot be remembered could be replayed
            return Reply(503, {"error": "too many answers at once: try again"}, lasting=False)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._messages[seal.id] = _Message(digest, seal.at_s + TOLERANCE_S, reply)
        try:
            given = await answer()
        except BaseException:
            given = Reply(503, {"error": "not taken: try again"}, lasting=False)
            raise
        finally:
            reply.set_result(given)
            if not given.lasting:
                del self._messages[seal.id]
        return given

    def _forget(self, now_s: float) -> None:
        for message_id, message in list(self._messages.items()):
            if message.forget_s >= now_s:
                break  # about in the order in which they came
            if message.reply.done():
                del self._messages[message_id]
