"""A profile restored from a backup comes back into its rooms, uses no key twice, and everybody sees it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from adversary.kit import of_kind, read_up, room_of, stage, talk, until, wire_of
from clave_client import events
from clave_client.restoring import restore_profile
from clave_client.store.backup import write_backup
from clave_client.store.profile import Profile
from clave_client.sync import rejoin
from clave_client.values import Phase
from clave_wire.header import split_payload
from clave_wire.messages import Kind, Submit, ToRelay
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
