"""Delivers messages: signed, tried again while it may help, in bounded time; 2xx alone is delivered."""

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from io import BytesIO

import aiohttp

from ringfence.plugins.approvals_webhook.payloads import Message
from ringfence.plugins.approvals_webhook.settings import WebhookSettings
from ringfence.plugins.approvals_webhook.signing import signed_headers

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_LATER = frozenset({408, 425, 429})
"""Statuses that ask to come again, beside those from 500 on."""


class UndeliveredError(Exception):
    """A message was not taken; the words name the receiver's host and no more of its URL."""


class _AgainError(Exception):
    """A try failed in a way that the next one may not."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Sender:
    """Sends to one receiver; made and used on one event loop."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._url = settings.url
        self._receiver = settings.receiver
        self._keys: Sequence[bytes] = settings.sending_keys
        self._within_s = settings.within_s
        try:
            trust = ssl.create_default_context(cafile=settings.ca)
        except OSError as error:  # fails closed: nobody else's certificates are trusted in their place
            raise RuntimeError(f"`ca` cannot be used: {error}") from error
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=16, force_close=True),
            timeout=aiohttp.ClientTimeout(total=settings.try_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"content-type": "application/json", "user-agent": "ringfence"},
        )

    async def send(self, message: Message, *, once: bool = False) -> None:
        """Return when the message was taken; every try has its id.

        Raises:
            UndeliveredError: It was refused, or not taken in time.  It may have arrived.
        """
        tries, last = 0, "no answer"
        try:
            async with asyncio.timeout(self._within_s):
                while True:
                    tries += 1
                    try:
                        await self._try(message)
                        return
                    except _AgainError as failed:
                        last = str(failed)
                        if once:
                            raise UndeliveredError(f"{self._receiver} did not take it: {last}") from failed
                        await asyncio.sleep(max(failed.wait_s, _wait_s(tries)))
        except TimeoutError:  # fails closed: what nobody has taken was not asked
            raise UndeliveredError(
                f"{self._receiver} did not take it within {self._within_s:g} s (tries: {tries}): {last}"
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _try(self, message: Message) -> None:
        headers = signed_headers(self._keys, message.id, int(time.time()), message.body)
        try:
            # SECURITY: a redirect would carry the question to whoever the receiver names.
            response = await self._session.post(
                self._url, data=BytesIO(message.body), headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:  # the wrong machine, or none to be trusted
            raise UndeliveredError(f"{self._receiver} cannot be trusted: {_kind(error)}") from None
        except TimeoutError:
            raise _AgainError("no answer in time") from None
        except aiohttp.ClientConnectionError as error:
            raise _AgainError(f"no connection: {_kind(error)}") from None
        except (aiohttp.ClientError, ValueError) as error:  # what answered is no HTTP
            raise UndeliveredError(f"{self._receiver} answered no HTTP: {_kind(error)}") from None
        status, later = response.status, response.headers.get("retry-after", "")
        response.close()  # SECURITY: the body is not read: nothing in it counts
        if 200 <= status < 300:
            return
        if status in _LATER or status >= 500:
            raise _AgainError(f"it answered {status}", _seconds(later))
        moved = ", and a redirect is never followed" if 300 <= status < 400 else ""
        raise UndeliveredError(f"{self._receiver} refused it: it answered {status}{moved}")


def _wait_s(tries: int) -> float:
    """Return the pause after so many tries: doubled each time, and up to half of it left out by chance."""
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (tries - 1)) * random.uniform(0.5, 1.0)


def _seconds(retry_after: str) -> float:
    """Return what `retry-after` asks for; dates and nonsense ask for nothing."""
    return (
        float(retry_after)
        if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6
        else 0.0
    )


def _kind(error: BaseException) -> str:
    """Return the kind of an error: its words may hold the URL."""
    cause = getattr(error, "os_error", None) or error.__cause__
    reason = getattr(cause, "strerror", None)
    return f"{type(error).__name__} ({reason})" if isinstance(reason, str) else type(error).__name__
