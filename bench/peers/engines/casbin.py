"""PyCasbin: a row per tool whose condition the matcher evaluates, and one row that denies for all."""

import re

import casbin

from bench.peers.workload import CLOSED, Call, Check, Decide, Tools, Value


class _Arguments:
    """The arguments as attributes: a condition can name nothing else."""

    def __init__(self, arguments: dict[str, Value]) -> None:
        self.__dict__.update(arguments)


def build(tools: Tools) -> Decide:
    """Return the enforcer of a model in which a row that denies overrides."""
    model = casbin.Model()
    model.add_def("r", "r", "sub, act")
    model.add_def("p", "p", "act, rule, eft")
    model.add_def("e", "e", "some(where (p.eft == allow)) && !some(where (p.eft == deny))")
    model.add_def("m", "m", '(p.act == "*" || r.act == p.act) && eval(p.rule)')
    enforcer = casbin.Enforcer(model)
    enforcer.add_function("begins", lambda value, start: value.startswith(start))
    enforcer.add_function("fits", lambda value, pattern: re.fullmatch(pattern, value) is not None)
    enforcer.add_function("within", lambda values, *among: set(values) <= set(among))
    rows = [["*", f"r.sub.env == '{CLOSED}'", "deny"]]
    rows += [[name, " and ".join(map(_condition, checks)), "allow"] for name, checks in tools.items()]
    enforcer.add_policies(rows)

    def allowed(call: Call) -> bool:
        return bool(enforcer.enforce(_Arguments(call.arguments), call.tool))

    return allowed


def _condition(check: Check) -> str:
    value = f"r.sub.{check.parameter}"
    among = ", ".join(repr(one) for one in check.among)
    if check.kind == "one of":
        return f"{value} in ({among})"
    if check.kind == "begins":
        return f"begins({value}, '{check.text}')"
    if check.kind == "pattern":
        return f"fits({value}, '{check.text}')"
    if check.kind == "between":
        return f"{value} >= {check.low} and {value} <= {check.high}"
    return f"within({value}, {among})"
