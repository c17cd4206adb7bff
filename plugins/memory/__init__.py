"""A store in this process's memory, for tests: lost on exit, and says so."""
