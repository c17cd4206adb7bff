"""The shape of the language: `fence.lark`, the grammar of edition 1."""

from functools import cache
from importlib import resources


@cache
def text() -> str:
    """Return the grammar, as the parser generator reads it."""
    return resources.files(__name__).joinpath("fence.lark").read_text(encoding="utf-8")
