"""Canonical e-mail addresses, URLs and host names: strict, ASCII, one spelling each.

Whoever sends a mail or fetches a page parses the value again, with another parser.  So only spellings
are let through on which all parsers agree; what one of them might read otherwise is refused
(decisions/0003).  Sources: RFC 5322 dot-atom, RFC 5321 4.5.3.1, RFC 3986, the host parser of WHATWG URL.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote

from ringfence.dsl.plan import Json, UnfitError

_ATEXT = r"[A-Za-z0-9#$&'*+/=?^_`{|}~-]+"
_LABELS = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# SECURITY: `!` and `%` in a local part are routes to another host (RFC 5321 appendix F): _ATEXT lacks them.
_EMAIL = re.compile(rf"({_ATEXT}(?:\.{_ATEXT})*)@({_LABELS})", re.ASCII)
_DOMAIN = re.compile(_LABELS, re.ASCII)
_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_USUAL = re.compile(  # already canonical: a name, no port, no escape, no segment that begins with a dot
    r"https?://(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
    r"(?:/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*)?)+(?:\?[A-Za-z0-9._~&=+-]*)?",
    re.ASCII,
)
_URL = re.compile(r"([A-Za-z]+)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.ASCII | re.DOTALL)
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%\[\]]*", re.ASCII)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?", re.ASCII)
_DECODERS = 4
"""The URL as it is, and as three parties that each decode it once more would see it."""
_PORTS = {"http": 80, "https": 443}
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def email(value: Json) -> str:
    """Return one addr-spec, its domain in lower case; raise `UnfitError` for anything else."""
    if type(value) is not str:
        raise UnfitError("expected an e-mail address")
    if len(value) > 254 or not value.isascii():
        raise UnfitError("an e-mail address is at most 254 ASCII characters; write other domains as xn--…")
    found = _EMAIL.fullmatch(value)
    # SECURITY: `=?…?=` is an encoded word (RFC 2047): Python's own header parser decodes it inside an
    # address, and what it says may hold another `@`.
    if found is None or found.end(1) > 64 or _ends_in_number(found[2]) or "=?" in found[1]:
        raise UnfitError("expected one plain e-mail address, without name, quotes or comments")
    return f"{found[1]}@{found[2].lower()}"


def _ends_in_number(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last[0].isdigit() and _NUMERIC.fullmatch(last) is not None


def mail_domain(value: Json) -> str:
    """Return the domain of an address in lower case."""
    if type(value) is not str:
        raise UnfitError("expected a domain")
    if len(value) > 253 or not _DOMAIN.fullmatch(value) or _ends_in_number(value):
        raise UnfitError("expected a domain of letters, digits and hyphens")
    return value.lower()


def host_name(value: Json) -> str:
    """Return a host as `host(url)` gives it: lower case, no port, IPv6 in brackets."""
    if type(value) is not str or not value.isascii():
        raise UnfitError("expected a host name in ASCII; write other names as xn--…")
    if value.startswith("[") and value.endswith("]"):
        return _ipv6(value[1:-1])
    name = value.lower()
    labels = name.split(".")
    # SECURITY: a host whose last label is a number is an IPv4 address to browsers and to C's inet_aton
    # (`0x7f.1`, `2130706433`, `127.1`); only the plain four-part form is let through.
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(name))
        except AddressValueError as error:
            raise UnfitError("an IPv4 address is written as four plain decimal numbers") from error
    if len(name) > 253 or not all(map(_HOST_LABEL.fullmatch, labels)):
        raise UnfitError("expected a host name of letters, digits and hyphens")
    return name


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError as error:
        raise UnfitError("expected an IPv6 address in the brackets") from error
    # SECURITY: a zone or an embedded IPv4 address is a second spelling of another host.
    if address.scope_id is not None or address.ipv4_mapped is not None:
        raise UnfitError("an IPv6 address has neither zone nor embedded IPv4 address here")
    return f"[{address}]"


def url(value: Json) -> str:
    """Return a canonical http(s) URL; raise `UnfitError` for one that parsers might read differently."""
    if type(value) is not str:
        raise UnfitError("expected a URL")
    if len(value) <= 253 and _USUAL.fullmatch(value):
        return value
    return any_url(value)


def any_url(value: str) -> str:
    """Return the canonical form of a URL by the long way, which any URL may take."""
    if not _URL_CHARACTERS.fullmatch(value):
        raise UnfitError("a URL has only the ASCII characters of RFC 3986; escape others with %")
    parts = _URL.fullmatch(value)
    if parts is None:
        raise UnfitError("expected an absolute URL: https://host/path")
    scheme, authority, path, query, fragment = parts.groups(default="")
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise UnfitError("expected http or https")
    # SECURITY: user info is how `https://good.example@evil.example/` reads like another host.
    if "@" in authority:
        raise UnfitError("a URL has no user info here")
    # Brackets are the form of an IPv6 host alone; elsewhere parsers disagree on them.
    if "#" in fragment[1:]:
        raise UnfitError("a URL has one `#`; escape others with %")
    if "[" in path + query + fragment or "]" in path + query + fragment:
        raise UnfitError("escape brackets with %")
    host, port = _split_port(authority)
    suffix = "" if port in (None, _PORTS[scheme]) else f":{port}"
    return f"{scheme}://{host_name(host)}{suffix}{_path(_escapes(path))}{_escapes(query)}{_escapes(fragment)}"


def _split_port(authority: str) -> tuple[str, int | None]:
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority, None
    if port == "":
        return host, None
    if not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise UnfitError("expected a port between 1 and 65535")
    return host, int(port)


def _escapes(text: str) -> str:
    """Return `text` with escapes in upper case and needless ones undone (RFC 3986 6.2.2)."""
    if "%" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            raise UnfitError("`%` is followed by two hexadecimal digits")
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    return _ESCAPE.sub(one, text)


def _path(path: str) -> str:
    # SECURITY: `/public/../private` starts with `/public/` for the policy and not for the server; so do
    # the forms that proxies and servers decode one after another (`%2e`, `%252e`, `%25252e`).
    decoded = path
    for _ in range(_DECODERS):
        if any(segment.partition(";")[0] in (".", "..") for segment in re.split(r"[/\\]", decoded)):
            raise UnfitError("a URL has no `.` or `..` segments here")
        if re.search(r"[\x00-\x1f\x7f]", decoded):
            raise UnfitError("a URL's path has no control characters")
        if "%" not in decoded:
            break
        decoded = unquote(decoded, "latin-1")
    return path or "/"


def host_of(value: str) -> str:
    """Return the host of a canonical URL, without its port."""
    authority = value.split("/", 3)[2]
    return _split_port(authority)[0]


def domain_of(value: str) -> str:
    """Return the domain of a canonical e-mail address."""
    return value.rpartition("@")[2]


_URL_IN_TEXT = re.compile(r"https?://[^\s\"<>“”«»]*", re.IGNORECASE)
# What browsers open too: `https:evil.example`, `https:\\evil.example`, and `//evil.example` in a page.
_URL_FOR_SOME = re.compile(r"https?:(?!//)[/\\\w\[%@]|(?<![\w:/\\])[/\\]{2}(?=[^\s/\\]*[.\[])", re.IGNORECASE)
# Possessive, with the `@` optional: each character is looked at once, also in a text without any `@`.
_EMAIL_IN_TEXT = re.compile(r"[^\s<>()\[\]{},;:\"“”«»@＠﹫]++(?P<tail>[@＠﹫][^\s<>()\[\]{},;:\"“”«»/?]++)?")
_PLAIN_START = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*@")
_AFTER_SENTENCE = ".,;:!?)]}'*_"


def urls_in(text: str) -> list[str]:
    """Return the canonical http(s) URLs in a text; raise `UnfitError` if one cannot be read surely."""
    # SECURITY: a list of allowed hosts must not be got around with a spelling that only some programs follow.
    if _URL_FOR_SOME.search(text):
        raise UnfitError("some programs read an address here, and others do not")
    return [url(found.rstrip(_AFTER_SENTENCE)) for found in _URL_IN_TEXT.findall(text)]


def emails_in(text: str) -> list[str]:
    """Return the canonical addresses in a text; raise `UnfitError` if one cannot be read surely."""
    return [
        _surely(found[0].rstrip(_AFTER_SENTENCE)) for found in _EMAIL_IN_TEXT.finditer(text) if found["tail"]
    ]


def _surely(found: str) -> str:
    # SECURITY: in `*eve@evil.example*` or `to=eve@evil.example` the first character may belong to the
    # address or not; a list of blocked addresses must not be got around with it.
    if not _PLAIN_START.match(found):
        raise UnfitError("an address in a text begins with a letter or digit and has no marks but . _ + -")
    return email(found)
