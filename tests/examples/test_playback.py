"""The demo's runs play back without network, tools or JavaScript; one changed word of a prompt is shown."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examples.support_desk import acme_plugins
from examples.support_desk.agent import guarded, researcher_of
from examples.support_desk.held import SETTINGS, Play
from examples.support_desk.playback import CHANGED_PROMPT
from examples.support_desk.scenes import scenes
from examples.support_desk.tools import tools_of
from examples.support_desk.world import world
from langchain_core.tools import BaseTool, StructuredTool

from ringfence import Guard
from ringfence.adapters.langchain import DivergedError, NotAsRecordedError, playback
from tests.examples.test_support_desk import no_key, quiet

pytestmark = pytest.mark.not_replayed("played, each call has the decision of the record, that of another run")

__all__ = ["no_key"]

PLAYED = ("hallucination", "table", "attacker", "loop", "secret", "summary", "turn", "researcher", "time")
"""Scenes that need no second process: refusals, a halt, hidden values, a sub-agent, a deadline."""


def never(**_: Any) -> Any:
    raise AssertionError("a tool ran in a playback")


def dead(tools: list[BaseTool]) -> list[BaseTool]:
    """Return tools that look the same and must not run."""
    made: list[BaseTool] = []
    for one in tools:
        assert isinstance(one, StructuredTool)
        made.append(one.model_copy(update={"func": never}))
    return made


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a playback went to the network")


def test_the_demos_runs_play_back_with_no_network_and_no_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as there:
        guard = Guard.load(settings=SETTINGS, store="memory:", plugins=[acme_plugins])
        try:
            play = Play(there, tools_of(there), quiet(), guard, "memory:")
            monkeypatch.setattr(play, "_answer", lambda ticket, _, refuses: guard.deny(ticket, by="erin"))
            chosen = [scene for scene in scenes(there.web) if scene.name in PLAYED]
            runs = {scene.name: play.run(scene) for scene in chosen}
            tools = dead(play.tools)
            mails = len(there.mailbox.messages)
            for name in ("connect", "connect_ex"):
                monkeypatch.setattr(socket.socket, name, refuse)
            for scene in chosen:
                run = runs[scene.name]
                played = playback(run, agents=["researcher"] if scene.researcher else [])
                used = tools
                if scene.researcher is not None:
                    inner = guarded(played.model, tools, played.guard, scene.researcher.agent)
                    used = [*tools, researcher_of(inner)]
                agent = guarded(played.model, used, played.guard, scene.agent)
                agent.invoke(played.input, {"recursion_limit": 1000})
                played.check()
                assert played.report.calls >= len(run.calls), scene.name
                changed = playback(run, agents=["researcher"] if scene.researcher else [])
                agent = guarded(changed.model, used, changed.guard, scene.agent, system_prompt=CHANGED_PROMPT)
                with pytest.raises(DivergedError) as left:
                    agent.invoke(changed.input)
                assert left.value.divergence.step == 1
                assert "rarely read payments" in str(left.value), scene.name
                with pytest.raises(NotAsRecordedError, match="never read payments"):
                    changed.check()
            assert len(there.mailbox.messages) == mails
            alone = playback(replace(runs["turn"], others=None))
            guarded(alone.model, tools, alone.guard, "support").invoke(alone.input)
            alone.check()
            assert "its decisions are those of the record, not made anew" in str(alone.report)
            assert "not made anew" not in str(playback(runs["turn"]).report)
        finally:
            monkeypatch.undo()
            guard.close()
