"""SQL that a model wrote, decided by what it reads: the functions need no declaration in the policy."""

import pytest

pytest.importorskip("sqlglot")

from ringfence.dsl.load import load_text
from ringfence.engine.decision.events import CallDecided
from ringfence.engine.seams.errors import DeniedError
from tests.guards import ALICE, call, events_of, make_guard

POLICY = """
language 1
policy shop
capability query is read
set tables = ["users", "orders"]
tool ask {
  needs query
  takes sql: text
  allow when sql_is_read_only(sql) and every t in sql_tables(sql) satisfies (t in tables)
  rate 1000 per hour
}
"""


@pytest.mark.parametrize(
    ("sql", "allowed", "reason"),
    [
        ("select id from users join orders on users.id = orders.id", True, "ask.allow"),
        ("select id from payments", False, "ask.allow"),
        ("delete from users", False, "ask.allow"),
        ("select 1; drop table users", False, "ask.allow"),
        ("select * into copies from users", False, "ask.allow"),
        ("selec id form users", False, "ask.allow!error"),
        ("select pg_sleep(10) from users", False, "ask.allow!error"),
        ("select 'a /*! x", False, "ask.allow!error"),
        ("select 1", False, "ask.allow!error"),
    ],
)
def test_a_query_is_allowed_if_it_reads_what_it_may(sql: str, allowed: bool, reason: str) -> None:
    guard = make_guard(POLICY)
    run = guard.begin_run(principal=ALICE)
    if allowed:
        assert guard.execute(run, call("ask", sql=sql), lambda _: "rows") == "rows"
    else:
        with pytest.raises(DeniedError):
            guard.execute(run, call("ask", sql=sql), lambda _: "rows")
    (decided,) = [event for event in events_of(guard, run) if isinstance(event, CallDecided)]
    assert [one["name"] for one in decided.reasons] == [reason]
    assert guard.runs.get(run.id).replay().divergence is None
    guard.close()


def test_where_the_plugin_is_missing_the_policy_loads_and_check_says_so() -> None:
    loaded = load_text(POLICY, installed=lambda name: name != "sql_functions")
    assert loaded.plan is not None
    assert [one.code for one in loaded.diagnostics if not one.is_error] == ["W216", "W216"]
