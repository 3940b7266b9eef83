"""Devices that their account has revoked, with its signatures. Runs on the database threads.

A revoked device keeps its row, as it is in rooms until members remove it. It cannot log in, is not handed out
as a device of its name, and does not count among its account's devices.
"""

from __future__ import annotations

from typing import Any, Final

import apsw

from clave_server.accounts.device_counts import DeviceCount, update_count
from clave_server.errors import DamageError, Refusal
from clave_server.storage.seals import REVOCATION, REVOKED
from clave_wire.limits import MAX_REVOCATIONS
from clave_wire.messages import Code

__all__ = ["MAX_DEVICES", "check_revoked", "check_space", "find_revocations", "is_revoked", "revoke_device"]

MAX_DEVICES: Final = 16
"""Devices of one account."""

_COUNT: Final = f"SELECT revoked = {REVOKED} FROM accounts WHERE id = ?"  # noqa: S608  (constants)
_ROWS: Final = (
    f"SELECT device, signature, seal = {REVOCATION} FROM revocations WHERE account = ? ORDER BY device"  # noqa: S608
)
_LIVE: Final = (
    "SELECT count(*) FROM devices WHERE account = ?1"
    " AND device NOT IN (SELECT device FROM revocations WHERE account = ?1)"
)
_REMOVED: Final = "your account removed this device"


def check_revoked(connection: apsw.Connection, account: int, device: bytes) -> None:
    """Raise `Refusal` if the account of the row `account` has revoked a device, or `DamageError`."""
    if is_revoked(connection, account, device):
        raise Refusal(Code.DEVICE_REMOVED, _REMOVED)


def is_revoked(connection: apsw.Connection, account: int, device: bytes) -> bool:
    """Return whether the account of a row has revoked a device. Raises `DamageError`.

    If a revocation is lost, nobody can say which devices of the account are to be refused.
    """
    _check_count(connection, account)
    return bool(
        connection.execute(
            "SELECT 1 FROM revocations WHERE account = ? AND device = ?", (account, device)
        ).get
    )


def _check_count(connection: apsw.Connection, account: int) -> None:
    if not connection.execute(_COUNT, (account,)).get:
        raise DamageError("which devices an account has revoked is damaged on disk; restore a backup")


def check_space(connection: apsw.Connection, account: bytes) -> None:
    """Raise `Refusal` if an account, by its key, has as many devices as it may."""
    number = connection.execute("SELECT id FROM accounts WHERE account = ?", (account,)).get
    if number is not None and connection.execute(_LIVE, (number,)).get >= MAX_DEVICES:
        raise Refusal(Code.LIMIT, f"an account has at most {MAX_DEVICES} devices; remove one first")


def find_revocations(connection: apsw.Connection, name: str) -> list[tuple[bytes, bytes]]:
    """Return (device, signature) of what the account of `name` has revoked. Raises `Refusal`."""
    number = connection.execute(
        "SELECT id FROM accounts WHERE name = ? AND instr(name, ' ') = 0", (name,)
    ).get
    if number is None:
        raise Refusal(Code.NO_SUCH_NAME, "nobody has this name here")
    _check_count(connection, number)
    rows: list[Any] = connection.execute(_ROWS, (number,)).fetchall()
    if not all(whole for _, _, whole in rows):
        raise DamageError("a revocation of this account's is damaged on disk")
    return [(device, signature) for device, signature, _ in rows]


def revoke_device(connection: apsw.Connection, account: bytes, device: bytes, signature: bytes) -> None:
    """Keep a revocation, which was verified, and delete the device's key packages.

    Raises `Refusal` if the account has too many. Revoking twice does nothing.
    """
    number = connection.execute("SELECT id FROM accounts WHERE account = ?", (account,)).get
    if is_revoked(connection, number, device):
        return
    count = connection.execute("SELECT count(*) FROM revocations WHERE account = ?", (number,)).get
    if count >= MAX_REVOCATIONS:
        raise Refusal(Code.LIMIT, f"an account revokes at most {MAX_REVOCATIONS} devices")
    connection.execute(
        "INSERT INTO revocations VALUES (?1, ?2, ?3, seal('revocation', ?1, ?2, ?3))",
        (number, device, signature),
    )
    connection.execute(f"UPDATE accounts SET revoked = {REVOKED} WHERE id = ?", (number,))  # noqa: S608
    owner = connection.execute("SELECT account FROM devices WHERE device = ?", (device,)).get
    if owner == number:
        for table in ("key_packages", "last_resorts"):
            connection.execute(f"DELETE FROM {table} WHERE device = ?", (device,))  # noqa: S608  (names from above)
        update_count(connection, device, DeviceCount.KEY_PACKAGES)
