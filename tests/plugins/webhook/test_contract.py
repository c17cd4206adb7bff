"""The webhook backend keeps what every approval backend must keep."""

from collections.abc import AsyncIterator, Sequence

import pytest_asyncio
from pydantic import SecretStr

from ringfence.plugin import Answer
from ringfence.plugins.approvals_webhook.backend import WebhookBackend
from ringfence.plugins.approvals_webhook.settings import WebhookSettings
from ringfence.testing import ApprovalBackendContract
from tests.plugins.webhook.people import CALLBACK_SECRET, SECRET, Receiver, post


class TestWebhookBackend(ApprovalBackendContract):
    @pytest_asyncio.fixture(autouse=True)
    async def _receiver(self) -> AsyncIterator[None]:
        self.receiver = Receiver()
        await self.receiver.open()
        self.made: list[WebhookBackend] = []
        yield
        for backend in self.made:
            await backend.close()
        await self.receiver.close()

    def make(self) -> WebhookBackend:
        backend = WebhookBackend(
            WebhookSettings(
                url=self.receiver.url,
                secret=SecretStr(SECRET),
                within_s=1.0,
                listen="127.0.0.1:0",
                callback_secret=SecretStr(CALLBACK_SECRET),
            )
        )
        self.made.append(backend)
        return backend

    async def say(self, ticket: str, verdict: Answer, because: str | None = None) -> None:
        port = self.made[-1].port
        assert port is not None
        answer = {"ticket": ticket, "verdict": verdict, "by": self.person, "because": because}
        status, _ = await post(port, answer)
        assert status in (200, 409)

    async def shown(self) -> Sequence[str]:
        return [ticket for ticket in self.receiver.asked if ticket not in self.receiver.withdrawn]

    async def display(self, ticket: str) -> str:
        return str(self.receiver.asked[ticket]["text"])

    async def break_down(self) -> None:
        await self.receiver.close()
