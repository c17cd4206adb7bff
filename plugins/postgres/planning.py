"""How PostgreSQL is to plan the functions of the schema: every table by its indexes, row by row.

A session plans a function once, perhaps while the tables are small, and keeps the plan when they are large.
So each look-up also has one index that fits, and none that fits half: reading a window of a hundred thousand
members costs a quarter second.
"""

from typing import Final

BY_INDEX: Final = (
    "SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off"
)

NEVER: Final = "9223372036854775807"
"""When a unit leaves that never does."""
