"""What is said about the deployment, before anybody asks whether it is right.

`ringfence.toml` with `RINGFENCE_*` variables over it, relative paths where they belong.  No library that
checks settings is loaded here: for some commands that would take longer than all they do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.engine.seams.environment import overlay
from ringfence.engine.seams.store_urls import absolute_url

if TYPE_CHECKING:
    from ringfence.engine.seams.mistakes import Mistake

FILE = "ringfence.toml"
DEFAULT_STORE = "sqlite:///ringfence.db"

_STORES = {"store", "ledger"}
_PLACED = {"policy", "ceilings", *_STORES}
"""The keys whose relative paths start at the folder of who says them."""


@dataclass(frozen=True, slots=True)
class Said:
    """All that is said, in the form of the file."""

    data: dict[str, Any]
    file: Path | None
    """The file that was read; None if there was none."""
    folder: Path
    """Where relative paths start."""
    origins: Mapping[tuple[str, ...], str]
    """Which variable each overridden key came from."""
    mistakes: "list[Mistake]"
    """What is wrong with the variables."""


def read(path: str | Path | None, environment: Mapping[str, str]) -> Said:
    """Read the file, if one is named or `ringfence.toml` lies here, and the variables.

    Raises:
        SettingsError: The file cannot be read, or is not TOML.
    """
    named = path if path is not None else environment.get("RINGFENCE_SETTINGS")
    file = Path(named) if named is not None else Path(FILE)
    if named is None and not file.exists():
        return put_together({}, None, environment, folder=Path.cwd())
    return put_together(_content(file), file, environment, folder=file.absolute().parent)


def put_together(
    data: dict[str, Any], file: Path | None, environment: Mapping[str, str], *, folder: Path
) -> Said:
    """Put paths at their places and the variables over `data`, in place."""
    for key in _PLACED & data.keys():
        data[key] = _from(folder, key, data[key])
    origins, mistakes = overlay(data, environment)
    for key in _PLACED:
        if (key,) in origins:
            data[key] = _from(Path.cwd(), key, data[key])
    data.setdefault("store", _from(folder, "store", DEFAULT_STORE))
    return Said(data, file, folder, origins, mistakes)


def _from(folder: Path, key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_from(folder, key, one) for one in value]
    if not isinstance(value, str):  # a mistake that is reported with the others
        return value
    return absolute_url(value, folder) if key in _STORES else str(folder / value)


def _content(file: Path) -> dict[str, Any]:
    import tomllib  # where there is no file, nobody needs it

    from ringfence.engine.seams.errors import SettingsError

    try:
        return tomllib.loads(file.read_bytes().decode("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{file}: cannot be read: {error.strerror}", help="name a file that exists and may be read"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: is not TOML: {error}", help="mend the file there") from error
