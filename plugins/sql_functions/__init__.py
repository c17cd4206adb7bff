"""The functions `sql_tables` and `sql_is_read_only`, for conditions over SQL that a model wrote.

They are asked like any plugin's functions.  SQL that they do not fully understand has no answer.
"""

from ringfence.plugin import policy_function

__all__ = ["sql_is_read_only", "sql_tables"]


@policy_function(timeout_ms=5_000)
def sql_tables(text: str) -> list[str]:
    """Return the tables that one statement names: sorted, lower case, with their schema if it is written."""
    from ringfence.plugins.sql_functions.reading import tables_of  # the parser is heavy

    return tables_of(text)


@policy_function(timeout_ms=5_000)
def sql_is_read_only(text: str) -> bool:
    """Say whether the text is one query that changes nothing."""
    from ringfence.plugins.sql_functions.reading import is_read_only  # the parser is heavy

    return is_read_only(text)
