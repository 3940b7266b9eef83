"""A handle for one room of a client: what `Client` does by room id, without the id. Knows no protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clave_client.events import Event, Message, Person
from clave_client.formats.agreed_state import parse_role
from clave_client.store.message_tables import HistoryLine
from clave_client.sync.event_stream import EventStream
from clave_client.values import MemberInfo, RoomInfo

if TYPE_CHECKING:
    from clave_client.client import Client

__all__ = ["Room"]


class Room:
    """One room, from `Client.room`, `Client.create_room` or `Client.invitations`.

    `id` are its 16 bytes. A handle holds no state: two of the same room are equal, and one of a room that
    this device is no longer in raises `NotInRoom`.

    Example, in a coroutine, where `client` is an entered `Client`:

        room = await client.create_room("friends")
        await room.invite("blue")
        await room.send("hello")
        async for message in room.messages():
            print(message.sender.name, message.text)
    """

    def __init__(self, client: Client, id: bytes, title: str) -> None:  # noqa: A002  (named as the attribute)
        self._client = client
        self._title = title
        self.id = id

    def __repr__(self) -> str:
        return f"Room({self.title!r}, {self.id.hex()[:8]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Room) and other.id == self.id and other._client is self._client

    def __hash__(self) -> int:
        return hash(self.id)

    # --- state ---

    @property
    def title(self) -> str:
        """The room's title; after this device has left, the last one it knows."""
        sync = self._client.sync
        here = sync.rooms.get(self.id)
        record = sync.store.room(self.id) if here is None else here.record
        return self._title if record is None else record.title

    @property
    def inviter(self) -> Person | None:
        """Who invites this device; None once the invitation is answered."""
        return self._client.inviter(self.id)

    def info(self) -> RoomInfo:
        """Return the summary of the room, as of what this device has read."""
        return self._client.info(self.id)

    def members(self) -> list[MemberInfo]:
        """Return every member's device, with its role and whether it is online."""
        return self._client.members(self.id)

    def history(self, *, after: int = 0, last: int = -1) -> list[HistoryLine]:
        """Return messages with a seq above `after`, oldest first; with `last`, the newest of them."""
        return self._client.history(self.id, after=after, last=last)

    # --- messages and events ---

    async def send(self, text: str, *, reply_to: bytes = b"", expires_after: int = 0) -> int:
        """Send a message; return its history seq once the relay has it on disk. Raises `ClientError`.

        `reply_to` is the id of the message that it answers; it disappears `expires_after` seconds after it
        was read, or with 0 when those of the room do.
        """
        return await self._client.send(self.id, text, reply_to=reply_to, expires_after=expires_after)

    def post(self, text: str, *, reply_to: bytes = b"", expires_after: int = 0) -> bytes:
        """Append a message to the outbox and return its id; an event `Sent` or `SendFailed` follows.

        Once this returns the message survives a crash. Raises `UsageError` when it is empty or too long.
        """
        return self._client.post(self.id, text, reply_to=reply_to, expires_after=expires_after)

    def edit(self, message: bytes, text: str) -> bytes:
        """Give one's own message another text, for all; return the id of what says so, as `post` does."""
        return self._client.edit(self.id, message, text)

    def delete(self, message: bytes) -> bytes:
        """Delete one's own message for all, or as an admin another's; return the id of what says so."""
        return self._client.delete(self.id, message)

    def react(self, message: bytes, reaction: str) -> bytes:
        """React to a message with an emoji or a few letters; return the id of what says so."""
        return self._client.react(self.id, message, reaction)

    def unreact(self, message: bytes, reaction: str = "") -> bytes:
        """Take a reaction back, the named one or the only one; return the id of what says so."""
        return self._client.unreact(self.id, message, reaction)

    def messages(self) -> EventStream[Message]:
        """Open a stream of others' messages in this room; it ends when this device leaves the room.

        A sender whose name is pinned to another key has that key in `Person.known`.
        """
        return self._client.stream(Message, self.id)

    def events(self) -> EventStream[Event]:
        """Open a stream of all events of this room; its last one is `RoomClosed`. See `Client.events`."""
        return self._client.stream(Event, self.id)

    # --- membership ---

    async def accept(self) -> bool:
        """Accept, and pin the inviter's name; return whether the relay knows. Raises `KeyMismatch`."""
        return await self._client.accept(self.id)

    async def decline(self) -> bool:
        """Decline, which has the group remove this device again; return whether that is done."""
        return await self._client.decline(self.id)

    async def invite(self, name: str) -> Person:
        """Add the devices of `name`, who has to accept. Raises `PeerLacksSuite` or `KeyMismatch`."""
        return await self._client.invite(self.id, name)

    async def remove(self, name: str) -> bool:
        """Remove every device of `name` and rekey; return whether that counts already (`Client.remove`)."""
        return await self._client.remove(self.id, name)

    async def set_title(self, title: str) -> bool:
        """Change the room's title for all members; return whether that counts already."""
        return await self._client.set_title(self.id, title)

    async def set_topic(self, topic: str) -> bool:
        """Say what the room is about; return whether that counts already."""
        return await self._client.set_topic(self.id, topic)

    async def set_role(self, name: str, role: str) -> bool:
        """Make a member an "owner", "admin", "member" or "guest"; return whether that counts already."""
        return await self._client.set_role(self.id, name, parse_role(role))

    async def set_policy(self, action: str, role: str) -> bool:
        """Have an action ("add", "remove" or "edit") take a role; return whether that counts already."""
        return await self._client.set_policy(self.id, action, parse_role(role))

    async def ban(self, name: str) -> bool:
        """Remove a member and have nobody add that account again; return whether that counts already."""
        return await self._client.ban(self.id, name)

    async def unban(self, name: str) -> bool:
        """Let a banned account be added again; return whether that counts already."""
        return await self._client.unban(self.id, name)

    async def set_expiry(self, seconds: int) -> bool:
        """Have new messages disappear that long after they were read; return whether that counts already."""
        return await self._client.set_expiry(self.id, seconds)

    async def leave(self) -> bool:
        """Leave: the others rekey, and this device's keys are deleted; return whether that is done."""
        return await self._client.leave(self.id)
