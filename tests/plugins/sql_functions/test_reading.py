"""What an SQL text reads, whether it writes, and where there is no answer."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("sqlglot")

from ringfence.plugins import sql_functions
from ringfence.plugins.sql_functions.reading import UnclearError, is_read_only, tables_of
from ringfence.testing import PolicyFunctionContract


class TestSqlTables(PolicyFunctionContract):
    def make(self) -> Callable[..., Any]:
        return sql_functions.sql_tables

    examples = ((("select id from users",), ["users"]), (("select 1",), []))
    unanswerable = (("selec * form",), ("",))


class TestSqlIsReadOnly(PolicyFunctionContract):
    def make(self) -> Callable[..., Any]:
        return sql_functions.sql_is_read_only

    examples = ((("select id from users",), True), (("delete from users",), False))
    unanswerable = (("/*! drop table users */ select 1",),)


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("SELECT * FROM Users u JOIN main.payments p ON u.id = p.id;", ["main.payments", "users"]),
        ("select (select max(id) from secret) from users", ["secret", "users"]),
        ("select * from users where id in (select id from b union select id from c)", ["b", "c", "users"]),
        ("select 1 -- from secret\n from users /* from secret */", ["users"]),
        ("select * into x from users", ["users", "x"]),
        ("with a as (select * from users) select * from a", ["users"]),
        ("with payments as (select * from payments) select * from payments", ["payments"]),
        ("select * from payments, (with payments as (select 1) select * from payments) x", ["payments"]),
        ("with b as (select * from a), a as (select 1) select * from b", ["a"]),
        ("with recursive t as (select 1 union all select * from t) select * from t", []),
        ("with t as (select 1) delete from t", ["t"]),
        ("with d as (delete from users returning *) select * from d", ["users"]),
        ("insert into a select * from b", ["a", "b"]),
        ('select * from "users"', ["users"]),
    ],
)  # fmt: skip
def test_tables_are_those_that_are_named(text: str, tables: list[str]) -> None:
    assert tables_of(text) == tables


@pytest.mark.parametrize(
    "text",
    [
        "update users set a = 1",
        "delete from users",
        "drop table users",
        "select 1; drop table x",
        "select 1; select 2",
        "select * into x from users",
        "pragma table_info(users)",
        "with d as (delete from users returning *) select * from d",
        "create table x as select * from y",
        "explain select 1",
        "vacuum",
        "truncate table users",
        "merge into a using b on a.id = b.id when matched then delete",
        "call f()",
        "begin",
    ],
)
def test_what_is_no_single_query_is_not_read_only(text: str) -> None:
    assert is_read_only(text) is False


@pytest.mark.parametrize(
    "text",
    ["select 1", "select count(*) from users where a = 'x;y' -- all\n;", "select 1 union select a from t"],
)
def test_a_query_is_read_only(text: str) -> None:
    assert is_read_only(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-- nothing",
        "(((",
        "select '",
        "select /*! drop table users */ 1",
        "select 1 --1 from users",
        "select /* /* */ 1; drop table x -- */",
        r"select '\' or x = '; drop table t; -- '",
        "select $$ ' $$; drop table t; --'",
        "select * from read_csv('/etc/passwd')",
        "select pg_terminate_backend(1)",
        "select nextval('s')",
        "select load_extension('x')",
        "select * from users into outfile '/tmp/x'",
        "select 1 # 2\n from users",
        "select " + "(" * 5000 + "1" + ")" * 5000,
        "select '" + "x" * 70_000 + "'",
    ],
)
def test_what_databases_understand_differently_has_no_answer(text: str) -> None:
    with pytest.raises(UnclearError):
        is_read_only(text)


@pytest.mark.parametrize(
    "text",
    ['select * from "Users"', 'select * from "a.b"', "select 1; select 2", "pragma x", "select * from f(1)"],
)
def test_a_table_that_cannot_be_named_has_no_answer(text: str) -> None:
    with pytest.raises(UnclearError):
        tables_of(text)
