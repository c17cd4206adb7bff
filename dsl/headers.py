"""Stage `headers`: what kind of text this is."""

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft
from ringfence.dsl.source import Span


def headers(draft: Draft) -> None:
    """Check that the text begins with `language 1` and names one policy or ceiling."""
    declarations = draft.document.declarations
    editions = [node for node in declarations if isinstance(node, syntax.Edition)]
    policies = [node for node in declarations if isinstance(node, syntax.PolicyHeader)]
    first = _first_word(draft.document)
    if not editions:
        if not draft.unread(draft.document.file):
            draft.report(
                "E003",
                "the policy does not say its language",
                first,
                "`language 1` comes first",
                "add `language 1`",
            )
    elif declarations[0] is not editions[0]:
        draft.report(
            "E003", "`language 1` must come first", editions[0].span, "", "move it to the first line"
        )
    for edition in editions[:1]:
        if edition.number.value != 1:
            draft.report(
                "E003",
                f"`language {edition.number.value}` is not known to this version",
                edition.number.span,
                "the edition of the language",
                "write `language 1`, or use a version of ringfence that knows it",
            )
    for edition in editions[1:]:
        draft.report("E115", "`language` is said twice", edition.span, "the second one", "remove it")
    if policies:
        draft.header = policies[0]
        if draft.header.is_ceiling:
            draft.layer = draft.header.name.text
    elif not draft.unread(draft.document.file):
        draft.report("E003", "the policy has no name", first, "", "add `policy NAME` after `language 1`")
    for policy in policies[1:]:
        draft.report(
            "E115",
            "a file holds one policy",
            policy.name.span,
            "the second one",
            "put it into a file of its own",
        )


def _first_word(document: syntax.Document) -> Span:
    file, text = document.file, document.source.text
    start = file.start
    if document.declarations:
        start = document.declarations[0].span.start
    else:
        while start < file.end and text[start] in "\ufeff \t\r\n":
            start += 1
    end = start
    while end < file.end and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return Span(start, max(end, min(start + 1, file.end)))
