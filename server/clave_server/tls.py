"""The relay's TLS: its key and certificate, and every connection's settings. Knows nothing above it."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clave_server.errors import StartError
from clave_server.folder import write_private
from clave_wire.login import certificate_digest

__all__ = ["ALPN", "Credentials", "open_tls"]

ALPN: Final = "clave/1"

_LIFETIME: Final = dt.timedelta(days=365 * 50)
"""Clients pin the certificate, so its end would only break them."""


@dataclass(frozen=True)
class Credentials:
    """What a connection is made with: its TLS context, and the digest clients pin and logins are bound to."""

    context: ssl.SSLContext
    digest: bytes


def open_tls(path: Path, now: dt.datetime) -> Credentials:
    """Load the key and certificate at `path`, making them there on the first start. Raises `StartError`."""
    try:
        if not path.exists():
            write_private(path, _make_pem(now))
        status, pem = path.lstat(), path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read or make {path}: {error.strerror}") from None
    if status.st_mode & 0o077:
        raise StartError(f"others can read the relay's key {path}; run: chmod 600 {path}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # no resumption: each login is bound to a full handshake
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(path)
        certificate = x509.load_pem_x509_certificate(pem)
    except (ssl.SSLError, ValueError) as error:
        raise StartError(f"{path} does not hold a key and its certificate in PEM: {error}") from None
    return Credentials(context, certificate_digest(certificate.public_bytes(serialization.Encoding.DER)))


def _make_pem(now: dt.datetime) -> bytes:
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
