"""The YAML that `convert` reads, checked key by key: nothing in it is skipped and nothing is guessed.

policy: from_the_article            # optional
stop_after: 5 minutes               # optional
tools:                              # or the tools at the top level
  send_email:
    capabilities: [send_message]
    rate_limit: 10/hour             # also `10 per hour`
    blast_radius: workspace         # or user: the caller's own one only
    audit_level: full
  query_database:
    capabilities: [read_only]
    allowed_tables: [users, orders, products]
    max_rows: 1000
  write_to_crm:
    capabilities: [modify]
    requires: human_approval        # or a mapping with `approver`
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from ringfence.cli.exits import POLICY_INVALID, CommandError
from ringfence.dsl.suggest import did_you_mean

KEYS = (
    "capabilities",
    "rate_limit",
    "blast_radius",
    "allowed_tables",
    "max_rows",
    "requires",
    "audit_level",
)
TOP = ("policy", "stop_after", "tools")
AUDIT = ("minimal", "standard", "full")
OWN = ("workspace", "user")
"""What a blast radius may be: the caller's own workspace, or the caller alone."""

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_RATE = re.compile(r"([0-9]+)\s*(?:/|per)\s*(second|minute|hour|day|run)s?")
_SPAN = re.compile(r"[0-9]+ (?:second|minute|hour|day)s?")


@dataclass(frozen=True, slots=True)
class Gate:
    """A person must approve; `approver` None: the document does not say who."""

    approver: str | None


@dataclass(frozen=True, slots=True)
class ToolRow:
    """What the document says of one tool."""

    name: str
    capabilities: tuple[str, ...]
    rate: tuple[int, str] | None
    own: str | None
    tables: tuple[str, ...]
    max_rows: int | None
    gate: Gate | None
    audit: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """The whole document."""

    policy: str
    stop_after: str
    tools: tuple[ToolRow, ...]


class Mistakes(list[str]):
    """All that is wrong, each with its line."""

    def add(self, node: yaml.Node, text: str) -> None:
        """Note one mistake at the line of `node`."""
        self.append(f"line {node.start_mark.line + 1}: {text}")


def read(text: str, name: str) -> Table:
    """Read the document.

    Raises:
        CommandError: It is no YAML, or holds something that has no meaning here; with every mistake in it.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise CommandError(
            f"{name} is no YAML: {' '.join(str(error).split())}", code=POLICY_INVALID
        ) from error
    wrong = Mistakes()
    table = _table(root, wrong) if root is not None else None
    if root is None:
        wrong.append("the document is empty")
    if wrong or table is None:
        raise CommandError(
            f"{name} cannot be converted:\n  " + "\n  ".join(wrong),
            help=f"a tool has the keys {', '.join(KEYS)}; nothing was written",
            code=POLICY_INVALID,
        )
    return table


def _table(root: yaml.Node, wrong: Mistakes) -> Table:
    top = _pairs(root, "the document", wrong)
    tools = top
    policy, stop_after = "converted", "5 minutes"
    if "tools" in top:
        for key, (at, _) in top.items():
            if key not in TOP:
                wrong.add(at, _unknown(key, TOP))
        tools = _pairs(top["tools"][1], "`tools`", wrong)
        if "policy" in top:
            policy = _word(top["policy"][1], "the policy's name", wrong)
        if "stop_after" in top:
            stop_after = _fit(top["stop_after"][1], _SPAN, "a time such as `5 minutes`", wrong)
    rows = tuple(_row(key, at, value, wrong) for key, (at, value) in tools.items())
    if not rows:
        wrong.add(root, "no tool stands here")
    return Table(policy, stop_after, rows)


def _row(name: str, at: yaml.Node, node: yaml.Node, wrong: Mistakes) -> ToolRow:
    if not _NAME.fullmatch(name):
        wrong.add(at, f"`{name}` is no tool's name: small letters, digits and `_`")
    said = _pairs(node, f"`{name}`", wrong)
    for key, (where, _) in said.items():
        if key not in KEYS:
            wrong.add(where, f"in `{name}`: {_unknown(key, KEYS)}")
    values = {key: value for key, (_, value) in said.items()}
    rate = None
    if "rate_limit" in values:
        found = _RATE.fullmatch(_fit(values["rate_limit"], _RATE, "a rate such as `10/hour`", wrong))
        rate = (int(found[1]), found[2]) if found else None
    return ToolRow(
        name,
        _words(values.get("capabilities"), "a capability", wrong),
        rate,
        _one_of(values.get("blast_radius"), OWN, "a blast radius", wrong),
        _texts(values.get("allowed_tables"), wrong),
        _count(values.get("max_rows"), wrong),
        _gate(values.get("requires"), wrong),
        _one_of(values.get("audit_level"), AUDIT, "an audit level", wrong),
    )


def _gate(node: yaml.Node | None, wrong: Mistakes) -> Gate | None:
    if node is None:
        return None
    if isinstance(node, yaml.MappingNode):
        said = _pairs(node, "`requires`", wrong)
        for key, (at, _) in said.items():
            if key != "approver":
                wrong.add(at, f"in `requires`: {_unknown(key, ('approver',))}")
        return Gate(_word(said["approver"][1], "an approver's name", wrong) if "approver" in said else None)
    word = _text(node)
    if word in ("human_approval", "approval"):
        return Gate(None)
    if word is None or not word.startswith("approval by ") or not _NAME.fullmatch(word[12:]):
        wrong.add(node, "`requires` is `human_approval`, `approval by NAME`, or a mapping with `approver`")
        return None
    return Gate(word[12:])


def _pairs(node: yaml.Node, what: str, wrong: Mistakes) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        wrong.add(node, f"{what} is a mapping")
        return {}
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        name = _text(key)
        if name is None:
            wrong.add(key, f"a key of {what} is a text")
        elif name in pairs:
            # SECURITY: other readers take the last of two, so one of them would vanish unseen.
            wrong.add(key, f"`{name}` stands twice in {what}")
        else:
            pairs[name] = (key, value)
    return pairs


def _text(node: yaml.Node) -> str | None:
    return node.value if isinstance(node, yaml.ScalarNode) else None


def _word(node: yaml.Node, what: str, wrong: Mistakes) -> str:
    return _fit(node, _NAME, f"{what} (small letters, digits and `_`)", wrong)


def _fit(node: yaml.Node, pattern: "re.Pattern[str]", what: str, wrong: Mistakes) -> str:
    text = (_text(node) or "").strip()
    if not pattern.fullmatch(text):
        wrong.add(node, f"expected {what}")
    return text


def _items(node: yaml.Node | None, wrong: Mistakes) -> list[yaml.Node]:
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        wrong.add(node, "expected a list")
        return []
    items: list[yaml.Node] = node.value
    return items


def _words(node: yaml.Node | None, what: str, wrong: Mistakes) -> tuple[str, ...]:
    return tuple(_word(item, what, wrong) for item in _items(node, wrong))


def _texts(node: yaml.Node | None, wrong: Mistakes) -> tuple[str, ...]:
    texts = []
    for item in _items(node, wrong):
        text = _text(item)
        if text is None:
            wrong.add(item, "expected a text")
        else:
            texts.append(text)
    if node is not None and not texts:
        wrong.add(node, "an empty list allows no table: leave the tool out instead")
    return tuple(texts)


def _count(node: yaml.Node | None, wrong: Mistakes) -> int | None:
    if node is None:
        return None
    text = _text(node) or ""
    if not re.fullmatch(r"[1-9][0-9]{0,14}", text):
        wrong.add(node, "expected a whole number above 0")
        return None
    return int(text)


def _one_of(node: yaml.Node | None, known: tuple[str, ...], what: str, wrong: Mistakes) -> str | None:
    if node is None:
        return None
    text = _text(node)
    if text not in known:
        wrong.add(node, f"{what} is one of {', '.join(known)}")
        return None
    return text


def _unknown(key: Any, known: tuple[str, ...]) -> str:
    help = did_you_mean(str(key), known)
    return f"unknown key `{key}`" + (f" ({help})" if help else "")
