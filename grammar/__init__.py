"""The shape of the language."""
