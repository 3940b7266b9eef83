"""The requests of an operator to a relay, running or stopped, and what each does to database and files.

Knows no running relay: what a request does there besides is in `request_handler`.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

import apsw
import msgspec

from clave_server.accounts import tokens
from clave_server.accounts.tokens import Token
from clave_server.admin.status import Status
from clave_server.errors import AdminError
from clave_server.limits import bans
from clave_server.limits.bans import Ban
from clave_server.net.tls import TlsFiles
from clave_server.option_values import MAX_COUNT, MAX_DAYS, MAX_NOTE_CHARACTERS, MAX_USES
from clave_server.relay.certificates import Certificates, Fingerprints
from clave_server.rooms.retention import KEEP_ALL, RetentionPolicy, prune_all
from clave_server.storage import schema
from clave_server.storage.data_dir import DataDir
from clave_server.storage.db_thread import in_transaction

__all__ = [
    "AddBan",
    "AdminRequest",
    "AdminRequests",
    "CertificateRequest",
    "Deleted",
    "DropDamagedBans",
    "GetCertificates",
    "GetStatus",
    "LiftBan",
    "ListBans",
    "ListTokens",
    "MakeToken",
    "PrepareCertificate",
    "Prune",
    "RevokeToken",
    "SwitchCertificate",
    "check_policy",
]

_MAX_TIME: Final = 2**47
"""In ms since 1970: about the year 6430; datetime ends with 9999."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
_Note = Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARACTERS)]

_T = TypeVar("_T")


class AdminRequest(msgspec.Struct, Generic[_T], frozen=True, tag_field="order", forbid_unknown_fields=True):
    """A request. The type of its answer is its parameter, and `ANSWER` for decoding."""

    ANSWER: ClassVar[Any]

    TIMEOUT: ClassVar[float] = 60.0
    """Seconds to wait for a running relay's answer."""

    def execute(self, connection: apsw.Connection, now: int) -> _T:
        """Execute it at `now` (ms since 1970) on a database that no relay runs on. Raises `AdminError`."""
        return in_transaction(connection, partial(self.step, now=now))

    def step(self, connection: apsw.Connection, now: int) -> _T:
        """Do the database's part of it, inside a transaction. Raises `AdminError`."""
        raise NotImplementedError

    def execute_in(self, folder: DataDir, own: TlsFiles | None, now: int) -> _T:
        """Execute it on a folder that no relay runs on; `own` is the operator's certificate, if given.

        Raises `AdminError` or `StartError`.
        """
        connection = schema.connect_writer(folder.database)
        try:
            return self.execute(connection, now)
        finally:
            connection.close()


class GetStatus(AdminRequest[Status], frozen=True, tag="status"):
    """Status of the running relay."""

    ANSWER = Status

    def execute(self, connection: apsw.Connection, now: int) -> Status:
        """Raise `AdminError`: a stopped relay has no status."""
        raise AdminError("no relay runs here; start it with: clave-relay")


class MakeToken(AdminRequest[int], frozen=True, tag="make-token"):
    """Store a token that the operator made; the answer is its id."""

    digest: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    note: _Note
    expires_at: Annotated[int, msgspec.Meta(ge=0, le=_MAX_TIME)] | None
    uses: Annotated[int, msgspec.Meta(ge=1, le=MAX_USES)] | None

    ANSWER = int

    def step(self, connection: apsw.Connection, now: int) -> int:
        """Store the token."""
        return tokens.make_token(
            connection,
            self.digest,
            note=self.note,
            made_at=now,
            expires_at=self.expires_at,
            uses=self.uses,
        )


class ListTokens(AdminRequest[list[Token]], frozen=True, tag="list-tokens"):
    """All tokens."""

    ANSWER = list[Token]

    def step(self, connection: apsw.Connection, now: int) -> list[Token]:
        """Read the tokens."""
        return tokens.read_tokens(connection)


class RevokeToken(AdminRequest[None], frozen=True, tag="revoke-token"):
    """Delete a token."""

    id: _Count

    ANSWER = None

    def step(self, connection: apsw.Connection, now: int) -> None:
        """Delete the token."""
        if not tokens.revoke_token(connection, self.id):
            raise AdminError(f"there is no token {self.id}; see: clave-relay token list")


class AddBan(AdminRequest[int], frozen=True, tag="add-ban"):
    """Ban an account, an address or a network; the answer is the number of connections closed."""

    ban: Ban

    ANSWER = int

    def step(self, connection: apsw.Connection, now: int) -> int:
        """Store the ban; without a running relay no connections are closed."""
        bans.check_ban(self.ban)
        if len(self.ban.note) > MAX_NOTE_CHARACTERS:
            raise AdminError(f"a note has at most {MAX_NOTE_CHARACTERS} characters")
        bans.add_ban(connection, msgspec.structs.replace(self.ban, made_at=now))
        return 0


class LiftBan(AdminRequest[None], frozen=True, tag="lift-ban"):
    """Lift a ban."""

    ban: Ban

    ANSWER = None

    def step(self, connection: apsw.Connection, now: int) -> None:
        """Delete the ban."""
        if not bans.lift_ban(connection, self.ban):
            raise AdminError(f"{self.ban.subject} is not banned; see: clave-relay ban")


class DropDamagedBans(AdminRequest[list[str]], frozen=True, tag="drop-damaged-bans"):
    """Delete the bans that are damaged on disk; the answer is the subjects they have now."""

    ANSWER = list[str]

    def step(self, connection: apsw.Connection, now: int) -> list[str]:
        """Delete them; a running relay that has them in memory enforces them until it ends."""
        return bans.drop_damaged_bans(connection)


class ListBans(AdminRequest[list[Ban]], frozen=True, tag="list-bans"):
    """All bans."""

    ANSWER = list[Ban]

    def step(self, connection: apsw.Connection, now: int) -> list[Ban]:
        """Read the bans."""
        return bans.read_bans(connection)


class CertificateRequest(AdminRequest[Fingerprints], frozen=True):
    """A request about the relay's certificates, which are files; the answer is their fingerprints."""

    ANSWER = Fingerprints

    def apply(self, certificates: Certificates) -> Fingerprints:
        """Apply it to the certificates. Raises `AdminError`."""
        raise NotImplementedError

    def execute_in(self, folder: DataDir, own: TlsFiles | None, now: int) -> Fingerprints:
        """Execute it on the files in the data folder, or on the operator's."""
        if own is None and not folder.certificate.exists():
            raise AdminError(
                f"{folder.certificate} is missing. If this relay shows a certificate of yours: name it with"
                " --tls-certificate; else restore it from a backup"
            )
        return self.apply(Certificates.open(folder, own, dt.datetime.now(dt.UTC)))


class GetCertificates(CertificateRequest, frozen=True, tag="tell-certificates"):
    """Fingerprints of the present and the next certificate."""

    def apply(self, certificates: Certificates) -> Fingerprints:
        """Read them."""
        return certificates.fingerprints


class PrepareCertificate(CertificateRequest, frozen=True, tag="prepare-certificate"):
    """Announce the next certificate: a new one, or the one given as PEM."""

    certificate: bytes | None

    def apply(self, certificates: Certificates) -> Fingerprints:
        """Make or take it, and store it."""
        certificates.prepare(dt.datetime.now(dt.UTC), self.certificate)
        return certificates.fingerprints


class SwitchCertificate(CertificateRequest, frozen=True, tag="switch-certificate"):
    """Switch to the next certificate."""

    def apply(self, certificates: Certificates) -> Fingerprints:
        """Replace the present one."""
        certificates.switch()
        return certificates.fingerprints


class Deleted(msgspec.Struct, frozen=True):
    """Entries deleted, and their bytes."""

    entries: int
    size: int


class Prune(AdminRequest[Deleted], frozen=True, tag="prune"):
    """Delete old entries; with both limits 0, by the running relay's settings."""

    days: Annotated[int, msgspec.Meta(ge=0, le=MAX_DAYS)]
    room_bytes: _Count

    ANSWER = Deleted
    TIMEOUT = 3600.0

    def execute(self, connection: apsw.Connection, now: int) -> Deleted:
        """Prune all rooms, in a transaction each."""
        pruned = prune_all(connection, self.policy, now)
        return Deleted(pruned.entries, pruned.size)

    @property
    def policy(self) -> RetentionPolicy:
        """What to keep. Raises `AdminError` if that is everything."""
        return check_policy(RetentionPolicy(self.days, self.room_bytes))


def check_policy(policy: RetentionPolicy) -> RetentionPolicy:
    """Return `policy`. Raises `AdminError` if it keeps everything."""
    if policy == KEEP_ALL:
        raise AdminError("everything is kept; say how much is not with --retain-days or --retain-bytes")
    return policy


AdminRequests: Final = (
    GetStatus
    | MakeToken
    | ListTokens
    | RevokeToken
    | AddBan
    | LiftBan
    | DropDamagedBans
    | ListBans
    | GetCertificates
    | PrepareCertificate
    | SwitchCertificate
    | Prune
)
"""All requests, for decoding."""
