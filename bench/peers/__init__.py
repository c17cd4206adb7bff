"""The decision beside other engines: one workload, one run, each engine in an environment of its own."""
