"""One file a command: `words` says its arguments, `run` does it and returns the exit code."""
