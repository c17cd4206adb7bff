"""The one door to a tool body."""
