"""Stories of processes that end in the middle of things."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import RelayError
from clave_client.sync.room_sync import RoomSync
from clave_client.values import Phase
from scenarios.stage import TIMEOUT, Relay, Somebody, agree, gather_in, people_at, relay_at


async def test_the_relay_is_killed_in_the_middle_of_a_conversation(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay", "--mirror", "off") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        texts = [f"line {number}" for number in range(60)]
        for round_of in range(3):
            said = texts[round_of * 20 : round_of * 20 + 20]
            sending = [asyncio.create_task(red.client.send(room, text)) for text in said]
            await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            await relay.kill()
            await relay.start()
            await asyncio.wait_for(asyncio.gather(*sending), TIMEOUT)
        await blue.reads(texts[-1])
        assert red.texts(room) == blue.texts(room) == texts
        assert blue.shown() == texts, "nothing shows twice"


async def test_what_is_said_while_the_relay_is_away_goes_out_later(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        await relay.kill()
        await red.sees(events.Disconnected)
        red.client.post(room, "into the void")
        await red.crash()
        await relay.start()
        await red.come()
        await blue.reads("into the void")
        assert blue.shown() == ["into the void"]


async def commit_then_crash(somebody: Somebody, room: bytes, *, delivered: bool) -> None:
    """Have a commit prepared, kept and perhaps sent, and the client die before it hears back."""
    session: RoomSync = somebody.client.sync
    here = session.rooms[room]
    submit = here.prepare_commit(())
    link = session.connection.transport
    assert link is not None
    if delivered:
        entered = asyncio.Event()
        link.on_messages = lambda _: entered.set()
        link.send(submit)
        await asyncio.wait_for(entered.wait(), TIMEOUT)
    await somebody.crash()


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_client_dies_between_sending_a_commit_and_hearing_back(
    tmp_path: Path, *, delivered: bool
) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        before = blue.authenticator(room)[0]
        await commit_then_crash(red, room, delivered=delivered)
        await red.come()
        await red.client.send(room, "here I am again")
        await blue.reads("here I am again")
        await agree(room, red, blue)
        assert red.authenticator(room)[0] == before + 1
        assert red.client.sync.rooms[room].commits.newest is None


async def test_a_lost_commit_gives_way_to_the_one_that_won(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        before = blue.authenticator(room)[0]
        await commit_then_crash(red, room, delivered=False)
        await blue.client.sync.commit(room, lambda _: ())
        await red.come()
        await agree(room, red, blue)
        await red.client.send(room, "after all")
        await blue.reads("after all")
        assert red.authenticator(room)[0] == before + 1


async def test_a_client_dies_between_sending_a_message_and_hearing_back(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        link = red.client.sync.connection.transport
        assert link is not None
        link.on_messages = lambda _: None
        red.client.post(room, "once")
        await blue.reads("once")
        await red.crash()
        await red.come()
        await red.client.send(room, "and then")
        await blue.reads("and then")
        assert blue.shown() == ["once", "and then"]
        assert red.texts(room) == blue.texts(room) == ["once", "and then"]


async def test_a_restored_backup_is_refused(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        await red.go()
        files = {path: path.read_bytes() for path in red.profile.folder.iterdir() if path.is_file()}
        await red.come()
        await red.client.send(room, "after the backup")
        await blue.reads("after the backup")
        await red.go()
        for path in red.profile.folder.iterdir():
            path.unlink()
        for path, data in files.items():
            path.write_bytes(data)
            path.chmod(0o600)
        await red.come()
        notice = await red.sees(events.Notice)
        assert "too old" in notice.text
        with pytest.raises(Exception, match="backup"):
            await red.client.send(room, "with a used key")
        await blue.client.send(room, "red still reads")
        await red.reads("red still reads")
        await red.client.leave(room)
        await blue.sees(events.MemberLeft)
        session = blue.client.sync
        await session.wait_for(lambda: len(session.rooms[room].group.members()) == 1)
        await blue.client.invite(room, "red")
        await red.sees(events.Invited)
        await red.client.accept(room)
        await red.client.send(room, "with fresh keys")
        await blue.reads("with fresh keys")


async def test_a_client_process_killed_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay", "--mirror", "off") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        await blue.go()
        said = []
        for number in range(6):
            lines = [f"{number}.{line}" for line in range(30)]
            said.append(lines)
            await pour_and_kill(tmp_path / "home", lines, after=0.25 + number * 0.06)
        await blue.come()
        await blue.client.send(room, "end")
        await red.reads("end")
        await blue.client.wait_flushed()
        texts = red.texts(room)[:-1]
        assert len(texts) == len(set(texts)), "nothing twice"
        for lines in said:
            arrived = [text for text in texts if text in lines]
            assert arrived == lines[: len(arrived)], "what arrived is what was said first, in order"
        assert red.texts(room) == blue.texts(room)
        assert red.client.rooms[room].phase is Phase.JOINED


async def pour_and_kill(home: Path, lines: list[str], *, after: float) -> None:
    """Run `clave send friends -` as blue, feed it, and kill it `after` so many seconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "clave_client",
        "send",
        "--home",
        str(home),
        "--name",
        "blue",
        "friends",
        "-",
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in lines).encode())
    try:
        # The moment of the kill is the point: any moment must do.
        await asyncio.wait_for(process.wait(), after)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    process.stdin.close()


async def test_a_relay_that_stays_away_is_one_line_and_a_relay_that_stops_says_so(tmp_path: Path) -> None:
    relay = Relay(tmp_path / "relay")
    await relay.start()
    async with people_at(relay, tmp_path / "home", "red") as (red,):
        assert await relay.stop() == 0
        gone = await red.sees(events.Disconnected)
        assert "\n" not in gone.reason
        with pytest.raises(RelayError, match="not connected"):
            await red.client.create_room("nowhere")
