"""The shape of the language: `fence.lark`, the grammar of edition 1, and `fence.tables.json`, made of it."""

from functools import cache
from pathlib import Path


@cache
def text() -> str:
    """Return the grammar, as the parser generator reads it."""
    return Path(__file__).with_name("fence.lark").read_text(encoding="utf-8")
