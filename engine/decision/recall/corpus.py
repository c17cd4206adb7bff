"""All texts of one source, findable without a scan.

Each text is kept as a string of lexeme numbers, so that "these lexemes, one after another" is one
substring search (linear in C, whatever the text repeats).  Only texts that hold the rarest token of what is
sought are searched; a value of one token needs no search at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ringfence.dsl.plan import Json
from ringfence.engine.decision.recall.leaves import Leaf
from ringfence.engine.decision.recall.tokens import is_token, lexemes, number_in, number_key, spellings

MOST_LEXEMES = 1_000_000
"""Distinct lexemes of one source: a lexeme's number is a character of a string."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A value as it is looked for: the lexemes it may be written as, or the number it is."""

    spelled: tuple[tuple[str, ...], ...] = ()
    number: str | None = None
    text: str | None = None
    """As it was given, where it is a text."""

    @property
    def forms(self) -> tuple[str | tuple[str, ...], ...]:
        """What it equals another value by."""
        return self.spelled if self.number is None else ("#" + self.number,)


def sought(value: Json) -> Sought:
    """Return how a leaf is looked for; what can match nothing has neither lexemes nor number."""
    if isinstance(value, str):
        return Sought(spelled=tuple(map(tuple, spellings(value))), text=value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Sought(number=number_key(value))
    return Sought(spelled=((_WORDS[value],),)) if value is None or isinstance(value, bool) else Sought()


_WORDS = {None: "null", True: "true", False: "false"}


@dataclass(slots=True)
class Corpus:
    """The texts of one source; positions never fall from one addition to the next."""

    numbers_of: dict[str, int] = field(default_factory=dict)
    """Lexeme -> its number."""
    holders: dict[int, list[int]] = field(default_factory=dict)
    """Number of a token -> the texts that hold it."""
    texts: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Of each text."""
    said: dict[str, int] = field(default_factory=dict)
    """Number -> where it was said first."""
    fields: dict[str, dict[tuple[str, ...], int]] = field(default_factory=dict)
    """A whole leaf (as lexeme numbers, or `#` and the number it is) -> path -> where it stood first."""
    lexemes: int = 0
    """Of all texts together."""
    full: bool = False
    """Some text was not taken: what is not found may stand there."""

    def add(self, position: int, leaf: Leaf) -> None:
        """Take one leaf; a name of a field is a text without a path."""
        value = leaf.value
        if isinstance(value, str):
            self._add_text(position, leaf.path, lexemes(value))
            return
        if isinstance(value, bool) or value is None:
            self._add_text(position, leaf.path, [_WORDS[value]])
            return
        number = number_key(value)
        if number is not None:
            self._add_number(position, number, leaf.path)
            self._add_text(position, leaf.path, [number])
            if repr(value) != number:
                self._add_text(position, leaf.path, [repr(value)])

    def earliest(self, what: Sought) -> int | None:
        """Return where the value was found first as one span of a text, or as a number; None: nowhere."""
        if what.number is not None:
            return self.said.get(what.number)
        return min((at for spelled in what.spelled for at in self._spans(spelled)), default=None)

    def earliest_field(self, what: Sought, path: tuple[str, ...]) -> int | None:
        """Return where the value was a whole leaf at this path first; None: nowhere."""
        return min((paths[path] for paths in self._wholes(what) if path in paths), default=None)

    def paths(self, what: Sought) -> Iterator[tuple[tuple[str, ...], int]]:
        """Yield each path at which the value was a whole leaf, with where it stood there first."""
        for paths in self._wholes(what):
            yield from paths.items()

    def _wholes(self, what: Sought) -> Iterator[dict[tuple[str, ...], int]]:
        keys = [self._pattern(spelled) for spelled in what.spelled]
        if what.number is not None:
            keys.append("#" + what.number)
        for key in keys:
            if key is not None and key in self.fields:
                yield self.fields[key]

    def _spans(self, spelled: Sequence[str]) -> Iterator[int]:
        pattern = self._pattern(spelled)
        if pattern is None:
            return
        held = [self.holders[ord(number)] for number in set(pattern) if ord(number) in self.holders]
        rarest = min(held, key=len, default=[])
        if len(pattern) == 1:
            yield from (self.positions[text] for text in rarest[:1])
            return
        for text in rarest:
            if pattern in self.texts[text]:
                yield self.positions[text]
                return

    def _pattern(self, spelled: Sequence[str]) -> str | None:
        """Return these lexemes' numbers as a string; None if one of them stands nowhere."""
        numbers = []
        for lexeme in spelled:
            number = self.numbers_of.get(lexeme)
            if number is None:
                return None
            numbers.append(chr(number))
        return "".join(numbers)

    def _add_text(self, position: int, path: tuple[str, ...] | None, written: list[str]) -> None:
        numbers_of = self.numbers_of
        if len(numbers_of) + len(written) > MOST_LEXEMES:  # nearly full, or a long text: count exactly
            self.full = self.full or len(numbers_of.keys() | set(written)) > MOST_LEXEMES
        if self.full:
            return
        # 35 is `#`, which begins the key of a number; no lexeme has its number.
        numbers = [numbers_of.setdefault(lexeme, len(numbers_of) + 36) for lexeme in written]
        text = len(self.texts)
        for lexeme, number in dict(zip(written, numbers, strict=True)).items():
            if not is_token(lexeme):
                continue
            self.holders.setdefault(number, []).append(text)
            said = number_in(lexeme)
            if said is not None:
                self._add_number(position, said, path if len(written) == 1 else None)
        whole = "".join(map(chr, numbers))
        self.texts.append(whole)
        self.lexemes += len(whole)
        self.positions.append(position)
        if path is not None and written:
            self.fields.setdefault(whole, {}).setdefault(path, position)

    def _add_number(self, position: int, number: str, path: tuple[str, ...] | None) -> None:
        self.said.setdefault(number, position)
        if path is not None:
            self.fields.setdefault("#" + number, {}).setdefault(path, position)
