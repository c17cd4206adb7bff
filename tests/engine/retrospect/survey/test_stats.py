"""What runs add up to: against a naive count over the same events, and one thing after the other by hand."""

from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.journal.rows import row_after
from ringfence.engine.retrospect.survey import stats as counting
from ringfence.engine.retrospect.survey.search import RowWords, Wanted
from ringfence.engine.retrospect.survey.spread import Spread
from ringfence.engine.retrospect.survey.stats import Stats, stats
from ringfence.engine.retrospect.whatif import Rule
from ringfence.engine.seams.ports import Entry, RunRow
from tests.backtests import planned
from tests.cli.conftest import decided, reason, requested, started
from tests.logs import entries_of
from tests.plans import T0

ALL = Wanted()
POLICY = """language 1
policy signs
capability look is read
approver lead { group "leads" answer within 1 hours otherwise deny }
approver two { group "leads" quorum 2 answer within 1 hours otherwise deny }
agent main { holds look }
tool t { needs look allow always }
"""


class Log:
    """Runs at hand, as a store keeps them."""

    def __init__(self, runs: dict[str, list[e.Stamped]]) -> None:
        self.entries = {run: entries_of(run, events) for run, events in runs.items()}

    @property
    def rows(self) -> list[RunRow]:
        made = []
        for entries in self.entries.values():
            row: RunRow | None = None
            for entry in entries:
                row = row_after(row, entry)
            assert row is not None
            made.append(row)
        return sorted(made, key=lambda row: row.started_ns, reverse=True)

    def ask(self, asked: RowWords, limit: int | None) -> list[RunRow]:
        until = asked.get("until_ns")
        found = [row for row in self.rows if until is None or row.started_ns < until]
        agent = asked.get("agent")
        return [row for row in found if agent in (None, row.agent)][:limit]

    def page(self, run: str, after: int, limit: int) -> Sequence[Entry]:
        return [entry for entry in self.entries[run] if entry.seq > after][:limit]

    def stats(self, wanted: Wanted = ALL) -> Stats:
        return stats(wanted, self.ask, self.page)


# ---- generated runs --------------------------------------------------------------------------------

TOOLS = st.sampled_from(["t", "mail", "pay"])
VERDICTS = st.sampled_from(["allow", "ask", "deny", "unknown"])
REASONS = st.lists(
    st.builds(
        lambda name, effect, because: reason(name, effect, f"p:{len(name)}:1", because=because),
        st.sampled_from(["a", "bb", "ccc"]), st.sampled_from(["allow", "ask", "deny", "unknown", "halt"]),
        st.sampled_from([None, "no"]),
    ),
    max_size=4,
)  # fmt: skip
TIMES = st.integers(0, 10**10)
KEYS = st.sampled_from(["k1", "k2", "k3"])
TICKETS = st.sampled_from(["T-1", "T-2", "T-3"])
SPENT: list[tuple[Json, tuple[int, int] | None]] = [
    ({"input_tokens": 5, "output_tokens": 2}, (5, 2)),
    ({"prompt_tokens": 7, "completion_tokens": 1}, (7, 1)),
    ({"input_tokens": "many"}, None),
    ("odd", None),
    (None, None),
]
USAGE = st.sampled_from([usage for usage, _ in SPENT])
STEPS = st.one_of(
    st.builds(requested, KEYS, TOOLS, st.just({})),
    st.builds(lambda key, verdict, said: decided(key, verdict, *said), KEYS, VERDICTS, REASONS),
    st.builds(e.CallStarted, KEYS),
    st.builds(e.CallFinished, KEYS, st.just("x"), st.none(), TIMES),
    st.builds(e.CallFailed, KEYS, st.sampled_from(["raised", "timeout", "refused"]), st.just("e"), TIMES),
    st.builds(e.ApprovalAsked, KEYS, TICKETS, st.sampled_from(["lead", "two", "gone"]), st.none()),
    st.builds(
        e.ApprovalAnswered, KEYS, TICKETS,
        st.sampled_from(["approve", "reject", "expire", "withdraw", "ignored"]),
        st.sampled_from([None, "dana", "erin"]), st.none(), st.none(),
    ),
    st.builds(e.ModelAsked, KEYS, st.sampled_from([None, "m1"]), st.none(), st.none(), st.none(), st.none()),
    st.builds(e.ModelAnswered, KEYS, st.none(), USAGE, TIMES, st.sampled_from([None, "it broke"])),
    st.builds(e.RunHalted, st.sampled_from(["main.stop", "killed"]), st.none(), st.none()),
    st.builds(e.RunEnded, st.sampled_from(["done", "failed"]), st.none()),
)  # fmt: skip


@st.composite
def logs(draw: st.DrawFn) -> dict[str, list[e.Stamped]]:
    made: dict[str, list[e.Stamped]] = {}
    for number in range(draw(st.integers(0, 4))):
        at_ns, events = T0 + number, list[e.Stamped]()
        first = started(
            policy_text=POLICY, policy_digest="d", agent=draw(st.sampled_from(["main", "helper"]))
        )
        for seq, event in enumerate([first, *draw(st.lists(STEPS, max_size=25))], start=1):
            events.append(e.Stamped(seq, at_ns, event))
            at_ns += draw(st.integers(0, 10**9))
        made[f"r{number}"] = events
    return made


# ---- the same, counted naively ---------------------------------------------------------------------


def spread(numbers: list[int]) -> Spread | None:
    if not numbers:
        return None
    ordered = sorted(numbers)
    ranks = [ordered[ceil(len(ordered) * share) - 1] for share in (0.5, 0.95)]
    return Spread(len(ordered), ranks[0], ranks[1], ordered[-1], True)


def of_kind(events: Sequence[e.Stamped], kind: type, **fields: Json) -> list[Any]:
    return [
        one.event for one in events
        if isinstance(one.event, kind) and all(getattr(one.event, name) == it for name, it in fields.items())
    ]  # fmt: skip


def after_request(events: Sequence[e.Stamped], key: str) -> list[e.RunEvent]:
    """All that is said of a call once it was requested."""
    at = next(n for n, one in enumerate(events) if getattr(one.event, "call", None) == key
              and one.event.kind == "CallRequested")  # fmt: skip
    return [one.event for one in events[at:] if getattr(one.event, "call", None) == key]


def naive(log: dict[str, list[e.Stamped]]) -> dict[str, Any]:
    verdicts: Counter[tuple[str, str]] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    took: dict[str, list[int]] = {}
    denied: Counter[Rule] = Counter()
    fates: Counter[tuple[str, str]] = Counter()
    waited: dict[str, list[int]] = {}
    models: dict[str | None, Counter[str]] = {}
    answered: dict[str | None, list[int]] = {}
    going = 0
    for events in log.values():
        over = of_kind(events, e.RunHalted) or of_kind(events, e.RunEnded)
        for key in {one.call for one in of_kind(events, e.CallRequested)}:
            its = after_request(events, key)
            tool = next(one.tool for one in its if isinstance(one, e.CallRequested))
            last = next((one for one in reversed(its) if isinstance(one, e.CallDecided)), None)
            verdicts[tool, last.verdict if last else "undecided"] += 1
            if last is not None and last.verdict in ("deny", "unknown"):
                speaks = {last.verdict, "halt"}
                denied.update(
                    {Rule(r["name"], r["place"], r["because"]) for r in last.reasons if r["effect"] in speaks}
                )
            begun = [n for n, one in enumerate(its) if isinstance(one, e.CallStarted)]
            if not begun:
                continue
            ends = [one for one in its[begun[-1] :] if isinstance(one, (e.CallFinished, e.CallFailed))]
            if not ends:
                outcomes[tool, "?"] += 1
                going += not over
                continue
            how = ends[-1].outcome if isinstance(ends[-1], e.CallFailed) else "finished"
            outcomes[tool, how] += 1
            took.setdefault(tool, []).append(ends[-1].duration_ns)
        # A ticket's id is given once: of those that come again here, the last counts.
        for ticket in {one.ticket for one in of_kind(events, e.ApprovalAsked)}:
            places = [n for n, one in enumerate(events) if one.event.kind == "ApprovalAsked"
                      and getattr(one.event, "ticket", "") == ticket]  # fmt: skip
            asked = events[places[-1]]
            assert isinstance(asked.event, e.ApprovalAsked)
            approver = asked.event.approver
            needed, fate, at_ns = 2 if approver == "two" else 1, "open", None
            yes: set[str | None] = set()
            for one in events[places[-1] :]:
                if (
                    fate != "open"
                    or not isinstance(one.event, e.ApprovalAnswered)
                    or one.event.ticket != ticket
                ):
                    continue
                if one.event.verdict == "approve":
                    yes.add(one.event.by)
                if (one.event.verdict == "approve" and len(yes) == needed) or one.event.verdict in (
                    "reject", "expire", "withdraw",
                ):  # fmt: skip
                    fate, at_ns = one.event.verdict, one.at_ns
            fates[approver, fate] += 1
            if fate in ("approve", "reject"):
                assert at_ns is not None
                waited.setdefault(approver, []).append(at_ns - asked.at_ns)
        _models(events, models, answered)
    return {
        "verdicts": verdicts, "outcomes": outcomes, "took": took, "denied": denied, "fates": fates,
        "waited": waited, "models": models, "answered": answered, "going": going,
    }  # fmt: skip


def _models(
    events: Sequence[e.Stamped], models: dict[str | None, Counter[str]], took: dict[str | None, list[int]]
) -> None:
    requests: dict[str, list[Any]] = {}
    for one in events:
        if isinstance(one.event, e.ModelAsked):
            requests[one.event.request] = [one.event.model]
        elif isinstance(one.event, e.ModelAnswered):
            requests.setdefault(one.event.request, [None])[1:] = [one.event]
    for model, *answers in requests.values():
        total = models.setdefault(model, Counter())
        total["asked"] += 1
        for answer in answers:
            took.setdefault(model, []).append(answer.duration_ns)
            total["failed" if answer.error else "answered"] += 1
            if answer.error is None:
                spent = next((tokens for usage, tokens in SPENT if usage == answer.usage), None)
                if spent is None:
                    total["silent"] += 1
                else:
                    total["in"] += spent[0]
                    total["out"] += spent[1]


def test_the_policy_of_the_generated_runs_loads() -> None:
    assert planned(POLICY, "signs.fence").approvers["two"].quorum == 2


@given(logs())
def test_what_is_counted_is_what_a_naive_count_gives(log: dict[str, list[e.Stamped]]) -> None:
    found, wanted = Log(log).stats(), naive(log)
    assert found.runs == len(log) and found.runs_unread == 0
    assert found.events == sum(map(len, log.values()))
    assert sum(found.statuses.values()) == len(log)
    verdicts = {(one.tool, said): count for one in found.tools for said, count in one.verdicts.items()}
    assert verdicts == dict(wanted["verdicts"])
    assert found.calls == sum(wanted["verdicts"].values()) == sum(found.verdicts.values())
    outcomes = Counter({(one.tool, how): count for one in found.tools for how, count in one.failed.items()})
    outcomes.update({(one.tool, "finished"): one.finished for one in found.tools if one.finished})
    outcomes.update({(one.tool, "?"): one.unknown for one in found.tools if one.unknown})
    assert outcomes == wanted["outcomes"]
    assert {one.tool: one.took for one in found.tools if one.took} == {
        tool: spread(took) for tool, took in wanted["took"].items()
    }
    assert all(one.ran == one.finished + sum(one.failed.values()) + one.unknown for one in found.tools)
    assert {one.rule: one.calls for one in found.denials} == dict(wanted["denied"])
    fates = {
        (one.approver, fate): count
        for one in found.approvers
        for fate, count in (
            ("approve", one.approved), ("reject", one.rejected), ("expire", one.expired),
            ("withdraw", one.withdrawn), ("open", one.open),
        )
        if count
    }  # fmt: skip
    assert fates == dict(wanted["fates"])
    assert {one.approver: one.waited for one in found.approvers if one.waited} == {
        approver: spread(waited) for approver, waited in wanted["waited"].items()
    }
    assert found.approvals.asked == sum(wanted["fates"].values())
    assert found.approvals.waited == spread([ns for waited in wanted["waited"].values() for ns in waited])
    models = {
        one.model: {
            "asked": one.asked, "answered": one.answered, "failed": one.failed, "in": one.input_tokens,
            "out": one.output_tokens, "silent": one.without_usage,
        }
        for one in found.models
    }  # fmt: skip
    assert {name: {key: n for key, n in total.items() if n} for name, total in models.items()} == {
        name: {key: n for key, n in total.items() if n} for name, total in wanted["models"].items()
    }
    assert {one.model: one.took for one in found.models if one.took} == {
        model: spread(took) for model, took in wanted["answered"].items()
    }
    halted = Counter(one.reason for events in log.values() for one in of_kind(events, e.RunHalted))
    assert found.halts == dict(halted)
    assert found.unknown_in_running == wanted["going"]


# ---- one thing after the other ---------------------------------------------------------------------


def stamped(*events: e.RunEvent) -> list[e.Stamped]:
    return [e.Stamped(seq, T0 + seq, event) for seq, event in enumerate(events, start=1)]


CALL = (requested("k1", "t", {}), decided("k1", "allow"), e.CallStarted("k1"))


def test_only_the_runs_that_are_wanted_count() -> None:
    log = Log({"r1": stamped(started(), *CALL), "r2": stamped(started(agent="helper"), *CALL)})
    assert log.stats().calls == 2
    assert log.stats(Wanted(agent="helper")).runs == 1


@pytest.mark.parametrize("change", [{"body": None, "salt": b""}, {"schema": e.SCHEMA + 1}, {"body": b"[]"}])
def test_of_a_run_that_cannot_be_read_nothing_counts_and_it_is_named(change: dict[str, Any]) -> None:
    log = Log({"r1": stamped(started(), *CALL), "r2": stamped(started(), *CALL)})
    log.entries["r2"][1] = log.entries["r2"][1]._replace(**change)
    found = log.stats()
    assert (found.runs, found.calls, found.events, found.runs_unread) == (2, 1, 4, 1)
    assert [one.run for one in found.unread] == ["r2"] and "r2:2" in found.unread[0].because


def test_what_says_nothing_that_counts_may_be_purged() -> None:
    log = Log({"r1": stamped(started(), e.PromptGiven("user", "hi"), *CALL)})
    log.entries["r1"][1] = log.entries["r1"][1]._replace(body=None, salt=b"")
    assert log.stats().calls == 1


def test_a_model_that_invents_names_of_tools_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "NAMED", 3)
    calls = [requested(f"k{number}", f"t{number % 9}", {}) for number in range(90)]
    found = Log({"r1": stamped(started(), *calls)}).stats()
    assert {one.tool: one.calls for one in found.tools} == {"t0": 10, "t1": 10, "t2": 10, None: 60}


def test_the_slowest_tool_is_the_one_whose_95th_percentile_is_longest() -> None:
    events: list[e.RunEvent] = [started()]
    for tool, ns in (("quick", 5), ("slow", 500), ("middle", 50)):
        events += [requested(tool, tool, {}), e.CallStarted(tool), e.CallFinished(tool, None, None, ns)]
    assert [one.tool for one in Log({"r1": stamped(*events)}).stats().slowest] == ["slow", "middle", "quick"]
