"""The requests of an operator to a relay, running or stopped, and what each does to database and files.

Knows no running relay: what a request does there besides is in `request_handler`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

import apsw
import msgspec

from clave_server.accounts import directory, tokens
from clave_server.accounts.directory import AccountRow
from clave_server.accounts.tokens import Token
from clave_server.admin.status import Status
from clave_server.errors import AdminError
from clave_server.limits import bans
from clave_server.limits.bans import Ban, BanKind
from clave_server.net.tls import TlsFiles
from clave_server.option_values import MAX_COUNT, MAX_DAYS, MAX_NOTE_CHARACTERS, MAX_USES
from clave_server.relay.certificates import Certificates, Fingerprints
from clave_server.relay.freeing import free_account
from clave_server.rooms.retention import KEEP_ALL, RetentionPolicy, prune_all
from clave_server.storage import schema
from clave_server.storage.data_dir import DataDir
from clave_server.storage.db_thread import in_transaction
from clave_server.storage.run_clock import Jump, confirm_clock, find_jump
from clave_wire.limits import MAX_NAME_BYTES

__all__ = [
    "AddBan",
    "AdminRequest",
    "AdminRequests",
    "CertificateRequest",
    "Deleted",
    "DropDamagedBans",
    "FreeAccount",
    "Freed",
    "GetCertificates",
    "GetStatus",
    "LiftBan",
    "ListAccounts",
    "ListBans",
    "ListTokens",
    "MakeToken",
    "PrepareCertificate",
    "Prune",
    "RevokeToken",
    "SwitchCertificate",
    "check_clock",
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

    EVENT: ClassVar[str] = ""
    """What the log of a running relay calls it, "" for a request that changes nothing."""

    def facts(self, answer: _T) -> dict[str, object]:
        """Return what the log says of it beside `EVENT`: no secrets."""
        return {}

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
    EVENT = "token made"

    def facts(self, answer: int) -> dict[str, object]:
        """Name the token by its number."""
        return {"token": answer, "uses": self.uses or "any", "note": self.note}

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
    EVENT = "token revoked"

    def facts(self, answer: None) -> dict[str, object]:
        """Name the token by its number."""
        return {"token": self.id}

    def step(self, connection: apsw.Connection, now: int) -> None:
        """Delete the token."""
        if not tokens.revoke_token(connection, self.id):
            raise AdminError(f"there is no token {self.id}; see: clave-relay token list")


class AddBan(AdminRequest[int], frozen=True, tag="add-ban"):
    """Ban an account, an address or a network; the answer is the number of connections closed.

    A name that nobody has is banned only if it may be `unknown`.
    """

    ban: Ban
    unknown: bool = False

    ANSWER = int
    EVENT = "banned"

    def facts(self, answer: int) -> dict[str, object]:
        """Say who, and how many connections that closed."""
        return {"subject": self.ban.subject, "note": self.ban.note, "closed": answer}

    def step(self, connection: apsw.Connection, now: int) -> int:
        """Store the ban; without a running relay no connections are closed."""
        bans.check_ban(self.ban)
        if len(self.ban.note) > MAX_NOTE_CHARACTERS:
            raise AdminError(f"a note has at most {MAX_NOTE_CHARACTERS} characters")
        known = self.unknown or directory.is_registered(connection, self.ban.subject)
        if self.ban.kind is BanKind.NAME and not known:
            raise AdminError(
                f"nobody has the name {self.ban.subject} here, see: clave-relay account list;"
                " to ban it before anybody has it, add --unknown"
            )
        bans.add_ban(connection, msgspec.structs.replace(self.ban, made_at=now))
        return 0


class LiftBan(AdminRequest[None], frozen=True, tag="lift-ban"):
    """Lift a ban."""

    ban: Ban

    ANSWER = None
    EVENT = "ban lifted"

    def facts(self, answer: None) -> dict[str, object]:
        """Say whose."""
        return {"subject": self.ban.subject}

    def step(self, connection: apsw.Connection, now: int) -> None:
        """Delete the ban."""
        if not bans.lift_ban(connection, self.ban):
            raise AdminError(f"{self.ban.subject} is not banned; see: clave-relay ban")


class DropDamagedBans(AdminRequest[list[str]], frozen=True, tag="drop-damaged-bans"):
    """Delete the bans that are damaged on disk; the answer is the subjects they have now."""

    ANSWER = list[str]
    EVENT = "damaged bans forgotten"

    def facts(self, answer: list[str]) -> dict[str, object]:
        """Say how many."""
        return {"bans": len(answer)}

    def step(self, connection: apsw.Connection, now: int) -> list[str]:
        """Delete them; a running relay that has them in memory enforces them until it ends."""
        return bans.drop_damaged_bans(connection)


class ListBans(AdminRequest[list[Ban]], frozen=True, tag="list-bans"):
    """All bans."""

    ANSWER = list[Ban]

    def step(self, connection: apsw.Connection, now: int) -> list[Ban]:
        """Read the bans."""
        return bans.read_bans(connection)


class ListAccounts(AdminRequest[list[AccountRow]], frozen=True, tag="list-accounts"):
    """All accounts whose name was not freed."""

    ANSWER = list[AccountRow]

    def step(self, connection: apsw.Connection, now: int) -> list[AccountRow]:
        """Read the accounts."""
        return directory.list_accounts(connection)


class Freed(msgspec.Struct, frozen=True):
    """A name that was freed: whose account key it was, with how many devices, how many of them connected."""

    name: str
    account: bytes
    devices: int
    closed: int = 0


class FreeAccount(AdminRequest[Freed], frozen=True, tag="free-account"):
    """Free the name of an account, so that anybody can register it with another key.

    Its devices can no longer log in; in rooms they stay members until others remove them.
    """

    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME_BYTES)]

    ANSWER = Freed
    EVENT = "account freed"

    def facts(self, answer: Freed) -> dict[str, object]:
        """Say whose name."""
        return {"name": answer.name, "devices": answer.devices, "closed": answer.closed}

    def step(self, connection: apsw.Connection, now: int) -> Freed:
        """Free the name."""
        return self.free(connection)[0]

    def free(self, connection: apsw.Connection) -> tuple[Freed, Counter[bytes]]:
        """Free the name, and return also the bytes of welcomes to it that are deleted, by account."""
        freed = free_account(connection, self.name)
        return Freed(freed.name, freed.account, freed.devices), freed.released


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

    EVENT = "next certificate announced"

    def facts(self, answer: Fingerprints) -> dict[str, object]:
        """Name it by its fingerprint."""
        return {"fingerprint": answer.following}

    def apply(self, certificates: Certificates) -> Fingerprints:
        """Make or take it, and store it."""
        certificates.prepare(dt.datetime.now(dt.UTC), self.certificate)
        return certificates.fingerprints


class SwitchCertificate(CertificateRequest, frozen=True, tag="switch-certificate"):
    """Switch to the next certificate."""

    EVENT = "certificate switched"

    def facts(self, answer: Fingerprints) -> dict[str, object]:
        """Name it by its fingerprint."""
        return {"fingerprint": answer.present}

    def apply(self, certificates: Certificates) -> Fingerprints:
        """Replace the present one."""
        certificates.switch()
        return certificates.fingerprints


class Deleted(msgspec.Struct, frozen=True):
    """Entries deleted, and their bytes."""

    entries: int
    size: int


class Prune(AdminRequest[Deleted], frozen=True, tag="prune", omit_defaults=True):
    """Delete old entries; with both limits 0, by the running relay's settings.

    Refused while the clock is doubted, unless the operator confirms it; that is done also where all is kept.
    """

    days: Annotated[int, msgspec.Meta(ge=0, le=MAX_DAYS)]
    room_bytes: _Count
    confirm_clock: bool = False

    ANSWER = Deleted
    TIMEOUT = 3600.0
    EVENT = "entries pruned"

    def facts(self, answer: Deleted) -> dict[str, object]:
        """Say how many, and whether the clock was confirmed."""
        confirmed = {"clock": "confirmed"} if self.confirm_clock else {}
        return {"entries": answer.entries, "bytes": answer.size, **confirmed}

    def execute(self, connection: apsw.Connection, now: int) -> Deleted:
        """Prune all rooms, in a transaction each."""
        policy = RetentionPolicy(self.days, self.room_bytes)
        if self.confirm_clock:
            in_transaction(connection, partial(confirm_clock, now=now))
            if policy == KEEP_ALL:
                return Deleted(0, 0)
        check_policy(policy)
        check_clock(find_jump(connection, now))
        pruned = prune_all(connection, policy, now)
        return Deleted(pruned.entries, pruned.size)


def check_clock(jump: Jump | None) -> None:
    """Raise `AdminError` if the clock is doubted."""
    if jump is not None:
        raise AdminError(
            f"nothing was deleted, as the clock is doubted: {jump.times}; if it is wrong, set it;"
            " if it is right, add --confirm-clock"
        )


def check_policy(policy: RetentionPolicy) -> None:
    """Raise `AdminError` if `policy` keeps everything."""
    if policy == KEEP_ALL:
        raise AdminError("everything is kept; say how much is not with --retain-days or --retain-bytes")


AdminRequests: Final = (
    GetStatus
    | MakeToken
    | ListTokens
    | RevokeToken
    | AddBan
    | LiftBan
    | DropDamagedBans
    | ListBans
    | ListAccounts
    | FreeAccount
    | GetCertificates
    | PrepareCertificate
    | SwitchCertificate
    | Prune
)
"""All requests, for decoding."""
