"""What of a result is handed to the model: at most so many rows, at most so many bytes, in whole steps."""

import json
from typing import NamedTuple

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json, Obligations


class RefusedResultError(Exception):
    """The result cannot be bounded as the policy says; it is not handed over."""


class Bounded(NamedTuple):
    """A result within its limits."""

    value: Json
    truncated: dict[str, int] | None
    """`rows`, `rows_before`, `bytes`, `bytes_before`, as far as something was cut or padded."""


def bound_result(value: Json, obligations: Obligations) -> Bounded:
    """Cut `value` to the limits of the policy, and pad it to the step that the policy says.

    A JSON text that is a list counts as a list and stays one.  Bytes are those of the UTF-8 text, or
    of the canonical JSON of anything else.

    Raises:
        RefusedResultError: Rows are expected and there is no list, or what is too large has no end to cut.
    """
    max_rows, max_bytes, step_bytes = obligations.max_rows, obligations.max_bytes, obligations.step_bytes
    if max_rows is None and max_bytes is None and step_bytes is None:
        return Bounded(value, None)
    is_text = isinstance(value, str)
    rows = _rows(value)
    if max_rows is not None and rows is None:
        raise RefusedResultError("rows are expected and the result is no list")
    cut: dict[str, int] = {}
    if max_rows is not None and rows is not None and len(rows) > max_rows:
        cut |= {"rows_before": len(rows), "rows": max_rows}
        rows = rows[:max_rows]
        value = json.dumps(rows, ensure_ascii=False) if is_text else rows
    if max_bytes is not None and (size := _size(value)) > max_bytes:
        value = _fewer_bytes(value, rows, max_bytes)
        cut |= {"bytes_before": size, "bytes": _size(value)}
        if rows is not None and (kept := _rows(value)) is not None:
            cut |= {"rows_before": cut.get("rows_before", len(rows)), "rows": len(kept)}
    if step_bytes:
        size = _size(value)
        value = _padded(value, step_bytes, max_bytes)
        if (padded := _size(value)) != size:
            cut |= {"bytes_before": cut.get("bytes_before", size), "bytes": padded}
    return Bounded(value, cut or None)


def _padded(value: Json, step_bytes: int, max_bytes: int | None) -> str:
    """Return a text whose size is a whole number of steps, at least one, or `max_bytes`.

    SECURITY: an empty result takes a step, too: the size says less of what was found.
    """
    text = str.__str__(value) if isinstance(value, str) else canonical(_plain(value)).decode()
    size = _size(text)
    target = max(-(-size // step_bytes), 1) * step_bytes
    if max_bytes is not None and target > max_bytes:
        target = max_bytes
    return text + " " * (target - size)


def _plain(value: Json) -> Json:
    return list(tuple.__iter__(value)) if isinstance(value, tuple) else value


def _rows(value: Json) -> list[Json] | None:
    # By the built-in type's own methods: a subclass is measured as what it holds, whatever it says.
    if isinstance(value, list):
        return list.copy(value)
    if isinstance(value, tuple):
        return list(tuple.__iter__(value))
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):  # no list then: refused where rows are expected
            return None
        return parsed if isinstance(parsed, list) else None
    return None


def _size(value: Json) -> int:
    try:
        return len(str.encode(value)) if isinstance(value, str) else len(canonical(value))
    except (ValueError, TypeError, RecursionError) as error:  # unmeasurable is too large
        raise RefusedResultError("the size of the result cannot be told") from error


def _fewer_bytes(value: Json, rows: list[Json] | None, max_bytes: int) -> Json:
    """Return the longest beginning that fits: whole rows of a list, whole characters of a text."""
    if rows is not None:
        is_text = isinstance(value, str)

        def shown(count: int) -> Json:
            return json.dumps(rows[:count], ensure_ascii=False) if is_text else rows[:count]

        low, high = 0, len(rows)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _size(shown(middle)) <= max_bytes else (low, middle - 1)
        if _size(shown(low)) > max_bytes:
            raise RefusedResultError("the result is too large")
        return shown(low)
    if isinstance(value, str):
        return str.encode(value)[:max_bytes].decode(errors="ignore")
    raise RefusedResultError("the result is too large and has no end that could be cut")
