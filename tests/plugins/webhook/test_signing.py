"""Signatures as the Standard Webhooks specification has them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ringfence.plugins.approvals_webhook.signing import Seal, key_of, signature, signed_headers
from tests.plugins.webhook.people import sign

NOW_S = 1_795_000_000
KEY = b"twenty-four bytes, or so"
OTHER = b"another one, and as long"


def test_a_message_is_signed_as_the_reference_implementations_sign_it() -> None:
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=200))
def test_what_is_signed_fits_and_a_changed_body_does_not(key: bytes, body: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    assert key_of(secret) == key
    headers = CIMultiDict(signed_headers((key,), "msg_1", NOW_S, body))
    assert headers["Webhook-Signature"] == sign(secret, "msg_1", NOW_S, body)
    seal = Seal.of(headers, now_s=NOW_S)
    assert seal is not None
    assert seal.fits((key,), body)
    assert seal.fits((OTHER, key), body)
    assert not seal.fits((OTHER,), body)
    assert not seal.fits((key,), body + b" ")
    assert not seal.fits((), body)


def test_while_a_secret_is_replaced_either_signature_fits() -> None:
    seal = Seal.of(CIMultiDict(signed_headers((KEY, OTHER), "msg_1", NOW_S, b"{}")), now_s=NOW_S)
    assert seal is not None
    assert len(seal.signatures) == 2
    assert seal.fits((KEY,), b"{}") and seal.fits((OTHER,), b"{}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", None),
        ("webhook-timestamp", None),
        ("webhook-signature", None),
        ("webhook-id", ""),
        ("webhook-id", "msg.1"),
        ("webhook-id", "msg 1"),
        ("webhook-id", "x" * 257),
        ("webhook-timestamp", ""),
        ("webhook-timestamp", f"+{NOW_S}"),
        ("webhook-timestamp", f"{NOW_S}.0"),
        ("webhook-timestamp", "\u0661\u0662"),
        ("webhook-timestamp", "9" * 400),
        ("webhook-timestamp", str(NOW_S - 301)),
        ("webhook-timestamp", str(NOW_S + 301)),
    ],
)
def test_missing_malformed_or_stale_headers_are_no_seal(name: str, value: str | None) -> None:
    headers = CIMultiDict(signed_headers((KEY,), "msg_1", NOW_S, b"{}"))
    del headers[name]
    if value is not None:
        headers[name] = value
    assert Seal.of(headers, now_s=NOW_S) is None


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_stands_twice_is_no_seal(name: str) -> None:
    headers = CIMultiDict(signed_headers((KEY,), "msg_1", NOW_S, b"{}"))
    headers.add(name, headers[name])
    assert Seal.of(headers, now_s=NOW_S) is None


@pytest.mark.parametrize("lag_s", [-300, 300])
def test_five_minutes_in_both_directions_are_accepted(lag_s: int) -> None:
    headers = CIMultiDict(signed_headers((KEY,), "msg_1", NOW_S + lag_s, b"{}"))
    assert Seal.of(headers, now_s=NOW_S) is not None


@pytest.mark.parametrize(
    "given", ["", "v1", "v1,", "v2,{}", "v1a,{}", "{}", "v1,{}x", "v1,\udcff", "v1, {}"], ids=repr
)
def test_a_signature_in_another_form_does_not_fit(given: str) -> None:
    made = signature(KEY, "msg_1", NOW_S, b"{}").removeprefix("v1,")
    seal = Seal("msg_1", NOW_S, (given.format(made),))
    assert not seal.fits((KEY,), b"{}")


@pytest.mark.parametrize("secret", ["whsec_!!!", "whsec_", "whsec_c2hvcnQ=", "short", "whsec_YQ==\n"])
def test_a_secret_that_is_too_short_or_no_base64_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(ValueError) as refused:
        key_of(secret)
    assert "whsec_!!!" not in str(refused.value) and "short" not in str(refused.value)
