"""Runs read back from a file of `ringfence export`: JSON Lines, verified before anything else is done.

Such a file is data from elsewhere.  A run is read from it only if its own chain holds from its first event to
the last one that is there.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.verify import verify_run
from ringfence.engine.seams.escape import escaped
from ringfence.engine.seams.ports import Entry

_EXPORT: Final = "write the file anew: `ringfence export --run RUN > FILE`"
_RUNS_SHOWN: Final = 5


def read_exported(file: str | Path, run: str | None = None) -> RunRecord:
    """Return a run of a file of `ringfence export`; its other runs are at hand to it.

    Args:
        run: Which one; None: the only one, or the only one that no other run of the file has started.

    Raises:
        RecordError: The file cannot be read, a line is no event, a chain does not hold, or there is no such
            run; the message says what mends it.
    """
    name = escaped(str(file))
    runs = _runs(Path(file), name)
    chosen = _chosen(runs, name) if run is None else run
    if chosen not in runs:
        raise RecordError(f"{name}: there is no run `{escaped(chosen)}`; {_among(runs)}")
    for entries in runs.values():
        fault = verify_run(entries)
        if fault is not None:
            raise RecordError(
                f"{name}: {escaped(str(fault))}; it is not what was exported, or lines are missing: {_EXPORT}"
            )

    def others(other: str) -> Sequence[Entry]:
        return runs.get(other, ())

    return RunRecord.read(runs[chosen], others=others)


def _runs(file: Path, name: str) -> dict[str, list[Entry]]:
    runs: dict[str, list[Entry]] = {}
    number = 0
    if file.exists() and not file.is_file():  # a pipe, or a device, may keep whoever reads it for ever
        raise RecordError(f"{name}: cannot be read: it is no file: {_EXPORT}")
    try:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    entry = _entry(line)
                    runs.setdefault(entry.run, []).append(entry)
    except OSError as error:
        raise RecordError(f"{name}: cannot be read: {error.strerror or error}") from error
    except (
        ValueError,
        TypeError,
        KeyError,
        ArithmeticError,
        RecursionError,
    ) as error:  # fails closed
        raise RecordError(f"{name}:{number}: this line is no event of a log: {_EXPORT}") from error
    if not runs:
        raise RecordError(f"{name}: holds no event: {_EXPORT}")
    return runs


def _entry(line: str) -> Entry:
    """Return the entry that a line was made from; raise if it is no line of an export."""
    said = json.loads(line, object_pairs_hook=_record, parse_constant=_refuse)
    body: Json = said["body"]
    for key, kind in (("run", str), ("kind", str), ("seq", int), ("schema", int), ("at_ns", int)):
        if type(said[key]) is not kind:
            raise TypeError(key)
    return Entry(
        run=said["run"],
        seq=said["seq"],
        kind=said["kind"],
        schema=said["schema"],
        at_ns=said["at_ns"],
        mono_ns=int(said["mono_ns"]),
        salt=bytes.fromhex(said["salt"]),
        body=None if body is None else canonical(body),
        digest=bytes.fromhex(said["digest"]),
        prev=bytes.fromhex(said["prev"]),
        hash=bytes.fromhex(said["hash"]),
    )


def _record(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Return a record; a name that stands in it twice would be read otherwise by others."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a name stands twice")
    return record


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _chosen(runs: dict[str, list[Entry]], name: str) -> str:
    if len(runs) == 1:
        return next(iter(runs))
    tops = [run for run, entries in runs.items() if not _is_inside(entries)]
    if len(tops) == 1:
        return tops[0]
    raise RecordError(f"{name}: say which run, with `run=`: {_among(runs)}")


def _is_inside(entries: list[Entry]) -> bool:
    try:
        return json.loads(entries[0].body or b"{}").get("parent") is not None
    except (ValueError, AttributeError):  # the chain says what is wrong with it
        return False


def _among(runs: dict[str, list[Entry]]) -> str:
    few = ", ".join(f"`{escaped(run)}`" for run in tuple(runs)[:_RUNS_SHOWN])
    more = f" and {len(runs) - _RUNS_SHOWN} more" if len(runs) > _RUNS_SHOWN else ""
    return f"it holds {few}{more}"
