"""Logs to decide again by another policy, and what a naive evaluator says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Facts
from ringfence.engine.decision.events import CallDecided, CallRequested, RunStarted, Stamped
from ringfence.engine.seams.ports import Entry, RunRow
from tests.logs import Recorder
from tests.naive import naive
from tests.plans import T0

HOUR_NS = 3_600_000_000_000
VERDICTS = ("unknown", "deny", "ask", "allow")


@dataclass(frozen=True)
class Limits:
    """The numbers of one policy: from which `x` on it denies and asks, up to which it allows, how often."""

    denies: int = 90
    asks: int = 80
    allows: int = 70
    rate: int = 50

    @property
    def text(self) -> str:
        return f"""language 1
policy numbers
capability look is read
approver lead {{ group "leads" never the requester answer within 15 minutes otherwise deny }}
agent main {{ holds look at most 4 denials }}
tool t {{
  needs look
  takes x: integer
  allow when x <= {self.allows}
  rate {self.rate} per run
}}
rule large: deny t when x > {self.denies} because "it is too large"
rule seen: ask lead before t when x > {self.asks}
"""

    @property
    def plan(self) -> Plan:
        return planned(self.text, "numbers.fence")


def planned(text: str, name: str) -> Plan:
    loaded = load_text(text, name)
    assert loaded.plan is not None, draw(loaded.diagnostics)
    return loaded.plan


@dataclass
class Log:
    """Runs as a store keeps them."""

    entries: dict[str, list[Entry]]
    rows: list[RunRow]

    def read(self, run: str) -> Sequence[Entry]:
        return self.entries.get(run, [])

    def read_all(self, runs: Sequence[str]) -> list[Sequence[Entry]]:
        return [self.read(run) for run in runs]


def recorded(plan: Plan, session: str, numbers: Sequence[int], *, at_ns: int = T0) -> Recorder:
    """Return a run of a session that calls `t` with each of the numbers."""
    recorder = Recorder(plan, at_ns=at_ns)
    first = recorder.events[0]
    assert isinstance(first.event, RunStarted)
    recorder.events[0] = replace(first, event=replace(first.event, session=session))
    for number, x in enumerate(numbers):
        recorder.call(f"k{number}.0", {"x": x}, facts=Facts())
    return recorder


def log_of(runs: Mapping[str, Recorder]) -> Log:
    entries = {run: recorder.entries(run) for run, recorder in runs.items()}
    return Log(entries, [row_of(run, recorder.events) for run, recorder in runs.items()])


def row_of(run: str, events: Sequence[Stamped]) -> RunRow:
    began = events[0].event
    assert isinstance(began, RunStarted)
    return RunRow(
        run, began.session, began.agent, None, None, began.policy, "running", events[0].at_ns,
        events[-1].at_ns, len(events), b"h",
    )  # fmt: skip


def naively(
    plan: Plan, run: str, events: Sequence[Stamped], *, earlier: Sequence[Stamped] = ()
) -> list[tuple[str, int, str, str, set[str]]]:
    """Return run, event, both verdicts, and the rules that spoke, of every decision that comes out otherwise.

    Each decision scans the events before it, from the first on, and those of `earlier` runs of its session.
    """
    found: list[tuple[str, int, str, str, set[str]]] = []
    for count, stamped in enumerate(events):
        event = stamped.event
        if not isinstance(event, CallDecided):
            continue
        past = events[:count]
        (asked,) = [e for s in past if isinstance(e := s.event, CallRequested) and e.call == event.call]
        full = {refusal["budget"] for refusal in event.facts["reserved"] or ()}
        verdict, names, *_ = naive(
            plan, past, event.call, asked.tool, asked.arguments,
            approved=frozenset(event.facts["approved_by"]), full=frozenset(full), now_ns=stamped.at_ns,
            session=[*earlier, *past],
        )  # fmt: skip
        if VERDICTS[verdict] != event.verdict:
            found.append((run, stamped.seq, event.verdict, VERDICTS[verdict], names))
    return found
