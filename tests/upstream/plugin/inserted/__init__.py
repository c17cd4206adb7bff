"""A pytest plugin for the test suites of LangChain: inserts a policy into whatever they make of tools.

It is loaded into pytest processes that run in an unpacked source distribution, where `tests` is the suite's
own package; so it is one of its own, found beside this folder.  `RINGFENCE_INSERTED` says what is inserted.
"""
