"""What a section of the settings says to a plugin, as that plugin's own model; or what is wrong with it."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ringfence.engine.seams.mistakes import Mistake
from ringfence.engine.seams.reported import mistakes_of, unknown_keys
from ringfence.engine.seams.settings import Settings


def validated(
    kind: type[BaseModel], given: Mapping[str, Any], settings: Settings, at: str, mistakes: list[Mistake]
) -> BaseModel | None:
    """Return the values of the section `at`; None: `mistakes` has what is wrong with them."""
    wrong = unknown_keys(kind, given, where=settings.where, prefix=at)
    try:
        values = kind.model_validate(dict(given), context={"folder": settings.folder})
    except ValidationError as error:
        reported = {mistake.key for mistake in wrong}
        found = mistakes_of(error, kind, where=settings.where, prefix=tuple(at.split(".")))
        mistakes += wrong + [mistake for mistake in found if mistake.key not in reported]
        return None
    mistakes += wrong
    return None if wrong else values
