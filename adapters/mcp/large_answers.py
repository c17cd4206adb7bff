"""Answers over HTTP that have no end: they fail once they are larger than any frame may be."""

from collections.abc import AsyncIterator

import httpx2

from ringfence.adapters.mcp.frames import SERVER_FRAME_BYTES


class _Bounded(httpx2.AsyncByteStream):
    """Hands a body on up to a bound."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._body:
            size += len(part)
            if size > SERVER_FRAME_BYTES:
                raise httpx2.ReadError("the answer is too large")
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


async def bounded(response: httpx2.Response) -> None:
    """Bound the body of a response; a stream of events is bounded event by event elsewhere."""
    kind = response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream") and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)
