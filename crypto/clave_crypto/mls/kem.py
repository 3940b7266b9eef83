"""The interface of key encapsulation mechanisms (RFC 9180, section 4). Implements none."""

from __future__ import annotations

from typing import Protocol

from clave_crypto.keys import Secret

__all__ = ["Kem"]


class Kem(Protocol):
    """A key encapsulation mechanism whose keys are bytes."""

    @property
    def id(self) -> int:
        """Its number in HPKE's registry."""

    @property
    def enc_size(self) -> int:
        """Bytes of an encapsulated key (Nenc)."""

    def derive_key_pair(self, ikm: bytes) -> tuple[Secret, bytes]:
        """Return (private, public) derived from `ikm` (DeriveKeyPair)."""

    def public_key(self, private: bytes) -> bytes:
        """Return the public key of `private`; raises `ValueError` if that is not a private key."""

    def check_public(self, public: bytes) -> None:
        """Check that a peer's public key may be used; raises `KeyRejected`."""

    def check_enc(self, enc: bytes) -> None:
        """Check that `enc` may be used as an encapsulated key; raises `KeyRejected`."""

    def encap(self, public: bytes) -> tuple[Secret, bytes]:
        """Return a new (shared_secret, enc) for the holder of `public`; raises `KeyRejected`."""

    def decap(self, private: bytes, enc: bytes) -> Secret:
        """Return the shared_secret in `enc`; raises `KeyRejected` or `ValueError`."""
