"""The tools of an MCP server, listed once for a person who writes a policy; nothing of it is called.

A server is a stranger: it gets none of our environment but what every program needs, a bounded time, and a
bounded number of bytes to answer in; what it has started is killed when it has answered.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

try:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
except ImportError as error:
    raise ImportError(
        'the tools of an MCP server need the package `mcp`: pip install "ringfence[mcp]"'
    ) from error

from ringfence.adapters.mcp.child import Heard, TooMuchError, child
from ringfence.dsl.live import LiveTool

WITHIN_S = 60.0
"""How long a server has: a command may have to be downloaded first."""
MOST_BYTES = 32 << 20
"""How much it may say in all."""
MOST_PAGES = 200
MOST_TOOLS = 5_000


class ListingError(Exception):
    """The server did not tell its tools, in words for a person."""


@dataclass(frozen=True, slots=True)
class Where:
    """A server: a command line to start, or the URL of one that runs."""

    text: str

    @property
    def is_url(self) -> bool:
        """True for `http://…` and `https://…`."""
        return self.text.startswith(("http://", "https://"))


def live_tools(where: str, *, within_s: float = WITHIN_S, most_bytes: int = MOST_BYTES) -> list[LiveTool]:
    """Return the tools of a server.

    Args:
        where: A command line, split as a shell would, or a URL.

    Raises:
        ListingError: It cannot be started or reached, says too much, takes too long, or is no MCP server.
    """
    heard = Heard(most_bytes)
    try:
        return asyncio.run(asyncio.wait_for(_listed(Where(where), heard), within_s))
    except TimeoutError as error:
        raise ListingError(f"it told no tools within {within_s:g} seconds{heard.last_words}") from error
    except ListingError:
        raise
    except Exception as error:  # a task group hands on several at once; fails closed: no tools, and why
        if heard.too_much:
            raise ListingError(f"it said more than {most_bytes:,} bytes") from error
        raise ListingError(f"{_first(error)}{heard.last_words}") from error


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


async def _listed(where: Where, heard: Heard) -> list[LiveTool]:
    tools: list[LiveTool] = []
    async with Client(_transport(where, heard), cache=None) as client:
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += [_live(tool) for tool in page.tools]
            if len(tools) > MOST_TOOLS:
                raise ListingError(f"it has more than {MOST_TOOLS:,} tools")
            if not page.next_cursor:
                return tools
            cursor = page.next_cursor
    raise ListingError(f"its list of tools has more than {MOST_PAGES} pages")


def _live(tool: Any) -> LiveTool:
    """Return a tool as the server describes it: every word is the server's own."""
    told = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return LiveTool(
        told["name"],
        told.get("inputSchema"),
        told.get("description") or told.get("title") or "",
        told.get("annotations") or {},
    )


def _transport(where: Where, heard: Heard) -> AbstractAsyncContextManager[Any]:
    if where.is_url:
        return _reached(where.text, heard)
    try:
        command = shlex.split(where.text)
    except ValueError as error:
        raise ListingError(f"the command cannot be read: {error}") from error
    if not command:
        raise ListingError("no command is named")
    return child(command, heard)


@asynccontextmanager
async def _reached(url: str, heard: Heard) -> AsyncIterator[Any]:
    counted = _Counted(httpx2.AsyncHTTPTransport(), heard)
    async with (
        httpx2.AsyncClient(transport=counted, timeout=httpx2.Timeout(WITHIN_S)) as http,
        streamable_http_client(url, http_client=http, max_sse_event_size=heard.most_bytes) as streams,
    ):
        yield streams


class _Counted(httpx2.AsyncBaseTransport):
    """Counts what answers hold, and breaks one off that is too large."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, heard: Heard) -> None:
        self._inner = inner
        self._heard = heard

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _CountedStream(response.stream, self._heard)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _CountedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, heard: Heard) -> None:
        self._inner = inner
        self._heard = heard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            self._heard.count(len(part))
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


__all__ = ["ListingError", "TooMuchError", "live_tools"]
