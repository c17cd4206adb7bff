"""What a model is told of a tool, from the policy: JSON Schema, TypeScript, and the rules of its code."""

from ringfence.dsl.signatures.bodies import UnfitInnerError, bodies_for, isolated_tool
from ringfence.dsl.signatures.code import description_of
from ringfence.dsl.signatures.hosted import Hosted
from ringfence.dsl.signatures.json_schema import json_schema
from ringfence.dsl.signatures.typescript import declaration

__all__ = [
    "Hosted",
    "UnfitInnerError",
    "bodies_for",
    "declaration",
    "description_of",
    "isolated_tool",
    "json_schema",
]
