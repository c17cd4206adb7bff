"""What is wrong with a policy text: the data.  `draw` is the one place that turns it into words."""

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
