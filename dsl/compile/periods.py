"""The words of `rate n per PERIOD for each SCOPE counting WHAT`."""

PERIODS_NS: dict[str, int | None] = {
    "second": 1_000_000_000,
    "minute": 60_000_000_000,
    "hour": 3_600_000_000_000,
    "day": 86_400_000_000_000,
    "run": None,
}
"""A day is 24 hours; a run has no length."""

SCOPES = ("run", "session", "user", "workspace", "agent", "tool")
"""What a budget may be counted for, besides the parameters of the tool."""

COUNTINGS = ("calls", "attempts", "successes")
"""What is counted; only `calls`, the default, is enforced by this version."""

AUDIT_LEVELS = ("minimal", "standard", "full")
