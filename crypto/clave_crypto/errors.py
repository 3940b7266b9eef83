"""The errors of keys, encodings and identities. Knows nothing of groups, whose errors share the base.

CryptoError
├── DecodeError      bytes from a peer are not a valid encoding
│   └── UnknownValueError  a registered number in them is none that is known here
├── KeyRejected      a peer's public key must not be used
├── SignatureInvalid a signature does not verify
└── IdentityError    a peer's identity does not hold
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
    """Base of everything this package raises on purpose."""


class DecodeError(CryptoError):
    """Bytes from a peer are not a valid encoding."""


class UnknownValueError(DecodeError):
    """Bytes from a peer have a number of a registry that this program does not know."""


class KeyRejected(CryptoError):
    """A peer's public key has the wrong length, is not canonical, or is of small order."""


class SignatureInvalid(CryptoError):
    """A signature does not verify under the key it is said to be made with."""


class IdentityError(CryptoError):
    """A peer's identity is malformed, or its account did not sign this device."""
