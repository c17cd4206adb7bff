"""Wrong in what is decided, told and run."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ringfence.adapter import (
    DeniedError,
    Json,
    Run,
    ToolCall,
    ToolFailedError,
)
from ringfence.testing import Asked, Told
from tests.adapters.contract.mini import MisfitError, Player, Tool
from tests.adapters.contract.sabotage import Other, breaks


@breaks(
    "an_allowed_call_runs_once_and_its_result_is_told",
    "a_denied_call_runs_no_body_and_the_agent_goes_on",
    "a_denied_coroutine_function_does_not_begin",
    "a_refusal_says_nothing_of_the_policy",
    "a_run_acts_for_the_principal_it_was_begun_for",
    "a_streamed_agent_is_guarded_like_any",
    "a_streamed_agent_asks_people",
    "a_session_remembers_what_an_earlier_turn_has_read",
    "calls_of_one_turn_are_answered_one_by_one",
    "arguments_that_no_function_has_do_not_fail_open",
    "a_default_that_the_body_would_get_is_decided",
)
class Unguarded(Player):
    """Runs the bodies itself."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        return await tool.run(call.arguments)

    async def misfit(self, run: Run, tool: Tool, asked: Asked, task: str, why: str) -> Any:
        return await tool.run({name: asked.arguments[name] for name in tool.names if name in asked.arguments})


@breaks("an_allowed_call_runs_once_and_its_result_is_told", "a_body_may_be_a_coroutine_function")
class Twice(Player):
    """Runs a body, and then has the guard run it."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if call.arguments.get("what") == "x":
            await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks("a_null_does_not_become_a_default_of_the_body")
class Filling(Player):
    """Has the body fill in what counts as missing."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async def body(canonical: Mapping[str, Json]) -> Any:
            return await tool.run({name: value for name, value in canonical.items() if value is not None})

        return await self.guard.aexecute(run, call, body, wait=False)


@breaks("a_body_may_be_a_coroutine_function")
class Unawaited(Player):
    """Tells the coroutine instead of its result."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if asyncio.iscoroutinefunction(tool.function):
            tool.function(**call.arguments).close()
            return "<coroutine>"
        return await super().execute(run, call, tool)


@breaks("a_refusal_says_nothing_of_the_policy", "a_rejected_call_never_runs_and_the_agent_goes_on")
class Talkative(Player):
    """Tells the model all that stands in the error."""

    def refusal(self, asked: Asked, error: DeniedError | ToolFailedError) -> Told:
        return Told(asked.tool, f"{error.model_text}: {error.diagnostics()} lead", failed=True)


@breaks(
    "a_denied_call_runs_no_body_and_the_agent_goes_on",
    "a_rate_refuses_what_is_beyond_it_and_the_agent_goes_on",
    "a_hidden_tool_does_not_run_if_it_is_called_all_the_same",
    "arguments_that_fit_no_schema_run_nothing",
)
class Polite(Player):
    """Tells a refusal as if it were a result."""

    def refusal(self, asked: Asked, error: DeniedError | ToolFailedError) -> Told:
        return Told(asked.tool, str(error.model_text), failed=False)


@breaks(
    "tools_that_the_policy_does_not_open_are_not_offered",
    "a_streamed_agent_is_guarded_like_any",
    "what_the_model_was_given_and_said_is_recorded",
)
class Showy(Player):
    """Offers all tools."""

    def offered(self, run: Run) -> list[str]:
        return list(self.tools)


@breaks("a_tool_that_runs_at_the_provider_is_not_offered")
class Outsourcing(Player):
    """Offers what runs at the provider."""

    def offered(self, run: Run) -> list[str]:
        return [*super().offered(run), *self.scene.provider_tools]


@breaks("a_hidden_tool_does_not_run_if_it_is_called_all_the_same")
class Trusting(Player):
    """Takes what was not offered for what cannot be called."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        if tool.name not in self.guard.visible(run, [tool.name]):
            return await tool.run(call.arguments)
        return await super().execute(run, call, tool)


@breaks(
    "a_hidden_tool_does_not_run_if_it_is_called_all_the_same",
    "a_name_that_no_tool_has_is_refused_and_the_agent_goes_on",
)
class Helpful(Player):
    """Answers with the names of all tools, and leaves the guard out of it."""

    async def result(self, run: Run, asked: Asked, task: str) -> Any:
        if asked.tool not in self.guard.visible(run, self.tools):
            text = f"tool not found; there are {', '.join(self.tools)}"
            raise DeniedError("", model_text=text)
        return await super().result(run, asked, task)


@breaks("a_name_that_no_tool_has_is_refused_and_the_agent_goes_on")
class Silent(Player):
    """Keeps calls of unknown tools to itself."""

    async def unknown(self, run: Run, asked: Asked, task: str) -> Any:
        raise DeniedError("", model_text="tool not found")


@breaks(
    "arguments_that_a_hook_changes_are_decided_as_they_are_then",
    "what_a_hook_makes_of_a_call_is_what_is_recorded",
    "the_body_gets_the_canonical_arguments",
)
class Early(Player):
    """Decides first, and lets hooks and body have other arguments."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async def body(_: Any) -> Any:
            return await tool.run(self._late(tool, call))

        return await super().execute(run, call, Other(tool, body))

    def hooked(self, tool: str, arguments: dict[str, Json]) -> dict[str, Json]:
        return arguments

    def _late(self, tool: Tool, call: ToolCall) -> dict[str, Json]:
        return super().hooked(tool.name, dict(call.arguments))


@breaks(
    "a_default_that_the_body_would_get_is_decided",
    "a_value_that_the_framework_coerces_is_decided_coerced",
    "a_name_that_stands_twice_is_decided_as_it_runs",
    "an_argument_that_the_policy_does_not_name_runs_as_it_is_recorded",
)
class Raw(Player):
    """Decides on what the model wrote as far as it can be decided, and runs what the schema makes of it."""

    async def execute(self, run: Run, call: ToolCall, tool: Tool) -> Any:
        async def body(_: Any) -> Any:
            return await tool.run(call.arguments)

        decided = {"to": "bob"} if "to" in call.arguments else {"amount": 1}
        return await super().execute(run, ToolCall(tool.name, decided), Other(tool, body))

    def read(self, asked: Asked) -> dict[str, Json]:
        return dict(asked.arguments) if asked.text is None else dict(json.loads(asked.text))


@breaks("arguments_that_fit_no_schema_run_nothing", "a_text_that_is_no_record_runs_nothing")
class Forgiving(Player):
    """Runs a call whose arguments fit nothing with none, or with whatever they are."""

    async def misfit(self, run: Run, tool: Tool, asked: Asked, task: str, why: str) -> Any:
        given = {name: asked.arguments.get(name) for name in tool.names} if asked.arguments else {}
        if asked.text is None and not given:
            given = dict.fromkeys(tool.names)
        return tool.function(**given)


@breaks("arguments_that_fit_no_schema_run_nothing", "a_text_that_is_no_record_runs_nothing")
class Brittle(Player):
    """Ends the agent where the model has only mistyped."""

    async def misfit(self, run: Run, tool: Tool, asked: Asked, task: str, why: str) -> Any:
        raise MisfitError(why)
