"""Credentials: the identity a leaf claims (RFC 9420, section 5.3). The application judges them."""

from __future__ import annotations

from clave_crypto.codec import Enum16, Struct, struct

__all__ = ["BasicCredential", "Credential", "CredentialType", "X509Credential"]


class CredentialType(Enum16):
    """MLS Credential Types (section 17.5)."""

    BASIC = 1
    X509 = 2


@struct(tag=CredentialType.BASIC)
class BasicCredential(Struct):
    """An identity whose form the application defines."""

    identity: bytes


@struct(tag=CredentialType.X509)
class X509Credential(Struct):
    """A certificate chain, the member's own certificate first, each DER."""

    certificates: tuple[bytes, ...]

    @property
    def identity(self) -> bytes:
        """The encoded chain."""
        return self.encode()


Credential = BasicCredential | X509Credential
