"""What a run ran on, for its record: asked once per process, since looking up a package reads its files."""

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType


@cache
def own_versions() -> Mapping[str, str]:
    """Return the versions of Ringfence and of Python."""
    # The package stands above the engine: named at run time, so that no import points upwards.
    own: str = import_module("ringfence").__version__
    return MappingProxyType({"ringfence": own, "python": ".".join(map(str, sys.version_info[:3]))})


@cache
def versions_of(*packages: str) -> Mapping[str, str]:
    """Return the versions of the packages that are installed."""
    found: dict[str, str] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # said nothing of: it is not there, or was not installed as a package
            continue
    return MappingProxyType(found)
