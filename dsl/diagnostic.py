"""What is wrong with a policy text: the data.  `draw` is the one place that turns it into words."""

from collections.abc import Iterable
from dataclasses import dataclass

from ringfence.dsl.source import Source, Span


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One report about one place.

    `code` begins with E (the policy does not load) or W (it loads).  `message` is lower case, without
    a full stop, the user's words in backticks; `label` stands beside the caret, `help` says how to mend.
    """

    code: str
    message: str
    span: Span
    source: Source
    label: str = ""
    help: str = ""

    @property
    def is_error(self) -> bool:
        """True if a policy with this report must not load."""
        return self.code.startswith("E")

    @property
    def page(self) -> str:
        """The page of the documentation that explains the code."""
        return f"docs/errors/{self.code}.md"


def draw(diagnostics: Iterable[Diagnostic], *, limit: int = 20) -> str:
    """Return the reports as people read them, sorted by place; the first `limit`, and how many remain."""
    from ringfence.dsl import draw as drawing  # it needs Diagnostic

    reports = drawing.ordered(diagnostics)
    shown = [drawing.drawn(report) for report in reports[:limit]]
    if len(reports) > limit:
        shown.append(f"… and {len(reports) - limit} more")
    return "\n\n".join(shown)


def as_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, object]]:
    """Return the reports as data, all of them, sorted by place."""
    from ringfence.dsl import draw as drawing  # it needs Diagnostic

    reports: list[dict[str, object]] = []
    for report in drawing.ordered(diagnostics):
        start = report.source.place(report.span)
        end = report.source.place(Span(report.span.end, report.span.end))
        reports.append(
            {
                "code": report.code,
                "severity": "error" if report.is_error else "warning",
                "message": report.message,
                "file": start.file,
                "line": start.line,
                "column": start.column,
                "end_line": end.line,
                "end_column": end.column,
                "label": report.label,
                "help": report.help,
                "page": report.page,
            }
        )
    return reports
