"""Questions asked and answered in the terminal."""

from collections.abc import Sequence

from ringfence.plugin import ApprovalBackend, hookimpl
from ringfence.plugins.approvals_terminal.backend import TerminalBackend


@hookimpl
def ringfence_approval_backends() -> Sequence[type[ApprovalBackend]]:
    """Offer the backend `terminal`."""
    return [TerminalBackend]
