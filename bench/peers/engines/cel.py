"""cel-python: CEL knows no tools, so a dictionary finds the program of one."""

import json

import celpy

from bench.peers.workload import CLOSED, Call, Check, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return one compiled program per tool."""
    environment = celpy.Environment()
    programs = {}
    for name, checks in tools.items():
        conditions = [f'env != "{CLOSED}"', *map(_condition, checks)]
        programs[name] = environment.program(environment.compile(" && ".join(conditions)))

    def allowed(call: Call) -> bool:
        program = programs.get(call.tool)
        if program is None:
            return False
        values = {name: celpy.json_to_cel(value) for name, value in call.arguments.items()}
        return bool(program.evaluate(values))

    return allowed


def _condition(check: Check) -> str:
    name = check.parameter
    if check.kind == "one of":
        return f"{name} in {json.dumps(check.among)}"
    if check.kind == "begins":
        return f"{name}.startsWith({json.dumps(check.text)})"
    if check.kind == "pattern":
        return f"{name}.matches({json.dumps('^' + check.text + '$')})"
    if check.kind == "between":
        return f"{name} >= {check.low} && {name} <= {check.high}"
    return f"{name}.all(one, one in {json.dumps(check.among)})"
