"""The methods of the RPC that look at what is kept of a room, and at what the relay could learn."""

from __future__ import annotations

from typing import Final

from clave_client.rpc.method_base import Method
from clave_client.values import AuditFinding, RelayView

__all__ = ["INSPECTION_METHODS", "AuditRoom", "GetRelayView"]


class AuditRoom(Method[list[AuditFinding]], frozen=True, kw_only=True):
    """Check what is stored of a room, also of one that cannot be used or was left; changes nothing.

    No other request is answered meanwhile, so of old texts of others only the first 1,000 are looked up in
    the search index; the command `clave audit` takes a snapshot and looks up all of them.
    """

    NAME = "room.audit"
    RESULT = list[AuditFinding]

    room: str


class GetRelayView(Method[RelayView], frozen=True, kw_only=True):
    """Return what the relay could learn of a message, "last" for the last one that this device sent."""

    NAME = "message.relay_view"
    RESULT = RelayView

    room: str
    message: str = "last"


INSPECTION_METHODS: Final = (AuditRoom, GetRelayView)
"""The methods of this module."""
