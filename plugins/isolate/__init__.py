"""JavaScript in V8 isolates, in locked-down worker processes: the parent's side, and the worker's program."""
