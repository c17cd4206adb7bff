"""What could have stood at the place of a mistake, in words."""

from collections.abc import Mapping

from ringfence.dsl.automaton import Machine
from ringfence.dsl.scan import UNITS, Lexeme
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.syntax import Name

_STATEMENTS = {
    "policy": "a declaration starts here",
    "approver": "a clause of an approver starts here",
    "agent": "a clause of an agent starts here",
    "responses": "a clause of the responses starts here",
    "isolate": "a clause of an isolate starts here",
    "tool": "a clause of a tool starts here",
    "test": "a step of a test starts here",
}
_KINDS = {
    "NAME": "a name",
    "STRING": "a text in double quotes",
    "REGEX": "a pattern between slashes",
    "HOUR_MINUTE": "a time such as 08:00",
    "DURATION": "a duration such as 5 minutes",
    "SIZE": "a size such as 64 KB",
    "INT": "a number",
    "SIGNED": "a number",
    "NUMBER": "a number",
}
_SHOWN = 4
_HABITS = {  # what other languages write, and what is meant
    "=": "==",
    "<>": "!=",
    "&": "and",
    "|": "or",
    "if": "when",
    "equals": "==",
    "like": "matches",
    "startswith": "starts",
    "endswith": "ends",
    "includes": "contains",
}
_MENDED: Mapping[tuple[str | None, str | None], tuple[str, str]] = {
    # the word before the mistake and the word, None: any -> what must be legal there, and how to mend it
    ("is", "not"): ("PRESENT", "write `is missing`, or `!=` before a value"),
    ("is", None): ("PRESENT", "did you mean `==`?"),
    ("not", None): ("IN", 'write `!=`, or `not in ["…"]`'),
    ("all", "tools"): ("WHEN", "write `any tool`"),
    ("all", None): ("EQUAL_TO", "did you mean `every`?"),
    ("any", None): ("EQUAL_TO", "did you mean `some`?"),
    (None, "reading"): ("EQUAL_TO", "write `after reading LEVEL`"),
    (None, "between"): ("EQUAL_TO", "write `x >= 1 and x <= 5`"),
    (None, "unless"): ("", "write `and not (…)` in the condition; only a `rule` has `unless`"),
    (None, "per"): ("FOR", "write `for each …`"),
    (None, "each"): ("FOR", "write `for each …`"),
    ("always", "when"): ("ALLOW", "write `allow when …` or `allow always`"),
}


def unit_misspelt(machine: Machine, lexemes: list[Lexeme], at: int) -> bool:
    """True if a duration or size is wanted and a number with an unknown unit stands here."""
    if lexemes[at].kind != "INT" or at + 1 >= len(lexemes) or lexemes[at + 1].kind != "WORD":
        return False
    return "DURATION" in machine.actions or "SIZE" in machine.actions


def explain(
    machine: Machine, word: str, before: Lexeme | None, height: int, kind: str, spellings: Mapping[str, str]
) -> tuple[str, str]:
    """Return label and help for `word`, which is not legal where the machine stands.

    `height` is where the statement began on the stack, `kind` the body it stands in.
    """
    accepts = machine.accepts()
    spelt = {spellings[symbol] for symbol in accepts if symbol in spellings}
    units = UNITS if before is not None and before.kind == "INT" else ()
    habit = _HABITS.get(word, "")
    mended = _mended(machine, "" if before is None else before.text, word, height, kind)
    if mended:
        help = mended
    elif habit in spelt:
        help = did_you_mean(habit, [habit])
    else:
        help = did_you_mean(
            word, [other for other in (*spelt, *units) if other[-1:].isalpha() and other != word]
        )
    if machine.body is not None:
        return _STATEMENTS[kind], help or _all(spelt - {"}"} if word.isidentifier() else set())
    if not help and word != word.lower() and word.isidentifier() and "NAME" in accepts:
        help = f"names are written in lower case: `{word.lower()}`"
    if "LPAR" in accepts and "STRING" in accepts:
        return "a value or a condition is missing here", help
    if "EQUAL_TO" in accepts:
        return "an operator such as `==` is missing here", help
    # what would go on this statement, not what would begin the next one
    inside = [symbol for symbol, depth in accepts.items() if depth > height and symbol != "$END"]
    wanted = sorted(
        {f"`{spellings[symbol]}`" if symbol in spellings else _KINDS[symbol] for symbol in inside}
    )
    if not wanted:
        return "the statement has ended before this", help
    shown = ", ".join(wanted[:_SHOWN]) + (", …" if len(wanted) > _SHOWN else "")
    return f"expected {' or '.join(shown.rsplit(', ', 1)) if len(wanted) <= _SHOWN else shown}", help


def _mended(machine: Machine, before: str, word: str, height: int, kind: str) -> str:
    """Return how to write what another language, or English, says so; empty: nothing is known."""
    opening = machine.values[height] if kind == "tool" and len(machine.values) == height + 2 else None
    if isinstance(opening, Name) and opening.text == "deny":
        return "write `deny when …`; what nothing allows is denied anyway"
    for pair in ((before, word), (before, None), (None, word)):
        needed, help = _MENDED.get(pair, ("", ""))
        if help and (not needed or needed in machine.actions):
            return help
    return ""


def _all(spelt: set[str]) -> str:
    return f"one of {', '.join(f'`{word}`' for word in sorted(spelt))}" if spelt else ""
