"""Identities: an account key signs device keys. Knows no groups, and does not judge names.

An identity shows which account a device belongs to. It is encoded as

    struct {
        uint16 version = 1;
        opaque name<V>;            /* UTF-8, 1 to 64 bytes */
        opaque account_key<V>;     /* Ed25519 */
        opaque device_name<V>;     /* UTF-8, 1 to 64 bytes */
        opaque signature<V>;       /* by the account, over IdentityTBS */
    } Identity;

    struct {
        opaque label<V> = "clave 1 IdentityTBS";
        uint16 version;
        opaque name<V>;
        opaque account_key<V>;
        opaque device_name<V>;
        opaque device_key<V>;      /* Ed25519 */
    } IdentityTBS;
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from clave_crypto.codec import Struct, struct, u16
from clave_crypto.errors import DecodeError, IdentityError, KeyRejected, SignatureInvalid
from clave_crypto.keys import Secret, check_ed25519_public

__all__ = [
    "MAX_NAME_BYTES",
    "AccountKey",
    "DeviceKey",
    "VerifiedIdentity",
    "fingerprint",
    "fingerprint_digest",
    "safety_number",
    "verify_identity",
    "verify_revocation",
    "verify_signature",
]

MAX_NAME_BYTES = 64
"""Bytes of UTF-8 in an account's or a device's name."""

_VERSION = 1
_TBS_LABEL = b"clave 1 IdentityTBS"
_REVOCATION_LABEL = b"clave 1 revoked device\0"
_FINGERPRINT_LABEL = b"clave 1 fingerprint"
_SAFETY_NUMBER_LABEL = b"clave 1 safety number"


@struct()
class _Identity(Struct):
    version: u16
    name: bytes
    account_key: bytes
    device_name: bytes
    signature: bytes


@struct()
class _IdentityTBS(Struct):
    label: bytes
    version: u16
    name: bytes
    account_key: bytes
    device_name: bytes
    device_key: bytes


class _SigningKey:
    """An Ed25519 private key, left out of `repr` and tracebacks."""

    __slots__ = ("_key", "public", "secret")

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.public.hex()}>"


class AccountKey(_SigningKey):
    """A person's long-lived key (`secret`, `public`: 32 bytes each). It signs and revokes devices only."""

    __slots__ = ()

    @classmethod
    def generate(cls) -> AccountKey:
        """Make a new account key."""
        return cls(Secret(Ed25519PrivateKey.generate().private_bytes_raw()))

    @classmethod
    def from_secret(cls, secret: Secret) -> AccountKey:
        """Load an account key from its 32 secret bytes."""
        return cls(secret)

    def certify(self, name: str, device_name: str, device: bytes) -> bytes:
        """Return the encoded identity of the device with public key `device`.

        Raises:
            IdentityError: a name is empty or longer than `MAX_NAME_BYTES`.
            KeyRejected: `device` is not a usable Ed25519 public key.

        """
        check_ed25519_public(device)
        name_bytes, device_name_bytes = _encode_name(name), _encode_name(device_name)
        tbs = _IdentityTBS(_TBS_LABEL, _VERSION, name_bytes, self.public, device_name_bytes, device)
        signature = self._key.sign(tbs.encode())
        return _Identity(_VERSION, name_bytes, self.public, device_name_bytes, signature).encode()

    def revoke(self, device: bytes) -> bytes:
        """Return the signature (64 bytes) by which this account revokes a device's public key, for ever."""
        return self._key.sign(_REVOCATION_LABEL + self.public + device)


class DeviceKey(_SigningKey):
    """One device's signature key (`secret`, `public`: 32 bytes each)."""

    __slots__ = ()

    @classmethod
    def generate(cls) -> DeviceKey:
        """Make a new device key."""
        return cls(Secret(Ed25519PrivateKey.generate().private_bytes_raw()))

    @classmethod
    def from_secret(cls, secret: Secret) -> DeviceKey:
        """Load a device key from its 32 secret bytes."""
        return cls(secret)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`. The caller provides domain separation."""
        return self._key.sign(message)


@dataclass(frozen=True)
class VerifiedIdentity:
    """An identity whose account signed this device. Keys are 32-byte Ed25519 public keys."""

    name: str
    account: bytes
    device_name: str
    device: bytes


@lru_cache(maxsize=4096)
def verify_identity(encoded: bytes, device: bytes) -> VerifiedIdentity:
    """Check that `encoded` is the identity of the device with public key `device`.

    Raises:
        IdentityError: malformed, of another version, or its account did not sign this device.

    """
    try:
        identity = _Identity.decode(encoded)
        if identity.version != _VERSION:
            raise IdentityError(f"the identity has version {identity.version}, this program knows {_VERSION}")
        name, device_name = _decode_name(identity.name), _decode_name(identity.device_name)
        tbs = _IdentityTBS(
            _TBS_LABEL, _VERSION, identity.name, identity.account_key, identity.device_name, device
        )
        check_ed25519_public(device)
        verify_signature(identity.account_key, tbs.encode(), identity.signature)
    except (DecodeError, KeyRejected, SignatureInvalid) as error:
        raise IdentityError(f"the identity is not valid: {error}") from error
    return VerifiedIdentity(name, identity.account_key, device_name, device)


def verify_revocation(account: bytes, device: bytes, signature: bytes) -> None:
    """Check that `account` (a public key) revoked the device with public key `device`.

    Raises:
        KeyRejected: `account` must not be used.
        SignatureInvalid: the signature does not verify.

    """
    verify_signature(account, _REVOCATION_LABEL + account + device, signature)


def verify_signature(public: bytes, message: bytes, signature: bytes) -> None:
    """Check the Ed25519 `signature` of `message` under a peer's key.

    Raises:
        KeyRejected: `public` must not be used.
        SignatureInvalid: the signature does not verify.

    """
    check_ed25519_public(public)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise SignatureInvalid("the signature does not verify") from None


def fingerprint(account: bytes) -> str:
    """Return 160 bits of a hash of the account key as eight groups of four letters and digits (a-z, 2-7)."""
    text = base64.b32encode(fingerprint_digest(account)).decode().lower()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def fingerprint_digest(account: bytes) -> bytes:
    """Return the 20 bytes that `fingerprint` shows."""
    return hashlib.sha256(_FINGERPRINT_LABEL + account).digest()[:20]


def safety_number(a: bytes, b: bytes) -> str:
    """Return the safety number of two account keys, in any order: twelve groups of five digits."""
    digest = hashlib.sha512(_SAFETY_NUMBER_LABEL + b"".join(sorted((a, b)))).digest()
    groups = (int.from_bytes(digest[i : i + 5], "big") % 100_000 for i in range(0, 60, 5))
    return " ".join(f"{group:05d}" for group in groups)


def _encode_name(name: str) -> bytes:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise IdentityError("the name is not valid Unicode") from None
    _check_name_length(encoded)
    return encoded


def _decode_name(encoded: bytes) -> str:
    _check_name_length(encoded)
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        raise IdentityError("the name is not UTF-8") from None


def _check_name_length(encoded: bytes) -> None:
    if not 1 <= len(encoded) <= MAX_NAME_BYTES:
        raise IdentityError(f"a name has 1 to {MAX_NAME_BYTES} bytes, not {len(encoded)}")
