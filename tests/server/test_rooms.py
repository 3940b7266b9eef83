"""What members of a room get, in which order, through a real relay."""

from __future__ import annotations

from clave_wire import messages as m
from relaykit import ROOM, RelayUnderTest


async def test_everyone_but_the_sender_gets_the_entry_and_the_sender_its_place(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    accepted = await red.say(b"hello", epoch=1)
    assert accepted == m.Accepted(ROOM, 2, 2)
    for client in (blue, green):
        entry = await client.expect(m.Entry)
        assert entry == m.Entry(ROOM, 2, red.participant.device, 2, m.Kind.APPLICATION, 1, b"hello")
