"""jsonschema, in pure Python: a validator per tool."""

from jsonschema import Draft202012Validator

from bench.peers.engines.schemas import schemas_of
from bench.peers.workload import Call, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return whether the arguments fit; it gives no reason."""
    fits = {name: Draft202012Validator(schema).is_valid for name, schema in schemas_of(tools).items()}

    def allowed(call: Call) -> bool:
        fit = fits.get(call.tool)
        return fit is not None and fit(call.arguments)

    return allowed
