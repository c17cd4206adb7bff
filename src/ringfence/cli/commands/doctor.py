"""Say whether Ringfence can work here: Python, settings, policy, store, plugins, optional parts, isolates."""

from argparse import ArgumentParser, Namespace

from ringfence.cli.exits import CANNOT_RUN, FINE
from ringfence.cli.say import Say

_MARKS = {"ok": ("ok     ", "green"), "note": ("note   ", "yellow"), "broken": ("broken ", "bold red")}


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""


def run(asked: Namespace, say: Say) -> int:
    """Examine this machine; 1 if something that is needed is broken."""
    from dataclasses import asdict

    from ringfence.cli.examination import examine
    from ringfence.engine.seams.escape import escaped

    examined = examine(asked)
    findings = examined.findings
    broken = [finding for finding in findings if finding.state == "broken"]
    if say.json:
        found = [asdict(finding) for finding in findings]
        isolates = None if examined.isolates is None else examined.isolates.record()
        say.data({"fine": not broken, "findings": found, "isolates": isolates})
        return CANNOT_RUN if broken else FINE
    for finding in findings:
        say.line(_MARKS[finding.state], (f"{finding.what:<9} ", "bold"), escaped(finding.found))
        if finding.help:
            say.line(" " * 17, ("help: " + escaped(finding.help), "dim"))
    if broken:
        say.note(f"{len(broken)} thing{'s' if len(broken) > 1 else ''} must be mended")
    return CANNOT_RUN if broken else FINE
