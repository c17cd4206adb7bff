"""The suites that judge, and the ways in which a policy is inserted into each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Inserted = Literal["nothing", "allow", "deny"]


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite of tests."""

    name: str
    package: str
    """The distribution whose installed version is tested, by the tests in its own source distribution."""
    tests: str
    """What is handed to pytest, in the unpacked distribution."""
    ways: Mapping[str, str]
    """How the guard comes in, by the name of the public function: for the plugin."""
    alone: bool = False
    """True where the distribution would shadow the installed package: only its tests are used."""
    folder: str | None = None
    """Where the tests are, if they are ours: in this folder of `tests/upstream`."""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


SUITES: Final = (
    Suite(
        "agents",
        "langchain",
        "tests/unit_tests/agents",
        {"GuardMiddleware": "agents,nodes,calls"},
    ),
    Suite(
        "tool nodes",
        "langgraph-prebuilt",
        "tests",
        {"guard_tools": "nodes", "tool_node": "tool_node"},
        alone=True,
        environment={"LANGGRAPH_TEST_FAST": "1"},
    ),
    Suite("tools", "langchain-core", "tests/unit_tests/test_tools.py", {"guard_tools": "births"}),
    Suite(
        "standard tools",
        "langchain-tests",
        "tests/standard_tools.py",
        {"guard_tools": "births"},
        alone=True,
        folder="standard",
    ),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One suite, run once."""

    suite: Suite
    inserted: Inserted
    way: str | None = None
    """None: nothing is inserted."""

    @property
    def title(self) -> str:
        """A short name, also for a folder."""
        name = self.suite.name if self.way is None else f"{self.suite.name} {self.way}"
        return f"{name} {'unmodified' if self.way is None else self.inserted}"


def parts_of(suite: Suite) -> list[Part]:
    """Return the runs of a suite: unmodified, then with each way under both policies."""
    both: tuple[Inserted, Inserted] = ("allow", "deny")
    return [Part(suite, "nothing"), *(Part(suite, one, way) for way in suite.ways for one in both)]
