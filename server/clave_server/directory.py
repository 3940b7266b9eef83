"""Accounts, devices, key packages and waiting invitations on disk. Runs on the store's threads."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from clave_server.errors import DamageError, Refusal
from clave_server.segment import CHUNK_BYTES
from clave_wire.limits import MAX_KEY_PACKAGES, MAX_SUITES
from clave_wire.messages import Code, Invitation

__all__ = [
    "MAX_DEVICES",
    "MAX_INVITATIONS",
    "MAX_INVITATIONS_OF_ONE",
    "Applicant",
    "Enrolment",
    "Registration",
    "add_stored",
    "claim_key_packages",
    "enrol",
    "find_device",
    "highest_ids",
    "look_up",
    "publish_key_packages",
    "read_invitations",
    "resolve",
    "take_invitation",
]

MAX_DEVICES: Final = 16
"""Devices of one account."""

MAX_INVITATIONS: Final = 256
"""Rooms one device may be invited to at a time."""


_WHOLE: Final = (
    "(accounts.seal = seal('account', id, accounts.account, name)"
    " AND devices.seal = seal('device', device, devices.account, identity))"
)
"""Whether a device's row and its account's are as they were written."""


MAX_INVITATIONS_OF_ONE: Final = 32
"""Those of them that one account may have made."""

_WAITING_OF_ONE: Final = (
    "SELECT count(*) FROM invitations AS i JOIN welcomes AS w ON w.id = i.welcome"
    " JOIN devices AS theirs ON theirs.device = w.sender JOIN devices AS mine ON mine.device = ?2"
    " WHERE i.device = ?1 AND theirs.account = mine.account"
)


class Registration(enum.StrEnum):
    """Who may register a new name."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105  (a mode, not a password)
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Applicant:
    """A device whose login signature holds, and what its name compares as."""

    device: bytes
    identity: bytes
    account: bytes
    name: str
    folded: str
    skeleton: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a login found or made.

    `key_packages` has (suite, how many unclaimed ones) of the device, `rooms` how many the account made, and
    `stored` the bytes of its entries.
    """

    registered: bool
    key_packages: list[tuple[int, int]]
    rooms: int
    stored: int


def find_device(connection: apsw.Connection, applicant: Applicant) -> Enrolment | None:
    """Return the enrolment of a device that is known with exactly this identity, else None."""
    whole = connection.execute(
        f"SELECT {_WHOLE} FROM devices JOIN accounts ON accounts.id = devices.account"  # noqa: S608  (a constant)
        " WHERE device = ? AND identity = ?",
        (applicant.device, applicant.identity),
    ).get
    if whole is None:
        return None
    _check(whole)
    return _enrolment(connection, applicant, registered=False)


def enrol(
    connection: apsw.Connection, applicant: Applicant, permit: Callable[[apsw.Connection], None]
) -> Enrolment:
    """Make the device known, and its account where the name is new and `permit` raises no `Refusal`.

    Raises `Refusal`: that of `permit`, or the name is another account's or looks like one, or the device is.
    """
    row = connection.execute(
        "SELECT id, name, seal = seal('account', id, account, name) FROM accounts WHERE account = ?",
        (applicant.account,),
    ).get
    if row is None:
        permit(connection)
        _check_free(connection, applicant)
        account = connection.execute(
            "INSERT INTO accounts(account, name, folded, skeleton) VALUES (?, ?, ?, ?) RETURNING id",
            (applicant.account, applicant.name, applicant.folded, applicant.skeleton),
        ).get
        connection.execute(
            "UPDATE accounts SET seal = seal('account', id, account, name) WHERE id = ?", (account,)
        )
    else:
        account, name, whole = row
        _check(whole)
        if name != applicant.name:
            raise Refusal(Code.BAD_LOGIN, f"this account is registered as {name}; a name cannot be changed")
    owner = connection.execute("SELECT account FROM devices WHERE device = ?", (applicant.device,)).get
    if owner is None:
        devices = connection.execute("SELECT count(*) FROM devices WHERE account = ?", (account,)).get
        if devices >= MAX_DEVICES:
            raise Refusal(Code.LIMIT, f"an account has at most {MAX_DEVICES} devices")
    elif owner != account:
        raise Refusal(Code.BAD_LOGIN, "this device belongs to another account")
    connection.execute(
        "INSERT INTO devices VALUES (?1, ?2, ?3, seal('device', ?1, ?2, ?3))"
        " ON CONFLICT DO UPDATE SET identity = ?3, seal = excluded.seal",
        (applicant.device, account, applicant.identity),
    )
    return _enrolment(connection, applicant, registered=row is None)


def _enrolment(connection: apsw.Connection, applicant: Applicant, *, registered: bool) -> Enrolment:
    packages: list[Any] = connection.execute(
        "SELECT suite, count(*) FROM key_packages WHERE device = ? GROUP BY suite", (applicant.device,)
    ).fetchall()
    rooms, stored = connection.execute(
        "SELECT (SELECT count(*) FROM rooms WHERE maker = accounts.id), stored FROM accounts"
        " WHERE account = ?",
        (applicant.account,),
    ).get
    return Enrolment(registered, packages, rooms, stored)


def add_stored(connection: apsw.Connection, account: bytes, size: int) -> None:
    """Count bytes, or with a negative `size` fewer of them, as stored by an account."""
    connection.execute("UPDATE accounts SET stored = max(0, stored + ?) WHERE account = ?", (size, account))


def _check(whole: bool | int) -> None:
    if not whole:
        raise DamageError("an account or a device of it is damaged on disk")


def _check_free(connection: apsw.Connection, applicant: Applicant) -> None:
    taken = connection.execute("SELECT name FROM accounts WHERE folded = ?", (applicant.folded,)).get
    if taken is not None:
        raise Refusal(Code.NAME_TAKEN, f"the name {taken} is taken")
    alike = connection.execute("SELECT name FROM accounts WHERE skeleton = ?", (applicant.skeleton,)).get
    if alike is not None:
        raise Refusal(Code.NAME_CONFUSABLE, f"the name {applicant.name} looks like {alike}, which is taken")


def look_up(connection: apsw.Connection, name: str) -> list[tuple[bytes, bytes]]:
    """Return (device, identity) of each device of `name`. Raises `Refusal`."""
    rows: list[Any] = connection.execute(
        f"SELECT device, identity, {_WHOLE}, name FROM devices"  # noqa: S608  (a constant)
        " JOIN accounts ON accounts.id = devices.account WHERE name = ? ORDER BY device",
        (name,),
    ).fetchall()
    if not rows:
        _check(connection.execute("SELECT 1 FROM accounts WHERE name = ?", (name,)).get is None)
        raise Refusal(Code.NO_SUCH_NAME, "nobody has this name here")
    for _, _, whole, found in rows:
        _check(whole and found == name)
    return [(device, identity) for device, identity, *_ in rows]


def publish_key_packages(
    connection: apsw.Connection, device: bytes, suite: int, packages: Sequence[bytes], last_resort: bytes
) -> None:
    """Add one-time key packages of a suite; keep `last_resort`, if not empty, for an empty pool of it.

    Raises `Refusal`.
    """
    waiting = connection.execute("SELECT count(*) FROM key_packages WHERE device = ?", (device,)).get
    if waiting + len(packages) > MAX_KEY_PACKAGES:
        raise Refusal(
            Code.LIMIT, f"a device has at most {MAX_KEY_PACKAGES} key packages waiting; {waiting} are"
        )
    others = connection.execute(
        "SELECT count(*) FROM (SELECT suite FROM key_packages WHERE device = ?1"
        " UNION SELECT suite FROM last_resorts WHERE device = ?1) WHERE suite != ?2",
        (device, suite),
    ).get
    if others >= MAX_SUITES:
        raise Refusal(Code.LIMIT, f"a device has key packages of at most {MAX_SUITES} cipher suites")
    connection.executemany(
        "INSERT INTO key_packages(device, suite, package) VALUES (?, ?, ?)",
        [(device, suite, package) for package in packages],
    )
    if last_resort:
        connection.execute(
            "INSERT INTO last_resorts VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET package = ?3",
            (device, suite, last_resort),
        )


def claim_key_packages(connection: apsw.Connection, name: str, suite: int) -> list[bytes]:
    """Take one key package of a suite of each device of `name`, for good. Raises `Refusal`."""
    claimed: list[bytes] = []
    for device, _ in look_up(connection, name):
        package = connection.execute(
            "DELETE FROM key_packages"
            " WHERE id = (SELECT min(id) FROM key_packages WHERE device = ? AND suite = ?) RETURNING package",
            (device, suite),
        ).get
        if package is None:
            package = connection.execute(
                "SELECT package FROM last_resorts WHERE device = ? AND suite = ?", (device, suite)
            ).get
        if package is not None:
            claimed.append(package)
    if not claimed:
        raise Refusal(
            Code.NO_KEY_PACKAGE, f"no device of this name has a key package of cipher suite {suite:#06x} here"
        )
    return claimed


def resolve(
    connection: apsw.Connection, devices: Iterable[bytes], *, inviter: bytes | None
) -> dict[bytes, str]:
    """Return the names of those devices that are known.

    Raises `Refusal` when the device `inviter` invites one that has too many invitations waiting, of this
    account or in all.
    """
    names: dict[bytes, str] = {}
    for device in devices:
        row = connection.execute(
            f"SELECT name, (SELECT count(*) FROM invitations WHERE device = ?1), {_WHOLE} FROM devices"  # noqa: S608
            " JOIN accounts ON accounts.id = devices.account WHERE device = ?1",
            (device,),
        ).get
        if row is not None:
            names[device], waiting, whole = row
            _check(whole)
            if inviter is None:
                continue
            of_one = connection.execute(_WAITING_OF_ONE, (device, inviter)).get
            if waiting >= MAX_INVITATIONS or of_one >= MAX_INVITATIONS_OF_ONE:
                raise Refusal(
                    Code.LIMIT, f"{names[device]} has {waiting} invitations waiting; no more are kept"
                )
    return names


def read_invitations(connection: apsw.Connection, device: bytes, after: int) -> list[Invitation]:
    """Read the device's waiting invitations with ids above `after`, about `CHUNK_BYTES` of them."""
    invitations: list[Invitation] = []
    size = 0
    for row in connection.execute(
        "SELECT i.id, w.room, w.seq, w.sender, w.welcome FROM invitations AS i"
        " JOIN welcomes AS w ON w.id = i.welcome"
        " WHERE i.device = ? AND i.id > ? ORDER BY i.id",
        (device, after),
    ):
        size += len(row[-1])
        if invitations and size > CHUNK_BYTES:
            break
        invitations.append(Invitation(*row))
    return invitations


def take_invitation(connection: apsw.Connection, device: bytes, invitation: int) -> None:
    """Forget an invitation of `device`; one that is not there is as good as taken."""
    connection.execute("DELETE FROM invitations WHERE id = ? AND device = ?", (invitation, device))


def highest_ids(connection: apsw.Connection) -> tuple[int, int]:
    """Return the highest invitation id ever used and the highest welcome id there is."""
    invitation = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'invitations'").get
    welcome = connection.execute("SELECT max(id) FROM welcomes").get
    return invitation or 0, welcome or 0
