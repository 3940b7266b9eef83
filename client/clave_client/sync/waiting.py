"""The connection of a `RoomSync`, and waiting for what its rooms become. Knows no messages of the relay."""

from __future__ import annotations

from collections.abc import Callable

from clave_client import events
from clave_client.errors import ClientError
from clave_client.net.reconnecting_transport import ReconnectingTransport
from clave_client.net.transport import RelayTransport
from clave_client.rooms.local_room import LocalRoom
from clave_client.sync.resumes import Resumes
from clave_client.sync.waiters import Waiters

__all__ = ["Waiting"]


class Waiting:
    """The connection of one profile, and the waits for its rooms; the base of `RoomSync`."""

    connection: ReconnectingTransport
    rooms: dict[bytes, LocalRoom]
    resumes: Resumes
    waiters: Waiters

    @property
    def transport(self) -> RelayTransport:
        """The connection that is up. Raises `RelayUnreachable` while there is none."""
        return self.connection.current

    @property
    def is_online(self) -> bool:
        """Whether there is a connection now."""
        return self.connection.is_up

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is checked again after every batch from the relay.

        Raises the error that ended the connection for good.
        """
        self.connection.check()
        self.connection.hurry()
        await self.waiters.wait_for(condition)

    async def wait_for_delivery(self, room_id: bytes, message_id: bytes) -> int:
        """Wait until a message that waits to be sent is logged; return its seq. Raises `ClientError`."""
        self.connection.hurry()
        event = await self.waiters.wait_for_delivery(room_id, message_id)
        if isinstance(event, events.SendFailed):
            raise ClientError(f"not sent: {event.reason}")
        return event.seq

    async def wait_until_sendable(self, room_id: bytes) -> None:
        """Wait until a room's log is read and messages can be sent there, or never will be.

        Raises `ClientError` when the relay refuses to resume the room.
        """

        def decided() -> bool:
            room = self.rooms.get(room_id)
            if room is None or room_id in self.resumes.refused:
                return True
            return room.may_send or room.too_old or not room.is_joined

        await self.wait_for(decided)
        if room_id in self.resumes.refused:
            raise self.resumes.refused[room_id]
