"""What people type finds the run or the call that they mean, or says what is near."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ringfence.cli.desk import Desk
from ringfence.cli.exits import CommandError
from ringfence.cli.find import find_call, find_run
from ringfence.cli.history import history
from ringfence.engine.decision import events as e
from ringfence.engine.retrospect.timeline import timeline
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.settings import Settings
from ringfence.plugins.memory import MemoryStore
from tests.cli.conftest import entries, stamped


@pytest.fixture
def desk(whole_run: list[e.RunEvent]) -> Iterator[Desk]:
    """A desk on a store in memory that holds three runs."""
    store, loop = MemoryStore(), EngineLoop()
    for run in ("R-ALPHA", "R-ALTER", "R-BETA"):
        loop.submit(store.events.append(entries(run, whole_run))).result()
    yield Desk(Settings(), store, loop, lambda: store)
    loop.close()


@pytest.mark.parametrize(("typed", "found"), [("R-ALPHA", "R-ALPHA"), ("R-B", "R-BETA"), ("last", "R-BETA")])
def test_a_run_is_found_by_its_id_by_the_beginning_of_it_and_as_the_last(
    desk: Desk, typed: str, found: str
) -> None:
    assert find_run(desk, typed).run == found


def test_the_last_run_is_not_one_that_another_started(desk: Desk, whole_run: list[e.RunEvent]) -> None:
    begun, *rest = whole_run
    assert isinstance(begun, e.RunStarted)
    inside = [replace(begun, parent="R-BETA"), *rest]
    desk.loop.submit(desk.events.append(entries("R-INSIDE", inside))).result()
    assert find_run(desk, "last").run == "R-BETA"


def test_the_beginning_of_two_ids_names_both(desk: Desk) -> None:
    with pytest.raises(CommandError, match="begins 2 run ids") as refused:
        find_run(desk, "R-AL")
    assert "R-ALPHA" in refused.value.help and "R-ALTER" in refused.value.help


@pytest.mark.parametrize(
    ("typed", "help"), [("R-ALFA", "did you mean R-ALPHA"), ("zzzz", "the last runs are R-BETA")]
)
def test_an_unknown_run_names_what_is_near_or_last(desk: Desk, typed: str, help: str) -> None:
    with pytest.raises(CommandError, match=f"no run `{typed}`") as refused:
        find_run(desk, typed)
    assert help in refused.value.help


def test_nothing_at_all_is_no_run(desk: Desk) -> None:
    with pytest.raises(CommandError):
        find_run(desk, "")


def test_the_history_of_a_run_is_what_was_recorded(desk: Desk, whole_run: list[e.RunEvent]) -> None:
    assert [one.event for one in history(desk, "R-BETA").events] == whole_run


@pytest.mark.parametrize(
    ("typed", "key"), [("2", "bb.0"), ("cc.0", "cc.0"), ("b", "bb.0"), ("crm", "cc.0"), ("model-1", "aa.0")]
)
def test_a_call_is_found_by_number_key_model_id_or_tool(
    whole_run: list[e.RunEvent], typed: str, key: str
) -> None:
    assert find_call(timeline(stamped(whole_run)), typed).call == key


@pytest.mark.parametrize(
    ("typed", "said"), [("send_email", "names 2 calls"), ("9", "no call `9`"), ("", "no call")]
)
def test_a_call_that_is_not_one_call_says_so(whole_run: list[e.RunEvent], typed: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        find_call(timeline(stamped(whole_run)), typed)
