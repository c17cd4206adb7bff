"""The adapter for LangChain in other versions of its packages: `python -m tests.versions`."""
