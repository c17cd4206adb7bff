"""Who a framework's invocation acts for, and the run that it stands in."""

from collections.abc import Mapping

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.current import current_call, current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run


def principal_of(context: object, plan: Plan) -> Principal | None:
    """Return the principal that a host's context says: it is one, has one, or is a mapping of its values.

    Of a mapping only `user`, `workspace` and what the policy declares are taken.
    """
    if context is None or isinstance(context, Principal):
        return context
    inside = context.get("principal") if isinstance(context, Mapping) else getattr(context, "principal", None)
    if inside is not None:
        # What cannot be read says nobody, whatever stands beside it.
        return principal_of(inside, plan) if isinstance(inside, Principal | Mapping) else None
    if isinstance(context, Mapping):
        said = {name: context[name] for name in ("user", "workspace", *plan.principal) if name in context}
        return Principal(**said) if said else None
    return None


def run_around(guard: Guard) -> Run | None:
    """Return the run that a new one begins inside of, if it is this guard's."""
    around = current_run()
    if around is None or not guard.owns(around):
        return None
    within = current_call()
    if around.ended and (within is None or within[0] is not around):
        return None  # the host went on after its run
    # SECURITY: what a body begins that outlives its run is refused, not begun as a run of its own.
    return around
