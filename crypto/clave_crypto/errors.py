"""The errors of keys, encodings and identities. Knows nothing of groups, whose errors share the base.

CryptoError
├── DecodeError      bytes from a peer are not a valid encoding
│   └── UnknownValueError  they hold a registry value that is not known here
├── KeyRejected      a peer's public key must not be used
├── SignatureInvalid a signature does not verify
└── IdentityError    a peer's identity is malformed or not signed
"""

__all__ = [
    "CryptoError",
    "DecodeError",
    "IdentityError",
    "KeyRejected",
    "SignatureInvalid",
    "UnknownValueError",
]


class CryptoError(Exception):
    """Base of the errors that this package defines."""


class DecodeError(CryptoError):
    """Bytes from a peer are not a valid encoding."""


class UnknownValueError(DecodeError):
    """Bytes from a peer hold a registry value that this program does not know."""


class KeyRejected(CryptoError):
    """A peer's public key has the wrong length, is not canonical, or is of small order."""


class SignatureInvalid(CryptoError):
    """A signature does not verify under the signer's public key."""


class IdentityError(CryptoError):
    """A peer's identity is malformed, or its account did not sign this device."""
