"""The policy text of a converted table."""

from collections.abc import Mapping
from json import dumps
from typing import Any

from ringfence.cli.conversion.document import Table, ToolRow
from ringfence.cli.conversion.parameters import takes
from ringfence.cli.exits import CommandError

_TRAITS = (
    ("destructive", ("delete", "remove", "destroy", "drop", "purge", "wipe")),
    ("external", ("send", "message", "mail", "post", "publish", "browse", "fetch", "web", "http")),
    ("code", ("code", "execute", "shell", "script")),
    ("money", ("pay", "money", "transfer", "charge")),
    ("write", ("write", "modify", "change", "update", "edit", "create")),
    ("read", ("read", "query", "search", "list", "view")),
)


def trait_of(capability: str) -> str | None:
    """Return the trait that a capability's name speaks of, for a person to look over; None: it says none."""
    for trait, words in _TRAITS:
        if any(word in capability for word in words):
            return trait
    return None


def write(
    table: Table, traits: Mapping[str, str], gates: Mapping[str, tuple[str, str]], tools: Mapping[str, Any]
) -> str:
    """Return the policy.

    Args:
        traits: Capability -> its traits as the author writes them.
        gates: Tool -> (approver, group).
        tools: Tool -> JSON Schema.
    """
    lines = ["language 1", f"policy {table.policy}", ""]
    lines += [f"capability {name} is {trait}" for name, trait in traits.items()]
    for approver, group in dict(gates.values()).items():
        lines += [
            "",
            f"approver {approver} {{",
            f"  group {dumps(group)}",
            "  never the requester",
            "  answer within 15 minutes otherwise deny",
            "}",
        ]
    held = f"  holds {', '.join(traits)}\n" if traits else ""
    lines += ["", f"agent main {{\n{held}  stop after {table.stop_after}\n}}"]
    for row in table.tools:
        lines += ["", *_tool(row, gates.get(row.name), tools.get(row.name))]
    return "\n".join(lines) + "\n"


def _tool(row: ToolRow, gate: tuple[str, str] | None, schema: Mapping[str, Any] | None) -> list[str]:
    lines = [f"tool {row.name} {{"]
    if row.capabilities:
        lines.append(f"  needs {', '.join(row.capabilities)}")
    known = (schema or {}).get("properties") or {}
    if known:
        lines.append(f"  takes {takes(schema or {})}")
    conditions = []
    if row.own is not None:
        conditions.append(f"{_named(row, row.own, known)} == principal.{row.own}")
    if row.tables:
        listed = ", ".join(dumps(name, ensure_ascii=False) for name in row.tables)
        conditions.append(f"{_named(row, 'table', known)} in [{listed}]")
    if row.max_rows is not None and "limit" in known:
        conditions.append(f"limit <= {row.max_rows}")
    lines.append(f"  allow when {' and '.join(conditions)}" if conditions else "  allow always")
    if gate is not None:
        lines.append(f"  ask {gate[0]}")
    if row.max_rows is not None:
        lines.append(f"  result at most {row.max_rows} rows")
    if row.rate is not None:
        lines.append(f"  rate {row.rate[0]} per {row.rate[1]} otherwise halt")
    if row.audit is not None:
        lines.append(f"  audit {row.audit}")
    return [*lines, "}"]


def _named(row: ToolRow, parameter: str, known: Mapping[str, Any]) -> str:
    if parameter not in known:
        raise CommandError(
            f"`{row.name}` is bounded by its `{parameter}`, and no such parameter of it is known",
            help="give the tools' schemas: --tools FILE.json or --tools langchain:MODULE:LIST",
        )
    return parameter
