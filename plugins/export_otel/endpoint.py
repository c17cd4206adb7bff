"""Where spans are sent: the address of a collector, as people say it."""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

PATH: Final = "/v1/traces"


def traces_url(endpoint: str) -> str:
    """Return the URL that takes spans; `/v1/traces` is added if it is not there.

    Raises:
        ValueError: It is no address, or holds a password; the text quotes nothing of it.
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:  # refused below
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must be a URL such as `http://localhost:4318`")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no name or password: headers prove who sends")
    if (
        parts.query
        or parts.fragment
        or not endpoint.isascii()
        or not endpoint.isprintable()
        or " " in endpoint
    ):
        raise ValueError("must be a scheme, a host, a port and a path, nothing more")
    path = parts.path.rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path if path.endswith(PATH) else path + PATH, "", ""))
