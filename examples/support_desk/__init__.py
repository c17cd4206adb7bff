"""A support desk with a hijacked agent: the same script unguarded and guarded.

`python -m examples.support_desk` (or `make demo`) runs it.
"""
