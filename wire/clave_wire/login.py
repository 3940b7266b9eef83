"""What a device key signs to log in, bound to the TLS channel and the protocol versions. Holds no keys.

The channel binding is tls-server-end-point (RFC 5929, section 4) and a nonce of the relay;
`docs/decisions/0001-channel-binding.md` says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from clave_wire.errors import MisuseError
from clave_wire.limits import MAX_IDENTITY_BYTES, MAX_VERSIONS

__all__ = ["certificate_digest", "fingerprint_text", "succession", "transcript"]

_LABEL: Final = b"clave login\x00"
_SUCCESSION_LABEL: Final = b"clave next certificate\x00"
_GROUP_DIGITS: Final = 4


def certificate_digest(der: bytes) -> bytes:
    """Return the SHA-256 (32 bytes) of a certificate in DER: channel binding, pin and fingerprint."""
    return hashlib.sha256(der).digest()


def fingerprint_text(digest: bytes) -> str:
    """Write a certificate digest for people: hex in groups of four, e.g. `3f0a 99c1 ...`."""
    digits = digest.hex()
    return " ".join(digits[i : i + _GROUP_DIGITS] for i in range(0, len(digits), _GROUP_DIGITS))


def transcript(
    *, versions: Sequence[int], version: int, nonce: bytes, certificate: bytes, identity: bytes
) -> bytes:
    """Return the bytes that the device key signs (Ed25519) and the relay verifies.

    `versions` as offered in `Hello`, `version` and `nonce` (32 bytes) as in `Greeting`, `certificate` the
    `certificate_digest` this end saw or showed, `identity` as in `Login`.
    Raises `MisuseError` on other sizes.
    """
    if len(nonce) != 32 or len(certificate) != 32:
        raise MisuseError("the login transcript takes a nonce and a certificate digest of 32 bytes each")
    if len(versions) > MAX_VERSIONS or len(identity) > MAX_IDENTITY_BYTES:
        raise MisuseError("the login transcript's versions or identity are longer than the protocol allows")
    parts = [_LABEL, len(versions).to_bytes(1, "big")]
    parts += [offered.to_bytes(2, "big") for offered in versions]
    parts += [version.to_bytes(2, "big"), nonce, certificate, len(identity).to_bytes(2, "big"), identity]
    return b"".join(parts)


def succession(present: bytes, following: bytes) -> bytes:
    """Return what the present certificate's key signs to announce the next certificate.

    Both are `certificate_digest`s. Raises `MisuseError` on other sizes.
    """
    if len(present) != 32 or len(following) != 32:
        raise MisuseError("a succession names two certificate digests of 32 bytes each")
    return _SUCCESSION_LABEL + present + following
