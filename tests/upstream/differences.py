"""The differences that are meant: committed lists of tests that fail with a policy, and why each may.

A list belongs to one version of one package.  An entry without `[…]` stands for all parameters of a test.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Policy = Literal["allow", "deny"]

LISTS = Path(__file__).parent / "expected"


class ListError(Exception):
    """A list that cannot be read."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Tests that fail for one reason."""

    reason: str
    tests: tuple[str, ...]
    ways: frozenset[str] | None = None
    """With which ways of inserting the guard; None: with each."""
    policy: Policy = "allow"
    """`allow`: they may fail with everything allowed; `deny`: a bound may cut them with everything denied."""


def list_for(package: str, version: str, folder: Path = LISTS) -> Path | None:
    """Return the list of this version, else that of the newest version which has one; None: there is none."""
    own = folder / f"{package}-{version}.toml"
    if own.exists():
        return own
    others = [file for file in folder.glob(f"{package}-*.toml") if _release(file, package)]
    return max(others, key=lambda file: _release(file, package), default=None)


def _release(file: Path, package: str) -> tuple[int, ...]:
    said = file.stem.removeprefix(f"{package}-").split(".")
    return tuple(int(part) for part in said) if all(part.isdigit() for part in said) else ()


def read(file: Path) -> list[Difference]:
    """Read a list.

    Raises:
        ListError: It is not TOML, an entry has no reason or no tests, or a test is listed twice for one way.
    """
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8")).get("difference", [])
    except tomllib.TOMLDecodeError as error:
        raise ListError(f"`{file.name}`: {error}") from error
    found = [_difference(entry, file.name) for entry in entries]
    seen: set[tuple[str, str | None, Policy]] = set()
    for one in found:
        for key in ((test, way, one.policy) for test in one.tests for way in (one.ways or (None,))):
            if key in seen:
                raise ListError(f"`{file.name}`: `{key[0]}` is listed twice")
            seen.add(key)
    return found


def _difference(entry: Any, file: str) -> Difference:
    reason, tests, ways = entry.get("reason"), entry.get("tests"), entry.get("ways")
    if not isinstance(reason, str) or not reason.strip():
        raise ListError(f"`{file}`: an entry has no reason")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise ListError(f"`{file}`: `{reason}` names no tests")
    if strange := entry.keys() - {"reason", "tests", "ways", "policy"}:
        raise ListError(f"`{file}`: an entry has no `{min(strange)}`")
    if (policy := entry.get("policy", "allow")) not in get_args(Policy):
        raise ListError(f"`{file}`: a policy is `allow` or `deny`")
    return Difference(reason, tuple(tests), None if ways is None else frozenset(ways), policy)


def listed_for(differences: Iterable[Difference], way: str, policy: Policy = "allow") -> frozenset[str]:
    """Return the tests that are listed for one way under one policy."""
    return frozenset(
        test
        for one in differences
        if one.policy == policy and (one.ways is None or way in one.ways)
        for test in one.tests
    )
