"""Why there is no result, in words and places of the given source; never a path, never Python."""

import re
from dataclasses import dataclass

_LINES_ABOVE = 1
"""The source begins on a line of its own, under the one that opens the function around it."""

_MOST_CHARACTERS = 2000
_REPORT = re.compile(r"(?P<where>.*?):(?P<line>\d+): (?P<message>.*)(?:\n.*\n(?P<caret>\s*)\^)?")
_NO_MEMORY = re.compile(r"RangeError: (?:Array buffer allocation failed|Invalid typed array length)")


@dataclass(frozen=True, slots=True)
class Failure(Exception):
    """How a run failed; the words are those of the engine's seam."""

    failure: str
    message: str
    line: int | None = None
    column: int | None = None

    def frame(self) -> dict[str, object]:
        """Return what is sent."""
        return {
            "failed": {
                "failure": self.failure,
                "message": self.message,
                "line": self.line,
                "column": self.column,
            }
        }


def of_syntax(report: str, lines: int) -> Failure:
    """Read V8's report of a source that it cannot parse.

    Args:
        lines: How many the source has; V8 may find its end only after them.
    """
    found = _REPORT.match(report)
    if found is None:
        return Failure("syntax", "the source cannot be read")
    message = found["message"][:_MOST_CHARACTERS]
    line = int(found["line"]) - _LINES_ABOVE
    if not 1 <= line <= lines:
        return Failure("syntax", message, max(1, min(line, lines)))
    column = None if found["caret"] is None else len(found["caret"]) + 1
    return Failure("syntax", message, line, column)


def of_run(failure: str, message: str, line: int | None, column: int | None) -> Failure:
    """Return a failure that the prelude noted; a lack of memory that JavaScript saw is one of memory."""
    if failure == "exception" and _NO_MEMORY.match(message):
        failure = "memory"
    # JavaScript's texts may hold halves of surrogate pairs, which no UTF-8 says
    return Failure(failure, message.encode("utf-8", "replace").decode(), line, column)
