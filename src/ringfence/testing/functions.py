"""What every policy function and redactor must do: subclass a contract and say what yours is asked."""

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from ringfence.engine.seams.functions import PolicyFunction, described

_KINDS: dict[str, type] = {"integer": int, "number": float, "boolean": bool}


class PolicyFunctionContract(ABC):
    """Tests that pytest runs for each subclass whose name begins with `Test`.

    Bring `make` and `examples`, and `unanswerable` if it has no answer to something.
    """

    examples: ClassVar[Sequence[tuple[tuple[Any, ...], Any]]]
    """Arguments, as a policy would hand them over, and the answer."""
    unanswerable: ClassVar[Sequence[tuple[Any, ...]]] = ()
    """Arguments to which it has no answer: it raises, and whatever asked is undecided."""

    @abstractmethod
    def make(self) -> Callable[..., Any]:
        """Return the function, marked with `@policy_function`."""

    def test_it_is_marked_with_types_that_a_policy_knows(self) -> None:
        found = described(self.make())
        assert found.kind == "function" and found.takes and found.gives
        assert self.examples, "say what it answers"

    def test_it_answers_with_the_type_that_it_says(self) -> None:
        function = self.make()
        gives = described(function).gives
        for arguments, answer in self.examples:
            given = function(*arguments)
            assert given == answer
            elements = given if gives.startswith("list of ") else [given]
            kind = _KINDS.get(gives.removeprefix("list of "), str)
            assert (type(given) is list) is gives.startswith("list of ")
            assert all(type(element) is kind for element in elements), f"no {gives}: {given!r}"

    def test_what_it_cannot_answer_raises(self) -> None:
        function = self.make()
        for arguments in self.unanswerable:
            with pytest.raises(Exception):  # noqa: B017 - which exception is the function's own business
                function(*arguments)

    def test_it_leaves_its_arguments_as_they_were(self) -> None:
        function = self.make()
        for arguments, _ in self.examples:
            before = copy.deepcopy(arguments)
            function(*arguments)
            assert arguments == before

    def test_it_answers_alike_on_several_threads_at_once(self) -> None:
        _at_once(self.make(), self.examples)


class RedactorContract(ABC):
    """Tests that pytest runs for each subclass whose name begins with `Test`.

    Bring `make`, `secrets` and `harmless`.
    """

    secrets: ClassVar[Sequence[str]]
    """Texts, each of which it takes out of any sentence."""
    harmless: ClassVar[Sequence[str]]
    """Texts that it leaves as they are."""

    @abstractmethod
    def make(self) -> Callable[[str], str]:
        """Return the function, marked with `@redactor`."""

    def test_it_is_marked(self) -> None:
        found: PolicyFunction = described(self.make())
        assert (found.kind, found.gives) == ("redactor", "text") and found.name
        assert self.secrets and self.harmless, "say what it takes out, and what it leaves"

    def test_a_secret_does_not_stay(self) -> None:
        redact = self.make()
        for secret in self.secrets:
            for text in (secret, f"see {secret} there", f"({secret})", f"{secret}\n{secret}"):
                assert secret not in redact(text)

    def test_what_is_harmless_stays(self) -> None:
        redact = self.make()
        for text in self.harmless:
            assert redact(text) == text

    def test_done_again_it_changes_nothing(self) -> None:
        redact = self.make()
        once = redact(" and ".join([*self.secrets, *self.harmless]))
        assert redact(once) == once

    def test_it_takes_any_text(self) -> None:
        redact = self.make()
        for text in ("", "\x00\x1b[2J\u2028\r\n", "Grüße, 世界 \U0001f40d \u202e", "[(<{+.@-" * 1000):
            given = redact(text)
            assert type(given) is str
            given.encode("utf-8")

    def test_it_answers_alike_on_several_threads_at_once(self) -> None:
        redact = self.make()
        _at_once(redact, [((text,), redact(text)) for text in (*self.secrets, *self.harmless)])


def _at_once(function: Callable[..., Any], examples: Sequence[tuple[tuple[Any, ...], Any]]) -> None:
    wanted = [one for one in examples for _ in range(8)]
    ready = threading.Barrier(8)

    def ask(position: int) -> list[Any]:
        ready.wait()
        return [function(*arguments) for arguments, _ in wanted[position::8]]

    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(ask, range(8)))
    assert given == [[answer for _, answer in wanted[position::8]] for position in range(8)]
