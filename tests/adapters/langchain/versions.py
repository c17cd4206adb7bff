"""Tests of what only newer versions of a package have."""

from importlib.metadata import version

import pytest


def needs(package: str, least: str) -> pytest.MarkDecorator:
    """Leave a test out where the installed version of a package is older, and say so."""
    installed = version(package)
    return pytest.mark.skipif(
        _parts(installed) < _parts(least), reason=f"needs {package} {least}, and this is {installed}"
    )


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
