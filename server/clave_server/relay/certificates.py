"""The relay's TLS certificates: the present one, the next one that is announced, and the switch to it.

Knows files and signatures, no connections.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

import msgspec

from clave_host.private_files import write_private
from clave_server.accounts.directory import count_accounts
from clave_server.errors import AdminError, StartError
from clave_server.net.tls import (
    Credentials,
    TlsFiles,
    check_pem,
    load_credentials,
    make_pem,
    open_tls,
    read_digest,
)
from clave_server.storage import schema
from clave_server.storage.data_dir import DataDir
from clave_wire.login import fingerprint_text, succession
from clave_wire.messages import NextCertificate

__all__ = ["Certificates", "Fingerprints", "check_identity"]


def check_identity(certificate: Path, database: Path) -> None:
    """Raise `StartError` if the relay's `certificate` is missing beside a database with accounts.

    Their clients pinned it, and would stop at a new one.
    """
    if certificate.exists() or not database.exists():
        return
    with schema.start_errors(database), contextlib.closing(schema.connect_reader(database)) as connection:
        if not (schema.read_version(connection, database) and count_accounts(connection)):
            return
    raise StartError(
        f"{certificate} is missing, by which clients know this relay: restore it from a backup"
        f" (tar -xpf FILE {certificate.name}), or name the one they know with --tls-certificate;"
        " with --new-identity the relay makes another, and every client stops until its user accepts it"
    )


class Fingerprints(msgspec.Struct, frozen=True):
    """Fingerprints that people compare, of the present and of the next certificate ("" for none)."""

    present: str
    following: str


class Certificates:
    """The certificates of one relay: from its data folder, or the operator's `own` files instead.

    Made by `open`. A method that raises has changed nothing.
    """

    def __init__(self, folder: DataDir, own: TlsFiles | None, present: Credentials) -> None:
        self._folder = folder
        self._own = own
        self._former: dict[bytes, Credentials] = {}
        self._announcements: dict[bytes, NextCertificate] = {}
        self.present: Credentials
        self.following: bytes | None
        self._set_present(present)

    @classmethod
    def open(cls, folder: DataDir, own: TlsFiles | None, now: dt.datetime) -> Certificates:
        """Load the certificate; one in the folder is made at the first start. Raises `StartError`."""
        return cls(folder, own, load_credentials(own) if own else open_tls(folder.certificate, now))

    @property
    def fingerprints(self) -> Fingerprints:
        """Both digests as people read them."""
        following = fingerprint_text(self.following) if self.following else ""
        return Fingerprints(fingerprint_text(self.present.digest), following)

    def announcement(self, shown: bytes) -> NextCertificate | None:
        """Return what to send a connection that was shown the certificate with this digest, or None.

        It names the certificate of future connections and is signed with the key of the one shown.
        """
        if shown not in self._announcements:
            known = self.present if shown == self.present.digest else self._former[shown]
            coming = self.following if known is self.present else self.present.digest
            if coming is None:
                return None
            self._announcements[shown] = NextCertificate(coming, known.sign(succession(shown, coming)))
        return self._announcements[shown]

    def prepare(self, now: dt.datetime, certificate: bytes | None = None) -> None:
        """Make the next certificate, or take a given one (PEM). Raises `AdminError`."""
        self._set_present(self.present)
        path = self._folder.next_certificate
        if self.following is not None:
            raise AdminError(f"a next certificate is announced already; to make another, remove {path} first")
        if certificate is None and self._own:
            raise AdminError(
                "this relay shows a certificate of yours: name the FILE with the one to follow it"
            )
        pem = certificate or make_pem(now)
        try:
            check_pem(path, pem)
        except StartError as error:
            raise AdminError(str(error)) from None
        self._write(path, pem)
        self._set_present(self.present)

    def switch(self) -> None:
        """Use the next certificate from now on; the former key is not kept. Raises `AdminError`."""
        if self._own:
            raise AdminError(
                f"this relay shows a certificate of yours: replace {self._own.certificate} and send it SIGHUP"
            )
        path = self._folder.next_certificate
        if not path.exists():
            raise AdminError("there is no next certificate; make one with: clave-relay certificate next")
        try:
            following = load_credentials(TlsFiles(path, path))
        except StartError as error:
            raise AdminError(f"{error}; one of yours is shown with --tls-certificate and --tls-key") from None
        self._write(self._folder.certificate, path.read_bytes())
        self._replace_present(following)

    def reload(self) -> bool:
        """Read the operator's files again; return whether the certificate is new. Raises `StartError`."""
        if self._own is None:
            return False
        fresh = load_credentials(self._own)
        changed = fresh.digest != self.present.digest
        self._replace_present(fresh)
        return changed

    def _replace_present(self, credentials: Credentials) -> None:
        former = self.present
        self._set_present(credentials)
        self._former[former.digest] = former  # for connections that were shown it and are still open

    def _set_present(self, present: Credentials) -> None:
        """Use `present` for new connections; delete the next certificate's file if it is the same."""
        path = self._folder.next_certificate
        following = read_digest(path) if path.exists() else None
        if following == present.digest:
            path.unlink()
            following = None
        self.present, self.following, self._announcements = present, following, {}

    @staticmethod
    def _write(path: Path, pem: bytes) -> None:
        try:
            write_private(path, pem)
        except OSError as error:
            raise AdminError(f"cannot write {path}: {error.strerror}") from None
