"""A policy language and a runtime guard for every tool call of an agent."""

__version__ = "0.1.0"
