"""jsonschema_rs, in Rust: a validator per tool."""

import jsonschema_rs

from bench.peers.engines.schemas import schemas_of
from bench.peers.workload import Call, Decide, Tools


def build(tools: Tools) -> Decide:
    """Return whether the arguments fit; it gives no reason."""
    fits = {name: jsonschema_rs.validator_for(schema).is_valid for name, schema in schemas_of(tools).items()}

    def allowed(call: Call) -> bool:
        fit = fits.get(call.tool)
        return fit is not None and bool(fit(call.arguments))

    return allowed
