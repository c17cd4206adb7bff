"""The one door to a tool body: decide, hold, run, bound and record one call."""
