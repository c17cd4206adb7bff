"""A value has one canonical form or is refused: what is matched is what is executed."""

import ipaddress
import string
from email.message import EmailMessage
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.dsl.compile import addresses
from ringfence.dsl.compile.canonicalisers import KINDS, canonicaliser
from ringfence.dsl.plan import Json, UnfitError
from ringfence.dsl.types import DECLARABLE, Type

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)

FITS: list[tuple[str, Json, Json]] = [
    ("text", "a\nb", "a\nb"),
    ("text", "", ""),
    ("line", "one line", "one line"),
    ("integer", 5, 5),
    ("integer", 5.0, 5),
    ("integer", -0.0, 0),
    ("integer", 2**53 - 1, 2**53 - 1),
    ("number", 1.5, 1.5),
    ("number", 3.0, 3),
    ("boolean", True, True),
    ("date", "2024-02-29", "2024-02-29"),
    ("email", "Bob@ACME.Example", "Bob@acme.example"),
    ("email", "a.b+tag@xn--bcher-kva.example", "a.b+tag@xn--bcher-kva.example"),
    ("url", "HTTPS://Docs.ACME.example", "https://docs.acme.example/"),
    ("url", "https://a.example:443/x?y=1#z", "https://a.example/x?y=1#z"),
    ("url", "http://a.example:/", "http://a.example/"),
    ("url", "http://a.example:08080/", "http://a.example:8080/"),
    ("url", "https://a.example/%61%2d%c3%a9", "https://a.example/a-%C3%A9"),
    ("url", "http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
    ("url", "http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"),
    ("url", "https://a.example/user@host", "https://a.example/user@host"),
    ("url", "https://a.example?x", "https://a.example/?x"),
    ("url", "https://a.example/100%25/..x/%25c3%25a9", "https://a.example/100%25/..x/%25c3%25a9"),
]

UNFIT: list[tuple[str, Json]] = [
    ("text", 5),
    ("text", None),
    ("text", b"x"),
    ("text", "\ud800"),
    *(("line", f"a{mark}b") for mark in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"),
    ("line", "a\n"),
    ("integer", "250"),
    ("integer", True),
    ("integer", 5.5),
    ("integer", 2**53),
    ("integer", -(2**53)),
    ("integer", float("nan")),
    ("integer", float("inf")),
    ("number", True),
    ("number", "1"),
    ("number", float("nan")),
    ("number", float("-inf")),
    ("number", 1e300),
    ("boolean", 1),
    ("boolean", "true"),
    ("date", "2026-02-30"),
    ("date", "20261123"),
    ("date", "2026-W01-1"),
    ("date", "2026-11-23\n"),
    ("date", "２０２６-11-23"),
    ("email", "bob"),
    ("email", "@a.example"),
    ("email", "Bob <bob@a.example>"),
    ("email", '"b ob"@a.example'),
    ("email", "bob@a.example\n"),
    ("email", "bob@a.example,eve@evil.example"),
    ("email", "bob@a.example;eve@evil.example"),
    ("email", "bob@a.example eve@evil.example"),
    ("email", "bob@evil.example@a.example"),
    ("email", "bob(comment)@a.example"),
    ("email", "bob%evil.example@a.example"),
    ("email", "evil.example!bob@a.example"),
    ("email", "=?utf-8?q?eve=40evil.example?=@a.example"),
    ("email", "=?x?b?ZXZlQGV2aWw=?=@a.example"),
    ("email", "bob..b@a.example"),
    ("email", ".bob@a.example"),
    ("email", "bob@a.example."),
    ("email", "bob@[127.0.0.1]"),
    ("email", "bob@127.0.0.1"),
    ("email", "bob@-a.example"),
    ("email", "bob@аcme.example"),  # Cyrillic
    ("email", "bob\u200b@a.example"),
    ("email", "bob＠a.example"),
    ("email", "x" * 65 + "@a.example"),
    ("url", "ftp://a.example/"),
    ("url", "javascript:alert(1)"),
    ("url", "//a.example/"),
    ("url", "https:/a.example/"),
    ("url", "https:a.example"),
    ("url", "https:///a.example"),
    ("url", "https://"),
    ("url", " https://a.example/"),
    ("url", "https://a.example/\n"),
    ("url", "https://a.example/ x"),
    ("url", "https://good.example@evil.example/"),
    ("url", "https://evil.example\\@good.example/"),
    ("url", "https://good.example\\.evil.example/"),
    ("url", "https://a%2eexample/"),
    ("url", "https://a.example%00.evil.example/"),
    ("url", "https://a.example./"),
    ("url", "https://аcme.example/"),  # Cyrillic
    ("url", "https://ａ.example/"),  # fullwidth
    ("url", "https://a。example/"),  # ideographic full stop
    ("url", "https://a\u00adb.example/"),
    ("url", "http://0x7f.1/"),
    ("url", "http://2130706433/"),
    ("url", "http://127.1/"),
    ("url", "http://0177.0.0.1/"),
    ("url", "http://127.0.0.1.2/"),
    ("url", "http://1.2.3.0x4/"),
    ("url", "http://[::ffff:127.0.0.1]/"),
    ("url", "http://[fe80::1%25eth0]/"),
    ("url", "http://[::1/"),
    ("url", "http://[::1]evil.example/"),
    ("url", "http://a.example:99999/"),
    ("url", "http://a.example:0/"),
    ("url", "http://a.example:8 0/"),
    ("url", "http://a.example:80:80/"),
    ("url", "https://a.example/public/../private"),
    ("url", "https://a.example/public/%2e%2E/private"),
    ("url", "https://a.example/public/..%2fprivate"),
    ("url", "https://a.example/public/..%5cprivate"),
    ("url", "https://a.example/public/..;x/private"),
    ("url", "https://a.example/public/%252e%252E/private"),
    ("url", "https://a.example/public/..%252fprivate"),
    ("url", "https://a.example/public/%25252e%25252e%25252fprivate"),
    ("url", "https://a.example/public/..%3bx/private"),
    ("url", "https://a.example/%250d%250aHost:x"),
    ("url", "https://a.example/#a#b"),
    ("url", "https://a.example/%"),
    ("url", "https://a.example/%zz"),
    ("url", "https://a.example/%0d%0aHost:x"),
]


@pytest.mark.parametrize(("kind", "given_value", "expected"), FITS)
def test_a_fitting_value_has_one_canonical_form(kind: str, given_value: Json, expected: Json) -> None:
    found = KINDS[kind](given_value)
    assert (found, type(found)) == (expected, type(expected))
    assert KINDS[kind](found) == found


@pytest.mark.parametrize(("kind", "value"), UNFIT)
def test_an_unfit_value_is_refused_and_not_repeated(kind: str, value: Json) -> None:
    with pytest.raises(UnfitError) as refused:
        KINDS[kind](value)
    assert not isinstance(value, str) or len(value) < 6 or value not in str(refused.value)


@pytest.mark.parametrize("kind", DECLARABLE)
@given(value=ANYTHING)
def test_anything_is_canonical_json_that_stays_itself_or_is_unfit(kind: str, value: Json) -> None:
    try:
        found = KINDS[kind](value)
    except UnfitError:
        return
    canonical(found)
    assert KINDS[kind](found) == found


HOSTS = st.sampled_from(
    ["a.example", "A.EXAMPLE", "127.0.0.1", "0x7f.1", "1.2.3", "[::1]", "a.example.", "a_b", "%61.b"]
)
PIECES = st.text(alphabet=string.ascii_letters + string.digits + "/:@?#%\\.&;[]~\n\t \u200b．。", max_size=12)


@given(scheme=st.sampled_from(["http", "https", "HTTP"]), before=PIECES, host=HOSTS, after=PIECES)
def test_another_parser_reads_the_same_host_in_a_canonical_url(
    scheme: str, before: str, host: str, after: str
) -> None:
    try:
        found = addresses.url(f"{scheme}://{before}{host}{after}")
    except UnfitError:
        return
    other = urlsplit(found)
    assert other.username is None
    assert other.hostname == addresses.host_of(found).strip("[]")
    assert found == addresses.url(found)


@given(local=PIECES, domain=PIECES)
def test_an_address_has_one_at_sign_and_an_ascii_domain(local: str, domain: str) -> None:
    try:
        found = addresses.email(f"{local}@{domain}")
    except UnfitError:
        return
    assert found.count("@") == 1
    assert addresses.domain_of(found) == found.split("@")[1].lower()
    assert not any(character.isspace() or not character.isascii() for character in found)


@given(number=st.integers(min_value=0, max_value=2**32 - 1))
def test_only_the_plain_form_of_an_ipv4_address_is_a_host(number: int) -> None:
    plain = str(ipaddress.IPv4Address(number))
    assert addresses.host_name(plain) == plain
    for odd in (str(number), hex(number), f"0{plain}", f"{plain}."):
        with pytest.raises(UnfitError):
            addresses.host_name(odd)


@pytest.mark.parametrize(
    ("bound", "fits", "unfit"),
    [
        (Type("text", False, 3, "characters"), "äöü", "äöüx"),
        (Type("text", False, 3, "bytes"), "abc", "äö"),
        (Type("text", True, 2, "elements"), ["a", "b"], ["a", "b", "c"]),
        (Type("email", True, 1, "elements"), ["a@b.example"], "a@b.example"),
        (Type("integer", True), [1, 2], [1, True]),
        (Type("text", True), [], ("a",)),
        (Type("text", False, 10, "characters"), "x" * 10, "x" * 10_000_000),
    ],
)
def test_at_most_bounds_characters_bytes_and_elements(bound: Type, fits: Json, unfit: Json) -> None:
    check = canonicaliser(bound)
    assert check(fits) == fits
    with pytest.raises(UnfitError):
        check(unfit)


def test_addresses_and_urls_in_a_text_are_found_in_canonical_form() -> None:
    text = "Mail Bob@ACME.example, or see (https://Docs.acme.example/x) and <http://b.example>."
    assert addresses.emails_in(text) == ["Bob@acme.example"]
    assert addresses.urls_in(text) == ["https://docs.acme.example/x", "http://b.example/"]


@pytest.mark.parametrize(
    "text",
    [
        "see https://good.example@evil.example/", "see HTTP://аcme.example", "see http://0x7f.1",
        "see https:/evil.example", "see HTTPS:evil.example", "see https:\\\\evil.example",
        "http:%65vil.example", "https:[::1]", "see https:///evil.example",
        "[x](//evil.example/x)", "see \\\\evil.example", "see //[::1]/x",
    ],
)  # fmt: skip
def test_a_url_that_parsers_read_differently_makes_the_text_undecidable(text: str) -> None:
    with pytest.raises(UnfitError):
        addresses.urls_in(text)


@pytest.mark.parametrize(
    "text", ["// a comment.", "http: yes. (https:)", "a//b.c", "C:\\\\x.y", "and//or", "file:///etc/x.y"]
)
def test_two_slashes_alone_make_no_url(text: str) -> None:
    assert addresses.urls_in(text) == []


WORDS = st.text(alphabet="aZ09-._~/?&=", max_size=20)


@given(host=st.text(alphabet="a0-.b", min_size=1, max_size=12), rest=WORDS)
def test_the_short_way_for_usual_urls_agrees_with_the_long_way(host: str, rest: str) -> None:
    text = f"https://{host}.example/{rest}"
    try:
        expected: str | None = addresses.any_url(text)
    except UnfitError:
        expected = None
    try:
        found: str | None = addresses.url(text)
    except UnfitError:
        found = None
    assert found == expected


@pytest.mark.parametrize(
    "text", ["*eve@evil.example*", "to=eve@evil.example", "eve＠evil.example", "x|eve@evil.example"]
)
def test_an_address_that_may_begin_elsewhere_makes_the_text_undecidable(text: str) -> None:
    with pytest.raises(UnfitError):
        addresses.emails_in(text)


@pytest.mark.parametrize("mark", ["a", "@", "a@", "http", "http://", "＠a", ". "])
def test_a_megabyte_of_text_is_searched_in_one_pass(mark: str) -> None:
    """Looked through once from each character on, it would keep a core busy for hours."""
    text = (mark * 1_000_000)[:1_000_000]
    for search in (addresses.emails_in, addresses.urls_in):
        try:
            found = search(text)
        except UnfitError:
            continue
        assert len(found) <= 1


@given(st.text(st.sampled_from("ab.-+=?_@!%$&'*/#^{}`|~QxZ04"), min_size=1, max_size=30))
def test_a_mail_header_reads_the_address_that_was_decided(local: str) -> None:
    try:
        found = addresses.email(local + "@a.example")
    except UnfitError:
        return
    message = EmailMessage()
    message["To"] = found
    assert [one.addr_spec for one in message["To"].addresses] == [found]
