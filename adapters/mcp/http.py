"""Clients in front over streamable HTTP, in both eras of the protocol, on one address."""

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ringfence.adapters.mcp.connections import CONNECTIONS_AT_MOST, IDLE_S
from ringfence.adapters.mcp.frames import CLIENT_FRAME_BYTES, BadFrameError, client_frame
from ringfence.adapters.mcp.gateway import Gateway
from ringfence.adapters.mcp.kept_events import ResumableSessions
from ringfence.adapters.mcp.servers import ServerMistakeError
from ringfence.adapters.mcp.tokens import Tokens

PATH: Final = "/mcp"
_SWEEPS_EVERY_S: Final = 60.0
_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_GRACE_S: Final = 3
_PLACE: Final = rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_HOST: Final = re.compile(_PLACE)
_ORIGIN: Final = re.compile(rb"[a-z][a-z0-9+.-]*://" + _PLACE)


def parse_address(said: str) -> tuple[str, int]:
    """Read `HOST:PORT`; port 0 takes a free one."""
    host, colon, port = said.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ServerMistakeError(f"`{said}` is no address: write HOST:PORT, like 127.0.0.1:8080")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can connect there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: it may stand for anything
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ServerMistakeError: It cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ServerMistakeError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listening


def application(gateway: Gateway, *, host: str, tokens: Tokens | None) -> ASGIApp:
    """Return the gateway as an ASGI application, with its lifespan.

    Raises:
        ServerMistakeError: Anybody could connect from elsewhere.
    """
    if tokens is None and not is_loopback(host):
        # SECURITY: without tokens whoever reaches the port is the principal.
        raise ServerMistakeError(f"`{host}` can be reached from elsewhere: say who may, with --token-file")
    sessions = ResumableSessions(
        gateway.server(),
        security_settings=_security(host),
        session_idle_timeout=IDLE_S,
        max_sessions=CONNECTIONS_AT_MOST,
    )
    route = Route(PATH, endpoint=StreamableHTTPASGIApp(sessions))
    inner: ASGIApp = _Frames(Starlette(routes=[route], lifespan=lambda _: sessions.run()), gateway)
    if tokens is None:
        return inner
    guarded: ASGIApp = RequireAuthMiddleware(AuthContextMiddleware(inner), [])
    known = AuthenticationMiddleware(guarded, backend=BearerAuthBackend(tokens))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The lifespan belongs to nobody; everything else needs a token.
        await (inner if scope["type"] == "lifespan" else known)(scope, receive, send)

    return app


@asynccontextmanager
async def serving(
    gateway: Gateway, listening: socket.socket, *, host: str, tokens: Tokens | None
) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve during the block; yield what ends when the server does."""
    config = uvicorn.Config(
        application(gateway, host=host, tokens=tokens),
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
    )
    server = _Serving(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    sweeping = asyncio.create_task(_sweep(gateway))
    try:
        yield task
    finally:
        sweeping.cancel()
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task, sweeping}, timeout=2.0 * _GRACE_S)
        task.cancel()


async def serve_http(
    gateway: Gateway, listening: socket.socket, *, host: str, tokens: Tokens | None, ready: Callable[[], None]
) -> None:
    """Serve until it is cancelled."""
    async with serving(gateway, listening, host=host, tokens=tokens) as served:
        ready()
        await asyncio.wait({served})
        await served  # it ended by itself: why is an error


class _Serving(uvicorn.Server):
    """Leaves signals to us: it would raise them again before the servers behind are ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _Frames:
    """Reads the body of each request strictly, before the protocol's own parser does; sees sessions end."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not _is_addressed_plainly(scope):
            await Response("Invalid Host or Origin header", status_code=421)(scope, receive, send)
        elif scope["method"] == "POST":
            await self._post(scope, receive, send)
        elif scope["method"] == "DELETE":
            await self._delete(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return
        try:
            client_frame(body)
        except BadFrameError as error:
            text = error.answer.model_dump_json(by_alias=True, exclude_unset=True)
            status = 413 if len(body) > CLIENT_FRAME_BYTES else 400
            await Response(text, status_code=status, media_type="application/json")(scope, receive, send)
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)

    async def _delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        closed = False

        async def watched(message: Message) -> None:
            nonlocal closed
            if message["type"] == "http.response.start":
                closed = message["status"] < 300
            await send(message)

        await self._app(scope, receive, watched)
        session = dict(scope["headers"]).get(b"mcp-session-id")
        if closed and session is not None:
            await self._gateway.connections.end_session(session.decode("latin-1"))


def _is_addressed_plainly(scope: Scope) -> bool:
    """Say whether the names in Host and Origin end where they seem to.

    SECURITY: the package compares them up to a colon: what stands behind it must be a port.
    """
    headers = dict(scope["headers"])
    host, origin = headers.get(b"host", b""), headers.get(b"origin", b"")
    return _HOST.fullmatch(host) is not None and (not origin or _ORIGIN.fullmatch(origin) is not None)


async def _body(receive: Receive) -> bytes | None:
    """Return the body, or one byte too much of one that is too large; None: the client has gone."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part: bytes = message.get("body", b"")
        size += len(part)
        parts.append(part)
        if size > CLIENT_FRAME_BYTES or not message.get("more_body", False):
            return b"".join(parts)


async def _sweep(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(_SWEEPS_EVERY_S)
        await gateway.connections.end_idle(asyncio.get_running_loop().time())


def _security(host: str) -> TransportSecuritySettings:
    names: tuple[Any, ...] = _LOOPBACK_NAMES if is_loopback(host) else (host,)
    if host in ("0.0.0.0", "::"):  # any name may lead here; the token decides
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    hosts = [entry for name in names for entry in (name, f"{name}:*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{entry}" for entry in hosts for scheme in ("http", "https")],
    )
