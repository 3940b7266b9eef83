"""P5: a relay restored from a backup costs what it lost, and no room."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adversary.kit import of_kind, read_up, stage, talk, until
from clave_client import events
from commandkit import said
from scenarios.stage import Relay, Somebody, agree, gather_in
from scenarios.test_bad_input import chat, clave


async def back_up(relay: Relay) -> Path:
    """Take a backup of a running relay."""
    archive = relay.data.with_name("backup.tar")
    await said(relay.data, "backup", archive)
    return archive


async def restore(relay: Relay, archive: Path) -> None:
    """Lose a relay's disk, and begin again with the backup."""
    await relay.kill()
    relay.data = relay.data.with_name("restored")
    relay.data.mkdir(mode=0o700)
    extracting = await asyncio.create_subprocess_exec("tar", "-xf", archive, "-C", relay.data)
    assert await extracting.wait() == 0
    await relay.start()


def times_told(person: Somebody) -> int:
    return len(of_kind(person, events.RelayRestored))


async def test_rooms_go_on_and_it_is_told_once(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (relay, (red, blue)):
        busy = await gather_in("busy", red, blue)
        silent = await gather_in("silent", red, blue)
        archive = await back_up(relay)
        for number in range(4):
            await red.client.send(busy, f"after the backup {number}")
        await read_up(busy, red, blue)
        await restore(relay, archive)
        await talk(busy, red, blue)
        await talk(silent, red, blue)
        await until(lambda: times_told(red) == times_told(blue) == 1)
        lost = of_kind(red, events.RelayRestored)[0]
        assert isinstance(lost, events.RelayRestored)
        assert (lost.title, lost.count) == ("busy", 4)
        assert all(f"after the backup {number}" in blue.texts(busy) for number in range(4))
        await red.go()
        await red.come()
        await talk(busy, red, blue)
        assert times_told(red) == 1
        assert not of_kind(blue, events.Diverged)


async def test_somebody_who_had_seen_less_wrote_meanwhile(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (relay, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        archive = await back_up(relay)
        await green.go()
        for number in range(3):
            await red.client.send(room, f"red {number}")
        await read_up(room, red, blue)
        await red.go()
        await blue.go()
        await restore(relay, archive)
        await green.come()
        for number in range(6):  # until the numbers that red had seen are taken again
            await green.client.send(room, f"green {number}")
        await red.come()
        await blue.come()
        await talk(room, red, blue, green)
        await read_up(room, red, blue, green)
        everything = {f"red {number}" for number in range(3)} | {f"green {number}" for number in range(6)}
        for person in (red, blue, green):
            assert everything <= set(person.texts(room))
            assert len(person.texts(room)) == len(set(person.texts(room))), "nothing twice"
            assert not of_kind(person, events.Diverged)


async def test_a_change_that_was_lost_and_had_been_followed(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (relay, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        archive = await back_up(relay)
        await red.client.set_title(room, "lost title")
        await read_up(room, red, blue, green)
        await restore(relay, archive)
        await talk(room, red, blue, green)
        await red.client.set_title(room, "friends again")
        await read_up(room, red, blue, green)


async def test_a_change_that_was_lost_and_only_some_had_followed(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (relay, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        archive = await back_up(relay)
        await green.go()
        await red.client.set_title(room, "lost title")
        await read_up(room, red, blue)
        await restore(relay, archive)
        await green.come()
        for person in (red, blue, green):
            person.client.post(room, f"{person.name} notices")
        await agree(room, red, blue, green)
        await talk(room, red, blue, green)


async def test_a_change_that_was_lost_and_only_its_maker_had_followed(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (relay, (red, blue, green, grey)):
        room = await gather_in("friends", red, blue, green)
        archive = await back_up(relay)
        await blue.go()
        await green.go()
        await red.client.invite(room, "grey")
        await grey.sees(events.Invited)
        await restore(relay, archive)
        await blue.come()
        await green.come()
        for person in (red, blue, green):
            person.client.post(room, f"{person.name} notices")
        await red.sees(events.Notice, lambda notice: "removed meanwhile: grey" in notice.text)
        await agree(room, red, blue, green)
        await talk(room, red, blue, green)


async def test_send_and_leave_and_new_rooms_and_invitations_after_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with stage(tmp_path, "red", "blue") as (relay, (red, blue)):
        room = await gather_in("busy", red, blue)
        archive = await back_up(relay)
        another = await gather_in("another", red, blue)  # takes a key package that the backup has still
        await red.client.send(room, "lost and said again")
        await read_up(room, red, blue)
        await red.go()
        await restore(relay, archive)
        ran = await clave("send", "--name", "red", "busy", "hello", home=home)
        assert ran.status == 0, ran.err
        assert "restored from a backup" in ran.err
        assert len(ran.err.splitlines()) <= 2
        await blue.reads("hello")
        assert "lost and said again" in blue.texts(room)
        chatted = await chat("red", relay, home, "--room", "busy", given="/leave\n/new third\nhi\nexit\n")
        assert chatted.status == 0, chatted.err
        assert "* you left busy" in chatted.out
        assert "* third is open" in chatted.out
        await red.come()
        third = red.client.find_room("third")
        await red.client.invite(third, "blue")
        await blue.sees(events.Invited, lambda event: event.title == "third")
        await blue.client.accept(third)
        await talk(third, red, blue)
        assert another in red.client.rooms, "a room the relay has no trace of stays to be left"
