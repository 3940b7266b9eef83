"""Accounts, devices and their key packages in the database. Runs on the database threads.

An account whose name was freed keeps its row, as its devices are in rooms until members remove them. The name
in that row is the former one, a blank, and the row's id; no name that can be registered has a blank.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw
import msgspec
import structlog

from clave_server.accounts.device_counts import DeviceCount, check_count, update_count
from clave_server.accounts.revocations import MAX_DEVICES, check_revoked, check_space
from clave_server.errors import AdminError, DamageError, Refusal
from clave_server.storage.seals import ACCOUNT, DEVICE, KEY_PACKAGE, LAST_RESORT, PERSON, REVOKED
from clave_wire.limits import MAX_KEY_PACKAGES, MAX_SUITES
from clave_wire.messages import Code

__all__ = [
    "MAX_DEVICES",
    "AccountRow",
    "Applicant",
    "Enrolment",
    "add_stored",
    "claim_key_packages",
    "count_accounts",
    "enrol",
    "find_device",
    "free_name",
    "freed_text",
    "is_registered",
    "known_name",
    "list_accounts",
    "look_up",
    "publish_key_packages",
    "resolve",
]

_WHOLE: Final = f"(accounts.seal = {ACCOUNT} AND devices.seal = {DEVICE})"
"""Whether the rows of a device and its account are undamaged."""

_SEAL_PERSON: Final = f"UPDATE accounts SET person = {PERSON} WHERE id = ?"  # noqa: S608  (a constant)

_SEAL_ACCOUNT: Final = f"UPDATE accounts SET seal = {ACCOUNT}, revoked = {REVOKED} WHERE id = ?"  # noqa: S608

_PACKAGE: Final = (
    f"SELECT device = ?2 AND suite = ?3 AND seal = {KEY_PACKAGE}, package FROM key_packages WHERE id = ?1"  # noqa: S608
)
_LAST_RESORT: Final = f"SELECT seal = {LAST_RESORT}, package FROM last_resorts WHERE device = ? AND suite = ?"  # noqa: S608
"""Each selects first whether the row is undamaged."""

_IS_FRESH: Final = "(not_after = 0 OR not_after >= ?)"
"""Whether a key package has not expired by a time in seconds since 1970."""

_DAMAGED_PERSON: Final = "what a name compares as, or how many devices its account has, is damaged on disk"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Applicant:
    """A device whose login was verified; `folded` and `skeleton` are what its name compares as."""

    device: bytes
    identity: bytes
    account: bytes
    name: str
    folded: str
    skeleton: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The state of a device and its account at login.

    `key_packages` has (suite, number neither claimed nor expired) of the device, `rooms` the number the
    account created, `stored` the bytes of its entries. `published` counts how often the device published key
    packages.
    """

    registered: bool
    key_packages: list[tuple[int, int]]
    rooms: int
    stored: int
    published: int


class AccountRow(msgspec.Struct, frozen=True):
    """An account for the operator: its name and key, its devices, rooms made and bytes stored."""

    name: str
    account: bytes
    devices: int
    rooms: int
    stored: int


def count_accounts(connection: apsw.Connection) -> int:
    """Return how many names are registered."""
    count: int = connection.execute("SELECT count(*) FROM accounts WHERE instr(name, ' ') = 0").get
    return count


def list_accounts(connection: apsw.Connection) -> list[AccountRow]:
    """Return all accounts by name; those whose name was freed are not among them."""
    rows: list[Any] = connection.execute(
        "SELECT name, account, (SELECT count(*) FROM devices WHERE devices.account = accounts.id"
        " AND device NOT IN (SELECT device FROM revocations WHERE account = accounts.id)),"
        " (SELECT count(*) FROM rooms WHERE maker = accounts.id), stored"
        " FROM accounts WHERE instr(name, ' ') = 0 ORDER BY folded"
    ).fetchall()
    return [AccountRow(*row) for row in rows]


def is_registered(connection: apsw.Connection, folded: str) -> bool:
    """Return whether an account has the name that compares as `folded`."""
    return connection.execute("SELECT 1 FROM accounts WHERE folded = ?", (folded,)).get is not None


def free_name(
    connection: apsw.Connection, folded: str, owner: bytes | None = None
) -> tuple[bytes, str, list[bytes]]:
    """Let anybody register the name that compares as `folded`; return whose it was: key, name, devices.

    That account, which has to be `owner` if that is given, can no longer log in, and its key packages are
    deleted. Raises `AdminError` or `DamageError`.
    """
    row = connection.execute(
        f"SELECT id, account, name, seal = {ACCOUNT} AND person = {PERSON} FROM accounts"  # noqa: S608
        " WHERE folded = ? AND instr(folded, ' ') = 0",
        (folded,),
    ).get
    if row is None or owner not in (None, row[1]):
        raise AdminError(f"nobody has the name {folded} here; see: clave-relay account list")
    number, account, name, whole = row
    _check(whole)
    found: list[Any] = connection.execute(
        "SELECT device FROM devices WHERE account = ?", (number,)
    ).fetchall()
    devices = [device for (device,) in found]
    for device in devices:
        for table in ("key_packages", "last_resorts"):
            connection.execute(f"DELETE FROM {table} WHERE device = ?", (device,))  # noqa: S608  (names from above)
        update_count(connection, device, DeviceCount.KEY_PACKAGES)
    connection.execute(
        "UPDATE accounts SET name = name || ' ' || id, folded = folded || ' ' || id,"
        " skeleton = skeleton || ' ' || id WHERE id = ?",
        (number,),
    )
    connection.execute(f"UPDATE accounts SET seal = {ACCOUNT}, person = {PERSON} WHERE id = ?", (number,))  # noqa: S608
    return account, name, devices


def freed_text(name: str) -> str:
    """Return what an account is told whose name was freed."""
    return (
        f"the name {name} is no longer this key's: its account was deleted, or the operator freed it;"
        " ask the operator, or register anew with a new profile"
    )


def known_name(stored: str) -> str:
    """Return the name that an account has or had."""
    return stored.partition(" ")[0]


def find_device(connection: apsw.Connection, applicant: Applicant, now: int) -> Enrolment | None:
    """Return the enrolment of a device that is registered with exactly this identity, else None.

    `now` is in seconds since 1970, here and elsewhere. Raises `Refusal` if the account's name was freed, or
    if it revoked the device.
    """
    row = connection.execute(
        f"SELECT {_WHOLE}, person = {PERSON}, name, accounts.id FROM devices"  # noqa: S608  (constants)
        " JOIN accounts ON accounts.id = devices.account WHERE device = ? AND identity = ?",
        (applicant.device, applicant.identity),
    ).get
    if row is None:
        return None
    whole, person, name, account = row
    _check(whole)
    _check_name(name, applicant)
    check_revoked(connection, account, applicant.device)
    if not person:
        _log.error(_DAMAGED_PERSON, name=applicant.name)
    return _enrolment(connection, applicant, now, registered=False)


def enrol(
    connection: apsw.Connection, applicant: Applicant, permit: Callable[[apsw.Connection], None], now: int
) -> Enrolment:
    """Register the device, and its account if that is new and `permit` raises no `Refusal`.

    Raises `Refusal`: that of `permit`, or the name is another account's or looks like one, or the device is
    another account's, was revoked, or is one too many.
    """
    row = connection.execute(
        f"SELECT id, name, seal = {ACCOUNT}, person = {PERSON} FROM accounts WHERE account = ?",  # noqa: S608
        (applicant.account,),
    ).get
    if row is None:
        permit(connection)
        _check_free(connection, applicant)
        account = connection.execute(
            "INSERT INTO accounts(account, name, folded, skeleton) VALUES (?, ?, ?, ?) RETURNING id",
            (applicant.account, applicant.name, applicant.folded, applicant.skeleton),
        ).get
        connection.execute(_SEAL_ACCOUNT, (account,))
    else:
        account, name, whole, person = row
        _check(whole)
        _check_name(name, applicant)
        if not person:
            _log.error(_DAMAGED_PERSON, name=name)
            connection.execute(
                "UPDATE OR IGNORE accounts SET folded = ?, skeleton = ? WHERE id = ?",
                (applicant.folded, applicant.skeleton, account),
            )
    check_revoked(connection, account, applicant.device)
    owner = connection.execute("SELECT account FROM devices WHERE device = ?", (applicant.device,)).get
    if owner is None:
        check_space(connection, applicant.account)
    elif owner != account:
        raise Refusal(Code.BAD_LOGIN, "this device belongs to another account")
    connection.execute(
        "INSERT INTO devices(device, account, identity, seal) VALUES (?1, ?2, ?3, seal('device', ?1, ?2, ?3))"
        " ON CONFLICT DO UPDATE SET identity = ?3, seal = excluded.seal",
        (applicant.device, account, applicant.identity),
    )
    if owner is None:
        for what in DeviceCount:
            update_count(connection, applicant.device, what)
    connection.execute(_SEAL_PERSON, (account,))
    return _enrolment(connection, applicant, now, registered=row is None)


def _enrolment(connection: apsw.Connection, applicant: Applicant, now: int, *, registered: bool) -> Enrolment:
    packages: list[Any] = connection.execute(
        f"SELECT suite, count(*) FROM key_packages WHERE device = ? AND {_IS_FRESH} GROUP BY suite",  # noqa: S608
        (applicant.device, now),
    ).fetchall()
    check_count(connection, applicant.device, DeviceCount.INVITATIONS)
    if not check_count(connection, applicant.device, DeviceCount.KEY_PACKAGES):
        packages = _count_undamaged(connection, applicant.device, now)
    rooms, stored = connection.execute(
        "SELECT (SELECT count(*) FROM rooms WHERE maker = accounts.id), stored FROM accounts"
        " WHERE account = ?",
        (applicant.account,),
    ).get
    published = connection.execute("SELECT published FROM devices WHERE device = ?", (applicant.device,)).get
    return Enrolment(registered, packages, rooms, stored, published)


def add_stored(connection: apsw.Connection, account: bytes, size: int) -> None:
    """Add `size` bytes, which may be negative, to what an account has stored."""
    connection.execute("UPDATE accounts SET stored = max(0, stored + ?) WHERE account = ?", (size, account))


def _check_name(stored: str, applicant: Applicant) -> None:
    """Raise `Refusal` unless the account is registered under the applicant's name."""
    if stored == applicant.name:
        return
    if known_name(stored) != stored:
        raise Refusal(Code.BAD_LOGIN, freed_text(known_name(stored)))
    raise Refusal(Code.BAD_LOGIN, f"this account is registered as {stored}; a name cannot be changed")


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
    """Return (device, identity) of each device of `name` that it has not revoked. Raises `Refusal`."""
    if known_name(name) != name:
        raise Refusal(Code.NO_SUCH_NAME, "nobody has this name here")
    rows: list[Any] = connection.execute(
        f"SELECT device, identity, {_WHOLE} AND person = {PERSON} AND revoked = {REVOKED}, name,"  # noqa: S608
        " EXISTS (SELECT 1 FROM revocations WHERE revocations.account = accounts.id"
        " AND revocations.device = devices.device) FROM devices"
        " JOIN accounts ON accounts.id = devices.account WHERE name = ? ORDER BY device",
        (name,),
    ).fetchall()
    if not rows:
        _check(connection.execute("SELECT 1 FROM accounts WHERE name = ?", (name,)).get is None)
        raise Refusal(Code.NO_SUCH_NAME, "nobody has this name here")
    for _, _, whole, found, _ in rows:
        _check(whole and found == name)
    live = [(device, identity) for device, identity, _, _, revoked in rows if not revoked]
    if not live:
        raise Refusal(Code.NO_SUCH_NAME, "whoever has this name has removed all devices")
    return live


def publish_key_packages(
    connection: apsw.Connection,
    device: bytes,
    suite: int,
    packages: Sequence[bytes],
    last_resort: bytes,
    *,
    now: int,
    replace: bool = False,
    not_after: int = 0,
) -> None:
    """Add one-time key packages of a suite, and a last-resort one for when they are used up (b"" for none).

    With `replace`, the device's earlier packages of that suite and its last resort are deleted first; expired
    ones are in any case. `not_after` is when the new ones expire, 0 for not known. Raises `Refusal`.
    """
    check_count(connection, device, DeviceCount.KEY_PACKAGES)
    _delete_expired(connection, device, now)
    if replace:
        for table in ("key_packages", "last_resorts"):
            connection.execute(f"DELETE FROM {table} WHERE device = ? AND suite = ?", (device, suite))  # noqa: S608
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
        "INSERT INTO key_packages(device, suite, package, not_after, seal)"
        " VALUES (?1, ?2, ?3, ?4, seal('key package', ?1, ?2, ?3, ?4))",
        [(device, suite, package, not_after) for package in packages],
    )
    if last_resort:
        connection.execute(
            "INSERT INTO last_resorts VALUES (?1, ?2, ?3, seal('last resort', ?1, ?2, ?3))"
            " ON CONFLICT DO UPDATE SET package = ?3, seal = excluded.seal",
            (device, suite, last_resort),
        )
    update_count(connection, device, DeviceCount.KEY_PACKAGES)
    connection.execute("UPDATE devices SET published = published + 1 WHERE device = ?", (device,))


def claim_key_packages(
    connection: apsw.Connection, name: str, suite: int, now: int, only: bytes = b""
) -> list[bytes]:
    """Return one key package of a suite of each device of `name`, and delete it unless it is a last resort.

    With `only`, that is of this device and no other.
    Expired ones are deleted, except last resorts: the client judges those. Damaged ones are deleted and
    logged. Raises `Refusal` if there is none, `DamageError` if there were only damaged ones.
    """
    claimed: list[bytes] = []
    undamaged = True
    for device, _ in look_up(connection, name):
        if only not in (b"", device):
            continue
        undamaged &= check_count(connection, device, DeviceCount.KEY_PACKAGES)
        _delete_expired(connection, device, now)
        package, whole = _take_package(connection, device, suite)
        undamaged &= whole
        if package is not None:
            claimed.append(package)
        update_count(connection, device, DeviceCount.KEY_PACKAGES)
    if not claimed and not undamaged:
        raise DamageError(f"the key packages of cipher suite {suite:#06x} of this name are damaged on disk")
    if not claimed:
        raise Refusal(
            Code.NO_KEY_PACKAGE, f"no device of this name has a key package of cipher suite {suite:#06x} here"
        )
    return claimed


def _delete_expired(connection: apsw.Connection, device: bytes, now: int) -> None:
    """Delete the device's expired one-time key packages; a damaged time is not believed."""
    with contextlib.suppress(apsw.CorruptError), connection:  # its place in the index may be lost
        connection.execute(
            f"DELETE FROM key_packages WHERE device = ? AND NOT {_IS_FRESH} AND seal = {KEY_PACKAGE}",  # noqa: S608
            (device, now),
        )


def _take_package(connection: apsw.Connection, device: bytes, suite: int) -> tuple[bytes | None, bool]:
    """Return a key package of a device, if it has one, and whether no damaged one was met."""
    undamaged = True
    for number in _package_ids(connection, device, suite):
        whole, package = connection.execute(_PACKAGE, (number, device, suite)).get or (False, None)
        if whole:
            connection.execute("DELETE FROM key_packages WHERE id = ?", (number,))
            return package, undamaged
        undamaged = False
        _log.error("key package not handed out: it is damaged on disk", device=device.hex(), id=number)
        with contextlib.suppress(apsw.CorruptError), connection:  # its place in the index may be lost
            connection.execute("DELETE FROM key_packages WHERE id = ?", (number,))
    row = connection.execute(_LAST_RESORT, (device, suite)).get
    if row is None:
        return None, undamaged
    whole, package = row
    if whole:
        return package, undamaged
    _log.error("last-resort key package not handed out: it is damaged on disk", device=device.hex())
    connection.execute("DELETE FROM last_resorts WHERE device = ? AND suite = ?", (device, suite))
    return None, False


def _package_ids(connection: apsw.Connection, device: bytes, suite: int) -> list[int]:
    ids = connection.execute(
        "SELECT id FROM key_packages WHERE device = ? AND suite = ? ORDER BY id", (device, suite)
    )
    return [number for (number,) in ids]


def _count_undamaged(connection: apsw.Connection, device: bytes, now: int) -> list[tuple[int, int]]:
    """Return (suite, number) of a device's key packages that are neither damaged nor expired."""
    suites: list[Any] = connection.execute(
        "SELECT DISTINCT suite FROM key_packages WHERE device = ?", (device,)
    ).fetchall()
    counts: list[tuple[int, int]] = []
    for (suite,) in suites:
        rows = [
            connection.execute(f"{_PACKAGE} AND {_IS_FRESH}", (number, device, suite, now)).get
            for number in _package_ids(connection, device, suite)
        ]
        if whole := sum(1 for row in rows if row and row[0]):
            counts.append((suite, whole))
    return counts


def resolve(connection: apsw.Connection, devices: Iterable[bytes]) -> dict[bytes, str]:
    """Return the account names of those devices that are registered, freed or not. Raises `DamageError`."""
    names: dict[bytes, str] = {}
    for device in devices:
        row = connection.execute(
            f"SELECT name, {_WHOLE} FROM devices JOIN accounts ON accounts.id = devices.account"  # noqa: S608
            " WHERE device = ?",
            (device,),
        ).get
        if row is not None:
            stored, whole = row
            _check(whole)
            names[device] = known_name(stored)
    return names
