"""The language: from the text of a policy to an immutable plan."""
