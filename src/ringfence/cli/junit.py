"""The outcome of policy tests as JUnit XML, which build servers read."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import Loaded
from ringfence.engine.retrospect.failures import drawn
from ringfence.engine.retrospect.rehearsal import Rehearsed

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def written(files: Sequence[tuple[str, Loaded, Sequence[Rehearsed]]]) -> bytes:
    """Return the document: a suite for each file, one error in it where the policy does not load."""
    suites = ElementTree.Element("testsuites")
    for file, loaded, tests in files:
        failures = sum(not one.passed for one in tests)
        broken = loaded.plan is None
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=_clean(file),
            tests=str(len(tests) + broken),
            failures=str(failures),
            errors=str(int(broken)),
        )
        if broken:
            case = ElementTree.SubElement(suite, "testcase", name="the policy loads", classname=_clean(file))
            _add(case, "error", "the policy has mistakes", draw(loaded.diagnostics))
        for one in tests:
            case = ElementTree.SubElement(
                suite, "testcase", name=_clean(one.test.name.value), classname=_clean(file)
            )
            case.set("file", _clean(file))
            case.set("line", str(loaded.source.place(one.test.span).line))
            if one.failure is not None:
                message = f"expected: {one.failure.expected}; got: {one.failure.got}"
                _add(case, "failure", message, drawn(one, loaded.source))
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _add(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    ElementTree.SubElement(case, kind, message=_clean(message)).text = _clean(text)


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
