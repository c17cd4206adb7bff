"""The principal, from what the host passed in."""

from collections.abc import Mapping

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import Principal


def principal_of(deps: object, plan: Plan) -> Principal | None:
    """Return the principal that an agent's `deps` say: they are one, have one, or map its values.

    Of a mapping only `user`, `workspace` and what the policy declares are taken.
    """
    if deps is None or isinstance(deps, Principal):
        return deps
    inside = deps.get("principal") if isinstance(deps, Mapping) else getattr(deps, "principal", None)
    if isinstance(inside, Principal | Mapping):
        return principal_of(inside, plan)
    if isinstance(deps, Mapping):
        said = {name: deps[name] for name in ("user", "workspace", *plan.principal) if name in deps}
        return Principal(**said) if said else None
    return None
