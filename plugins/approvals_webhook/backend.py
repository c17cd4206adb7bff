"""The backend `webhook`: asks by a signed message, and takes signed answers."""

import logging
import time
from typing import TYPE_CHECKING

from ringfence.plugin import Answers, ApprovalBackend, Question
from ringfence.plugins.approvals_webhook.payloads import asked, withdrawn
from ringfence.plugins.approvals_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from ringfence.plugins.approvals_webhook.answering import AnswerServer
    from ringfence.plugins.approvals_webhook.sending import Sender

_REMEMBERED = 10_000
"""Tickets whose withdrawal is remembered: it is sent once."""
_log = logging.getLogger("ringfence")


class WebhookBackend(ApprovalBackend):
    """The approval backend `webhook`.

    It keeps nothing of a question: an answer goes by the ticket, which is in the store, so it may come to
    a process that never asked.
    """

    name = "webhook"
    Settings = WebhookSettings
    settings: WebhookSettings

    def __init__(self, settings: WebhookSettings) -> None:
        super().__init__(settings)
        self._sender: Sender | None = None
        self._server: AnswerServer | None = None
        self._doubtful: set[str] = set()
        self._withdrawn: dict[str, None] = {}

    @property
    def port(self) -> int | None:
        """The port that answers are taken on; None: none are."""
        return None if self._server is None else self._server.port

    async def open(self) -> None:
        """Listen for answers; raise if the port is taken."""
        # The HTTP library takes a while to import, and whoever only reads the settings does not need it.
        from ringfence.plugins.approvals_webhook.answering import AnswerServer
        from ringfence.plugins.approvals_webhook.sending import Sender

        self._warn()
        if self.settings.listen is not None:
            server = AnswerServer(self.settings, lambda: self.answers)
            try:
                await server.open()
            except OSError as error:
                raise RuntimeError(
                    f"cannot listen on {self.settings.listen}: {error.strerror or type(error).__name__}"
                ) from error
            self._server = server
        try:
            self._sender = Sender(self.settings)
        except BaseException:  # fails closed, and leaves nothing half open
            await self.close()
            raise

    async def ask(self, question: Question, answers: Answers) -> None:
        """Send the question; raise if it was not taken."""
        if self._sender is None:
            raise RuntimeError("the webhook is closed")
        try:
            await self._sender.send(asked(question))
        except BaseException:  # fails closed: the call is denied; it may have arrived all the same
            self._doubtful.add(question.ticket)
            raise
        self._doubtful.discard(question.ticket)

    async def withdraw(self, ticket: str, because: str) -> None:
        """Say that the question is open no more; for one that was perhaps never delivered, say it once."""
        if self._sender is None:
            raise RuntimeError("the webhook is closed")
        if ticket in self._withdrawn:
            return
        once = ticket in self._doubtful
        self._doubtful.discard(ticket)
        await self._sender.send(withdrawn(ticket, because, at_ns=time.time_ns()), once=once)
        self._withdrawn[ticket] = None
        if len(self._withdrawn) > _REMEMBERED:
            del self._withdrawn[next(iter(self._withdrawn))]

    async def close(self) -> None:
        """Take no more answers and send no more questions; what was asked stays open."""
        server, self._server = self._server, None
        sender, self._sender = self._sender, None
        try:
            if server is not None:
                await server.close()
        finally:
            if sender is not None:
                await sender.close()

    def _warn(self) -> None:
        settings = self.settings
        if settings.insecure and settings.url.startswith("http:"):
            _log.warning(
                "[backends.webhook] insecure = true: questions go to %s without encryption; "
                "everybody on the way can read them",
                settings.receiver,
            )
        if settings.listens_in_the_clear:
            _log.warning(
                "[backends.webhook] tls_in_front = true: answers are taken on %s without encryption; "
                "only a proxy that speaks TLS may reach it",
                settings.listen,
            )
