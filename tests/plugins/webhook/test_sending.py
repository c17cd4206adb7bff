"""Questions are delivered, or the call is denied: over real HTTP, whatever the other end does."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ringfence.plugins.approvals_webhook.backend import WebhookBackend
from ringfence.plugins.approvals_webhook.sending import UndeliveredError
from ringfence.plugins.approvals_webhook.settings import WebhookSettings
from ringfence.testing import FakeAnswers, question
from tests.plugins.webhook.people import SECRET, Receiver, receiving, sign


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def webhook(url: str, **values: Any) -> WebhookBackend:
    return WebhookBackend(
        WebhookSettings(**{"url": url, "secret": SecretStr(SECRET), "within_s": 20.0, **values})
    )


@pytest_asyncio.fixture
async def backend(receiver: Receiver) -> AsyncIterator[WebhookBackend]:
    backend = webhook(receiver.url)
    await backend.open()
    yield backend
    await backend.close()


async def test_a_question_says_all_that_a_person_needs(receiver: Receiver, backend: WebhookBackend) -> None:
    asked = question(
        arguments={"to": ["ann@customer.example"], "note": "\u202e\x1b[2J"},
        sources={"to": ("user", "contacts.email"), "note": ()},
        expires_ns=None,
    )
    await backend.ask(asked, FakeAnswers())
    ((headers, body),) = receiver.requests
    assert headers["Content-Type"] == "application/json"
    assert body.isascii() and b"\x1b" not in body
    message = json.loads(body)
    assert message["type"] == "approval.asked"
    assert message["timestamp"] == message["data"]["asked_at"]
    data = message["data"]
    assert data == {
        "ticket": "T-AAAA1111",
        "run": "run-1",
        "agent": "support",
        "tool": "send_email",
        "arguments": {"to": ["ann@customer.example"], "note": "\u202e\x1b[2J"},
        "sources": {"to": ["user", "contacts.email"], "note": []},
        "approver": "support_lead",
        "group": "support-leads",
        "because": "more than three recipients",
        "requester": "alice",
        "asked_at": data["asked_at"],
        "asked_ns": str(asked.asked_ns),
        "expires_at": None,
        "expires_ns": None,
        "text": asked.text,
    }


async def test_the_largest_arguments_are_sent_whole(receiver: Receiver, backend: WebhookBackend) -> None:
    await backend.ask(question(arguments={"body": "ä" * 500_000}), FakeAnswers())
    assert receiver.asked["T-AAAA1111"]["arguments"] == {"body": "ä" * 500_000}


async def test_errors_and_busy_answers_are_tried_again_with_one_id_and_a_new_time(
    receiver: Receiver, backend: WebhookBackend
) -> None:
    receiver.statuses = [500, 503, 429]
    await backend.ask(question(), FakeAnswers())
    assert len(receiver.requests) == 4
    assert {headers["webhook-id"] for headers, _ in receiver.requests} == {"asked_T-AAAA1111"}
    assert len({body for _, body in receiver.requests}) == 1
    assert list(receiver.asked) == ["T-AAAA1111"]


async def test_a_receiver_that_says_when_to_come_again_is_not_asked_before(receiver: Receiver) -> None:
    backend = webhook(receiver.url, within_s=1.0)
    await backend.open()
    receiver.statuses, receiver.headers = [503] * 100, {"retry-after": "60"}
    with pytest.raises(UndeliveredError, match="tries: 1"):
        await backend.ask(question(), FakeAnswers())
    assert len(receiver.requests) == 1
    await backend.close()


async def test_what_is_never_taken_is_not_asked_and_says_why(receiver: Receiver) -> None:
    backend = webhook(receiver.url, within_s=1.0)
    await backend.open()
    receiver.statuses = [500] * 100
    with pytest.raises(UndeliveredError) as failed:
        await backend.ask(question(), FakeAnswers())
    assert "did not take it within 1 s" in str(failed.value) and "it answered 500" in str(failed.value)
    assert "/hooks/approvals" not in str(failed.value)
    assert len(receiver.requests) > 1
    tried = len(receiver.requests)
    with pytest.raises(UndeliveredError):  # withdrawn, as it may have arrived; one try is enough
        await backend.withdraw("T-AAAA1111", "it could not be asked everywhere")
    assert len(receiver.requests) == tried + 1
    await backend.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 418])
async def test_other_refusals_and_redirects_fail_at_once_and_are_not_followed(
    receiver: Receiver, backend: WebhookBackend, status: int
) -> None:
    async with receiving() as elsewhere:
        receiver.statuses, receiver.headers = [status], {"location": elsewhere.url}
        with pytest.raises(UndeliveredError, match=f"it answered {status}"):
            await backend.ask(question(), FakeAnswers())
        assert len(receiver.requests) == 1
        assert elsewhere.requests == []


async def test_during_a_rotation_either_secret_proves_the_message(receiver: Receiver) -> None:
    new = "a new secret, which the receiver does not know yet"
    backend = webhook(receiver.url, secret=SecretStr(new), previous_secret=SecretStr(SECRET))
    await backend.open()
    await backend.ask(question(), FakeAnswers())  # the receiver looks for the old one
    ((headers, _),) = receiver.requests
    assert len(headers["webhook-signature"].split(" ")) == 2
    await backend.close()


async def test_a_withdrawal_is_sent_once(receiver: Receiver, backend: WebhookBackend) -> None:
    await backend.ask(question(), FakeAnswers())
    for _ in range(2):
        await backend.withdraw("T-AAAA1111", "answered by erin")
    assert receiver.withdrawn == {"T-AAAA1111": "answered by erin"}
    assert len(receiver.requests) == 2


class Raw:
    """A server that says these bytes, or nothing, to whoever connects."""

    def __init__(self, *says: bytes | None) -> None:
        self.says = list(says)
        self.connections = 0

    async def __aenter__(self) -> "Raw":
        self.server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/x"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        says = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        try:
            await reader.readuntil(b"\r\n\r\n")
            if says is None:
                await reader.read(-1)  # until the other side has had enough
            else:
                writer.write(says)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):  # hung up on: what this test is about
            pass
        writer.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html>hello</html>\r\n\r\n",
        b"\x00\xff" * 1_000,
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["html", "binary", "status", "headers", "ssh"],
)
async def test_garbage_is_not_delivered(garbage: bytes) -> None:
    async with Raw(garbage) as raw:
        backend = webhook(raw.url, within_s=2.0)
        await backend.open()
        with pytest.raises(UndeliveredError):
            await backend.ask(question(), FakeAnswers())
        await backend.close()


async def test_a_body_without_end_is_not_waited_for() -> None:
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 1_000
    async with Raw(endless) as raw:
        backend = webhook(raw.url)
        await backend.open()
        await backend.ask(question(), FakeAnswers())
        assert raw.connections == 1
        await backend.close()


async def test_a_receiver_that_hangs_or_hangs_up_is_tried_again() -> None:
    fine = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with Raw(None, b"", fine) as raw:
        backend = webhook(raw.url, try_s=0.3)
        await backend.open()
        await backend.ask(question(), FakeAnswers())
        assert raw.connections == 3
        await backend.close()


async def test_a_receiver_that_is_away_is_tried_until_it_is_there() -> None:
    receiver = Receiver()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        receiver.port = probe.getsockname()[1]
    backend = webhook(receiver.url)
    await backend.open()
    asking = asyncio.create_task(backend.ask(question(), FakeAnswers()))
    await asyncio.sleep(0)
    await receiver.open()
    await asking
    assert list(receiver.asked) == ["T-AAAA1111"]
    await backend.close()
    await receiver.close()


async def test_an_insecure_address_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    backend = webhook("http://approvals.example/secret-path", insecure=True)
    with caplog.at_level(logging.WARNING, "ringfence"):
        await backend.open()
    assert "without encryption" in caplog.text and "secret-path" not in caplog.text
    await backend.close()


def test_the_receiver_of_these_tests_checks_signatures_in_its_own_way() -> None:
    assert sign(SECRET, "a", 1, b"x") != sign(SECRET, "a", 2, b"x")
