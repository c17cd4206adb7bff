"""What a syntax node says, in one line: its fields that are not the usual ones, without places."""

from dataclasses import MISSING, fields, is_dataclass

from ringfence.dsl.source import Span
from ringfence.dsl.syntax import Constant, Count, Duration, Name, Path, Size, Target, Text, TypeName, Value


def said(node: object) -> str:
    """Return a node as tests write it; fields that are None, False or a place are left out."""
    match node:
        case Name():
            return node.text
        case Path():
            return str(node)
        case Text() | Count() | Constant() | Value():
            return repr(node.value)
        case Duration():
            return f"{node.ns} ns"
        case Size():
            return f"{node.bytes} bytes"
        case TypeName():
            return ("list of " if node.is_list else "") + node.name.text
        case Target():
            return f"{node.kind}{said(node.names)}"
        case tuple():
            return f"({', '.join(map(said, node))})"
    if is_dataclass(node):
        assert all(field.default is MISSING for field in fields(node))
        shown = [(field.name, getattr(node, field.name)) for field in fields(node)]
        inner = [
            f"{name}={said(value)}"
            for name, value in shown
            if value is not None and value is not False and not isinstance(value, Span)
        ]
        return f"{type(node).__name__}({', '.join(inner)})"
    return repr(node)
