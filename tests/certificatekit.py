"""Certificates made on the spot: an authority, and what it or nobody vouches for."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from clave_server.net.tls import TlsFiles

HOST = "relay.example"

PrivateKey = (
    ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    protection = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """A certificate authority; whoever trusts `pem` believes what it says."""

    def __init__(self) -> None:
        self._key = ec_key()
        self._name = _named("an authority")
        ca = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._begin(self._name, self._key.public_key(), 30)
            .add_extension(ca, critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def vouch(self, key: PrivateKey, host: str, days: float = 1) -> bytes:
        """Return a chain (PEM) that says that `key` belongs to `host`; negative `days` make it expired."""
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        certificate = (
            self._begin(_named(host), key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + self.pem

    def _begin(
        self, subject: x509.Name, public: CertificatePublicKeyTypes, days: float
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + dt.timedelta(days=days))
        )


def write_pair(folder: Path, chain: bytes, key: PrivateKey) -> tuple[Path, Path]:
    """Put a chain and its key where a relay reads them; return both paths."""
    certificate, private = folder / "chain.pem", folder / "key.pem"
    certificate.write_bytes(chain)
    private.touch(mode=0o600)
    private.write_bytes(key_pem(key))
    return certificate, private


def own_files(folder: Path, authority: Authority, key: PrivateKey | None = None) -> TlsFiles:
    """Put a certificate of an authority and its key where a relay reads them."""
    key = key or ec_key()
    return TlsFiles(*write_pair(folder, authority.vouch(key, HOST), key))
