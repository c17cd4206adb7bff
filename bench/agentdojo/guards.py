"""What stands at the calls: nothing, a door that is shut to every write, or the engine under a policy."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from bench.agentdojo.recordings import Recording

Verdict = Literal["allow", "ask", "deny"]

READS = ("get_", "search_", "list_", "read_")
"""How the names of the suites' reading tools begin."""


class Standing(Protocol):
    """A guard at one run."""

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Verdict, str]:
        """Decide a call; say why."""
        ...

    def ended(self, result: Any, *, failed: bool) -> None:
        """Take the result of the call that was allowed last."""
        ...


class AllowAll:
    """Nothing stands there."""

    def __init__(self, recording: Recording) -> None:
        pass

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Verdict, str]:
        return "allow", ""

    def ended(self, result: Any, *, failed: bool) -> None:
        pass


class DenyAllWrites(AllowAll):
    """Reading is all that is allowed."""

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Verdict, str]:
        return ("allow", "") if tool.startswith(READS) else ("deny", "writes")
