"""Store URLs: where a relative one starts, and how one is shown without its password."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

HIDDEN: Final = "***"

_SECRET_OPTION: Final = re.compile(r"(?<=[?&])([^=&#]*(?:pass|pwd|secret|token|auth)[^=&#]*=)([^&#]*)", re.I)


def absolute_url(url: str, folder: Path) -> str:
    """Return a store URL whose path, if it is a relative path of a file, starts at `folder`.

    `sqlite:///x.db` is relative, `sqlite:////srv/x.db` is not, as SQLAlchemy writes them; in other
    schemes what follows the host is no path of this machine.
    """
    scheme, _, path = url.partition(":///")
    if scheme != "sqlite" or not path or path.startswith(("/", ":")):
        return url
    return f"{scheme}:///{(folder / path).as_posix()}"


def file_of(url: str) -> Path | None:
    """Return the file behind a store URL; None where there is none."""
    scheme, _, path = url.partition(":///")
    return Path(path) if scheme == "sqlite" and path and not path.startswith(":") else None


def without_password(url: str) -> str:
    """Return the URL as it may be shown: `postgresql://app:***@db/ringfence`."""
    scheme, rest = _authority_and_more(url)
    before, at, after = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    shown = f"{user}{colon}{HIDDEN if colon else ''}{at}{after}" if at else rest
    return _SECRET_OPTION.sub(rf"\g<1>{HIDDEN}", scheme + shown)


def hide_passwords(text: str, *urls: str) -> str:
    """Return a message of a plugin without the passwords that these URLs hold, however it says them."""
    for url in urls:
        text = text.replace(url, without_password(url))
        for password in _passwords(url):
            # Whole words alone, or a short one would eat the message and be told by what is missing.
            text = re.sub(rf"(?<!\w){re.escape(password)}(?!\w)", HIDDEN, text)
    return text


def _passwords(url: str) -> list[str]:
    _, rest = _authority_and_more(url)
    said = [rest.rpartition("@")[0].partition(":")[2]]
    said += [value for _, value in _SECRET_OPTION.findall(url)]
    found = {form for one in said for form in (one, unquote(one)) if form}
    return sorted(found, key=len, reverse=True)


def _authority_and_more(url: str) -> tuple[str, str]:
    """Return the URL up to its `//`, and what follows; a URL that names a file has no password in it."""
    scheme, slashes, rest = url.partition("://")
    # SECURITY: not parsed more strictly: a password with a bare `/` or `@` in it must not be shown either.
    return (scheme + slashes, rest) if slashes and not rest.startswith("/") else (url, "")
