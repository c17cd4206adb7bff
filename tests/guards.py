"""Guards made of a few lines of policy, for tests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ringfence._assembly import _plan, assemble, load_plan
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import Principal, ToolCall
from ringfence.engine.decision.events import RunEvent
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.ports import Clock, Store
from ringfence.engine.seams.settings import Settings
from tests.isolates import Executors, FakeExecutor

ALICE = Principal(user="alice", workspace="w1")
GROUPS = {"leads": ("dana", "erik", "alice"), "owners": ("olga",), "crm-owners": ("dana",)}
BLOG = Path(__file__).parent.parent / "examples" / "blog.fence"

POLICY = """
language 1
policy shop
capability read_data is read
capability send is external
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
approver pair { group "leads" quorum 2 answer within 15 minutes otherwise deny }
approver owner { group "owners" answer within 15 minutes otherwise deny }
approver patient { group "leads" answer within 15 minutes otherwise ask owner }
agent main { holds read_data, send stop after 5 minutes at most 100 calls at most 50 denials }
agent reader { holds read_data stop after 5 minutes }
tool look { needs read_data takes what: text allow when what != "secret" rate 1000 per run }
tool rows { needs read_data takes table: text allow always result at most 3 rows rate 1000 per run }
tool mail { needs send takes to: email allow always rate 10 per hour }
tool pay { needs send takes amount: integer allow when amount <= 100 ask lead rate 50 per hour audit full }
tool both { needs send takes amount: integer allow always ask lead ask owner audit full }
tool two { needs send takes amount: integer allow always ask pair audit full }
tool passed { needs send takes amount: integer allow always ask patient audit full }
tool slow { needs read_data takes what: text allow always rate 1000 per run stop after 1 second }
tool mine { needs read_data takes what: text allow when what == principal.user rate 1000 per run }
tool quiet { needs read_data takes what: text allow always rate 1000 per run audit minimal }
tool tries {
  needs send takes amount: integer allow when amount <= 100
  rate 9 per hour for each user counting attempts
  rate 5 per hour for each user counting successes
}
isolate box { time 60 seconds may call look }
tool js { takes code: text allow when size(code) > 0 bytes runs code in box rate 1000 per run }
tool free { needs read_data allow always rate 1000 per run }
"""


def make_guard(
    policy: str | Path = POLICY,
    *,
    store: str = "memory:",
    clock: Clock | None = None,
    opened: Callable[[], Store] | None = None,
    plugins: Sequence[object] = (),
    **settings: Any,
) -> Guard:
    plan = load_plan(policy) if isinstance(policy, Path) else _plan(load_text(policy), "the test's policy")
    chosen = Settings.of({"store": store, "groups": GROUPS, **settings})
    if not any(hasattr(plugin, "ringfence_isolate_executor") for plugin in plugins):
        plugins = [*plugins, Executors(FakeExecutor())]  # no V8 is started for what is about other things
    guard = assemble(plan, chosen, clock=clock, plugins=plugins)
    if opened is not None:
        guard.opening._make_store = opened
    return guard


def call(tool: str, id: str | None = None, /, **arguments: Any) -> ToolCall:
    return ToolCall(tool, arguments, call_id=id)


def events_of(guard: Guard, run: Run) -> list[RunEvent]:
    return [stamped.event for stamped in guard.runs.get(run.id).events]


def kinds_of(guard: Guard, run: Run) -> list[str]:
    return [event.kind for event in events_of(guard, run)]
