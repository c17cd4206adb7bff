"""A recorded run as a regression test: the agent's own code again, with no model, no network and no tool."""

from contextlib import suppress
from typing import Any

from langchain_core.tools import BaseTool

from examples.support_desk.agent import SYSTEM_PROMPT, guarded
from examples.support_desk.stage import Stage
from ringfence.adapters.langchain import DivergedError, Playback, playback
from ringfence.engine.retrospect.record import RunRecord

CHANGED_PROMPT = SYSTEM_PROMPT.replace("never read payments", "rarely read payments")
"""One word of the agent's prompt is another."""


def show(run: RunRecord, tools: list[BaseTool], stage: Stage) -> None:
    """Play a run back, as it was and with one word of the prompt changed."""
    stage.scene("Playback: the agent's own code, answered from the log; no model, no network, no tool")
    with playback(run) as played:
        play(played, tools)
        report = played.report
    stage.judge(str(report).splitlines()[0], holds=report.identical)
    stage.scene("One word of the agent's prompt is changed, and playback again")
    with playback(run) as played:
        with suppress(DivergedError):  # the report says it
            play(played, tools, system_prompt=CHANGED_PROMPT)
        report = played.report
    first, *shown = str(report.divergence).splitlines()
    stage.judge(first, holds=report.divergence is not None and report.divergence.step == 1)
    for line in shown:
        stage.note(line)


def play(played: Playback, tools: list[BaseTool], **changed: Any) -> None:
    """Run the agent of the demo in a playback."""
    agent = guarded(played.model, tools, played.guard, "support", **changed)
    agent.invoke(played.input, {"recursion_limit": 1000})
