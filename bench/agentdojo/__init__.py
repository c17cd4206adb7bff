"""Recorded attacks: what the guard stops of 24,000 runs of the AgentDojo suites, and at what cost."""
