"""The plugin's policies and its counter of bodies."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, tool
from pydantic import BaseModel

from inserted.bodies import Bodies, _code_of
from inserted.calls import marked
from inserted.policies import Guards, Verdict, names_of, policy_of
from inserted.tally import Tally
from ringfence.dsl.load import load_text
from ringfence.engine.seams.errors import DeniedError
from tests.guards import call


@tool
def add(left: int, right: int) -> int:
    """Add."""
    return left + right


async def _slowly(left: int) -> int:
    await asyncio.sleep(0)
    return left


slow = StructuredTool.from_function(coroutine=_slowly, name="slow", description="Slow.")


class Adder(BaseTool):
    name: str = "adder"
    description: str = "Add."

    def _run(self, left: int) -> int:
        return left


def test_a_policy_declares_whatever_names_tools_have() -> None:
    for verdict in ("allow", "deny"):
        loaded = load_text(policy_of(["a b", 'say "x"', "ü", "back\\slash", "a b"], verdict))
        assert loaded.plan is not None
        assert sorted(loaded.plan.by_bound_name) == ["a b", "back\\slash", 'say "x"', "ü"]


def test_tools_are_named_in_every_form_in_which_they_are_bound() -> None:
    def plain(x: int) -> int:
        """Plain."""
        return x

    dicts: list[dict[str, Any]] = [{"type": "web_search"}, {"type": "function", "function": {"name": "f"}}]
    assert list(names_of([add, plain, *dicts, lambda: 1])) == ["add", "plain", "web_search", "f", "function"]


@pytest.mark.parametrize("verdict", ["allow", "deny"])
def test_a_policy_has_one_answer_to_everything(verdict: Verdict) -> None:
    guards = Guards(verdict)
    guards.module = __name__
    guard = guards.over([add])
    with guard.run() as run:
        if verdict == "allow":
            assert guard.execute(run, call("add", left=1), lambda arguments: arguments["left"]) == 1
        else:
            with pytest.raises(DeniedError):
                guard.execute(run, call("add", left=1), lambda arguments: arguments["left"])
    guards.close()


@pytest.fixture
def bodies(tmp_path: Path) -> Iterator[Bodies]:
    before = sys.getprofile(), threading.getprofile()
    yield Bodies(Tally(tmp_path / "seen.jsonl"))
    sys.setprofile(before[0])
    threading.setprofile(before[1])


def seen(folder: Path) -> list[tuple[str, bool]]:
    """What was seen of bodies: the tool, and whether a guard had let it through."""
    lines = (folder / "seen.jsonl").read_text(encoding="utf-8").splitlines()
    said = [json.loads(line) for line in lines]
    return [(one["tools"][0], one["through"]) for one in said if one["seen"] == "body"]


async def test_bodies_are_seen_once_each_wherever_they_run(bodies: Bodies, tmp_path: Path) -> None:
    for one in (add, slow, Adder()):
        bodies.learn(one)
    bodies.watch()
    add.invoke({"left": 1, "right": 2})
    await slow.ainvoke({"left": 1})
    await Adder().ainvoke({"left": 1})  # on a thread
    assert isinstance(add, StructuredTool) and add.func is not None
    add.func(1, 2)  # by hand, with no tool in between
    sys.setprofile(None)
    assert seen(tmp_path) == [("add", False), ("slow", False), ("adder", False)]


async def test_a_body_ran_through_the_guard_only_if_the_call_was_of_this_tool(
    bodies: Bodies, tmp_path: Path
) -> None:
    for one in (add, slow):
        bodies.learn(one)
    bodies.watch()
    both = {"left": 1, "right": 2}
    marked("add", lambda arguments: add.invoke(arguments))(both)
    marked("slow", lambda arguments: add.invoke(arguments))(both)

    async def slowly(arguments: dict[str, int]) -> None:
        await slow.ainvoke(arguments)
        await asyncio.to_thread(add.invoke, both)

    await marked("slow", slowly)({"left": 1})
    sys.setprofile(None)
    assert seen(tmp_path) == [("add", True), ("add", False), ("slow", True), ("add", False)]


def test_a_test_that_takes_the_sight_away_is_written_down(bodies: Bodies, tmp_path: Path) -> None:
    bodies.watch()
    bodies.check()
    assert "blindness" not in (tmp_path / "seen.jsonl").read_text(encoding="utf-8")
    sys.setprofile(None)
    bodies.check()
    assert sys.getprofile() is not None
    assert "blindness" in (tmp_path / "seen.jsonl").read_text(encoding="utf-8")


def test_the_body_of_a_class_is_what_it_says_itself() -> None:
    class Own:
        def __init__(self, left: int) -> None:
            self.left = left

    class New:
        def __new__(cls, left: int) -> "New":
            return super().__new__(cls)

    class Shared(BaseModel):
        left: int

    class Called:
        def __call__(self) -> None: ...

    assert _code_of(Own) is Own.__init__.__code__
    assert _code_of(New) is New.__new__.__code__
    assert _code_of(Shared) is None, "all models share it"
    assert _code_of(partial(Called())) is Called.__call__.__code__
    assert _code_of(print) is None


def test_the_plugin_is_no_module_of_the_product() -> None:
    root = Path(__file__).parents[2]
    assert not list((root / "src").rglob("inserted"))
