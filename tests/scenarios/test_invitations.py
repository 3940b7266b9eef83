"""Stories of invitations that a malicious relay keeps, resends and mislabels."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from clave_client import events
from clave_client.rooms.policy import RoomPolicy
from clave_client.rooms.suites import NEW_ROOMS
from clave_crypto.mls import Add, Group, KeyPackage, KeyPackageBundle
from clave_wire.messages import Invitation, ToClient
from scenarios.stage import Somebody, gather_in, people_at, relay_at

OLD = "an invitation to friends was refused: it is an old one"


def overhear(person: Somebody) -> list[Invitation]:
    """Return the invitations that come from now on, as a relay that keeps them would have them."""
    link = person.client.sync.transport
    heard: list[Invitation] = []
    take = link.on_messages

    def listen(messages: list[ToClient]) -> None:
        heard.extend(message for message in messages if isinstance(message, Invitation))
        take(messages)

    link.on_messages = listen
    return heard


def last_resort(person: Somebody) -> KeyPackage:
    """Return the key package whose private half `person` keeps."""
    rows = person.client.sync.store.rows("SELECT bundle FROM bundles WHERE last_resort = 1")
    bundles = [KeyPackageBundle.decode(msgspec.convert(row[0], bytes)) for row in rows]
    (found,) = (bundle.key_package for bundle in bundles if bundle.suite is NEW_ROOMS)
    return found


async def invite_by_last_resort(host: Somebody, room: bytes, guest: Somebody) -> Invitation:
    """Add `guest` by its last resort; return what the relay brought."""
    heard = overhear(guest)
    await host.client.sync.commit(room, lambda _: [Add(last_resort(guest))])
    await guest.sees(events.Invited)
    (invitation,) = heard
    return invitation


async def test_a_welcome_that_comes_again_enters_no_epoch_twice(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        old = await invite_by_last_resort(red, room, blue)
        await blue.client.accept(room)
        await blue.client.send(room, "hello")
        entered = blue.client.sync.rooms[room].group.epoch
        await blue.client.leave(room)
        for _ in range(2):
            blue.client.sync.connection.receive([old])
            assert (await blue.sees(events.Notice)).text == OLD
            assert blue.client.rooms == {}
            await blue.go()
            await blue.come()
        await red.client.sync.wait_for(lambda: red.client.info(room).people == 1)
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        await blue.client.accept(room)
        assert blue.client.sync.rooms[room].group.epoch > entered
        await blue.client.send(room, "back again")
        await red.reads("back again")
        blue.client.sync.connection.receive([old])
        await blue.client.leave(room)
        assert blue.client.rooms == {}, "nor is it kept until this device leaves"


def bring_forged(host: Somebody, room: bytes, epoch: int, guest: Somebody) -> None:
    """Bring a Welcome into a group of the host's own making, of the room's id and any epoch."""
    group, now = host.client.sync.rooms[room].group, int(time.time())
    own = group.member(group.own_leaf).identity
    fake = Group.create(
        NEW_ROOMS,
        room,
        own,
        host.client.sync.account.device.secret,
        policy=RoomPolicy(),
        extensions=group.extensions,
        extension_types=[one.extension_type for one in group.extensions],
        not_before=now - 60,
        not_after=now + 3600,
    )
    begun = fake._epoch
    fake._epoch = replace(begun, context=replace(begun.context, epoch=epoch - 1))
    pending = fake.commit([Add(last_resort(guest))], now=now)
    assert pending.welcome is not None
    sender = host.client.sync.account.device.public
    guest.client.sync.connection.receive([Invitation(7, room, 1, sender, pending.welcome)])


async def lets_in(host: Somebody, room: bytes, guest: Somebody) -> None:
    """Check that an honest invitation still leads into the room."""
    await host.client.invite(room, "blue")
    await guest.sees(events.Invited)
    await guest.client.accept(room)
    await guest.client.send(room, "in after all")
    await host.reads("in after all")


@pytest.mark.parametrize("epoch", [2**52, 2**63 + 1])
async def test_a_welcome_of_an_epoch_that_cannot_be_is_refused_once(tmp_path: Path, epoch: int) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        bring_forged(red, room, epoch, blue)
        told = "an invitation was refused: its room's epoch cannot be; ask to be removed and invited again"
        assert (await blue.sees(events.Notice)).text == told
        assert blue.client.rooms == {}
        await lets_in(red, room, blue)


@pytest.mark.parametrize("declined", [True, False])
async def test_a_forged_epoch_locks_nobody_out(tmp_path: Path, declined: bool) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        bring_forged(red, room, 2**51, blue)
        await blue.sees(events.Invited)
        if declined:
            held = blue.client.sync.rooms[room]
            held.start_leaving()
            blue.client.sync.emit(held.close(None))
            blue.client.sync.handle_closed(held)
        await lets_in(red, room, blue)


async def test_an_invitation_that_comes_twice_before_it_is_answered_is_asked_once(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        again = await invite_by_last_resort(red, room, blue)
        asked = len(blue.happened)
        blue.client.sync.connection.receive([again])
        await blue.client.accept(room)
        await red.client.send(room, "welcome")
        await blue.reads("welcome")
        assert not any(isinstance(event, events.Invited) for event in blue.happened[asked:])


async def test_a_welcome_under_another_rooms_id_changes_no_room(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        invitation = await invite_by_last_resort(red, room, blue)
        await blue.client.accept(room)
        before = blue.client.sync.rooms[room]
        elsewhere = msgspec.structs.replace(invitation, room=b"o" * 16)
        blue.client.sync.connection.receive([elsewhere])
        notice = await blue.sees(events.Notice)
        assert notice.text.startswith("an invitation could not be used: ")
        assert "group-id-new" in notice.text
        assert blue.client.sync.rooms == {room: before}
        await blue.client.leave(room)
        blue.client.sync.connection.receive([elsewhere])
        told = (
            "an invitation was refused: it came under another room's id; ask to be removed and invited again"
        )
        assert (await blue.sees(events.Notice)).text == told
        assert blue.client.rooms == {}


async def test_who_is_removed_and_invited_again_is_told_to_have_joined_again(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = await gather_in("friends", red, blue, green)
        await red.client.remove(room, "green")
        await red.sees(events.MemberRemoved)
        await green.sees(events.RoomClosed)
        await red.client.invite(room, "green")
        await green.sees(events.Invited, lambda invited: len(invited.members) == 2)
        await green.client.accept(room)
        assert (await red.sees(events.InvitationAccepted)).person.name == "green"
