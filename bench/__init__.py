"""Speed, side by side in one run, against the goals of the design.  Never a test: it asserts nothing."""
