"""Takes answers over HTTP: `POST /answers`, signed; whatever is not genuine learns nothing.

Each connection serves one request, in bounded time and size, and there are never more than so many: who
holds on to one, or sends a byte a minute, is cut off.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from ringfence.plugin import Answers, DeniedError, NoTicketError, RingfenceError
from ringfence.plugins.approvals_webhook.heard import Heard, Reply
from ringfence.plugins.approvals_webhook.payloads import Said, said
from ringfence.plugins.approvals_webhook.settings import WebhookSettings, place
from ringfence.plugins.approvals_webhook.signing import Seal

PATH: Final = "/answers"
BODY_AT_MOST: Final = 1_280 * 1024
"""Bytes of one answer: edited arguments may be as large as arguments may be, and some more."""
_READ_S: Final = 10.0
"""Seconds for the headers, and again for the body."""
_CONNECTION_S: Final = 45.0
_CONNECTIONS: Final = 100
_FAREWELL_S: Final = 5.0
_log = logging.getLogger("ringfence")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class AnswerServer:
    """Listens for answers; made and used on one event loop."""

    def __init__(self, settings: WebhookSettings, answers: Callable[[], Answers]) -> None:
        assert settings.listen is not None
        self._host, self._port = place(settings.listen)
        self._reuse_port = settings.reuse_port
        self._keys: Sequence[bytes] = settings.callback_keys
        self._people: Mapping[str, str] = settings.people
        self._answers = answers
        self._heard = Heard()
        self._tls = _tls(settings)
        self._door = _Door(self._handle)
        self._listening: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._listening is not None
        return int(self._listening.sockets[0].getsockname()[1])

    async def open(self) -> None:
        """Listen; raise OSError if that cannot be."""
        self._listening = await asyncio.get_running_loop().create_server(
            self._door,
            self._host,
            self._port,
            ssl=self._tls,
            ssl_handshake_timeout=_READ_S if self._tls is not None else None,
            reuse_port=self._reuse_port or None,
            backlog=128,
        )

    async def close(self) -> None:
        """Listen no more, and let the answers that are being taken end."""
        if self._listening is not None:
            self._listening.close()
            self._door.pre_shutdown()
            await self._door.shutdown(_FAREWELL_S)
            await self._listening.wait_closed()

    # ---- one request -------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            reply = await self._reply(request)
        except Exception:  # fails closed: nothing was answered; the sender is not told why
            _log.exception("an answer could not be taken")
            reply = Reply(500, {"error": "it could not be taken"})
        if reply.status == 401:
            response: web.Response = web.Response(status=401)
        else:
            response = web.json_response(reply.body, status=reply.status)
        response.force_close()
        return response

    async def _reply(self, request: web.BaseRequest) -> Reply:
        if request.path != PATH:
            return Reply(404, {"error": f"answers go to {PATH}"})
        if request.method != "POST":
            return Reply(405, {"error": "answers are posted"})
        # SECURITY: before the body is read, so that strangers cannot make us hold theirs.
        seal = Seal.of(request.headers, now_s=time.time())
        if seal is None:
            return Reply(401, {})
        body = await _body(request)
        if isinstance(body, Reply):
            return body
        if not seal.fits(self._keys, body):
            return Reply(401, {})
        try:
            answer = said(body)
        except ValueError as error:
            return Reply(400, {"error": str(error)})
        return await self._heard.once(seal, body, lambda: self._taken(answer), now_s=time.time())

    async def _taken(self, answer: Said) -> Reply:
        about: dict[str, str | bool] = {"ticket": answer.ticket}
        by = self._people.get(answer.by, answer.by)
        try:
            await self._answers().resolve(
                answer.ticket, answer.verdict, by=by, because=answer.because, edited=answer.edited
            )
        except NoTicketError as error:
            return Reply(404, {**about, "counted": False, "error": str(error)})
        except DeniedError as error:  # late, twice, the wrong person: nothing changed
            return Reply(409, {**about, "counted": False, "error": str(error)})
        except RingfenceError as error:  # fails closed: it does not count before it is durable
            _log.warning("an answer to a ticket could not be taken: %s", error)
            return Reply(503, {**about, "counted": False, "error": "not now: try again"}, lasting=False)
        return Reply(200, {**about, "counted": True, "verdict": answer.verdict, "by": by})


async def _body(request: web.BaseRequest) -> bytes | Reply:
    if (request.content_length or 0) > BODY_AT_MOST:
        return Reply(413, {"error": f"an answer has at most {BODY_AT_MOST} bytes"})
    read = bytearray()
    try:
        async with asyncio.timeout(_READ_S):
            while part := await request.content.readany():
                read += part
                if len(read) > BODY_AT_MOST:
                    return Reply(413, {"error": f"an answer has at most {BODY_AT_MOST} bytes"})
    except TimeoutError:
        return Reply(408, {"error": "the answer came too slowly"})
    return bytes(read)


class _Connection(web.RequestHandler):
    """One connection, over after its request or its time, whichever comes first."""

    __slots__ = ("_end", "_full", "_timer")

    def __init__(self, door: "_Door", *, full: bool, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            door,
            loop=loop,
            keepalive_timeout=_READ_S,
            lingering_time=2.0,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # None is how it is switched off
            logger=_quiet,
        )
        self._full = full
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        end = transport.abort if isinstance(transport, asyncio.Transport) else transport.close
        seconds = 0.0 if self._full else _CONNECTION_S
        self._timer = asyncio.get_running_loop().call_later(seconds, end)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)


class _Door(web.Server):
    """Makes the connections, and keeps count of them."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler)

    def __call__(self) -> web.RequestHandler:
        full = len(self.connections) >= _CONNECTIONS
        return _Connection(self, full=full, loop=asyncio.get_running_loop())


class _Quiet(logging.Handler):
    """Takes what the HTTP library says of each malformed request: strangers must not fill the host's log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Drop it."""


_quiet = logging.Logger("ringfence.webhook", level=logging.CRITICAL)
_quiet.addHandler(_Quiet())


def _tls(settings: WebhookSettings) -> ssl.SSLContext | None:
    if settings.certificate is None or settings.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except (OSError, ValueError) as error:  # fails closed: nothing is taken without the TLS that is asked for
        raise RuntimeError(f"`certificate` and `key` cannot be used: {error}") from error
    return context
