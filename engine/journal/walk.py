"""One walk over one JSON value, which hides what is secret in it and tells what that was."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import MARK
from ringfence.engine.journal.fields import Nature
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.journal.remembered import SHORTEST_VALUE, texts_of
from ringfence.engine.journal.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Redacted:
    """The parameters of a tool whose values are hidden.

    Args:
        params: Those that a policy redacts.
        taken: All that the tool takes.
    """

    params: frozenset[str]
    taken: frozenset[str]

    def hides(self, name: object) -> bool:
        """Say whether what is given under this name is hidden."""
        # SECURITY: a name that the policy does not know may be the tool's own alias of one that it redacts.
        return name in self.params or name not in self.taken


Redactions = Mapping[str, Redacted]
"""Framework's name of a tool -> what of its calls a policy redacts."""

_SHAPE: Final = re.compile(
    r"[0-9a-f]{16}\.\d+|run-[0-9a-f]{16}|T-[0-9A-Z]{8}|(?:hmac-)?sha256:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{64}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""What Ringfence and frameworks make by chance or by digest."""

_CALL_PARTS: Final = ("args", "arguments", "input", "parameters", "partial_json")
"""Where frameworks keep the arguments of a call that a model makes."""
_DEEPEST: Final = 200
_ANY: Final = Redacted(frozenset(), frozenset())
"""Of a call of nobody knows which tool: everything."""
_WORD: Final = re.compile(r"[$A-Za-z_]{1,40}")
"""A name of a field, of no value."""
_HASHED: Final = ("sha256:", "hmac-sha256:")


def is_made(text: str) -> bool:
    """Say whether a text has the shape of a key, an id or a digest."""
    return _SHAPE.fullmatch(text) is not None


class Walk:
    """One walk over one value.

    Args:
        values: Those that are known to be secret.
        full: There are more than are known, so no text of anybody is shown.
    """

    def __init__(
        self,
        secrets: Secrets,
        redactions: Redactions,
        values: Sequence[str],
        nature: Nature,
        *,
        full: bool = False,
    ) -> None:
        self._secrets = secrets
        self._redactions = redactions
        self._values = values
        self._said, self._made = nature
        self._full = full and self._said
        self.found = False
        """Something was hidden."""
        self.named: list[str] = []
        """What stood under a name of the settings."""
        self.redacted: list[str] = []
        """What was given for parameters that the policy redacts."""
        self._depth = 0

    def value(self, value: Any) -> Json:
        """Return the value with what is secret in it hidden."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if issubclass(kind, str):
            return self.text(str.__str__(value))
        if issubclass(kind, int | float):
            return self._number(value)
        if self._depth >= _DEEPEST:  # fails closed: no honest value is as deep
            return self._hidden()
        self._depth += 1
        try:
            if issubclass(kind, list | tuple):
                return [self.value(part) for part in value]
            if issubclass(kind, Mapping):
                return self.record(value if kind is dict else dict(value))
            return self.value(jsonable(value, hide=self.text))
        finally:
            self._depth -= 1

    def text(self, text: str) -> str:
        """Return the text with what is secret in it hidden; one that is JSON is walked over, too."""
        if self._made and is_made(text) and not (self._said and self._is_known(text)):
            return text
        if self._full and len(text) >= SHORTEST_VALUE and text != MARK:
            return self._hidden()
        said = text
        if self._said and text.lstrip()[:1] in ("{", "["):
            said = self._json(text, self.value)
        said = self._secrets.text(said, values=self._values if self._said else (), free=self._said)
        if said != text:
            self.found = True
        return said

    def record(self, record: Mapping[Any, Any]) -> dict[Any, Json]:
        """Return the record with what is secret in its names and values hidden."""
        shown: dict[Any, Json] = {}
        redacted = self._redacted_in(record)
        label = next((record[key] for key in ("name", "key") if isinstance(record.get(key), str)), None)
        for key, part in record.items():
            name = key if type(key) is str else None
            own: Any = key if name is None else self._name(name, shown)
            if self._is_named(name) or (name == "value" and self._is_named(label)):
                shown[own] = self._whole(part, self.named)
            elif name in ("$keyed", "$digest") and isinstance(part, str) and is_made(part):
                shown[own] = part
            elif name == "free_ns" and self._made and isinstance(part, str) and part.isdecimal():
                shown[own] = part  # a moment: as many digits as a card has
            elif name == "$items" and isinstance(part, list):  # a record whose names are no texts
                shown[own] = [self._pair(one) for one in part]
            elif redacted is not None and name in _CALL_PARTS:
                shown[own] = self.arguments(part, redacted)
            else:
                shown[own] = self.value(part)
        return shown

    def arguments(self, arguments: Any, redacted: Redacted | None) -> Json:
        """Return the arguments of a call, which may be a JSON text.

        Args:
            redacted: The parameters whose values are hidden as a whole; None: none are.
        """
        if isinstance(arguments, str):
            read = _read(arguments)
            if isinstance(read, dict):
                return self._json(arguments, lambda record: self.arguments(record, redacted))
            # Fails closed: of what cannot be read, a piece of a stream perhaps, nothing is kept.
            return self.value(arguments) if redacted is None else self._whole(arguments, self.redacted)
        if redacted is None or arguments is None:
            return self.value(arguments)
        if not isinstance(arguments, Mapping):  # no tool takes that; it may hold what one would have hidden
            return self._whole(arguments, self.redacted)
        hidden = {
            name: self._whole(part, self.redacted) for name, part in arguments.items() if redacted.hides(name)
        }
        return {
            **self.record({name: part for name, part in arguments.items() if name not in hidden}),
            **hidden,
        }

    def _is_known(self, text: str) -> bool:
        return text in self._values or (self._full and not text.startswith(_HASHED))

    def _json(self, text: str, look: Any) -> str:
        """Return a text with what is secret hidden in the JSON that it is; as it is if it is none."""
        read = _read(text)
        if read is None:
            return text
        before, self.found = self.found, False
        shown = look(read)
        changed, self.found = self.found, before or self.found
        return json.dumps(shown, ensure_ascii=False) if changed else text

    def _is_named(self, name: str | None) -> bool:
        return self._said and name is not None and self._secrets.is_name(name)

    def _redacted_in(self, record: Mapping[Any, Any]) -> Redacted | None:
        """Return the parameters to hide in the call that a record may be; None: it is none."""
        if not (self._said and self._redactions):
            return None
        tool = record.get("name")
        if isinstance(tool, str):
            return self._redactions.get(tool)
        # A piece of a stream does not say of which call it is.
        piece = tool is None and any(isinstance(record.get(part), str) for part in _CALL_PARTS)
        return _ANY if piece else None

    def _pair(self, pair: Any) -> Json:
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and self._is_named(pair[0]):
            return [self.text(pair[0]), self._whole(pair[1], self.named)]
        return self.value(pair)

    def _name(self, name: str, taken: Mapping[Any, Json]) -> str:
        shown = name if self._full and _WORD.fullmatch(name) else self.text(name)
        if shown == name:
            return name
        number, own = 2, shown
        while own in taken:  # two names that are hidden stay two
            own, number = f"{shown} {number}", number + 1
        return own

    def _number(self, number: float) -> Json:
        if not self._said:  # a limit, an amount or a place: Ringfence counts with it
            return number
        if isinstance(number, float):
            written = [repr(number)] if not isfinite(number) else [repr(number), f"{number:.0f}"]
        else:
            written = [str(number) if number.bit_length() <= 1024 else hex(number)]
        if self._full and len(written[0]) >= SHORTEST_VALUE:
            return self._hidden()
        if any(self._secrets.text(one, values=self._values) != one for one in written):
            return self._hidden()
        return number

    def _hidden(self) -> str:
        self.found = True
        return MARK

    def _whole(self, value: Any, learned: list[str]) -> Json:
        """Hide a value as a whole, and note what it was; an absent one hides nothing."""
        if value is None or value == MARK:
            return value
        learned += texts_of(value)
        return self._hidden()


def _read(text: str) -> Json:
    """Return what a JSON text says, all that stands under one name; None: it is no JSON."""
    try:
        return json.loads(text, object_pairs_hook=_together)
    except (ValueError, RecursionError):  # looked at as a text
        return None


def _together(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    # SECURITY: of a name that stands there twice, a reader takes one value, and the text has both.
    record: dict[str, Json] = {}
    for name, part in pairs:
        record[name] = [record[name], part] if name in record else part
    return record
