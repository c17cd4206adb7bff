"""Answers are taken over real HTTP, from whoever has the secret and from nobody else."""

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydantic import SecretStr

from ringfence.plugin import Answer, Json, NoTicketError, StoreAwayError
from ringfence.plugins.approvals_webhook import answering
from ringfence.plugins.approvals_webhook.backend import WebhookBackend
from ringfence.plugins.approvals_webhook.settings import WebhookSettings
from ringfence.testing import FakeAnswers
from ringfence.testing.approvals import Answered
from tests.plugins.webhook.people import CALLBACK_SECRET, SECRET, post, sign

YES = {"ticket": "T-AAAA1111", "verdict": "approve", "by": "dana"}


def webhook(**values: Any) -> WebhookBackend:
    backend = WebhookBackend(
        WebhookSettings(
            **{
                "url": "http://127.0.0.1:9/",
                "secret": SecretStr(SECRET),
                "listen": "127.0.0.1:0",
                "callback_secret": SecretStr(CALLBACK_SECRET),
                **values,
            }
        )
    )
    backend.answers = FakeAnswers(["dana", "erin"])
    return backend


def answers_of(backend: WebhookBackend) -> FakeAnswers:
    assert isinstance(backend.answers, FakeAnswers)
    return backend.answers


def port_of(backend: WebhookBackend) -> int:
    assert backend.port is not None
    return backend.port


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[WebhookBackend]:
    backend = webhook()
    await backend.open()
    yield backend
    await backend.close()


async def test_an_answer_counts_and_the_sender_is_told(backend: WebhookBackend) -> None:
    status, said = await post(port_of(backend), {**YES, "because": "it is fine, Grüße"})
    assert (status, said) == (
        200,
        {"ticket": "T-AAAA1111", "counted": True, "verdict": "approve", "by": "dana"},
    )
    assert answers_of(backend).counted == [Answered("T-AAAA1111", "approve", "dana", "it is fine, Grüße")]


async def test_edited_arguments_arrive_as_they_were_sent(backend: WebhookBackend) -> None:
    edited = {"to": ["ann@customer.example"], "note": None, "size": 1.5}
    status, _ = await post(port_of(backend), {**YES, "edited": edited})
    (answer,) = answers_of(backend).counted
    assert (status, answer.edited) == (200, edited)


async def test_a_name_is_mapped_to_the_person_of_the_settings() -> None:
    backend = webhook(people={"U123": "dana"})
    await backend.open()
    assert (await post(port_of(backend), {**YES, "by": "U123"}))[0] == 200
    assert [answer.by for answer in answers_of(backend).counted] == ["dana"]
    await backend.close()


@pytest.mark.parametrize(
    "about",
    [
        {"secret": SECRET},
        {"secret": "whsec_" + "A" * 40},
        {"at_s": int(time.time()) - 3600},
        {"at_s": int(time.time()) + 3600},
        {"headers": {"webhook-signature": None}},
        {"headers": {"webhook-id": None}},
        {"headers": {"webhook-timestamp": None}},
        {"headers": {"webhook-id": "msg_other"}},
        {"headers": {"webhook-timestamp": str(int(time.time()) + 100)}},
        {"headers": {"webhook-signature": "v1,"}},
        {"headers": {"webhook-signature": "v1," + "A" * 43 + "="}},
    ],
    ids=[
        "our own secret",
        "another secret",
        "an hour old",
        "an hour ahead",
        "no signature",
        "no id",
        "no time",
        "another id",
        "another time",
        "an empty signature",
        "a made-up signature",
    ],
)
async def test_forged_missing_and_stale_signatures_are_refused_and_told_nothing(
    backend: WebhookBackend, about: dict[str, Any]
) -> None:
    assert await post(port_of(backend), YES, **about) == (401, None)
    assert answers_of(backend).counted == answers_of(backend).refused == []


async def test_a_changed_answer_is_forged(backend: WebhookBackend) -> None:
    at_s, genuine = int(time.time()), json.dumps({**YES, "verdict": "reject"}).encode()
    proof = sign(CALLBACK_SECRET, "msg_a", at_s, genuine)
    about = {"message_id": "msg_a", "at_s": at_s, "headers": {"webhook-signature": proof}}
    assert await post(port_of(backend), YES, **about) == (401, None)  # type: ignore[arg-type]
    assert answers_of(backend).counted == []


async def test_during_a_rotation_answers_signed_with_either_secret_count() -> None:
    new = "whsec_" + "B" * 40
    backend = webhook(callback_secret=SecretStr(new), previous_callback_secret=SecretStr(CALLBACK_SECRET))
    await backend.open()
    assert (await post(port_of(backend), YES))[0] == 200
    assert (await post(port_of(backend), {**YES, "ticket": "T-BBBB2222"}, secret=new))[0] == 200
    await backend.close()


async def test_a_message_that_comes_again_changes_nothing_and_is_told_the_same(
    backend: WebhookBackend,
) -> None:
    first = await post(port_of(backend), YES, message_id="msg_1")
    again = [await post(port_of(backend), YES, message_id="msg_1") for _ in range(3)]
    assert first[0] == 200
    assert again == [first] * 3
    assert len(answers_of(backend).counted) == 1 and answers_of(backend).refused == []
    status, said = await post(port_of(backend), {**YES, "verdict": "reject"}, message_id="msg_1")
    assert status == 409 and "another answer" in said["error"]
    assert len(answers_of(backend).counted) == 1 and answers_of(backend).refused == []


async def test_the_same_message_many_times_at_once_is_one_answer(backend: WebhookBackend) -> None:
    came = await asyncio.gather(*(post(port_of(backend), YES, message_id="msg_1") for _ in range(20)))
    assert [status for status, _ in came] == [200] * 20
    assert len(answers_of(backend).counted) == 1 and answers_of(backend).refused == []


async def test_a_second_late_or_unauthorised_answer_has_no_effect_and_is_told_why(
    backend: WebhookBackend,
) -> None:
    status, said = await post(port_of(backend), {**YES, "by": "mallory"})
    assert (status, said["counted"]) == (409, False) and "mallory may not answer" in said["error"]
    await post(port_of(backend), YES)
    status, said = await post(port_of(backend), {**YES, "by": "erin"})
    assert (status, said["counted"]) == (409, False) and "no longer open" in said["error"]
    assert len(answers_of(backend).counted) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "decode"),
        (b"[]", "a record"),
        (b'"approve"', "a record"),
        (b'{"ticket": "T-1", "ticket": "T-2", "verdict": "approve", "by": "dana"}', "stands twice"),
        (b'{"ticket": "T-1", "verdict": "approve", "by": "dana", "edited": {"x": NaN}}', "NaN"),
        (b'{"ticket": "T-1", "verdict": "approve", "by": "dana", "edited": {"x": 1e999}}', "too large"),
        (b'{"ticket": "T-1", "verdict": "approve", "by": "dana", "edited": {"x": "\\ud800"}}', "surrogates"),
        (b'{"edited": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "nested too deep"),
        ({"ticket": "T-1", "verdict": "approved", "by": "dana"}, "`verdict`"),
        ({"ticket": "T-1", "by": "dana"}, "`verdict`"),
        ({"verdict": "approve", "by": "dana"}, "`ticket`"),
        ({"ticket": "T-1", "verdict": "approve"}, "`by`"),
        ({"ticket": "T-1", "verdict": "approve", "by": ""}, "`by`"),
        ({"ticket": "T-1", "verdict": "approve", "by": ["dana"]}, "`by`"),
        ({"ticket": "T-1", "verdict": "approve", "by": "d" * 257}, "`by`"),
        ({**YES, "because": 7}, "`because`"),
        ({**YES, "because": "x" * 4_001}, "`because`"),
        ({**YES, "edited": []}, "`edited`"),
        ({**YES, "verdict": "reject", "edited": {}}, "`edited` goes with `approve`"),
        ({**YES, "by_the_way": 1}, "`by_the_way`"),
    ],
    ids=range(21),
)
async def test_garbage_is_refused_and_the_sender_learns_what_is_wrong(
    backend: WebhookBackend, body: Any, said: str
) -> None:
    status, answer = await post(port_of(backend), body)
    assert status == 400 and said in answer["error"]
    assert answers_of(backend).counted == answers_of(backend).refused == []


async def test_other_paths_and_methods_are_nothing(backend: WebhookBackend) -> None:
    assert (await post(port_of(backend), YES, path="/"))[0] == 404
    assert (await post(port_of(backend), YES, path="/answers/"))[0] == 404
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert (await post(port_of(backend), YES, method=method))[0] == 405
    assert answers_of(backend).counted == []


class Failing:
    """Fails as often as it is told, then takes."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.taken = 0

    async def resolve(
        self,
        ticket: str,
        verdict: Answer,
        *,
        by: str,
        because: str | None = None,
        edited: Mapping[str, Json] | None = None,
    ) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.taken += 1


async def test_what_cannot_be_taken_now_may_be_sent_again(backend: WebhookBackend) -> None:
    failing = Failing(StoreAwayError("the store at SECRET-PLACE is away"), RuntimeError("a defect"))
    backend.answers = failing
    status, said = await post(port_of(backend), YES, message_id="msg_1")
    assert (status, said["counted"]) == (503, False) and "SECRET-PLACE" not in str(said)
    assert (await post(port_of(backend), YES, message_id="msg_1"))[0] == 500
    assert (await post(port_of(backend), YES, message_id="msg_1"))[0] == 200
    assert failing.taken == 1


async def test_a_ticket_that_does_not_exist_is_not_found(backend: WebhookBackend) -> None:
    backend.answers = Failing(NoTicketError("there is no ticket `T-AAAA1111`"))
    status, said = await post(port_of(backend), YES)
    assert (status, said) == (
        404,
        {"ticket": "T-AAAA1111", "counted": False, "error": "there is no ticket `T-AAAA1111`"},
    )


# ---- bounds ------------------------------------------------------------------------------------------


async def test_an_answer_beyond_the_size_is_refused_however_it_is_sent(backend: WebhookBackend) -> None:
    huge = b" " * (answering.BODY_AT_MOST + 1)
    assert (await post(port_of(backend), huge))[0] == 413

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(huge), 65_536):
            yield huge[start : start + 65_536]

    at_s = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": sign(CALLBACK_SECRET, "msg_1", at_s, huge),
    }
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{backend.port}/answers"
        response = await session.post(url, data=parts(), headers=headers)
        assert response.status == 413
    assert answers_of(backend).counted == []


async def test_a_compressed_body_is_taken_as_it_is_and_never_unpacked(backend: WebhookBackend) -> None:
    import gzip

    bomb = gzip.compress(b" " * 50_000_000)
    status, _ = await post(port_of(backend), bomb, headers={"content-encoding": "gzip"})
    assert status == 400


async def _hung_up(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(30):
            await reader.read(-1)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /answers HTTP/1.1\r\nhost: x\r\n",
        b"POST /answers HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n%b\r\n{",
    ],
    ids=["nothing", "half the headers", "half the body"],
)
async def test_who_sends_too_slowly_is_cut_off_and_others_are_served(
    backend: WebhookBackend, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_READ_S", 0.5)
    at_s = int(time.time())
    seal = f"webhook-id: m\r\nwebhook-timestamp: {at_s}\r\nwebhook-signature: v1,x\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(backend))
    writer.write(sent % seal if b"%b" in sent else sent)
    assert (await post(port_of(backend), YES))[0] == 200
    await _hung_up(reader)
    writer.close()


async def test_a_byte_at_a_time_does_not_hold_a_connection_for_ever(
    backend: WebhookBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_CONNECTION_S", 1.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(backend))
    writer.write(b"POST /answers HTTP/1.1\r\n")
    ended = asyncio.create_task(_hung_up(reader))
    async with asyncio.timeout(30):
        while not ended.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"x: y\r\n")
                await writer.drain()
            await asyncio.sleep(0.05)
    writer.close()


async def test_more_connections_than_are_served_are_hung_up_on_and_the_port_recovers(
    backend: WebhookBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_CONNECTIONS", 5)
    held = []
    for _ in range(5):
        held.append(await asyncio.open_connection("127.0.0.1", port_of(backend)))
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(backend))
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            try:
                said = await reader.read(-1)
            except ConnectionResetError:
                said = b""
            writer.close()
            if not said:
                break
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(30):
        while True:
            try:
                status, _ = await post(port_of(backend), YES, message_id="msg_1")
                break
            except aiohttp.ClientError:
                continue
    assert status == 200


async def test_answers_beyond_what_can_be_remembered_are_not_taken(
    backend: WebhookBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringfence.plugins.approvals_webhook.heard._MOST", 2)
    tickets = ["T-AAAA1111", "T-BBBB2222", "T-CCCC3333"]
    came = [(await post(port_of(backend), {**YES, "ticket": ticket}))[0] for ticket in tickets]
    assert came == [200, 200, 503]
    assert [answer.ticket for answer in answers_of(backend).counted] == tickets[:2]


# ---- from start to end -------------------------------------------------------------------------------


async def test_a_port_that_is_taken_is_said_when_it_opens(backend: WebhookBackend) -> None:
    second = webhook(listen=f"127.0.0.1:{backend.port}")
    with pytest.raises(RuntimeError, match=f"cannot listen on 127.0.0.1:{backend.port}: "):
        await second.open()
    await second.close()
    assert (await post(port_of(backend), YES))[0] == 200


async def test_several_workers_share_a_port_where_that_is_wished() -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        workers = [webhook(listen=f"127.0.0.1:{port}", reuse_port=True) for _ in range(3)]
        for worker in workers:
            await worker.open()
    for number in range(12):
        assert (await post(port, {**YES, "ticket": f"T-AAAA{number:04}"}))[0] == 200
    assert sum(len(answers_of(worker).counted) for worker in workers) == 12
    for worker in workers:
        await worker.close()


async def test_a_closed_server_is_gone_and_may_be_opened_again(backend: WebhookBackend) -> None:
    port = port_of(backend)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await backend.close()
    await _hung_up(reader)
    writer.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(port, YES)
    await backend.open()
    assert (await post(port_of(backend), YES))[0] == 200


async def test_an_answer_that_is_being_taken_is_taken_before_the_server_closes(
    backend: WebhookBackend,
) -> None:
    class Slow(Failing):
        async def resolve(self, ticket: str, verdict: Answer, **about: Any) -> None:
            began.set()
            await go_on.wait()
            await super().resolve(ticket, verdict, **about)

    began, go_on, slow = asyncio.Event(), asyncio.Event(), Slow()
    backend.answers = slow
    sending = asyncio.create_task(post(port_of(backend), YES))
    await began.wait()
    closing = asyncio.create_task(backend.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert slow.taken == 1
    assert (await sending)[0] == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


async def test_answers_and_questions_go_over_tls(certificate: Path) -> None:
    """The server of one backend stands for the receiver of another: its certificate is checked."""
    pem, key = certificate / "cert.pem", certificate / "key.pem"
    server = webhook(certificate=pem, key=key)
    await server.open()
    trusting = ssl.create_default_context(cafile=pem)
    url = f"https://localhost:{server.port}/answers"
    assert (await post(0, YES, url=url, ssl=trusting))[0] == 200
    with pytest.raises(aiohttp.ClientError):
        await post(port_of(server), YES)  # without TLS

    from ringfence.testing import question

    for ca, said in ((pem, "answered 401"), (None, "cannot be trusted")):
        client = webhook(url=url, ca=ca, listen=None, callback_secret=None)
        await client.open()
        with pytest.raises(Exception, match=said):
            await client.ask(question(), FakeAnswers())
        await client.close()
    await server.close()


async def test_a_certificate_that_cannot_be_used_is_said_when_it_opens(tmp_path: Path) -> None:
    backend = webhook(certificate=tmp_path / "no.pem", key=tmp_path / "no.key")
    with pytest.raises(RuntimeError, match="`certificate` and `key` cannot be used"):
        await backend.open()
    await backend.close()
