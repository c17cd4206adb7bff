"""What pydantic reports of settings, as mistakes that a person can mend, and no secret in them."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from ringfence.engine.seams.mistakes import Mistake, nearest

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "dataclass_type": "must be a table",
}


def mistakes_of(
    error: ValidationError,
    model: type[BaseModel],
    *,
    where: str,
    prefix: tuple[str, ...] = (),
    quotes_secrets: bool = True,
) -> list[Mistake]:
    """Return what pydantic found in `model`'s data, without ever repeating a secret.

    Args:
        quotes_secrets: Whether `model`'s own validators may put a value into their messages: assumed of
            every plugin.
    """
    found = []
    for report in error.errors(include_input=False, include_url=False, include_context=True):
        at = report["loc"]
        key = ".".join(str(part) for part in (*prefix, *at))
        what, help = _words(report["type"], report["msg"], report.get("ctx", {})), ""
        if report["type"] == "extra_forbidden":
            inside = _model_at(model, at[:-1])
            known = keys_of(inside) if inside else set()
            help = nearest(str(at[-1]), known) or ("known: " + ", ".join(sorted(known)) if known else "")
        elif quotes_secrets and report["type"] not in _WORDS and _is_secret(model, at):
            # SECURITY: a validator's own words about a secret may quote it; the field's description cannot.
            what, help = "is not acceptable", _described(model, at)
        found.append(Mistake(where, key, what, help))
    return found


def unknown_keys(model: type[BaseModel], given: Iterable[str], *, where: str, prefix: str) -> list[Mistake]:
    """Return a mistake for each key that `model` does not have, unless it says that it takes any."""
    if model.model_config.get("extra") == "allow":
        return []
    known = keys_of(model)
    return [
        Mistake(
            where,
            f"{prefix}.{key}",
            "unknown key",
            nearest(key, known) or ("known: " + ", ".join(sorted(known)) if known else "it has no settings"),
        )
        for key in given
        if key not in known
    ]


def keys_of(model: type[BaseModel]) -> set[str]:
    """Return the keys that `model` reads from a table."""
    return {
        field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name
        for name, field in model.model_fields.items()
    }


def _words(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "greater_than":
        return f"must be greater than {context['gt']}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']}"
    if kind in ("value_error", "assertion_error"):
        return message.partition(", ")[2]
    return message[:1].lower() + message[1:]


def _model_at(model: type[BaseModel], at: Sequence[int | str]) -> type[BaseModel] | None:
    inside: type[BaseModel] | None = model
    for part in at:
        field = inside.model_fields.get(str(part)) if inside else None
        kind = field.annotation if field else None
        inside = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return inside


def _is_secret(model: type[BaseModel], at: Sequence[int | str]) -> bool:
    """True if a secret stands at, above or below `at`, or if that cannot be told."""
    first = model.model_fields.get(str(at[0])) if at else None
    return True if first is None else _mentions_secret(first.annotation)


def _described(model: type[BaseModel], at: Sequence[int | str]) -> str:
    """Return what the model says of the field, which was written before there was any value."""
    first = model.model_fields.get(str(at[0])) if at else None
    return first.description or "" if first is not None else ""


def _mentions_secret(kind: Any) -> bool:
    if kind in (SecretStr, SecretBytes):
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return any(_mentions_secret(field.annotation) for field in kind.model_fields.values())
    return any(_mentions_secret(part) for part in getattr(kind, "__args__", ()))
