"""Adapters with one thing wrong each are listed with the tests of the contract that must say so."""

from collections.abc import Callable
from typing import Any

from tests.adapters.contract.mini import Player, Tool

BROKEN: list[tuple[type[Player], tuple[str, ...]]] = []
"""Each with the tests that fail for it, without their `test_`."""


def breaks(*tests: str) -> Callable[[type[Player]], type[Player]]:
    """Say which tests fail for a player."""

    def note(player: type[Player]) -> type[Player]:
        BROKEN.append((player, tests))
        return player

    return note


class Other(Tool):
    """A tool that runs something else."""

    def __init__(self, tool: Tool, body: Callable[..., Any]) -> None:
        super().__init__(tool.function)
        self.run = body  # type: ignore[method-assign]
