"""What a report underlines: the exact text, so that a test says it in the policy's own words."""

from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.parse import parse
from ringfence.dsl.source import Source


def reports_of(text: str) -> list[Diagnostic]:
    return parse(Source("test.fence", text))[1]


def underlined(report: Diagnostic) -> str:
    return report.source.text[report.span.start : report.span.end]


def assert_reports(text: str, *expected: tuple[str, str]) -> list[Diagnostic]:
    """Assert that a text gets exactly these reports, each a code and the text it underlines."""
    reports = reports_of(text)
    assert [(report.code, underlined(report)) for report in reports] == list(expected), reports
    return reports
