"""The other end of the webhook: a receiver that keeps what it was sent, and people who answer from it."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import count
from typing import Any

from aiohttp import ClientSession, web

SECRET = "whsec_" + base64.b64encode(b"asks, and is random enough").decode()
CALLBACK_SECRET = "whsec_" + base64.b64encode(b"answers, also random enough").decode()
_IDS = count(1)


def sign(secret: str, message_id: str, at_s: int | str, body: bytes) -> str:
    """Return the signature as the specification says it, written apart from the plugin's."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, message_id.encode() + b"." + str(at_s).encode() + b"." + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


class Receiver:
    """Takes questions, once each by their id, and shows what is open."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        """Message id -> what it said."""
        self.requests: list[tuple[Mapping[str, str], bytes]] = []
        """Every try: its headers and body."""
        self.statuses: list[int] = []
        """What the next tries are answered with; then 204."""
        self.headers: dict[str, str] = {}
        self.came = asyncio.Condition()
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=1)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/approvals"

    async def open(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = bytearray()
        while part := await request.content.readany():
            body += part
        self.requests.append((dict(request.headers), bytes(body)))
        status = self.statuses.pop(0) if self.statuses else 204
        message_id = request.headers["webhook-id"]
        at_s = request.headers["webhook-timestamp"]
        wanted = sign(SECRET, message_id, at_s, bytes(body))
        assert wanted in request.headers["webhook-signature"].split(" ")
        async with self.came:
            if 200 <= status < 300:
                self.messages.setdefault(message_id, json.loads(body))
            self.came.notify_all()
        return web.Response(status=status, headers=self.headers, body=b"{not json" * 1000)

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self.came:
            await self.came.wait_for(met)

    @property
    def asked(self) -> dict[str, dict[str, Any]]:
        """Ticket -> the question, for all that were asked."""
        said = [m["data"] for m in self.messages.values() if m["type"] == "approval.asked"]
        return {data["ticket"]: data for data in said}

    @property
    def withdrawn(self) -> dict[str, str]:
        """Ticket -> why it was withdrawn."""
        said = [m["data"] for m in self.messages.values() if m["type"] == "approval.withdrawn"]
        return {data["ticket"]: data["because"] for data in said}


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Open a receiver."""
    receiver = Receiver()
    await receiver.open()
    try:
        yield receiver
    finally:
        await receiver.close()


async def post(
    port: int,
    answer: Mapping[str, Any] | bytes,
    *,
    secret: str = CALLBACK_SECRET,
    message_id: str | None = None,
    at_s: int | None = None,
    headers: Mapping[str, str | None] | None = None,
    path: str = "/answers",
    method: str = "POST",
    url: str | None = None,
    **about: Any,
) -> tuple[int, Any]:
    """Send an answer as the signing system would; return status and what was said (None: nothing)."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    message_id = message_id or f"msg_{next(_IDS)}"
    at_s = int(time.time()) if at_s is None else at_s
    sent: dict[str, str | None] = {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": sign(secret, message_id, at_s, body),
        **(headers or {}),
    }
    async with ClientSession() as session:
        response = await session.request(
            method,
            url or f"http://127.0.0.1:{port}{path}",
            data=BytesIO(body),
            headers={name: value for name, value in sent.items() if value is not None},
            **about,
        )
        said = await response.read()
        return response.status, json.loads(said) if said else None
