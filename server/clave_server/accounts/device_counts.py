"""Sealed counts of a device's key packages and invitations, by which a lost row is noticed.

Knows none of the rows one by one. Runs on the database threads.
"""

from __future__ import annotations

import enum
from typing import Final

import apsw
import structlog

from clave_server.storage.seals import INVITED, PACKAGES

__all__ = ["DeviceCount", "check_count", "update_count"]


class DeviceCount(enum.StrEnum):
    """What is counted of a device; the value is the column of the count's seal."""

    KEY_PACKAGES = "packages"
    INVITATIONS = "invited"


_SEALS: Final = {DeviceCount.KEY_PACKAGES: PACKAGES, DeviceCount.INVITATIONS: INVITED}
_CHECK: Final = {
    what: f"SELECT {what} = {seal} FROM devices WHERE device = ?"  # noqa: S608  (constants)
    for what, seal in _SEALS.items()
}
_UPDATE: Final = {
    what: f"UPDATE devices SET {what} = {seal} WHERE device = ?"  # noqa: S608  (constants)
    for what, seal in _SEALS.items()
}

_log = structlog.get_logger()


def check_count(connection: apsw.Connection, device: bytes, what: DeviceCount) -> bool:
    """Return whether the device has as many rows as were counted; log an error if not.

    To be called before a change, as `update_count` afterwards takes the rows it finds for all.
    """
    missing = connection.execute(_CHECK[what], (device,)).get == 0
    if missing:
        _log.error(
            "rows of a device are missing on disk",
            what=what.name.lower().replace("_", " "),
            device=device.hex(),
        )
    return not missing


def update_count(connection: apsw.Connection, device: bytes, what: DeviceCount) -> None:
    """Count the device's rows, in the transaction that changed them."""
    connection.execute(_UPDATE[what], (device,))
