"""What people write who know other languages: one report, at the word, that says what to write here."""

import pytest

from ringfence.dsl.load import load_text

HEAD = """language 1
policy p
capability look is read
set tables = ["users", "orders"]
approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }
agent main { holds look }
"""


def query(clauses: str) -> str:
    takes = "takes table: text, limit: integer, columns: list of text, note: text optional, sure: boolean"
    return f"{HEAD}tool query {{\n  needs look\n  {takes}\n  {clauses}\n}}\n"


def declared(text: str) -> str:
    return f"{HEAD}{text}\ntool query {{ needs look takes table: text allow always }}\n"


HABITS = [
    (query("allow when table = tables"), "E003", "=", "did you mean `==`?"),
    (query('allow when table equals "users"'), "E003", "equals", "did you mean `==`?"),
    (query('allow when table is "users"'), "E003", '"users"', "did you mean `==`?"),
    (query("allow when sure is true"), "E003", "true", "did you mean `==`?"),
    (query("allow when note is not present"), "E003", "not", "write `is missing`"),
    (query('allow when table not "users"'), "E003", '"users"', "write `!=`"),
    (query("allow when limit between 1 and 5"), "E003", "between", "write `x >= 1 and x <= 5`"),
    (query('allow when table like "u%"'), "E003", "like", "did you mean `matches`?"),
    (query('allow when table startswith "u"'), "E003", "startswith", "did you mean `starts`?"),
    (query("allow when all c in columns satisfies (c in tables)"), "E003", "c", "did you mean `every`?"),
    (query("allow when any c in columns satisfies (c in tables)"), "E003", "c", "did you mean `some`?"),
    (query('allow if table == "users"'), "E003", "if", "did you mean `when`?"),
    (query("allow when always"), "E102", "always", "write `allow always`"),
    (query('allow always when table == "users"'), "E003", "when", "write `allow when …`"),
    (query('allow unless table == "users"'), "E003", "unless", "write `and not (…)`"),
    (query('allow when user == "eve"'), "E102", "user", "write `principal.user`"),
    (query('allow always\n  deny table == "x"'), "E003", "==", "write `deny when …`"),
    (query("allow always\n  deny always\n"), "E003", "}", "write `deny when …`"),
    (query("allow always\n  ask lead if limit > 3"), "E003", "if", "did you mean `when`?"),
    (query("allow always\n  rate 10 per hour per user"), "E003", "per", "write `for each …`"),
    (query("allow always\n  rate 10 per hour each user"), "E003", "each", "write `for each …`"),
    (query("allow always\n  rate 10 per hours"), "E112", "hours", "did you mean `hour`?"),
    (query("allow always\n  result at most 64 kb"), "E112", "kb", "did you mean `KB`?"),
    (query("allow always\n  stop after 5 mins"), "E003", "mins", "did you mean `minutes`?"),
    (query("allow when table == “users”"), "E001", "“users”", "straight double quotes"),
    (query("allow when table == 'users'"), "E001", "'users'", "double quotes"),
    (query("allow when sure && limit < 5"), "E001", "&&", "write `and`"),
    (query("allow when sure || limit < 5"), "E001", "||", "write `or`"),
    (query("allow always;"), "E001", ";", "nothing between"),
    (declared("set hosts = [users]"), "E110", "users", "double quotes"),
    (declared("tool get-rows { allow always }"), "E001", "-", "tool my_tool is"),
    (declared("tool GetRows { allow always }"), "E003", "GetRows", "`getrows`"),
    (declared("rule r: deny all tools"), "E003", "tools", "write `any tool`"),
    (declared('approver a { group " " }'), "E105", '" "', "name of a group"),
    (declared('approver a { group "g" answer within 0 ms otherwise deny }'), "E105", "0 ms", "how long"),
    (query("allow always\n  rate 0 per hour"), "W205", "0", "raise the rate"),
    (query("allow always\n  stop after 0 seconds"), "W205", "0 seconds", "raise the bound"),
    (declared("agent b { holds look at most 0 calls }"), "W205", "0", "raise the bound"),
    (declared("agent b { holds look stop after 0 days }"), "W205", "0 days", "raise the bound"),
]


@pytest.mark.parametrize(("text", "code", "where", "help"), HABITS)
def test_what_other_languages_write_is_told_how_it_is_written_here(
    text: str, code: str, where: str, help: str
) -> None:
    (report,) = load_text(text).diagnostics
    assert (report.code, text[report.span.start : report.span.end]) == (code, where)
    assert help in report.help
