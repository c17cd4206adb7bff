"""What an SQL text reads and whether it writes, as all common dialects understand it.

A policy does not know which database will run the text, and databases disagree about comments, quotes and
escapes: what is a text to one is a statement to the other.  So the text is read in several dialects, and
there is an answer only if all of them give the same.
"""

import re
from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

DIALECTS: Final = ("postgres", "mysql", "sqlite", "tsql")
LONGEST: Final = 64 * 1024
"""Characters; longer texts have no answer."""

_UNSURE = re.compile(
    r"/\*[!+]"  # comments that MySQL and MariaDB execute
    r"|--(?![ \t\r\n]|$)"  # a comment, but two minus signs in MySQL
    r"|/\*(?:(?!\*/)[\s\S])*/\*"  # nested in PostgreSQL alone
    r"|\\"  # an escape in MySQL alone
    r"|\$[A-Za-z_]*\$"  # a quote in PostgreSQL alone
    r"|[\x00\x1a]"
)
_WRITING: Final = (
    exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Pragma, exp.Set, exp.NextValueFor,
)  # fmt: skip
_NAMED: Final = (exp.Query, exp.DML, exp.DDL, exp.Drop, exp.Alter, exp.TruncateTable)


class UnclearError(ValueError):
    """The text has no answer: it is no SQL, or not the same to all databases."""


def tables_of(text: str) -> list[str]:
    """Return the tables that one statement names, sorted.

    Raises:
        UnclearError: It cannot be said.
    """
    found = {tuple(_tables(_one(_statements(text, dialect)))) for dialect in DIALECTS}
    if len(found) != 1:
        raise UnclearError("databases would disagree about the tables")
    return list(found.pop())


def is_read_only(text: str) -> bool:
    """Say whether the text is one query that writes nothing; calls of unknown functions have no answer.

    Raises:
        UnclearError: It cannot be said.
    """
    found = {_reads(_statements(text, dialect)) for dialect in DIALECTS}
    if len(found) != 1:
        raise UnclearError("databases would disagree about what it does")
    return found.pop()


def _statements(text: str, dialect: str) -> list[exp.Expression]:
    if len(text) > LONGEST or _UNSURE.search(text):
        raise UnclearError("not the same to all databases")
    try:
        parsed: list[Any] = sqlglot.parse(text, read=dialect)
    except (SqlglotError, RecursionError) as error:
        raise UnclearError("it is no SQL that can be read") from error
    statements = [one for one in parsed if one is not None and not isinstance(one, exp.Semicolon)]
    if not statements:
        raise UnclearError("there is no statement")
    return statements


def _one(statements: list[exp.Expression]) -> exp.Expression:
    if len(statements) != 1:
        raise UnclearError("there is more than one statement")
    if not isinstance(statements[0], _NAMED):
        raise UnclearError("it is no statement about tables")
    return statements[0]


def _reads(statements: list[exp.Expression]) -> bool:
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        return False
    statement = statements[0]
    if any(True for _ in statement.find_all(*_WRITING)):
        return False
    for table in statement.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise UnclearError("a function stands in the place of a table")
    for call in statement.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        raise UnclearError(f"what `{call.name}` does is not known")
    return True


def _tables(statement: exp.Expression) -> list[str]:
    if any(True for _ in statement.find_all(exp.Command)):
        raise UnclearError("a part of it is not understood")
    names = set()
    for table in statement.find_all(exp.Table):
        parts = [part for part in (table.args.get("catalog"), table.args.get("db"), table.this) if part]
        if not parts or not all(isinstance(part, exp.Identifier) for part in parts):
            raise UnclearError("a function stands in the place of a table")
        for part in parts:
            if not part.this or (part.args.get("quoted") and part.this != part.this.lower()):
                raise UnclearError("whether upper case matters in a quoted name is the database's business")
            if "." in part.this:
                raise UnclearError("a name with a point cannot be told from a schema's table")
        if len(parts) > 1 or not _is_cte(table):
            names.add(".".join(part.this.lower() for part in parts))
    return sorted(names)


def _is_cte(table: exp.Table) -> bool:
    """Say whether the name is that of a `WITH` query in whose reach it stands, and not a table's."""
    if not isinstance(table.parent, (exp.From, exp.Join)):
        return False  # the target of a statement that writes is a table
    name = table.name.lower()
    below: exp.Expression = table
    above: Any = table.parent
    inside: exp.Expression | None = None
    while above is not None:
        if isinstance(below, exp.CTE):
            inside = below
        clause = above.args.get("with_") or above.args.get("with")
        if isinstance(clause, exp.With):
            for query in clause.expressions:
                if query is inside and not clause.args.get("recursive"):
                    break  # INVARIANT: inside of itself, and before it, its name is a table's
                if query.alias.lower() == name:
                    return True
                if query is inside:
                    break
        below, above = above, above.parent
        if isinstance(above, exp.With) and isinstance(below, exp.CTE):
            inside = below
    return False
