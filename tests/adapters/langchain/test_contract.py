"""The contract of adapters on `create_agent`."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ToolCallRequest

from ringfence import Principal
from ringfence.adapters.langchain import GuardMiddleware, guard_tools
from ringfence.testing import Scene
from tests.adapters.langchain.stages import GraphStage, provider_tools


class Rewrites(AgentMiddleware[Any, Any, Any]):
    """A hook of the host, further inside than the guard's."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        return handler(self._changed(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        return await handler(self._changed(request))

    def _changed(self, request: ToolCallRequest) -> ToolCallRequest:
        assert self.scene.rewrites is not None
        call = request.tool_call
        args = self.scene.rewrites(call["name"], dict(call["args"]))
        return request.override(tool_call={**call, "args": args})


def middleware_of(scene: Scene, **more: Any) -> list[Any]:
    """Return the guard's middleware, and the host's hook behind it."""
    ours = GuardMiddleware(scene.guard, agent=scene.agent, typed="human", **more)
    return [ours] if scene.rewrites is None else [ours, Rewrites(scene)]


class CreateAgent(GraphStage):
    """`create_agent` with the middleware."""

    def middleware(self, scene: Scene) -> list[Any]:
        """Return the agent's middleware."""
        return middleware_of(scene)

    def graph(self, scene: Scene, model: Any, saver: Any) -> Any:
        return create_agent(
            model,
            [*self.tools(scene), *provider_tools(scene)],
            middleware=self.middleware(scene),
            context_schema=Principal,
            checkpointer=saver,
        )


class TestCreateAgent(CreateAgent):
    """`ainvoke` and `astream`."""

    asynchronous = True


class TestCreateAgentSynchronously(CreateAgent):
    """`invoke` and `stream`."""

    asynchronous = False
    awaits = False
    cancels = False


class TestCreateAgentThatIsNotSaved(CreateAgent):
    """Without a checkpointer it waits for people in place."""

    asynchronous = True
    saves = False
    suspends = False

    def middleware(self, scene: Scene) -> list[Any]:
        return middleware_of(scene, session=scene.session)  # no thread says which session it is


class TestCreateAgentOfGuardedTools(CreateAgent):
    """Tools that were guarded before, in an agent with the middleware."""

    asynchronous = True

    def tools(self, scene: Scene) -> Any:
        return guard_tools(scene.guard, super().tools(scene))
