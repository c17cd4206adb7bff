"""Stage `layout`: a clause that starts on another clause's line is easily overlooked (W214)."""

from itertools import pairwise
from typing import Any

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft
from ringfence.dsl.source import Span

_BLOCKS = (syntax.Tool, syntax.Approver, syntax.Agent, syntax.Responses, syntax.Isolate)


def check_layout(draft: Draft) -> None:
    """Look at every block; where all of it stands on one line, nothing is hidden."""
    text = draft.document.source.text
    for block in draft.document.declarations:
        if not isinstance(block, _BLOCKS) or len(block.clauses) < 2:
            continue
        clauses: tuple[Any, ...] = block.clauses
        opened = text.rfind("{", block.span.start, clauses[0].span.start)
        if text.find("\n", opened, block.span.end) < 0:
            continue
        for before, clause in pairwise(clauses):
            if text.find("\n", before.span.end, clause.span.start) < 0:
                start = clause.span.start
                draft.report(
                    "W214",
                    "this clause starts on another clause's line",
                    Span(start, _end_of_word(text, start)),
                    "easily overlooked",
                    "give it a line of its own",
                )


def _end_of_word(text: str, start: int) -> int:
    end = start
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return end
