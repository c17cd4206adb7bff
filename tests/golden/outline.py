"""A parsed document as indented text: one node a line, with what it says and where it begins."""

from dataclasses import fields, is_dataclass

from ringfence.dsl.source import Source, Span
from ringfence.dsl.syntax import Document, Name, Path


def outline(document: Document) -> str:
    """Return the tree of a document as it is stored in golden files."""
    lines: list[str] = []
    for declaration in document.declarations:
        _add(lines, declaration, "", 0, document.source)
    return "\n".join(lines) + "\n"


def _add(lines: list[str], node: object, label: str, depth: int, source: Source) -> None:
    indent = "  " * depth + (f"{label}: " if label else "")
    if isinstance(node, Span):
        return
    if isinstance(node, tuple):
        for item in node:
            _add(lines, item, label, depth, source)
    elif isinstance(node, Name | Path):
        lines.append(f"{indent}{node.text if isinstance(node, Name) else node}")
    elif is_dataclass(node):
        span = next(getattr(node, field.name) for field in fields(node) if field.name == "span")
        assert isinstance(span, Span)
        place = source.place(span)
        lines.append(f"{indent}{type(node).__name__} {place.line}:{place.column}-{span.end - span.start}")
        for field in fields(node):
            if field.name != "span":
                _add(lines, getattr(node, field.name), field.name, depth + 1, source)
    elif node is not None and node is not False:
        lines.append(f"{indent}{node!r}")
