"""What the package exports lazily has its type: mypy checks this file, and it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import clave_client
from clave_client import (
    Client,
    ClientError,
    Event,
    EventStream,
    HistoryLine,
    KeyMismatch,
    MemberInfo,
    Message,
    Person,
    Profile,
    RelayInfo,
    Room,
    RoomInfo,
)

if TYPE_CHECKING:
    from typing import assert_type

    async def use(client: Client, room: Room, error: KeyMismatch) -> None:
        """Have mypy compare types: nothing of this runs."""
        assert_type(await client.create_room("friends"), Room)
        assert_type(client.invitations(), list[Room])
        assert_type(client.events(), EventStream[Event])
        assert_type(client.relay, RelayInfo)
        assert_type(room.messages(), EventStream[Message])
        assert_type(room.members(), list[MemberInfo])
        assert_type(room.members()[0].person, Person)
        assert_type(room.history(), list[HistoryLine])
        assert_type(room.info(), RoomInfo)
        assert_type(error.known, bytes)
        async for message in room.messages():
            assert_type(message.text, str)


def test_exported_classes_are_classes() -> None:
    assert issubclass(clave_client.KeyMismatch, ClientError)
    assert issubclass(clave_client.Message, Event)
    assert Profile.__name__ == "Profile"
