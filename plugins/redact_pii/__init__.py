"""The redactor `pii`: e-mail addresses, telephone, card and bank account numbers become marks."""

from ringfence.plugin import redactor
from ringfence.plugins.redact_pii.marks import redacted


@redactor(timeout_ms=1_000)
def pii(text: str) -> str:
    """Return the text with `[email]`, `[iban]`, `[card]` and `[phone]` in the place of what is personal."""
    return redacted(text)
