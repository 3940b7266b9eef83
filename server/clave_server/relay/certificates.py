"""The relay's certificates: the one shown, the one announced to follow, and the step between them.

Knows files and signatures, not who is connected.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

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
from clave_server.storage.data_dir import DataDir, write_private
from clave_wire.login import fingerprint_text, succession
from clave_wire.messages import NextCertificate

__all__ = ["Certificates", "Fingerprints"]


class Fingerprints(msgspec.Struct, frozen=True):
    """What people compare: of the certificate shown, and of the one announced ("" for none)."""

    present: str
    following: str


class Certificates:
    """What a relay shows: the certificate of its data folder, or the operator's `own` instead.

    Made by `open`. A method that raises has changed nothing.
    """

    def __init__(self, folder: DataDir, own: TlsFiles | None, present: Credentials) -> None:
        self._folder = folder
        self._own = own
        self._former: dict[bytes, Credentials] = {}
        self._announcements: dict[bytes, NextCertificate] = {}
        self.present: Credentials
        self.following: bytes | None
        self._stand(present)

    @classmethod
    def open(cls, folder: DataDir, own: TlsFiles | None, now: dt.datetime) -> Certificates:
        """Load what there is; the folder's certificate is made at the first start. Raises `StartError`."""
        return cls(folder, own, load_credentials(own) if own else open_tls(folder.certificate, now))

    @property
    def fingerprints(self) -> Fingerprints:
        """Both digests as people read them."""
        following = fingerprint_text(self.following) if self.following else ""
        return Fingerprints(fingerprint_text(self.present.digest), following)

    def announcement(self, shown: bytes) -> NextCertificate | None:
        """Return what to tell a connection that was shown the certificate with this digest, if anything.

        That is which one it would be shown if it came back, now or soon, signed by the key it knows.
        """
        if shown not in self._announcements:
            known = self.present if shown == self.present.digest else self._former[shown]
            coming = self.following if known is self.present else self.present.digest
            if coming is None:
                return None
            self._announcements[shown] = NextCertificate(coming, known.sign(succession(shown, coming)))
        return self._announcements[shown]

    def prepare(self, now: dt.datetime, certificate: bytes | None = None) -> None:
        """Make the certificate to follow, or take one that somebody else made (PEM). Raises `AdminError`."""
        self._stand(self.present)
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
        self._stand(self.present)

    def switch(self) -> None:
        """Show the certificate announced, from now on; the former key is not kept. Raises `AdminError`."""
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
        self._show(following)

    def reload(self) -> bool:
        """Read the operator's files again; return whether the certificate is new. Raises `StartError`."""
        if self._own is None:
            return False
        fresh = load_credentials(self._own)
        changed = fresh.digest != self.present.digest
        self._show(fresh)
        return changed

    def _show(self, credentials: Credentials) -> None:
        former = self.present
        self._stand(credentials)
        self._former[former.digest] = former  # connections live on that know no other

    def _stand(self, present: Credentials) -> None:
        """Show `present`, and see which is to follow; once a certificate is shown, its file has served."""
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
