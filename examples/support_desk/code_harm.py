"""The model's JavaScript without a guard: run in node, where the machine has it."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from langchain_core.tools import BaseTool

from examples.support_desk.agent import unguarded
from examples.support_desk.code_scenes import attempts, escape, total
from examples.support_desk.models import model_for, real_model_name
from examples.support_desk.node import Node, node
from examples.support_desk.scenes import Scene
from examples.support_desk.stage import Stage
from examples.support_desk.world import World

PATIENCE_S = 2.0
"""How long the audience watches the loop: four times what it gets under the policy."""


def play(world: World, tools: list[BaseTool], stage: Stage) -> None:
    """Play the code scenes in node and read the damage back; say so where there is no node."""
    stage.act("The model writes code, and it runs in node: without Ringfence")
    if real_model_name():
        stage.note(
            "the code is the script's, here and in the isolates: a real model would write another each time"
        )
    program = node()
    if program is None:
        stage.warn("NOT SHOWN: node is not installed here, so the same code does not run without a guard")
        return
    tried = attempts(world.web)
    finite = [attempt for attempt in tried if attempt.bare and not attempt.endless]
    runner = Node(program, world.database.parent, tools)
    try:
        stage.note(f"it does its work: the total of 100 orders is {_told(total(), runner, tools)[-1]}")
        told = _told(escape(tuple(finite)), runner, tools)
        report(world, dict(zip((attempt.name for attempt in finite), told, strict=True)), stage)
        for attempt in tried:
            if attempt.endless:
                _watch(escape((attempt,)), runner, tools, stage)
    finally:
        runner.kill()
    for attempt in tried:
        if not attempt.bare:
            stage.note(f"{attempt.name} is not tried here: it would take this machine's memory")


def report(world: World, told: dict[str, str], stage: Stage) -> None:
    """Read the web site, the disk and the database back, and what the model was told."""
    rows = sum(len(json.loads(posted)) for posted in world.collected)
    _say(f"fetch: {rows} customers' names and addresses were posted to a page of the attacker's", rows, stage)
    names = told["process"].count(",") + 1 if told["process"].startswith("[") else 0
    _say(
        f"process: the model was told the names of {names} variables of the host's environment", names, stage
    )
    cards = _copied(world.database.parent / "taken.db")
    _say(f"require: a copy of the database lies on the disk, with {cards} card numbers", cards, stage)
    (left,) = world.rows("SELECT count(*) FROM customers")[0]
    _say(f"an undeclared tool: {left} customers are left of 200", left == 0, stage)


def _say(text: str, happened: object, stage: Stage) -> None:
    """Say what was read back; an old node, or one that is held itself, does less harm."""
    if happened:
        stage.harm(text)
    else:
        stage.note(f"{text} (with this node)")


def _copied(database: Path) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database)) as taken:
        (cards,) = taken.execute("SELECT count(card) FROM payments").fetchone()
    return int(cards)


def _watch(scene: Scene, runner: Node, tools: list[BaseTool], stage: Stage) -> None:
    watcher = threading.Thread(target=_told, args=(scene, runner, tools), name="unguarded-loop", daemon=True)
    watcher.start()
    watcher.join(PATIENCE_S)
    if watcher.is_alive():
        stage.harm(f"an endless loop: it still runs after {PATIENCE_S:.0f} s, and the agent waits")
    runner.kill()
    watcher.join()


def _told(scene: Scene, runner: Node, tools: list[BaseTool]) -> list[str]:
    """Play a scene; return what the model was told after each of its calls."""
    agent = unguarded(model_for(scene), [*tools, runner.tool()])
    answer = agent.invoke({"messages": [("user", scene.prompt)]}, {"recursion_limit": 1000})
    return [str(message.content) for message in answer["messages"] if message.type == "tool"]
