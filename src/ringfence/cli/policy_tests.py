"""What `ringfence test` does: find the files, rehearse their tests, say what came out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ringfence.cli.exits import CommandError
from ringfence.cli.junit import written
from ringfence.cli.policy import diagnostic_record, read_policy
from ringfence.cli.say import Piece, Say
from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import Loaded
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.coverage import Coverage, Reachable
from ringfence.engine.retrospect.failures import drawn, record
from ringfence.engine.retrospect.rehearsal import Rehearsed, rehearse
from ringfence.engine.seams.settings import Settings

PATTERN = "*_test.fence"
"""What a folder's files with tests are called."""


@dataclass(slots=True)
class TestedFile:
    """One file, and what came of its tests; none if its policy does not load."""

    file: str
    loaded: Loaded
    tests: list[Rehearsed] = field(default_factory=list)

    @property
    def failed(self) -> list[Rehearsed]:
        """The tests that failed."""
        return [one for one in self.tests if not one.passed]


def run_tests(
    paths: Sequence[str],
    say: Say,
    settings: Settings,
    *,
    coverage: bool,
    junit: str | None,
    ceilings: tuple[str, ...],
) -> Literal["passed", "failed", "invalid"]:
    """Run the tests of all files, say what came out, and return it; `invalid`: a policy does not load."""
    # A test says by itself which ceilings are over its policy: those of `under` and of `--ceiling`.
    alone = settings.model_copy(update={"ceilings": ()})
    files = [TestedFile(file, read_policy(file, alone, ceilings=ceilings)) for file in _files(paths)]
    total = sum(len(one.loaded.tests) for one in files if one.loaded.plan is not None)
    if not total and all(one.loaded.plan is not None for one in files):
        raise CommandError(
            f"no tests in {', '.join(paths)}", help='a test is a block `test "…" { … }` in a .fence file'
        )
    covered: list[Coverage] = []
    with say.progress("tests", total, worth=200) as advance:
        for one in files:
            plan = one.loaded.plan
            if plan is None:
                continue
            own = Coverage(plan) if coverage else None
            if own is not None:
                covered.append(own)
            for test in one.loaded.tests:
                one.tests.append(rehearse(own.plan if own else plan, test, coverage=own))
                advance()
    clauses = Clauses.of(covered) if coverage else None
    if junit is not None:
        _write(junit, written([(one.file, one.loaded, one.tests) for one in files]))
    if say.json:
        say.data(_document(files, clauses))
    else:
        _say(files, clauses, say)
    if any(one.loaded.plan is None for one in files):
        return "invalid"
    return "failed" if any(one.failed for one in files) else "passed"


@dataclass(frozen=True, slots=True)
class Clauses:
    """The clauses of all policies that were tested, and those that no test reached."""

    count: int
    unreached: tuple[Reachable, ...]

    @classmethod
    def of(cls, covered: Sequence[Coverage]) -> "Clauses":
        """Join what the tests of each file reached: a clause counts once, wherever its policy is used."""
        every = {one for each in covered for one in each.all}
        reached = {one for each in covered for one in each.reached}
        return cls(len(every), tuple(sorted(every - reached)))


def _files(paths: Sequence[str]) -> Iterator[str]:
    """Yield each file once; of a folder, all whose names say that they hold tests."""
    seen: set[Path] = set()
    for path in paths:
        named = Path(path)
        found = sorted(named.rglob(PATTERN)) if named.is_dir() else [named]
        if not found:
            raise CommandError(f"{path} holds no file `{PATTERN}`", help="name the file with the tests")
        for file in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield str(file)


def _write(file: str, text: bytes) -> None:
    try:
        Path(file).write_bytes(text)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from error


def _say(files: Sequence[TestedFile], clauses: Clauses | None, say: Say) -> None:
    """Write the outcome for people: mistakes and failures drawn, then a line for each file."""
    for one in files:
        if one.loaded.diagnostics and one.loaded.plan is None:
            say.lines(draw(one.loaded.diagnostics))
            say.line()
        for failed in one.failed:
            say.lines(drawn(failed, one.loaded.source))
            say.line()
    for one in files:
        if one.loaded.plan is None:
            say.line(f"{one.file}: ", ("the policy has mistakes", "bold red"))
            continue
        passed, failures = len(one.tests) - len(one.failed), len(one.failed)
        pieces: list[Piece] = [f"{one.file}: ", (f"{passed} passed", "green" if not failures else "")]
        if failures:
            pieces += [", ", (f"{failures} failed", "bold red")]
        say.line(*pieces)
    if clauses is not None:
        reached = clauses.count - len(clauses.unreached)
        say.line(f"coverage: {reached} of {clauses.count} clauses reached")
        for clause in clauses.unreached:
            say.line(f"  not reached: {clause}")


def _document(files: Sequence[TestedFile], clauses: Clauses | None) -> Json:
    return {
        "passed": sum(len(one.tests) - len(one.failed) for one in files),
        "failed": sum(len(one.failed) for one in files),
        "files": [
            {
                "file": one.file,
                "policy": one.loaded.plan and one.loaded.plan.policy,
                "digest": one.loaded.plan and one.loaded.plan.digest,
                "valid": one.loaded.plan is not None,
                "diagnostics": [diagnostic_record(found) for found in one.loaded.diagnostics],
                "tests": [
                    {
                        "name": each.test.name.value,
                        "line": one.loaded.source.place(each.test.span).line,
                        "passed": each.passed,
                        "calls": each.calls,
                        "failure": each.failure and record(each.failure, one.loaded.source),
                    }
                    for each in one.tests
                ],
            }
            for one in files
        ],
        "coverage": clauses
        and {
            "clauses": clauses.count,
            "reached": clauses.count - len(clauses.unreached),
            "unreached": [
                {"file": one.file, "line": one.line, "column": one.column, "name": one.name}
                for one in clauses.unreached
            ],
        },
    }
