"""How much waits on disk for a device: its key packages and its invitations, counted and sealed.

Knows none of them one by one: by the count a lost row is noticed. Runs on the store's threads.
"""

from __future__ import annotations

import enum
from typing import Final

import apsw
import structlog

from clave_server.storage.seals import INVITED, PACKAGES

__all__ = ["DeviceCount", "check_count", "update_count"]


class DeviceCount(enum.StrEnum):
    """What waits for a device, by the column that its count is sealed in."""

    KEY_PACKAGES = "packages"
    INVITATIONS = "invited"


_SEALS: Final = {DeviceCount.KEY_PACKAGES: PACKAGES, DeviceCount.INVITATIONS: INVITED}
_CHECK: Final = {
    what: f"SELECT {what} = {seal} FROM devices WHERE device = ?"  # noqa: S608  (constants)
    for what, seal in _SEALS.items()
}
_COUNT: Final = {
    what: f"UPDATE devices SET {what} = {seal} WHERE device = ?"  # noqa: S608  (constants)
    for what, seal in _SEALS.items()
}

_log = structlog.get_logger()


def check_count(connection: apsw.Connection, device: bytes, what: DeviceCount) -> bool:
    """Return whether as much waits for `device` as was counted; log an error if not.

    To be asked before a change, as `update_count` afterwards takes what it finds for all there is.
    """
    missing = connection.execute(_CHECK[what], (device,)).get == 0
    if missing:
        _log.error(
            "some of what waits for a device is missing on disk",
            what=what.name.lower().replace("_", " "),
            device=device.hex(),
        )
    return not missing


def update_count(connection: apsw.Connection, device: bytes, what: DeviceCount) -> None:
    """Count what waits for `device`, in the transaction that changed it."""
    connection.execute(_COUNT[what], (device,))
