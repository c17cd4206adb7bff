"""For plugin authors and policy tests: contract classes, fakes, a pytest plugin."""
