"""The built-in functions: what each takes and gives.  Their docstrings are the help of a diagnostic."""

from collections.abc import Callable

from ringfence.dsl.types import TEXTUAL, Type

Signature = Callable[[Type], tuple[str, Type] | None]
"""From the type of the one argument to (core operation, type of the result); None: it does not fit."""


def _size(given: Type) -> tuple[str, Type] | None:
    """`size` takes a text (bytes of UTF-8) or a list (elements)"""
    if given.is_list:
        return "count", Type("count")
    return ("bytes", Type("bytes")) if given.kind in TEXTUAL else None


def _lower(given: Type) -> tuple[str, Type] | None:
    """`lower` takes a text"""
    return ("lower", Type("lowered")) if given.kind in TEXTUAL and not given.is_list else None


def _host(given: Type) -> tuple[str, Type] | None:
    """`host` takes a url: declare the parameter as `url`"""
    return ("host", Type("host")) if given.kind == "url" and not given.is_list else None


def _domain(given: Type) -> tuple[str, Type] | None:
    """`domain` takes an email: declare the parameter as `email`"""
    return ("domain", Type("domain")) if given.kind == "email" and not given.is_list else None


def _urls(given: Type) -> tuple[str, Type] | None:
    """`urls` takes a text"""
    return ("urls", Type("url", True)) if given.kind in TEXTUAL and not given.is_list else None


def _emails(given: Type) -> tuple[str, Type] | None:
    """`emails` takes a text"""
    return ("emails", Type("email", True)) if given.kind in TEXTUAL and not given.is_list else None


FUNCTIONS: dict[str, Signature] = {
    "size": _size,
    "lower": _lower,
    "host": _host,
    "domain": _domain,
    "urls": _urls,
    "emails": _emails,
}

READ_AS_TEXT = frozenset({"lower", "urls", "emails"})
"""Functions of a text alone, so that an untyped value can only be meant as one."""

FROM_PLUGINS: dict[str, tuple[str, str, bool]] = {
    "sql_tables": ("sql_functions", "text", True),
    "sql_is_read_only": ("sql_functions", "boolean", False),
}
"""Functions of one text that need no declaration: the plugin that answers, the type they give, if a list."""
