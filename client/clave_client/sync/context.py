"""What the parts of a `RoomSync` need of it. Knows no implementation."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Protocol

from clave_client.events import Event
from clave_client.net.transport import RelayTransport
from clave_client.rooms.local_room import LocalRoom
from clave_wire.messages import Submit

__all__ = ["SyncContext"]


class SyncContext(Protocol):
    """The rooms of one profile and its connection, as its parts see them."""

    @property
    def rooms(self) -> dict[bytes, LocalRoom]:
        """The rooms in use, by id."""

    @property
    def online(self) -> dict[bytes, set[bytes]]:
        """The devices that the relay says are connected, by room id."""

    @property
    def own_device(self) -> bytes:
        """This device's public key."""

    @property
    def is_online(self) -> bool:
        """Whether there is a connection now."""

    @property
    def transport(self) -> RelayTransport:
        """The connection that is up. Raises `RelayUnreachable` while there is none."""

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is checked again after every batch from the relay."""

    def spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` as a task; its errors are reported as notices."""

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Run `work` in `seconds`, with errors handled as if the relay had caused them."""

    def emit(self, event: Event) -> None:
        """Report an event."""

    def submit(self, room: LocalRoom, *submits: Submit) -> None:
        """Send what a room has prepared. Raises `RelayError`."""

    def submit_due(self, room: LocalRoom) -> None:
        """Send whatever the room's state asks for next."""

    def restart_resume(self, room: LocalRoom) -> None:
        """Resume the room again from its cursor, unless submissions are in flight."""
