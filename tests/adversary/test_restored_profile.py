"""A profile restored from a backup comes back into its rooms, uses no key twice, and everybody sees it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from adversary.kit import changed, device, members, of_kind, read_up, room_of, stage, talk, until, wire_of
from clave_client import events
from clave_client.formats.welcome import RejoinInfo
from clave_client.restoring import restore_profile
from clave_client.rooms import stored_group
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.backup import write_backup
from clave_client.store.profile import Profile
from clave_client.sync import rejoin, routing
from clave_client.values import Phase
from clave_crypto.mls import StateError
from clave_wire.header import Header, Seen, pack_header, split_payload
from clave_wire.messages import Entry, Invitation, Kind, Resumed, Submit, ToClient, ToRelay
from scenarios.stage import Somebody, gather_in


def back_up(person: Somebody, file: Path) -> None:
    """Take a backup of a profile while its client runs."""
    key = Profile(person.home, person.name).read_key()
    write_backup(person.profile.store_path, key, file, "of the backup")


async def restore(person: Somebody, file: Path) -> None:
    """Lose a profile, make it again from a backup, and come online."""
    await person.go()
    shutil.rmtree(person.profile.folder)
    person.happened.clear()
    person._taken = 0
    restored = restore_profile(file, "of the backup", person.home, new_passphrase=None, clock=time.time)
    assert restored.name == person.name
    await person.come()


def notices(person: Somebody) -> str:
    return "\n".join(notice.text for notice in of_kind(person, events.Notice))


def heads_of_messages(name: str) -> list[bytes]:
    """Return the list that is filled with the epoch of each message which this client submits."""
    heads: list[bytes] = []

    def told(message: ToRelay) -> tuple[ToRelay]:
        if isinstance(message, Submit) and message.kind is Kind.APPLICATION:
            heads.append(split_payload(message.payload)[0].head)
        return (message,)

    wire_of(name).told = told
    return heads


async def test_it_reads_what_it_missed_and_speaks_with_new_keys(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        await talk(room, red, blue, green)
        back_up(red, tmp_path / "backup")
        for number in range(5):
            await red.client.send(room, f"red after the backup {number}")
            await blue.client.send(room, f"blue after the backup {number}")
        await read_up(room, red, blue, green)
        former_head, former_key = room_of(red, room).head, room_of(red, room).group.leaf_key()
        heads = heads_of_messages("red")
        await restore(red, tmp_path / "backup")
        assert red.client.rooms[room].phase is Phase.JOINED
        red.client.post(room, "written before it is back")
        await blue.reads("written before it is back")
        await talk(room, red, blue, green)
        assert heads
        assert former_head not in heads
        assert room_of(red, room).group.leaf_key() != former_key
        assert [text for text in red.texts(room) if text.startswith("blue after")] == [
            f"blue after the backup {number}" for number in range(5)
        ]
        for person in (blue, green):
            assert (
                notices(person).count("red's device main was restored from a backup; it rejoins friends") == 1
            )
            assert not of_kind(person, events.Diverged)
            assert len(person.texts(room)) == len(set(person.texts(room)))
        assert not of_kind(red, events.Diverged)
        await red.go()
        await red.come()
        await talk(room, red, blue, green)
        assert notices(blue).count("was restored") == 1


async def test_a_message_that_waited_in_the_backup_comes_once(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (relay, (red, blue)):
        room = await gather_in("friends", red, blue)
        await relay.kill()
        red.client.post(room, "waits")
        back_up(red, tmp_path / "backup")
        await relay.start()
        await blue.reads("waits")
        await restore(red, tmp_path / "backup")
        await talk(room, red, blue)
        assert blue.texts(room).count("waits") == 1


async def test_a_room_of_its_own_goes_on(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = (await red.client.create_room("alone")).id
        await red.client.send(room, "before")
        back_up(red, tmp_path / "backup")
        await red.client.send(room, "after the backup")
        former = room_of(red, room).head
        heads = heads_of_messages("red")
        await restore(red, tmp_path / "backup")
        await red.client.send(room, "again")
        assert former not in heads
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        await blue.client.accept(room)
        await talk(room, red, blue)


async def test_others_changed_the_room_meanwhile(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, (red, blue, green, grey)):
        room = await gather_in("friends", red, blue, green)
        back_up(blue, tmp_path / "backup")
        await red.client.invite(room, "grey")
        await grey.sees(events.Invited)
        await grey.client.accept(room)
        await red.client.remove(room, "green")
        await red.client.set_title(room, "fewer friends")
        await read_up(room, red, blue, grey)
        await restore(blue, tmp_path / "backup")
        await talk(room, red, blue, grey)
        assert blue.client.rooms[room].title == "fewer friends"
        assert not of_kind(grey, events.Diverged)


async def test_it_was_removed_meanwhile(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        back_up(blue, tmp_path / "backup")
        await red.client.remove(room, "blue")
        await blue.sees(events.RoomClosed)
        await restore(blue, tmp_path / "backup")
        await until(lambda: room not in blue.client.rooms or "no longer a member" in notices(blue))
        await talk(room, red, green)
        assert "restored" not in notices(green)


async def test_its_own_changes_after_the_backup_do_not_keep_it_out(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue)
        back_up(red, tmp_path / "backup")
        await red.client.invite(room, "green")
        await green.sees(events.Invited)
        await green.client.accept(room)
        await read_up(room, red, blue, green)
        await restore(red, tmp_path / "backup")
        await red.sees(events.Notice, lambda notice: "follows friends again" in notice.text)
        await talk(room, red, blue, green)
        assert {member.person.name for member in red.client.members(room)} == {"red", "blue", "green"}


async def test_an_invitation_that_waited_in_the_backup_can_be_accepted(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = (await red.client.create_room("friends")).id
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        back_up(blue, tmp_path / "backup")
        await restore(blue, tmp_path / "backup")
        await blue.client.accept(room)
        await talk(room, red, blue)


async def test_its_key_packages_are_replaced(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        back_up(blue, tmp_path / "backup")
        before = await gather_in("before", red, blue)
        await restore(blue, tmp_path / "backup")
        rooms = [await gather_in(f"room {number}", red, blue) for number in range(3)]
        for room in rooms:
            await talk(room, red, blue)
        assert before not in rooms


async def test_a_room_whose_key_it_changed_after_the_backup_needs_an_invitation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejoin, "REQUEST_SECONDS", 1.0)
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        back_up(red, tmp_path / "backup")
        await red.client.remove(room, "green")
        await green.sees(events.RoomClosed)
        await read_up(room, red, blue)
        await restore(red, tmp_path / "backup")
        advice = "ask an admin to remove you there and to invite you again"
        await red.sees(events.Notice, lambda notice: advice in notice.text)
        await blue.client.send(room, "the others go on")


async def test_who_was_invited_after_the_backup_is_not_left_out(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = (await red.client.create_room("alone")).id
        back_up(red, tmp_path / "backup")
        for guest in (blue, green):
            await red.client.invite(room, guest.name)
            await guest.sees(events.Invited)
            await guest.client.accept(room)
        await talk(room, red, blue, green)
        await restore(red, tmp_path / "backup")
        await red.sees(events.Notice, lambda notice: "follows alone again" in notice.text)
        await talk(room, red, blue, green)
        assert members(red, room) == {"red", "blue", "green"}
        assert "was restored from a backup" in notices(blue)


async def test_the_original_used_once_more_does_not_put_the_restored_one_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "_STOP_ROUTING_SECONDS", 0.0)
    async with stage(tmp_path, "red", "blue") as (relay, (red, blue)):
        room = await gather_in("friends", red, blue)
        back_up(red, tmp_path / "backup")
        copy = Somebody(tmp_path / "copy", "red", relay)
        restore_profile(tmp_path / "backup", "of the backup", copy.home, new_passphrase=None, clock=time.time)
        await red.go()
        await copy.come()
        await talk(room, copy, blue)
        await copy.go()
        red.happened.clear()
        red._taken = 0
        await red.come()
        await red.sees(events.RoomClosed)
        assert "this profile was restored elsewhere and is in friends there: use that one" in notices(red)
        for number in range(3):
            await blue.client.send(room, f"while the original is here {number}")
        await red.go()
        await copy.come()
        await talk(room, copy, blue)
        await copy.go()


async def test_an_invitation_shown_again_after_the_restore_uses_no_key_twice(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        back_up(red, tmp_path / "backup")
        taken: list[Invitation] = []

        def keep(message: ToClient) -> tuple[ToClient]:
            if isinstance(message, Invitation):
                taken.append(message)
            return (message,)

        wire_of("red").shown = keep
        heads = heads_of_messages("red")
        room = (await blue.client.create_room("friends")).id
        await blue.client.invite(room, "red")
        await red.sees(events.Invited)
        await red.client.accept(room)
        await red.client.send(room, "the first use")
        before = set(heads)
        heads.clear()

        def rewind(message: ToClient) -> tuple[ToClient, ...]:
            """Pretend that red has said nothing yet."""
            if isinstance(message, Resumed) and message.room == room:
                return (changed(message, seq=taken[0].seq, submission=0, handshake=taken[0].seq),)
            is_later = isinstance(message, Entry) and message.room == room and message.seq > taken[0].seq
            return () if is_later else (message,)

        wire_of("red").shown = rewind
        await restore(red, tmp_path / "backup")
        wire_of("red").show(taken[0])
        await red.sees(events.Invited)
        assert room_of(red, room).epochs.restored
        await red.client.accept(room)
        red.client.post(room, "no second use")
        await until(lambda: room_of(red, room).commits.rejoining)
        assert before
        assert before.isdisjoint(heads)


async def test_a_member_cannot_lead_a_restored_device_away(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, (red, blue, green, grey)):
        room = await gather_in("friends", red, blue, green, grey)
        back_up(red, tmp_path / "backup")
        opened: list[bytes] = []
        given = LocalRoom.open_rejoin_info

        def spied(self: LocalRoom, rejoin_info: RejoinInfo) -> bytes:
            opened.append(rejoin_info.head)
            return given(self, rejoin_info)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalRoom, "open_rejoin_info", spied)
            await restore(red, tmp_path / "backup")
            await talk(room, red, blue, green, grey)
        assert not opened, "it knows the epoch itself, and takes nobody's word for it"
        assert members(red, room) == {"red", "blue", "green", "grey"}


async def test_a_room_that_could_not_be_opened_at_the_restore_is_marked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        back_up(red, tmp_path / "backup")
        await red.go()
        shutil.rmtree(red.profile.folder)

        def unreadable(*_: object) -> None:
            raise StateError("a newer version wrote it")

        with monkeypatch.context() as patch:
            patch.setattr(stored_group, "check_readable", unreadable)
            restored = restore_profile(
                tmp_path / "backup", "of the backup", red.home, new_passphrase=None, clock=time.time
            )
        assert "friends cannot be opened" in restored.unusable[0]
        red.happened.clear()
        red._taken = 0
        await red.come()
        await talk(room, red, blue)
        assert "was restored from a backup" in notices(blue)


async def test_a_commit_of_its_own_that_the_relay_made_up_does_not_keep_it_out(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        back_up(red, tmp_path / "backup")
        await blue.client.send(room, "one more")
        await read_up(room, red, blue, green)
        forged, head, own = room_of(red, room).record.cursor, room_of(red, room).head, device(red)

        def forge(message: ToClient) -> tuple[ToClient]:
            if isinstance(message, Entry) and message.seq == forged:
                header = pack_header(Header(Kind.COMMIT, head, Seen(0, bytes(32))))
                message = changed(message, sender=own, kind=Kind.COMMIT, payload=header + b"garbage")
            return (message,)

        def pass_on(message: ToRelay) -> tuple[ToRelay]:
            """Take what red submits, although red has read a commit that is not there."""
            if isinstance(message, Submit):
                message = changed(message, read=room_of(blue, room).record.read)
            return (message,)

        wire_of("red").shown, wire_of("red").told = forge, pass_on
        await restore(red, tmp_path / "backup")
        await red.sees(events.Notice, lambda notice: "could not open a change" in notice.text)
        await red.sees(events.Notice, lambda notice: "follows friends again" in notice.text)
        await talk(room, red, blue, green)
        for person in (blue, green):
            assert "was restored from a backup" in notices(person)
            assert of_kind(person, events.Diverged), "red was shown another log"
