"""A live tool: what a framework or a server says of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ringfence.dsl.live.shapes import Shape, both, found, shape_of
from ringfence.dsl.plan import Json

_DEEPEST = 3
_MOST_JOINED = 20


@dataclass(frozen=True, slots=True)
class LiveTool:
    """One tool of a live set; all of it may have been written by whoever runs the tool."""

    name: str
    """The framework's name: what a policy binds with `is "…"`."""
    schema: Mapping[str, Json] | None
    """JSON Schema of the arguments; None: it has none, and any arguments may fit."""
    description: str = ""
    annotations: Mapping[str, Json] = field(default_factory=dict)
    """MCP's hints, such as `readOnlyHint`: the server's own word."""
    own: bool = False
    """True: a function of the host's own code; False: what it is called and does, somebody else says."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a live tool."""

    shapes: Mapping[str, Shape]
    required: frozenset[str]
    open: bool
    """Arguments that it does not name fit as well."""


def parameters_of(tool: LiveTool) -> Parameters | None:
    """Return the parameters that a tool's schema names; None where it has no schema."""
    if tool.schema is None:
        return None
    shapes: dict[str, Shape] = {}
    required: set[str] = set()
    is_open = False
    for part in _parts(tool.schema, tool.schema, 0):
        properties, needed = part.get("properties"), part.get("required")
        for name, one in (properties if isinstance(properties, Mapping) else {}).items():
            shape = shape_of(one, tool.schema)
            shapes[name] = both(shapes[name], shape) if name in shapes else shape
        if isinstance(needed, list):
            required.update(name for name in needed if isinstance(name, str))
        # SECURITY: a schema lets through what it does not name unless it says otherwise; most frameworks and
        # servers forget to.  Only one that says so is taken for open.
        is_open |= part.get("additionalProperties") not in (None, False) or "patternProperties" in part
    return Parameters(shapes, frozenset(required), is_open)


def _parts(schema: Json, root: Json, depth: int) -> Iterator[Mapping[str, Json]]:
    """Yield the schemas that all hold of the arguments: the whole one, and those that it refers to."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    yield schema
    if isinstance(reference := schema.get("$ref"), str):
        yield from _parts(found(root, reference), root, depth + 1)
    joined = schema.get("allOf")
    for one in joined[:_MOST_JOINED] if isinstance(joined, list) else ():
        yield from _parts(one, root, depth + 1)
