"""Stage `isolates`: what runs where, and what it may call from there (E113, E134)."""

from ringfence.dsl import syntax
from ringfence.dsl.checks.clauses import parameter
from ringfence.dsl.checks.pairs import a
from ringfence.dsl.checks.reports import nothing, once, wrong_word
from ringfence.dsl.draft import Absent, Draft, ToolDraft
from ringfence.dsl.plan import ISOLATE_EXECUTOR

LOCKDOWNS = ("full", "process")
CLOCKS = ("frozen", "coarse")
_NOBODY = Absent(
    "nothing that runs isolates is installed",
    "install the extra `isolate`: pip install 'ringfence[isolate]'",
)


def check_isolates(draft: Draft) -> None:
    """Check the isolates, and the tools whose bodies run in them."""
    for isolate in draft.isolates.values():
        _isolate(draft, isolate)
    for name, tool in draft.tools.items():
        _runs(draft, name, tool)
    for isolate in draft.isolates.values():
        for called in may_call(isolate):
            _calls_itself(draft, isolate.name.text, called)


def may_call(node: syntax.Isolate) -> tuple[syntax.Name, ...]:
    """Return the tools that code in an isolate may call."""
    names: list[syntax.Name] = []
    for clause in node.clauses:
        if clause.kind == "may call" and isinstance(clause.value, tuple):
            names += clause.value
    return tuple(names)


def runs_of(tool: ToolDraft) -> syntax.Runs | None:
    """Return what a tool runs in an isolate, if it does."""
    return next((clause for clause in tool.clauses if isinstance(clause, syntax.Runs)), None)


def _isolate(draft: Draft, node: syntax.Isolate) -> None:
    seen: set[str] = set()
    for clause in node.clauses:
        once(draft, "output at most" if clause.kind == "output" else clause.kind, seen, clause.span)
        match clause.value:
            case syntax.Name() as word:
                legal = LOCKDOWNS if clause.kind == "lockdown" else CLOCKS
                if word.text not in legal:
                    wrong_word(draft, clause.kind, word, legal, code="E113")
                elif clause.kind == "clock":
                    _clock(draft, word, clause.step)
            case syntax.Size(bytes=0) | syntax.Duration(ns=0):
                nothing(draft, clause.value.span)
            case tuple() as names:
                for name in names:
                    if name.text not in draft.tools:
                        draft.unknown("E101", "tool", name, draft.tools)


def _clock(draft: Draft, word: syntax.Name, step: syntax.Duration | None) -> None:
    if word.text == "coarse" and step is None:
        draft.report(
            "E113",
            "`clock coarse` does not say how coarse",
            word.span,
            "the steps in which it moves on are missing",
            "write `clock coarse 100 ms`",
        )
    elif word.text == "frozen" and step is not None:
        draft.report(
            "E113",
            "a frozen clock has no steps",
            step.span,
            "it stands still",
            "write `clock frozen`, or `clock coarse` with these steps",
        )
    elif step is not None and step.ns == 0:
        nothing(draft, step.span)


def _runs(draft: Draft, name: str, tool: ToolDraft) -> None:
    seen: set[str] = set()
    for clause in tool.clauses:
        if not isinstance(clause, syntax.Runs):
            continue
        once(draft, "runs", seen, clause.span)
        if clause.isolate.text not in draft.isolates:
            draft.unknown("E113", "isolate", clause.isolate, draft.isolates)
        elif draft.installed is not None and not (found := draft.installed(ISOLATE_EXECUTOR)):
            absent = found if isinstance(found, Absent) else _NOBODY
            label = f"every call of `{name}` fails before it starts"
            draft.report("W216", absent.message, clause.isolate.span, label, absent.help)
        if isinstance(clause.what, syntax.Text):
            if not clause.what.value.strip():
                draft.report(
                    "E113", "this file has no name", clause.what.span, "", "name a file of JavaScript"
                )
            elif not draft.document.scripts.get(clause.what.span, "?").strip():
                draft.report(
                    "E113",
                    f"`{clause.what.value}` is empty",
                    clause.what.span,
                    "there is nothing to run",
                    "write a function of the arguments: `(args) => …`",
                )
            continue
        slot = parameter(draft, name, tool, clause.what)
        if slot is None or not slot.type.known:
            continue
        if slot.type.is_list or slot.type.kind != "text":
            draft.report(
                "E110",
                f"`{slot.name}` holds no code",
                clause.what.span,
                f"it is {a(slot.type)}",
                "code is a text",
            )
        elif slot.optional:
            draft.report(
                "E117",
                f"`{slot.name}` is optional and may be missing here",
                clause.what.span,
                "without it there is nothing to run",
                f"declare it `{slot.name}: {slot.written}`",
            )


def _calls_itself(draft: Draft, isolate: str, called: syntax.Name) -> None:
    """Report a tool that code may call and that runs, itself or by what it calls, in the same isolate."""
    seen: set[str] = set()
    waiting = [called.text]
    while waiting:
        name = waiting.pop()
        tool = draft.tools.get(name)
        runs = runs_of(tool) if tool is not None else None
        if runs is None or name in seen:
            continue
        seen.add(name)
        if runs.isolate.text == isolate:
            draft.report(
                "E134",
                f"isolate `{isolate}` may call `{called.text}`, which leads back into it",
                called.span,
                "this leads back here" if name != called.text else "it would call itself",
                "let it run in another isolate, or do not let it be called",
            )
            return
        inner = draft.isolates.get(runs.isolate.text)
        waiting += [] if inner is None else [word.text for word in may_call(inner)]
