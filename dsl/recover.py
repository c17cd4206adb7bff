"""Parse on after a mistake: report the statement, blank it, go on with the next.

A mistake must cost one report and one statement.  So the parser's stack is cut back to the body the
statement stood in, and the text is searched for the next place where a statement begins.  Grammar
alone cannot tell that place (the mistake may be in the very word that begins a statement), so layout
helps: a statement begins a line, no further in than the one before it.  Layout decides only how
mistakes are reported, never what a policy means.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ringfence.dsl.automaton import DEEPEST, Body, Machine, Reduction, Table
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.expected import explain, unit_misspelt
from ringfence.dsl.scan import Lexeme
from ringfence.dsl.source import Span
from ringfence.dsl.suggest import closest

_INDENT = re.compile(r"[ \t]*")
_EXPLAINED = 200  # reports beyond these are not read: they get no suggestion, so junk is refused quickly


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and marks of the grammar, and which terminals begin a statement of each kind of body."""

    words: Mapping[str, str]
    spellings: Mapping[str, str]
    starters: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, words: Mapping[str, str], marks: Mapping[str, str], table: Table) -> "Vocabulary":
        """Read the starters off the tables: what can be shifted right after a body."""
        starters: dict[str, frozenset[str]] = {}
        for actions in table.values():
            for symbol, target in actions.items():
                if symbol.endswith("_body") and not isinstance(target, Reduction):
                    starters[symbol.removesuffix("_body")] = frozenset(
                        kind
                        for kind, action in table[target].items()
                        if kind.isupper()
                        and kind not in ("RBRACE", "$END")
                        and not isinstance(action, Reduction)
                    )
        spellings = {kind: spelling for spelling, kind in (*words.items(), *marks.items())}
        return cls(words, spellings, starters)


@dataclass(slots=True)
class _Statement:
    """A statement that has begun: where on the stack, and at which lexeme."""

    height: int
    first: int


def run(machine: Machine, lexemes: list[Lexeme], vocabulary: Vocabulary) -> tuple[Body, frozenset[str]]:
    """Feed all lexemes; return the file's body and the words of blanked statements."""
    parse = _Parse(machine, lexemes, vocabulary)
    at = 0
    while at < len(lexemes):
        at = at + 1 if parse.step(at) else parse.recover(at)
    parse.end()
    body = machine.body
    assert body is not None
    return body, frozenset(parse.lost)


class _Parse:
    """One parse with its open statements and open braces."""

    def __init__(self, machine: Machine, lexemes: list[Lexeme], vocabulary: Vocabulary) -> None:
        self.machine = machine
        self.lexemes = lexemes
        self.vocabulary = vocabulary
        self.open: list[_Statement] = []
        self.braces: list[int] = []
        self.lost: set[str] = set()
        self.reported: set[int] = set()  # first lexemes of statements that have their report
        self._headed: set[int] = set()
        self._lines = _Lines(machine.source.text, lexemes)

    # ---- forward ---------------------------------------------------------------------------------

    def step(self, at: int) -> bool:
        """Take lexeme `at`; return False if it is not legal here."""
        machine, lexeme = self.machine, self.lexemes[at]
        kind = lexeme.kind
        if kind == "WORD":
            keyword = self.vocabulary.words.get(lexeme.text)
            if keyword is not None and keyword in machine.actions:
                kind = keyword
            elif lexeme.text.islower() or not any(map(str.isupper, lexeme.text)):
                kind = "NAME"
        return len(machine.states) < DEEPEST and self._shift(kind, at)

    def _shift(self, kind: str, at: int) -> bool:
        machine = self.machine
        if not machine.feed(kind, self.lexemes[at]):
            return False
        if kind == "LBRACE":
            self.braces.append(at)
        elif kind == "RBRACE":
            if self.braces:
                self.braces.pop()
            return True
        height = len(machine.values) - 1
        if height and isinstance(machine.values[height - 1], Body):
            while self.open and self.open[-1].height >= height:
                self.open.pop()
            self.open.append(_Statement(height, at))
        return True

    # ---- after a mistake -------------------------------------------------------------------------

    def recover(self, at: int) -> int:
        """Report the statement around lexeme `at`, blank it, and return where to go on."""
        machine = self.machine
        machine.settle()
        if machine.body is None and self._on_a_new_line(at):
            # a statement that could end here did: the mistake is in the first word of the next one
            machine.complete("RBRACE" if self.braces else "$END")
        if machine.body is not None:
            if self.step(at):
                return at + 1
            while self.open and self.open[-1].height >= len(machine.values):
                self.open.pop()
            statement = _Statement(len(machine.values), at)
        else:
            statement = self.open[-1]
        body = machine.values[statement.height - 1]
        assert isinstance(body, Body)
        if body.kind != "policy":
            outside = self._left_open(body.kind, statement.first, at)
            if outside is not None:
                self._close()
                return outside
        next_at = self._next(body.kind, statement.first, at)
        wrong = min(at, next_at) if next_at > statement.first else at
        self._report(statement, body, wrong, next_at, unfinished=wrong < at)
        if statement.first == at and self._as_meant(at):
            return at + 1
        machine.cut(statement.height)
        self._lose(statement.first, next_at)
        while self.braces and self.braces[-1] >= statement.first:
            self.braces.pop()
        if body.kind == "policy" and self._head_again(statement.first, next_at):
            return self.braces[-1] + 1
        return next_at

    def _on_a_new_line(self, at: int) -> bool:
        lines, first = self._lines, self.open[-1].first
        return (
            first < at and lines.first(at) and lines.column(at) <= lines.column(first) and self._may_start(at)
        )

    def end(self) -> None:
        """Take the end of the text: close what is open, report it once."""
        machine = self.machine
        machine.settle()
        while not machine.finish():
            statement = self.open[-1]
            if self.braces:
                self._close()
            else:
                body = machine.values[statement.height - 1]
                assert isinstance(body, Body)
                self._report(statement, body, len(self.lexemes), len(self.lexemes))
                machine.cut(statement.height)
                self._lose(statement.first, len(self.lexemes))
            machine.settle()

    def _lose(self, first: int, end: int) -> None:
        self.lost.update(lexeme.text for lexeme in self.lexemes[first:end] if lexeme.kind == "WORD")

    def _close(self) -> None:
        """Report the open brace and go on as if the block were closed here."""
        machine = self.machine
        bodies = [at for at, value in enumerate(machine.values) if isinstance(value, Body)]
        machine.cut(bodies[-1] + 1)
        opener = self.lexemes[self.braces[0]]
        machine.reports.append(
            Diagnostic(
                "E002",
                "this block is not closed",
                opener.span,
                machine.source,
                "the block opened here has no `}`",
                "close it with `}`",
            )
        )
        self.braces.clear()
        machine.feed("RBRACE", Lexeme("RBRACE", "}", machine.end, machine.end))
        machine.settle()

    def _left_open(self, kind: str, first: int, at: int) -> int | None:
        """Return the lexeme in first..at at which a declaration begins, if the block was left open."""
        if not self.braces:
            return None
        block = self.braces[0]
        margin = self._lines.column(self._declaration_of(block))
        for index in range(first, at + 1):
            outdented = index > block and self._outdented(index, margin)
            if outdented and (self._starts(index, "policy") or self._meant(index, kind)):
                return index
        return None

    def _meant(self, at: int, kind: str) -> bool:
        """True if the word is a misspelt declaration rather than a misspelt clause of such a body."""
        if self.lexemes[at].kind != "WORD" or not self._may_start(at):
            return False
        declarations, clauses = (
            [
                self.vocabulary.spellings[symbol]
                for symbol in self.vocabulary.starters[body]
                if symbol != "NAME"
            ]
            for body in ("policy", kind)
        )
        found = closest(self.lexemes[at].text, declarations + clauses)
        return found in declarations

    def _declaration_of(self, brace: int) -> int:
        return next((statement.first for statement in self.open if statement.first < brace), brace)

    def _as_meant(self, at: int) -> bool:
        """A misspelt word that begins a declaration: read it as what it was meant to be.

        Blanking a whole block for its first word would hide every mistake in it.
        """
        if self.machine.body is None or self.machine.body.kind != "policy":
            return False
        starters = self.vocabulary.starters["policy"]
        meant = closest(self.lexemes[at].text, [self.vocabulary.spellings[kind] for kind in starters])
        if (
            meant is None
            or at + 1 >= len(self.lexemes)
            or self.lexemes[at + 1].kind not in ("WORD", "LBRACE")
        ):
            return False
        if not self._shift(self.vocabulary.words[meant], at):
            return False
        self.reported.add(at)
        return True

    def _head_again(self, first: int, end: int) -> bool:
        """A mistake in the head of a block: keep its word and name, and read the block."""
        brace = next((at for at in range(first, end) if self.lexemes[at].kind == "LBRACE"), None)
        word = self.lexemes[first]
        keyword = self.vocabulary.words.get(word.text)
        if brace is None or keyword is None or brace == first + 1 or first in self._headed:
            return False
        self._headed.add(first)
        height = len(self.machine.values)
        name = self.lexemes[first + 1]
        kind = "NAME" if name.kind == "WORD" else name.kind
        if self._shift(keyword, first) and self.machine.feed(kind, name) and self._shift("LBRACE", brace):
            return True
        self.machine.cut(height)
        return False

    # ---- where the next statement begins ---------------------------------------------------------

    def _next(self, kind: str, first: int, wrong: int) -> int:
        """Return the first lexeme after `first` that begins a statement or closes the block."""
        lines = self._lines
        margin = lines.column(first)
        one_line = not lines.first(first)
        depth = 0
        for at in range(first, len(self.lexemes)):
            lexeme = self.lexemes[at]
            # inside a block braces are records, and none of them reaches over the next statement's line
            record = depth > 0 and kind != "policy"
            if at > first and (depth <= 0 or (record and self._outdented(at, margin))):
                leads = lines.first(at)
                if self._starts(at, kind) and (leads or (one_line and at > wrong)):
                    return at
                if at > wrong and leads and lines.column(at) <= margin and self._may_start(at):
                    return at
                if record and lexeme.kind == "RBRACE" and lines.column(at) < margin:
                    return at
            elif at > wrong and self._outdented(at, margin) and self._starts(at, "policy"):
                return at
            if lexeme.kind == "LBRACE":
                depth += 1
            elif lexeme.kind == "RBRACE":
                depth -= 1
                if depth < 0 and kind != "policy":
                    return at if at > first else at + 1
                if depth <= 0 and kind == "policy" and at >= wrong:
                    return at + 1
        return len(self.lexemes)

    def _outdented(self, at: int, margin: int) -> bool:
        return self._lines.first(at) and self._lines.column(at) <= margin

    def _starts(self, at: int, kind: str) -> bool:
        """True if the word is one that begins a statement of such a body, and is not used as a name."""
        starters = self.vocabulary.starters[kind]
        lexeme = self.lexemes[at]
        if self.vocabulary.words.get(lexeme.text) not in starters and not (
            "NAME" in starters and lexeme.kind == "WORD"
        ):
            return False
        return self._may_start(at)

    def _may_start(self, at: int) -> bool:
        """False for words that only go on a statement, and for names between commas, colons and dots."""
        lexeme = self.lexemes[at]
        if lexeme.kind not in ("WORD", "ERROR"):
            return False
        keyword = self.vocabulary.words.get(lexeme.text)
        if keyword is not None and not any(keyword in kinds for kinds in self.vocabulary.starters.values()):
            return False
        after = self.lexemes[at + 1].kind if at + 1 < len(self.lexemes) else ""
        before = self.lexemes[at - 1].text if at else ""
        return after not in ("COLON", "COMMA", "DOT", "RPAR", "RSQB", "EQUAL") and before not in (
            ":",
            ".",
            "(",
        )

    # ---- words -----------------------------------------------------------------------------------

    def _report(
        self, statement: _Statement, body: Body, wrong: int, next_at: int, *, unfinished: bool = False
    ) -> None:
        """Report lexeme `wrong`, unless the statement has its report already."""
        machine = self.machine
        broken = any(
            lexeme.kind == "ERROR" for lexeme in self.lexemes[statement.first : max(next_at, wrong + 1)]
        )
        if broken or statement.first in self.reported:
            return
        self.reported.add(statement.first)
        source = machine.source
        if wrong >= len(self.lexemes):
            end = self.lexemes[-1].end if self.lexemes else 0
            span, text = Span(end, end), ""
        else:
            if unit_misspelt(machine, self.lexemes, wrong):
                wrong += 1
            lexeme = self.lexemes[wrong]
            span, text = lexeme.span, lexeme.text
        if len(machine.states) >= DEEPEST:
            machine.reports.append(
                Diagnostic(
                    "E003", f"did not expect `{text}` here", span, source, f"more than {DEEPEST} levels deep"
                )
            )
            return
        message = f"did not expect `{_short(text)}` here" if text else "did not expect the policy to end here"
        label = help = ""
        if unfinished:  # its words were taken for names of the statement before
            label = "the statement before this is not finished"
        elif len(machine.reports) < _EXPLAINED:
            before = self.lexemes[wrong - 1] if wrong > 0 else None
            label, help = explain(
                machine, text, before, statement.height, body.kind, self.vocabulary.spellings
            )
        machine.reports.append(Diagnostic("E003", message, span, source, label, help))


def _short(text: str) -> str:
    line = text.split("\n")[0]
    return line if len(line) <= 40 else line[:39] + "…"


class _Lines:
    """Which lexemes begin a line, and in which column they stand; looked up only after a mistake."""

    def __init__(self, text: str, lexemes: list[Lexeme]) -> None:
        self.text = text
        self.lexemes = lexemes

    def first(self, at: int) -> bool:
        """True if the lexeme before stands on an earlier line."""
        before = self.lexemes[at - 1].end if at else 0
        return at == 0 or self.text.find("\n", before, self.lexemes[at].start) >= 0

    def column(self, at: int) -> int:
        """Return how far the line on which the lexeme stands is indented."""
        line = self.text.rfind("\n", 0, self.lexemes[at].start) + 1
        indent = _INDENT.match(self.text, line)
        return indent.end() - line if indent is not None else 0
