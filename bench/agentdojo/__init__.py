"""Recorded attacks: what the guard would have stopped of 24,000 runs of the AgentDojo suites, and at what cost."""
