"""Check a policy and draw every mistake in it."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ringfence.cli.exits import FINE, POLICY_INVALID
from ringfence.cli.say import Say

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from ringfence.dsl.load import Live
    from ringfence.dsl.plan import GuaranteePlan, Json, Plan


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("file", metavar="FILE", help="a .fence file")
    command.add_argument(
        "--tools", metavar="WHAT", action="append", help="compare with a live tool set; may be given again"
    )


def run(asked: Namespace, say: Say) -> int:
    """Check one policy file."""
    from ringfence.cli.policy import diagnostic_record, policy_of
    from ringfence.dsl.diagnostic import draw

    live: Live | None = None
    if asked.tools:
        from ringfence.cli.tool_sets import read_tools

        live = read_tools(asked.tools, say)
    with say.progress("comparing", len(live or ()), worth=500, counted=False):
        loaded = policy_of(asked, live=live)
    plan, found = loaded.plan, loaded.diagnostics
    if say.json:
        say.data(
            {
                "file": asked.file,
                "valid": loaded.valid,
                "policy": plan and plan.policy,
                "version": plan and plan.version,
                "digest": plan and plan.digest,
                "live": _live_record(plan, live),
                "guarantees": [_guarantee_record(one) for one in plan.guarantees] if plan else [],
                "diagnostics": [diagnostic_record(one) for one in found],
            }
        )
    else:
        if found:
            say.lines(draw(found))
        if plan is not None:
            count = sum("starts" not in form for form in plan.core["tools"].values())
            tools = "" if count == 1 else "s"
            say.line(f"{plan.policy}: ", ("fine", "green"), f" ({count} tool{tools}, {plan.digest})")
            if live is not None:
                say.line(f"note: compared with {len(live)} live tool{'' if len(live) == 1 else 's'}")
            for guarantee in plan.guarantees:
                say.line(
                    f"note: guarantee {guarantee.name} is checked and kept; this version does not prove it"
                )
        elif loaded.valid:
            say.line(f"{asked.file}: ", ("fine", "green"), " (a ceiling)")
    return FINE if loaded.valid else POLICY_INVALID


def _live_record(plan: "Plan | None", live: "Live | None") -> "Json":
    """Return what the comparison has found whole, for programs; None: nothing was compared, or no plan."""
    if plan is None or live is None:
        return None
    return {
        "tools": list(live),
        "undeclared": [name for name in live if name not in plan.by_bound_name],
        "missing": [
            bound for bound, tool in plan.by_bound_name.items() if tool.starts is None and bound not in live
        ],
    }


def _guarantee_record(guarantee: "GuaranteePlan") -> "Json":
    return {
        "name": guarantee.name,
        "ceiling": guarantee.layer,
        "tools": list(guarantee.tools),
        "unless_approved_by": guarantee.approved_by,
        "proved": False,
    }
