"""X25519 (RFC 7748) on bytes: by libsodium, which holds up no other thread, or else by `cryptography`.

Checks no public key for being canonical.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from clave_crypto.errors import KeyRejected

try:
    from nacl import bindings as sodium
except ImportError:  # no wheel for this platform
    sodium = None  # type: ignore[assignment]  # then `OPENSSL` is used

__all__ = ["BACKEND", "BACKENDS", "KEY_BYTES", "Backend"]

KEY_BYTES = 32


class Backend(NamedTuple):
    """An implementation.

    Attributes:
        name: of its library.
        public_key: returns the public key of a private one; raises `ValueError` for another length.
        exchange: returns the shared secret of a private and a public key; raises `ValueError` for a private
            key of another length, `KeyRejected` for a public one, and for a shared secret of zeros.

    """

    name: str
    public_key: Callable[[bytes], bytes]
    exchange: Callable[[bytes, bytes], bytes]


def _check_private(private: bytes) -> None:
    # PyNaCl passes on what it is given: libsodium would read beyond the end of a short key.
    if len(private) != KEY_BYTES:
        raise ValueError(f"an X25519 private key has {KEY_BYTES} bytes, not {len(private)}")


def _check_public(public: bytes) -> None:
    if len(public) != KEY_BYTES:
        raise KeyRejected(f"an X25519 public key has {KEY_BYTES} bytes, not {len(public)}")


def _openssl_public_key(private: bytes) -> bytes:
    _check_private(private)
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _openssl_exchange(private: bytes, public: bytes) -> bytes:
    _check_private(private)
    _check_public(public)
    try:
        peer = X25519PublicKey.from_public_bytes(public)
        return X25519PrivateKey.from_private_bytes(private).exchange(peer)
    except ValueError:
        raise KeyRejected("the X25519 shared secret is zero") from None


def _sodium_public_key(private: bytes) -> bytes:
    _check_private(private)
    return sodium.crypto_scalarmult_base(private)


def _sodium_exchange(private: bytes, public: bytes) -> bytes:
    _check_private(private)
    _check_public(public)
    try:
        return sodium.crypto_scalarmult(private, public)
    except RuntimeError:
        raise KeyRejected("the X25519 shared secret is zero") from None


BACKENDS = [Backend("cryptography", _openssl_public_key, _openssl_exchange)]
"""Those that are installed, the preferred one first."""

if sodium is not None:
    BACKENDS.insert(0, Backend("PyNaCl", _sodium_public_key, _sodium_exchange))

BACKEND = BACKENDS[0]
"""The one in use."""
