"""Every way into the SDK does what every adapter must do."""

from typing import ClassVar

from tests.adapters.openai_agents.stage import OpenAIAgents, Threaded


class TestRun(OpenAIAgents):
    """`await runner.run(...)`."""


class TestRunStreamed(OpenAIAgents):
    """`runner.run_streamed(...)`, whatever is played."""

    always_streams: ClassVar[bool] = True


class TestRunSync(Threaded):
    """`runner.run_sync(...)` on a thread."""
