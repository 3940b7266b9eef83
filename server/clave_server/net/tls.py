"""TLS keys and certificates on disk, and the context of a TLS connection. Knows no clients."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from clave_host.private_files import write_private
from clave_server.errors import StartError
from clave_wire.connection import ALPN
from clave_wire.limits import MAX_SIGNATURE_BYTES
from clave_wire.login import certificate_digest

__all__ = [
    "Credentials",
    "TlsFiles",
    "check_pem",
    "load_credentials",
    "make_pem",
    "open_tls",
    "read_certificate",
    "read_digest",
]

_LIFETIME: Final = dt.timedelta(days=365 * 50)
"""Clients pin the certificate, so one that expires would only lock them out."""

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class TlsFiles:
    """Paths of an operator's certificate chain and key, in PEM; both may be one file."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Credentials:
    """A TLS context, its private key, and the certificate digest that clients pin and logins are bound to."""

    context: ssl.SSLContext
    digest: bytes
    _key: _Key = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """Sign with the certificate's key; docs/protocol.md has the scheme for each kind of key."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(data)


def open_tls(path: Path, now: dt.datetime) -> Credentials:
    """Load the relay's own key and certificate at `path`, or make them. Raises `StartError`."""
    try:
        if not path.exists():
            write_private(path, make_pem(now))
        mode = path.lstat().st_mode
    except OSError as error:
        raise StartError(f"cannot read or make {path}: {error.strerror}") from None
    if mode & 0o077:
        raise StartError(f"others can read the relay's key {path}; run: chmod 600 {path}")
    return load_credentials(TlsFiles(path, path))


def load_credentials(files: TlsFiles) -> Credentials:
    """Load a chain and its key. Raises `StartError`, also if a file is replaced meanwhile."""
    key_bytes, chain = _read(files.key), _read(files.certificate)
    if files.key.stat().st_mode & 0o007:  # a group may be who runs relays
        raise StartError(f"everybody can read the key {files.key}; run: chmod o= {files.key}")
    digest, key = _digest(_parse(files.certificate, chain)), _load_key(files.key, key_bytes)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # no resumption: each login is bound to a full handshake
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(files.certificate, files.key, password="")
    except (ssl.SSLError, OSError) as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise StartError(
                f"the key {files.key} is not that of the certificate {files.certificate}"
            ) from None
        raise StartError(f"{files.certificate} cannot be used for TLS: {error}") from None
    if (key_bytes, chain) != (_read(files.key), _read(files.certificate)):
        raise StartError(f"{files.certificate} is being replaced just now; try again")
    return Credentials(context, digest, key)


def check_pem(path: Path, pem: bytes) -> None:
    """Raise `StartError` unless `pem` begins with a certificate; `path` is for the error's text."""
    _parse(path, pem)


def read_certificate(path: Path) -> bytes:
    """Return the first certificate in a PEM file, as PEM and without a key. Raises `StartError`."""
    return _parse(path, _read(path)).public_bytes(serialization.Encoding.PEM)


def read_digest(path: Path) -> bytes:
    """Return the digest of the first certificate in a PEM file. Raises `StartError`."""
    return _digest(_parse(path, _read(path)))


def make_pem(now: dt.datetime) -> bytes:
    """Make a key and a self-signed certificate for clients to pin, in one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clave relay")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from None


def _parse(path: Path, pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion):
        raise StartError(f"{path} does not hold a certificate in PEM") from None


def _digest(certificate: x509.Certificate) -> bytes:
    return certificate_digest(certificate.public_bytes(serialization.Encoding.DER))


def _load_key(path: Path, pem: bytes) -> _Key:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise StartError(f"the key {path} has a passphrase; store it without, as nobody is asked") from None
    except (ValueError, UnsupportedAlgorithm):
        raise StartError(f"{path} does not hold a private key in PEM") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size > 8 * MAX_SIGNATURE_BYTES:
        raise StartError(
            f"the RSA key {path} is too long; take one of {8 * MAX_SIGNATURE_BYTES} bits or less"
        )
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise StartError(f"the key {path} is of a kind that clients do not know; take ECDSA, RSA or Ed25519")
    return key
