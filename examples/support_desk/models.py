"""The model behind the agent: a scripted one that plays a hijacked agent, or a real one if there is a key."""

import os
from collections.abc import Sequence
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

from examples.support_desk.scenes import LAST_RESULT, Scene


class ScriptedModel(BaseChatModel):
    """Plays one scene: the n-th answer of a run is the scene's n-th turn, whatever the tools said."""

    scene: Scene

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **settings: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Accept any tools: a hijacked model calls what it likes."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **settings: Any,
    ) -> ChatResult:
        asked = max(n for n, message in enumerate(messages) if isinstance(message, HumanMessage))
        turn = sum(isinstance(message, AIMessage) for message in messages[asked:])
        calls = self.scene.turns[turn] if turn < len(self.scene.turns) else ()
        last = next((str(m.content) for m in reversed(messages) if isinstance(m, ToolMessage)), "")
        answer = AIMessage(
            content="" if calls else self.scene.says,
            tool_calls=[
                {
                    "name": name,
                    "args": _filled(arguments, last),
                    "id": f"call_{turn}_{n}",
                    "type": "tool_call",
                }
                for n, (name, arguments) in enumerate(calls)
            ],
            usage_metadata={
                "input_tokens": 50 * len(messages),
                "output_tokens": 20,
                "total_tokens": 50 * len(messages) + 20,
            },
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])


def _filled(arguments: dict[str, Any], last: str) -> dict[str, Any]:
    return {name: last[:4000] if value == LAST_RESULT else value for name, value in arguments.items()}


_KEYS = {"OPENAI_API_KEY": "openai:gpt-5-mini", "ANTHROPIC_API_KEY": "anthropic:claude-sonnet-4-5"}


def real_model_name() -> str | None:
    """Return the model to ask if the environment holds a key (`SUPPORT_DESK_MODEL` picks another)."""
    wanted = os.environ.get("SUPPORT_DESK_MODEL")
    return wanted or next((model for key, model in _KEYS.items() if os.environ.get(key)), None)


def model_for(scene: Scene) -> BaseChatModel:
    """Return the real model where there is a key, unless the scene is the script's alone; else the script."""
    name = None if scene.scripted else real_model_name()
    model = init_chat_model(name) if name else ScriptedModel(scene=scene)
    assert isinstance(model, BaseChatModel)
    return model
