"""The user's words, from what the host passed in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from ringfence.adapters.openai_agents.values import json_of

Typed = Literal["user"] | Callable[[Any], Iterable[str]] | None
"""What of the input the user typed: `user`, a text input or the user's items at its end; a function of the
input that returns the texts; None: nothing that the host vouches for."""


def typed_texts(typed: Typed, given: Any) -> tuple[str, ...]:
    """Return the texts that the host says the user typed."""
    if typed is None:
        return ()
    if callable(typed):
        return tuple(str(text) for text in typed(given))
    if typed != "user":
        raise ValueError("`typed` is `user`, or a function of the input")
    return user_texts(given)


def user_texts(given: Any) -> tuple[str, ...]:
    """Return the texts that an input has as the user's: itself, or the user's items at its end."""
    if isinstance(given, str):
        return (given,)
    texts: list[str] = []
    for item in reversed(given if isinstance(given, Sequence) else ()):
        said = json_of(item)
        if not isinstance(said, Mapping) or said.get("role") != "user":
            break
        texts[:0] = _texts(said.get("content"))
    return tuple(texts)


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else ()
    return [part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
