"""The one tool and the one policy with which every framework is measured, bare and guarded."""

from pathlib import Path

from ringfence import Guard, Principal

ALICE = Principal(user="alice", workspace="w1")
POLICY = """language 1
policy bench
capability work is read
agent main { holds work  stop after 1 hours }
tool look_up {
  needs work
  takes table: text, limit: integer
  allow when table in ["users", "orders"]
  require row_cap: limit >= 1 and limit <= 1000
  rate 1000000 per hour for each workspace
}
"""


async def look_up(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"


def look_up_now(table: str, limit: int) -> str:
    """Look rows up."""
    return f"{limit} rows of {table}"


def guard_in(folder: str, policy: str = POLICY) -> Guard:
    """Return a guard of this policy whose log is in memory."""
    file = Path(folder) / "bench.fence"
    file.write_text(policy, "utf-8")
    return Guard.load(file, store="memory:")
