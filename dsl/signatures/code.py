"""The description of a tool that runs in an isolate: what it does, and what holds for code in it."""

from collections.abc import Iterator, Mapping

from ringfence.dsl.plan import IsolatePlan, Plan, ToolPlan
from ringfence.dsl.signatures.hosted import Hosted
from ringfence.dsl.signatures.typescript import declaration
from ringfence.dsl.signatures.words import sentence
from ringfence.dsl.types import duration_text, size_text


def description_of(
    plan: Plan, tool: ToolPlan, *, purpose: str | None = None, hosted: Mapping[str, Hosted] | None = None
) -> str:
    """Return what a model is told of a tool whose body runs in an isolate.

    Every word is the policy's, the host's or ours: nothing that a tool has returned can come in here.

    Args:
        purpose: What the host says that it is for, in place of the policy's own text.
        hosted: The policy's name of a tool that the code may call -> what the host knows of it.
    """
    isolated = tool.isolated
    if isolated is None:
        raise ValueError(f"`{tool.name}` does not run in an isolate")
    told = sentence(purpose or tool.description or "")
    if isolated.param is None:
        return told or f"Compute {tool.name.replace('_', ' ').strip()}."
    isolate = plan.isolates[isolated.isolate]
    parts = [told] if told else []
    parts += [" ".join(_opening(isolated.param, isolate))]
    parts += list(_tools(plan, isolate, hosted))
    parts += ["\n".join(["Rules:", *(f"- {rule}" for rule in _rules(isolate))])]
    return "\n\n".join(parts)


def _opening(param: str, isolate: IsolatePlan) -> Iterator[str]:
    yield f"Runs JavaScript. `{param}` is the body of an async function: it may `await`, and what it returns"
    yield f"is the result. That must be JSON, of at most {size_text(isolate.output_bytes)}."


def _tools(plan: Plan, isolate: IsolatePlan, hosted: Mapping[str, Hosted] | None) -> Iterator[str]:
    callable_tools = [plan.tools[name] for name in sorted(isolate.may_call) if name in plan.tools]
    if callable_tools:
        yield "The code may call these tools and no others:"
        yield f"```typescript\n{declaration(callable_tools, hosted)}\n```"


def _rules(isolate: IsolatePlan) -> Iterator[str]:
    if isolate.may_call:
        first = min(isolate.may_call)
        yield f"Call a tool with one object of its arguments: `await tools.{first}({{ ... }})`."
        yield (
            "Each of these calls needs permission of its own. One that is refused or fails rejects its"
            " promise; catch that if the code can go on without it. Do not repeat a refused call."
        )
    yield (
        "The code stands alone: no network, files, process, modules, timers or console, and nothing is kept"
        " between two runs."
    )
    still = "stands still" if isolate.tick_ms is None else f"moves in steps of {isolate.tick_ms} ms"
    yield f"The clock {still}. A promise that nothing settles ends the code without a result."
    yield (
        "Of code that fails you are told no more than that it failed. To see a mistake of your own, catch it"
        " and return its `message`."
    )
    yield (
        f"It ends without a result after {duration_text(isolate.cpu_ns)} of computing,"
        f" {duration_text(isolate.time_ns)} in all, or with more than"
        f" {size_text(isolate.memory_bytes)} of memory."
    )
