"""Stories of what nobody else may read: the relay, who came later, who was removed."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import apsw
import pytest

from clave_client import events
from clave_client.rooms.policy import RoomPolicy
from clave_crypto.mls import Group, MLSError
from clave_wire.framing import FrameBuffer, unpack_to_client
from clave_wire.header import split_payload
from clave_wire.limits import MAX_FRAME
from clave_wire.messages import Entry, Kind, Lookup, Mend, Presence, Resume, ToClient
from scenarios.stage import gather_in, people_at, relay_at

NOW = 2_000_000_000


def everything_stored(data: Path) -> list[Entry]:
    """Return every entry that lies in the relay's database, as a relay that turns malicious would."""
    (file,) = data.glob("*.db")
    database = apsw.Connection(f"file:{file}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    entries = []
    for (frames,) in database.execute("SELECT frames FROM segments ORDER BY room, first_seq"):
        for body in FrameBuffer(MAX_FRAME).cut(frames):
            entry = unpack_to_client(body)
            assert isinstance(entry, Entry)
            entries.append(entry)
    database.close()
    return entries


async def test_who_joins_late_cannot_read_what_was_said_before(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = await gather_in("friends", red, blue)
        await red.client.send(room, "before green came")
        await blue.reads("before green came")
        await red.client.invite(room, "green")
        await green.sees(events.Invited)
        await green.client.accept(room)
        await red.client.send(room, "welcome")
        await green.reads("welcome")
        assert green.texts(room) == ["welcome"]
        group = green.client.sync.rooms[room].group
        earlier = [entry for entry in everything_stored(relay.data) if entry.epoch < group.epoch]
        assert len(earlier) >= 3
        for entry in earlier:
            with pytest.raises(MLSError):
                group.receive(entry.payload)


async def test_who_was_removed_reads_nothing_later(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = await gather_in("friends", red, blue, green)
        last_state = blue.client.sync.rooms[room].group.state()
        await red.client.remove(room, "blue")
        removed = await blue.sees(events.RoomClosed)
        assert removed.by is not None
        assert removed.by.name == "red"
        removal = red.client.sync.rooms[room].record.cursor
        await red.client.send(room, "blue must not read this")
        await green.reads("blue must not read this")
        await red.client.set_title(room, "without blue")
        await red.client.send(room, "nor this")
        await green.reads("nor this")
        later = [entry for entry in everything_stored(relay.data) if entry.seq > removal]
        bodies = [split_payload(entry.payload)[2] for entry in later if entry.kind is not Kind.CONFIRM]
        assert len(bodies) >= 3
        for body in bodies:
            with pytest.raises(MLSError):
                Group.restore(last_state, policy=RoomPolicy()).receive(body)
        assert room not in blue.client.rooms
        assert not any("must not" in text or "nor this" in text for text in blue.shown())


async def test_only_an_admin_removes_and_the_refusal_is_one_line(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = await gather_in("friends", red, blue, green)
        with pytest.raises(Exception, match="only an admin may remove people") as caught:
            await blue.client.remove(room, "green")
        assert "\n" not in str(caught.value)
        await blue.client.send(room, "still here")
        await green.reads("still here")


CANARY = "Kanarienvogel7261"


def memory_of(pid: int) -> bytes:
    """Return all readable memory of a process of this user."""
    found = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if match is None or "[v" in line:
                continue
            start, end = (int(text, 16) for text in match.groups())
            memory.seek(start)
            try:
                found.append(memory.read(end - start))
            except OSError:
                continue
    return b"".join(found)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="reads a process's memory through /proc")
async def test_the_canary_is_nowhere_at_the_relay(tmp_path: Path) -> None:
    nickname = "canarybird"
    async with (
        relay_at(tmp_path / "relay", "--mirror", "full") as relay,
        people_at(relay, tmp_path / "home", "red", nickname) as (red, bird),
    ):
        room = await gather_in(f"{CANARY} room", red, bird)
        await red.client.send(room, f"{CANARY} text")
        await bird.reads(f"{CANARY} text")
        await red.client.set_title(room, f"{CANARY} again")
        await bird.go()
        await red.client.send(room, f"{CANARY} while away")
        await bird.come()
        await bird.reads(f"{CANARY} while away")
        memory = await asyncio.to_thread(memory_of, relay.pid)
        secrets = [
            red.client.sync.rooms[room].group.export("canary", b"", 32),
            bytes(red.client.sync.store.get("device_secret") or b"missing"),
            bytes(red.client.sync.store.get("account_secret") or b"missing"),
            red.authenticator(room)[1],
        ]
    stored = b"".join(file.read_bytes() for file in relay.data.iterdir() if file.is_file())
    printed = "\n".join(relay.mirror + relay.log).encode()
    assert nickname.encode() in memory, "the search finds what is there: nicknames are the relay's to know"
    assert nickname.encode() in stored
    assert nickname.encode() in printed
    for place in (memory, stored, printed):
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert CANARY.encode(encoding) not in place
        for secret in secrets:
            assert secret not in place
            assert secret.hex().encode() not in place


async def test_the_mirror_says_who_from_where_and_how_much(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay", "--mirror", "json") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        await red.client.send(room, "hello")
        await blue.reads("hello")
    lines = [json.loads(line) for line in relay.mirror]
    stored = everything_stored(relay.data)
    entries = [line for line in lines if "seq" in line]
    assert [line["seq"] for line in entries] == [entry.seq for entry in stored]
    for line, entry in zip(entries, stored, strict=True):
        assert line["name"] in ("red", "blue")
        assert re.fullmatch(r"127\.0\.0\.1:\d+", line["address"])
        assert line["size"] == len(entry.payload)
        assert line["kind"] == entry.kind.name.lower()
        assert room.hex().startswith(line["room"])
        assert line["piece"].strip(".") in entry.payload.hex()
        assert 0 < len(line["piece"]) < 100


async def test_a_stranger_is_routed_to_no_more_once_two_members_have_said_so(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "yellow", "green") as (red, blue, yellow, green),
    ):
        room = await gather_in("friends", red, blue, yellow)
        await yellow.client.send(room, "all three are here")
        await blue.reads("all three are here")
        session, stranger = red.client.sync, green.client.sync
        device = stranger.account.device.public
        entries: list[Entry] = []
        taken = stranger.received

        def take(messages: list[ToClient]) -> None:
            entries.extend(message for message in messages if isinstance(message, Entry))
            taken(messages)

        stranger.received = take  # type: ignore[method-assign]
        await session.transport.request(lambda request: Mend(request, room, [device], []))
        stranger.transport.send(Resume(stranger.transport.next_id(), room, session.rooms[room].record.cursor))
        await session.wait_for(lambda: room in session.routing.checked_at)
        await blue.client.sync.wait_for(lambda: room in blue.client.sync.routing.checked_at)
        await red.client.sync.transport.request(lambda request: Mend(request, room, [], []))
        await blue.client.sync.transport.request(lambda request: Mend(request, room, [], []))
        before = len(entries)
        await red.client.send(room, "between us")
        await blue.reads("between us")
        await stranger.transport.request(lambda request: Lookup(request, "red"))
        assert len(entries) == before, "green is sent nothing more"
        session.connection.receive([Presence(room, device, "green", True, "")])
        assert not session.resumes.is_waiting, "a relay that goes on cannot have it asked again and again"
        assert not green.shown()
