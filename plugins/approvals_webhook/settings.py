"""The keys of `[backends.webhook]`, checked before anything is opened."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from ringfence.plugin import SettingsPath
from ringfence.plugins.approvals_webhook.signing import key_of

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


_A_SECRET = "`whsec_` and base64 of 24 bytes or more, or any text as long"


def _usable(secret: SecretStr) -> SecretStr:
    key_of(secret.get_secret_value())
    return secret


Secret = Annotated[SecretStr, AfterValidator(_usable), Field(description=_A_SECRET)]


class WebhookSettings(BaseModel):
    """The keys of `[backends.webhook]`.  Messages never quote a secret, nor the path of a URL.

    What depends on others stands after them: a mistake is said of a key that is no secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    secret: Secret
    """Signs what is sent: `whsec_` and base64, or any text of 24 bytes or more."""
    previous_secret: Secret | None = Field(default=None, description=_A_SECRET)
    """While `secret` is being replaced: what is sent is signed with both."""
    insecure: bool = False
    """True: `http://` to another machine is accepted.  Everybody on the way can read the questions."""
    url: str = Field(repr=False)
    """Where questions are sent: `https://`, or `http://` to this machine."""
    ca: SettingsPath | None = None
    """Certificates (PEM) that the receiver's is checked against, in place of the system's."""
    try_s: Seconds = 5.0
    """Seconds that one try may take."""
    within_s: Seconds = 25.0
    """Seconds that all tries together may take; `limits.backend_s` ends them too."""

    callback_secret: Secret | None = Field(default=None, description=_A_SECRET)
    """Proves the answers; another than `secret`."""
    previous_callback_secret: Secret | None = Field(default=None, description=_A_SECRET)
    """While `callback_secret` is being replaced: an answer signed with either counts."""
    certificate: SettingsPath | None = None
    """The server's certificate chain (PEM)."""
    key: SettingsPath | None = None
    """The certificate's private key (PEM, without a password)."""
    tls_in_front: bool = False
    """True: other machines may send answers without TLS, because a proxy in front speaks it."""
    listen: str | None = None
    """`HOST:PORT` where answers are taken; None: they come another way, such as `ringfence approve`."""
    reuse_port: bool = False
    """True: several processes of this host listen on the same port, and share the answers."""
    people: Mapping[str, str] = {}
    """Name at the signing system -> the person's name in `[groups]`, where the two differ."""

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str, info: ValidationInfo) -> str:
        parts = _split(value)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("must be a URL that begins with `https://`")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must hold no name or password: the signature proves who sends")
        if parts.fragment:
            raise ValueError("must have no `#`")
        # SECURITY: the questions hold what the agent was told; nobody on the way may read them unasked.
        if parts.scheme == "http" and not info.data.get("insecure") and not is_loopback(parts.hostname):
            raise ValueError("must begin with `https://` (or say `insecure = true`)")
        return value

    @field_validator("key")
    @classmethod
    def _of_a_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("certificate") is None):
            raise ValueError("`certificate` and `key` go together")
        return value

    @field_validator("listen")
    @classmethod
    def _a_place(cls, value: str | None, info: ValidationInfo) -> str | None:
        data = info.data
        sending = _keys(data.get("secret"), data.get("previous_secret"))
        callback = _keys(data.get("callback_secret"), data.get("previous_callback_secret"))
        # SECURITY: what we have signed ourselves must prove nothing when it comes back.
        if set(sending) & set(callback):
            raise ValueError("`callback_secret` must differ from `secret`: a question is no answer")
        if "callback_secret" in data and (value is None) != (data["callback_secret"] is None):
            raise ValueError("`listen` and `callback_secret` go together")
        if value is None and callback:
            raise ValueError("`previous_callback_secret` stands in for no `callback_secret`")
        if value is not None:
            host, _ = place(value)
            if data.get("certificate") is None and not data.get("tls_in_front") and not is_loopback(host):
                raise ValueError(
                    "is open to other machines: name `certificate` and `key` (or say `tls_in_front = true`, "
                    "if a proxy speaks TLS for it)"
                )
        return value

    @property
    def listens_in_the_clear(self) -> bool:
        """True if other machines can send answers without TLS."""
        plain = self.listen is not None and self.certificate is None
        return plain and not is_loopback(place(self.listen or "")[0])

    @property
    def receiver(self) -> str:
        """The receiver as messages may name it: the rest of the URL can be a secret."""
        parts = _split(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def sending_keys(self) -> tuple[bytes, ...]:
        """What is sent is signed with each of these."""
        return _keys(self.secret, self.previous_secret)

    @property
    def callback_keys(self) -> tuple[bytes, ...]:
        """An answer is signed with one of these."""
        return _keys(self.callback_secret, self.previous_callback_secret)


def place(listen: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; `[::1]:8787` for IPv6."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be `HOST:PORT`, like `127.0.0.1:8787`")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine: what is sent there passes no wire."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name can lead anywhere
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("must be a URL") from None
    return parts


def _keys(*secrets: SecretStr | None) -> tuple[bytes, ...]:
    return tuple(key_of(secret.get_secret_value()) for secret in secrets if secret is not None)
