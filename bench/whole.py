"""Policies of any size that use the whole language: history, labels, provenance, orders, budgets, people."""

_HEAD = """language 1
policy whole
levels public < internal < secret
capability read_data is read
capability send is external
capability change is write
set domains = ["acme.example", "acme-support.example"]
set tables = ["users", "orders", "products"]
pattern ticket = /T-[0-9]{6}/
calendar office = monday to friday 08:00 to 18:00 in "Europe/London"
function is_customer(address: email) gives boolean from "bench_plugin"
approver owner {
  group "owners"
  never the requester
  answer within 15 minutes otherwise deny
}
agent main {
  holds read_data, send, change
  stop after 10 hours
  at most 100000 calls
}
"""
_PART = """
tool read_{n} {{
  needs read_data
  takes table: text, columns: list of text at most 20, limit: integer
  allow when table in tables
  require row_cap: limit >= 1 and limit <= {most} because "too many rows"
  result is secret when table == "users"
  result is internal otherwise
  result at most 256 KB
  rate 60 per minute for each session
}}
tool mail_{n} {{
  needs send
  takes to: list of email at most 20, subject: line at most 200, body: text at most 20 KB
  touches to as recipient
  allow when every address in to satisfies (domain(address) in domains or is_customer(address))
  require known: to comes only from [user, read_{n}.email]
  ask owner when size(to) > 3
  rate 10 per hour for each workspace otherwise halt
  blast radius 10 recipient per run, 25 recipient per day
  audit full
}}
tool change_{n} {{
  needs change
  takes account: text, field: text, value: text at most 4 KB
  touches account as account
  allow when field in ["status", "note"] and during office
  ask owner when value comes from read_{n}
  deny stale: when not (after read_{n} within 10 minutes)
  blast radius 1 account per run
}}
rule leak_{n}:
  deny mail_{n} when after reading secret
rule drip_{n}:
  ask owner before mail_{n} when calls to read_{n} where (table == "users") within 1 hour > 20
rule unread_{n}:
  deny change_{n} when after mail_{n} with no read_{n} since
order first_{n}: read_{n} then change_{n}
budget outbound_{n}: 200 KB per day for each workspace of size(body) over mail_{n}
"""


def whole_text(lines: int) -> str:
    """Return a policy of about that many lines."""
    each, head = _PART.count("\n"), _HEAD.count("\n")
    parts = max(1, round((lines - head) / each))
    return _HEAD + "".join(_PART.format(n=number, most=100 + number) for number in range(parts))
