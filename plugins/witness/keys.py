"""Ed25519 keys (RFC 8032) from PEM files: the private one signs, and verifying needs the public one alone."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HELP = "make one with `openssl genpkey -algorithm ed25519 -out FILE`, readable by its owner alone"
PUBLIC_HELP = "make it of the private key with `openssl pkey -in KEY -pubout -out FILE`"


class KeyFileError(RuntimeError):
    """A file holds no key that can be used; the text never quotes what it holds."""

    def __init__(self, message: str, *, help: str) -> None:
        super().__init__(f"{message}; {help}")
        self.message = message
        self.help = help


def private_key(path: Path) -> "Ed25519PrivateKey":
    """Read the key that signs; refuse one that others may read."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content, mode = _read(path, HELP)
    # SECURITY: whoever reads the key can sign another past.
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"others may read the key `{path}`", help=f"chmod 600 {path}")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # fails closed, without a word of the content
        raise KeyFileError(f"`{path}` holds no private key in PEM without a password", help=HELP) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"the key `{path}` is not of the kind Ed25519", help=HELP)
    return key


def public_key(path: Path) -> "Ed25519PublicKey":
    """Read the key that verifies."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content, _ = _read(path, PUBLIC_HELP)
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # fails closed: nothing is verified
        raise KeyFileError(f"`{path}` holds no public key in PEM", help=PUBLIC_HELP) from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"the key `{path}` is not of the kind Ed25519", help=PUBLIC_HELP)
    return key


def _read(path: Path, help: str) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            return file.read(65_536), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise KeyFileError(f"the key `{path}` cannot be read: {error.strerror}", help=help) from error
