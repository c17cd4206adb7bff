"""The contract of adapters on deepagents: its main agent, and one that works inside of it."""

from typing import Any

from deepagents import create_deep_agent

from ringfence import Principal
from ringfence.adapters.langchain import guard_subagents
from ringfence.testing import Asked, Outcome, Scene
from tests.adapters.langchain.stages import GraphStage, SceneModel, provider_tools, told_of, turn_of
from tests.adapters.langchain.test_contract import middleware_of


class DeepAgent(GraphStage):
    """`create_deep_agent` with the middleware, and with sub-agents that have it."""

    def graph(self, scene: Scene, model: SceneModel, saver: Any) -> Any:
        return create_deep_agent(
            model,
            [*self.tools(scene), *provider_tools(scene)],
            middleware=middleware_of(scene),
            subagents=guard_subagents(scene.guard),
            context_schema=Principal,
            checkpointer=saver,
        )


class TestDeepAgent(DeepAgent):
    """Asynchronously."""

    asynchronous = True


class TestDeepAgentSynchronously(DeepAgent):
    """And not."""

    asynchronous = False
    awaits = False
    cancels = False


class SubAgent(GraphStage):
    """The scene is played by a sub-agent; the agent around it, which nobody guards, only starts it."""

    def graph(self, scene: Scene, model: SceneModel, saver: Any) -> Any:
        task = Asked("task", {"description": scene.prompt, "subagent_type": "worker"}, "t1")
        outer = SceneModel(scene=Scene(scene.guard, (), [[task]], last=scene.last))
        worker: dict[str, Any] = {
            "name": "worker",
            "description": "Works.",
            "system_prompt": "Work.",
            "model": model,
            "tools": [*self.tools(scene), *provider_tools(scene)],
            "middleware": middleware_of(scene)[1:],
        }
        specs = guard_subagents(scene.guard, [worker], agent=scene.agent, typed="human")
        guard, hooks = specs[1]["middleware"][-1], specs[1]["middleware"][:-1]
        specs[1]["middleware"] = [guard, *hooks]
        return create_deep_agent(outer, [], subagents=specs, context_schema=Principal, checkpointer=saver)

    def outcome(self, model: SceneModel, outcome: Outcome) -> Outcome:
        """Say what came of the sub-agent: the agent around it knows only its last word."""
        answers = [one for one in outcome.told if one.tool == "task"]
        outcome.told = told_of(turn_of(model.asked))
        outcome.said = answers[-1].text if outcome.error is None and answers else None
        return outcome


class TestSubAgent(SubAgent):
    """Asynchronously."""

    asynchronous = True


class TestSubAgentSynchronously(SubAgent):
    """And not."""

    asynchronous = False
    awaits = False
    cancels = False
