"""Requests about messages: what they name, what a repeated one does, and what blocked people's show."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.errors import ClientError, UsageError
from clave_client.rooms.state_change import StateChange
from clave_client.rpc import methods as m
from clave_client.rpc.service_base import ServiceBase
from clave_client.rpc.session import Session
from clave_client.ui.conversation import Conversation
from clave_client.values import Phase
from client.rpc.kit import home_at, next_of
from client.rpc.test_search import heard, say


def client_of(session: Session) -> Client:
    """Return the client of a session that owns its profile."""
    owner = session._owner
    assert owner is not None
    assert owner._client is not None
    return owner._client


async def texts(session: Session) -> list[str]:
    return [each.text for each in await session.ask(m.GetHistory(room="friends"))]


async def test_what_is_changed_is_named_before_the_room_is_read_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await say(red, "shall we have cake?")
        await heard(blue, 1)
        client, reached = client_of(blue), asyncio.Event()
        wait = client.wait_until_sendable

        async def read_on(room: bytes) -> None:
            reached.set()
            await heard(blue, 2)
            await wait(room)

        monkeypatch.setattr(client, "wait_until_sendable", read_on)
        reacting = asyncio.create_task(blue.ask(m.React(room="friends", reaction="+1", key="k")))
        await reached.wait()
        await say(red, "my dog died")
        await reacting
        first, second = await blue.ask(m.GetHistory(room="friends"))
        assert ([each.reaction for each in first.reactions], second.reactions) == (["+1"], [])


async def test_a_deletion_here_only_is_done_once_though_its_outcome_was_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await say(red, "one", "two")
        request = m.DeleteMessage(room="friends", here_only=True, key="k")
        first = await red.ask(request)
        assert await red.ask(request) == first
        assert await texts(red) == ["one"]
        with monkeypatch.context() as failing:
            failing.setattr(ServiceBase, "_once", _fail)
            with pytest.raises(UsageError, match="disk"):
                await red.ask(m.DeleteMessage(room="friends", here_only=True, key="l"))
        assert await texts(red) == ["one"]


def _fail(*_: object) -> None:
    raise UsageError("the disk failed")


async def test_a_repeated_edit_of_a_deleted_message_answers_as_before(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await say(red, "one")
        request = m.Edit(room="friends", text="two", key="k")
        first = await red.ask(request)
        assert first.seq
        await red.ask(m.DeleteMessage(room="friends"))
        assert await red.ask(request) == first


async def test_a_typed_line_is_deleted_with_what_it_said(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        first, second, other = "[docs](https://example.org/x) *now*", "/edit nicer", "stays"
        for line in (first, second, other):
            await red.ask(m.AddTypedLine(line=line))
        message = await red.ask(m.Post(room="friends", text=first, typed=first))
        assert await red.ask(m.WaitFlushed(wait=20.0))
        await red.ask(m.Edit(room="friends", text="nicer", message=message.hex(), typed=second))
        await red.ask(m.DeleteMessage(room="friends", message=message.hex()))
        assert await red.ask(m.GetTypedLines()) == [other]


async def test_nothing_that_a_blocked_person_said_is_shown(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue, green = await home.friends("red", "blue", "green")
        await say(red, "canary of red")
        await heard(blue, 1)
        await heard(green, 1)
        shown: list[str] = []
        talk = Conversation(blue, lambda line: shown.append("".join(text for _, text in line)))
        await talk.begin("friends")
        (message,) = await blue.ask(m.GetHistory(room="friends"))
        await blue.ask(m.Block(name="red"))
        shown.clear()
        await green.ask(m.React(room="friends", reaction="+1"))
        await talk.show_event((await next_of(blue, events.ReactionChanged)).event or events.Event(b""))
        assert shown
        assert "canary" not in "".join(shown)
        for request in (m.GetMessage(room="friends", message=message.id.hex()), m.GetMessage(room="friends")):
            with pytest.raises(UsageError):
                await blue.ask(request)
        page = await blue.ask(m.ReadEvents(after=0, limit=1000))
        assert "canary" not in str([each.event for each in page.events])
        assert await texts(blue) == []
        await blue.ask(m.Unblock(name="red"))
        assert await texts(blue) == ["canary of red"]


async def test_an_open_invitation_of_who_is_blocked_is_declined(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.ask(m.CreateRoom(title="another"))
        await red.ask(m.Invite(room="another", name="blue"))
        await next_of(blue, events.Invited)
        await red.subscribe()
        await blue.ask(m.Block(name="red"))
        assert [room.title for room in await blue.ask(m.ListRooms())] == ["friends"]
        left = (await next_of(red, events.MemberLeft)).event
        assert isinstance(left, events.MemberLeft)
        assert left.person.name == "blue"


@pytest.mark.parametrize("whose", ["blue", "red"])
async def test_a_room_that_only_says_to_be_between_two_is_refused(tmp_path: Path, whose: str) -> None:
    """A stranger makes one "between" red and blue, or of red's own notes, and is in it."""
    async with home_at(tmp_path) as home:
        red, blue, mallory = await home.friends("red", "blue", "mallory")
        accounts = {client_of(each).sync.account.verified.account for each in (red, blue)}
        own = {client_of(red).sync.account.verified.account}
        client = client_of(mallory)
        room = await client.create_room("x", direct=sorted(accounts if whose == "blue" else own))
        await red.subscribe()
        await client.invite(room.id, "red")
        refused = (await next_of(red, events.Notice)).event
        assert isinstance(refused, events.Notice)
        assert "between two people, and has others" in refused.text
        opened = await red.ask(m.OpenDirect(name=whose))
        assert opened.id != room.id
        names = {each.person.name for each in await red.ask(m.ListMembers(room=opened.id.hex()))}
        assert names == {"red", whose}
        assert all(each.phase is not Phase.INVITED for each in await red.ask(m.ListRooms()))


async def test_a_text_that_is_no_utf_8_disturbs_nobody(tmp_path: Path) -> None:
    """In the former content format, whose decoder raised something else for it."""
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        client = client_of(red)
        here = client.sync.rooms[client.find_room("friends")]
        bad = bytes.fromhex("95c410" + "69" * 16 + "01" + "a2b1b1" + "c400" + "05")
        item = here.composer.text("bad")
        with here.changing():
            here.outbox.append(type(item)(item.id, item.kind, bad, "bad"), 0)
        client.submit_noted(here.id)
        notice = (await next_of(blue, events.Notice)).event
        assert isinstance(notice, events.Notice)
        assert "cannot read" in notice.text
        assert client_of(blue).is_online
        await blue.ask(m.Send(room="friends", text="still here"))


@pytest.mark.parametrize("title", ["@blue", "\uff20anybody else", "notes to self", "Notes  to Self"])
async def test_no_room_is_called_like_one_between_two_people(tmp_path: Path, title: str) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        with pytest.raises(UsageError, match="/dm NAME"):
            await red.ask(m.CreateRoom(title=title))
        with pytest.raises(UsageError, match="/dm NAME"):
            await red.ask(m.SetTitle(room="friends", title=title, key="k"))
        client = client_of(red)
        (room,) = client.sync.rooms.values()

        await blue.subscribe()
        await client._change_state(room.id, StateChange(title))  # as another program could
        changed = (await next_of(blue, events.RoomChanged)).event
        assert isinstance(changed, events.RoomChanged)
        assert changed.title == f"({title})"


async def test_a_direct_room_with_somebody_blocked_is_not_opened(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, _ = await home.friends("red", "blue")
        await red.ask(m.Block(name="blue"))
        with pytest.raises(UsageError, match="blue is blocked"):
            await red.ask(m.OpenDirect(name="blue"))
        assert [each.title for each in await red.ask(m.ListRooms())] == ["friends"]
        notes = await red.ask(m.OpenDirect(name="red"))
        assert notes.title == "notes to self"


async def test_an_edit_whose_message_is_deleted_before_it_is_sent_fails(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, _ = await home.friends("red", "blue")
        client = client_of(red)
        (room,) = client.sync.rooms.values()
        await red.subscribe()
        message = client.post(room.id, "zero")
        await client.sync.wait_for_delivery(room.id, message)
        room.draining = True  # so that nothing is sent
        edit = client.note_edit(room.id, message, "canary")
        waiting = asyncio.create_task(client.sync.wait_for_delivery(room.id, edit))
        await asyncio.sleep(0)
        with client.sync.store.transaction():
            client.sync.store.erase_message(room.id, message, events.MessageKind.DELETED)
        room.draining = False
        client.sync.submit_due(room)
        failed = (await next_of(red, events.SendFailed)).event
        assert isinstance(failed, events.SendFailed)
        assert (failed.id, failed.reason, failed.text) == (edit, "its message was deleted", "")
        assert not room.outbox
        with pytest.raises(ClientError, match="not sent: its message was deleted"):
            await waiting
