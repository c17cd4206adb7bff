"""Questions sent to a web address, answers taken by a server of one's own; both signed."""

from collections.abc import Sequence

from ringfence.plugin import ApprovalBackend, hookimpl
from ringfence.plugins.approvals_webhook.backend import WebhookBackend


@hookimpl
def ringfence_approval_backends() -> Sequence[type[ApprovalBackend]]:
    """Offer the backend `webhook`."""
    return [WebhookBackend]
