"""What a person sees in a window, with a relay in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import ClientError, UsageError
from clave_client.rpc import message_service as service_module
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.ui import conversation as conversation_module
from clave_client.ui.chat_commands import run_input, switch, switch_to_unread
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import plain
from clave_client.ui.draft_line import TypedText
from client.rpc.kit import TIMEOUT, Home, crash, home_at, next_of


class Window:
    """A conversation that is listened to; `lines` is what it showed."""

    def __init__(self, session: Session, *, interactive: bool = True) -> None:
        self.lines: list[str] = []
        self.rung: list[str] = []
        self.session = session
        self._news = asyncio.Event()
        self.talk = Conversation(session, self._show, interactive=interactive)
        self.talk.connect(self._show, self._news.set, lambda message, _: self.rung.append(message.text))
        self._listening: asyncio.Task[None] | None = None

    def _show(self, line: list[tuple[str, str]]) -> None:
        self.lines.append(plain(line))
        self._news.set()

    @classmethod
    async def open(
        cls, home: Home, name: str, *, room: str | None = None, interactive: bool = True
    ) -> Window:
        window = cls(await home.session(name), interactive=interactive)
        await window.talk.begin(room)
        window._listening = asyncio.create_task(window.talk.listen())
        return window

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self.talk.finish()
        await self.session.close()

    async def types(self, text: str) -> bool:
        return await run_input(self.talk, text)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def shows(self, text: str) -> None:
        try:
            await self.until(lambda: any(text in line for line in self.lines))
        except TimeoutError:
            raise AssertionError(f"{text!r} was never shown: {self.lines}") from None

    @property
    def live(self) -> list[str]:
        return [plain(line) for line in self.talk.live()]


async def test_the_only_room_is_entered_and_then_the_last_one(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await (await home.session("red")).ask(m.CreateRoom(title="first"))
        window = await Window.open(home, "red")
        assert window.talk.prompt == "first> "
        await window.types("/new second")
        assert window.talk.prompt == "second> "
        await window.types("/room first")
        await window.close()
        again = await Window.open(home, "red")
        assert again.talk.prompt == "first> "
        chosen = await Window.open(home, "red", room="second")
        assert chosen.talk.prompt == "second> "
        for each in (again, chosen):
            await each.close()


async def test_a_line_without_a_room_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        window = await Window.open(home, "red")
        assert not await window.types("hello?")
        assert window.lines[-1] == "* you are in no room; /room TITLE enters one, /new TITLE opens one"
        await window.close()


@pytest.mark.parametrize("interactive", [True, False])
async def test_all_that_is_new_is_shown_however_much_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interactive: bool
) -> None:
    monkeypatch.setattr(conversation_module, "_PAGE", 3)
    monkeypatch.setattr(service_module, "MOST_MESSAGES", 3)
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        for number in range(12):
            await red.ask(m.Send(room="friends", text=f"own {number}"))
        for number in range(20):
            await blue.ask(m.Send(room="friends", text=f"new {number}"))
        while (await red.ask(m.FindRoom(room="friends"))).unread < 20:
            await red.ask(m.ReadEvents(wait=1))
        window = await Window.open(home, "red", interactive=interactive)
        said = [line.rpartition(": ")[2] for line in window.lines if ": own" in line or ": new" in line]
        earlier = [f"own {number}" for number in range(2, 12)] if interactive else []
        assert said == earlier + [f"new {number}" for number in range(20)]
        assert (await red.ask(m.FindRoom(room="friends"))).unread == 0
        await window.close()


async def test_an_invitation_is_answered_before_its_room_is_entered(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        blue = await home.session("blue")
        await blue.subscribe()
        await red.ask(m.Invite(room="friends", name="blue"))
        await next_of(blue, events.Invited)
        window = Window(blue)
        with pytest.raises(UsageError, match="answer the invitation first: /accept friends"):
            await window.talk.begin("friends")


async def test_two_windows_show_the_same_and_nothing_twice(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.friends("red", "blue")
        first, second = [await Window.open(home, "red") for _ in range(2)]
        blue = await home.session("blue")
        await first.types("from the first")
        await second.types("from the second")
        await blue.ask(m.Send(room="friends", text="from blue"))
        for window in (first, second):
            await window.shows("blue (unverified): from blue")
            said = [line[6:] for line in window.lines if ": from" in line]
            assert sorted(said) == [
                "blue (unverified): from blue",
                "red: from the first",
                "red: from the second",
            ]
        for window in (first, second):
            await window.close()


async def test_a_window_that_takes_over_shows_nothing_twice(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        window = await Window.open(home, "red")
        await blue.ask(m.Send(room="friends", text="one"))
        await window.shows(": one")
        await crash(red)
        await blue.ask(m.Send(room="friends", text="two"))
        await window.shows(": two")
        await window.types("three")
        await window.shows("red: three")
        texts = [line.rpartition(": ")[2] for line in window.lines if line[2:3] == ":"]
        assert texts == ["one", "two", "three"]
        await window.close()


async def test_what_is_new_stands_below_a_line_and_after_what_was_read(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.subscribe()
        for text in ("old", "new one", "new two"):
            await blue.ask(m.Send(room="friends", text=text))
            heard = (await next_of(red, events.Message)).event
            if text == "old":
                assert isinstance(heard, events.Message)
                await red.ask(m.MarkShown(room="friends", seq=heard.seq))
        window = await Window.open(home, "red")
        shown = [line[6:] if line[2:3] == ":" else line for line in window.lines]
        assert shown[:4] == [
            "blue (unverified): old",
            "--- new ---",
            "blue (unverified): new one",
            "blue (unverified): new two",
        ]
        await window.close()
        again = await Window.open(home, "red")
        assert "--- new ---" not in again.lines
        await again.close()


async def test_messages_of_another_day_stand_below_its_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await red.ask(m.Send(room="friends", text="today"))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 3 * 86_400)
        window = await Window.open(home, "red")
        assert window.lines[0].startswith("--- ")
        assert window.lines[1].endswith("red: today")
        await window.close()


async def test_other_rooms_are_counted_and_one_key_leads_to_the_next_unread(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.ask(m.CreateRoom(title="alone"))
        window = await Window.open(home, "red", room="alone")
        await blue.ask(m.Send(room="friends", text="over here"))
        await window.until(lambda: bool(window.live))
        assert not any("over here" in line for line in window.lines)
        assert window.live == ["new: 2 friends 1  (Alt-a)"]
        assert window.rung == ["over here"]
        await window.types("/room")
        assert any("friends" in line and "(1 new)" in line for line in window.lines)
        await switch_to_unread(window.talk, TypedText())
        assert window.talk.prompt == "friends> "
        assert any(line.endswith("blue (unverified): over here") for line in window.lines)
        assert window.live == []
        await switch(window.talk, 1, typed := TypedText("typed"))
        assert window.talk.prompt == "alone> "
        assert typed.is_kept
        for again in (
            switch(window.talk, 9, typed := TypedText("typed")),
            switch_to_unread(window.talk, typed),
        ):
            await again
            assert not typed.is_kept
        assert window.talk.prompt == "alone> ", "there is nothing else to go to"
        await window.close()


async def test_in_a_pipe_other_rooms_are_shown_with_their_title(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.ask(m.CreateRoom(title="alone"))
        window = await Window.open(home, "red", room="alone", interactive=False)
        await blue.ask(m.Send(room="friends", text="over here"))
        await window.shows("blue (unverified): over here")
        assert window.lines[-1].startswith("[friends] ")
        await window.types("said here")
        await blue.ask(m.Send(room="friends", text="again"))
        await window.shows("again")
        assert not any("said here" in line for line in window.lines), "what was typed here is not repeated"
        await window.close()


async def test_a_muted_room_rings_no_bell_until_it_is_unmuted(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        _, blue = await home.friends("red", "blue")
        window = await Window.open(home, "red")
        await window.types("/mute 8h")
        assert window.lines[-1] == "* friends is muted for 8 hours"
        await blue.ask(m.Send(room="friends", text="quiet"))
        await window.shows("quiet")
        await window.types("/mute")
        assert window.lines[-1] == "* friends rings again"
        await blue.ask(m.Send(room="friends", text="loud"))
        await window.shows("loud")
        assert window.rung == ["loud"]
        await window.types("/mute friends")
        assert window.lines[-1] == "* friends is muted"
        await window.close()


async def test_leaving_asks_and_warns_the_only_admin(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.friends("red", "blue")
        window = await Window.open(home, "red")
        await window.types("/leave")
        assert "you are the only admin of friends" in window.lines[-2]
        assert window.lines[-1].endswith("type /leave yes")
        assert not await window.types("/ leave")
        assert window.lines[-1].startswith("* there is no /;")
        assert window.talk.room is not None
        await window.types("/LEAVE yes")
        await window.shows("you left friends")
        await window.until(lambda: window.talk.room is None)
        assert window.talk.prompt == "> "
        await window.close()


async def test_declining_says_declined(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        window = await Window.open(home, "blue")
        await red.ask(m.Invite(room="friends", name="blue"))
        await window.shows("[friends] * red (unverified) invites you to friends (one person is there)")
        await window.types("/decline")
        await window.shows("you declined the invitation to friends")
        assert not any("you left" in line for line in window.lines)
        await window.close()


async def test_an_evening_offline(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await blue.ask(m.Send(room="friends", text="see you"))
        await red.close()
        home.relay.is_reachable = False
        window = await Window.open(home, "red")
        await window.shows("offline:")
        assert window.talk.prompt == "friends (offline)> "
        await window.types("written offline")
        await window.until(lambda: bool(window.live))
        assert window.live == ["waiting red: written offline"]
        assert not await window.types("/invite green")
        assert "not connected" in window.lines[-1]
        await window.types("/leave yes")
        assert window.lines[-1] == "* you leave friends; the others hear it once the relay is back"
        assert window.talk.prompt == "(offline)> "
        await window.close()


async def test_who_lists_those_online_with_their_warning(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.friends("red", "blue")
        window = await Window.open(home, "red")
        await window.types("/who")
        assert window.lines[-1] == "* online in friends: blue (unverified), red"
        await window.close()


async def test_an_owner_that_stops_is_named_and_greeted_again(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        window = await Window.open(home, "red")
        window.talk.owner_stalled(17)
        assert "process 17 holds the profile and does not answer" in window.lines[-1]
        window.talk.owner_stalled(0)
        assert window.lines[-1] == "* the profile's owner answers again"
        await window.close()


async def test_what_was_said_elsewhere_in_between_stands_in_its_place(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.subscribe()
        for sender, text in ((blue, "one"), (red, "two"), (blue, "three")):
            await sender.ask(m.Send(room="friends", text=text))
            if sender is blue:
                await next_of(red, events.Message)
        window = await Window.open(home, "red")
        texts = [line.rpartition(": ")[2] for line in window.lines if line[2:3] == ":"]
        assert texts == ["one", "two", "three"]
        await window.close()


async def test_leaving_says_what_will_not_be_sent_and_shows_it(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await red.close()
        home.relay.is_reachable = False
        window = await Window.open(home, "red")
        await window.types("an unsent thought")
        await window.until(lambda: bool(window.live))
        await window.types("/leave yes")
        assert any("1 of your messages there wait" in line for line in window.lines)
        home.relay.is_reachable = True
        await window.shows("it said: an unsent thought")
        await window.close()


async def test_what_comes_while_a_room_is_entered_is_shown_once(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.ask(m.CreateRoom(title="alone"))
        window = await Window.open(home, "red", room="alone")
        for n in range(10):
            await asyncio.gather(
                blue.ask(m.Send(room="friends", text=f"blue {n}.")),
                window.session.ask(m.Send(room="friends", text=f"red {n}.")),
                window.types("/room friends"),
            )
            await window.shows(f"blue {n}.")
            await window.shows(f"red {n}.")
            both = [line for line in window.lines if line.endswith((f"blue {n}.", f"red {n}."))]
            assert len(both) == 2, both
            await window.types("/room alone")
            window.lines.clear()
        await window.close()


async def test_a_declined_room_that_is_left_later_is_left(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        blue = await Window.open(home, "blue")
        await red.ask(m.Invite(room="friends", name="blue"))
        await blue.shows("invites you to friends")
        await blue.types("/decline friends")
        await blue.shows("you declined the invitation to friends")
        await red.ask(m.WaitSettled())
        while (await red.ask(m.GetRoomInfo(room="friends"))).people > 1:
            await red.ask(m.ReadEvents(wait=1))
        blue.lines.clear()
        await red.ask(m.Invite(room="friends", name="blue"))
        await blue.shows("invites you to friends")
        await blue.types("/accept friends")
        await blue.types("/leave yes")
        await blue.shows("you left friends")
        await blue.close()


async def test_a_room_is_muted_for_hours(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.friends("red")
        window = await Window.open(home, "red")
        assert not await window.types("/mute 0h")
        assert await window.types("/mute 8h")
        assert window.lines[-1] == "* friends is muted for 8 hours"
        await window.close()


async def test_a_window_of_an_owner_that_does_not_answer_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_module, "FLUSH_SECONDS", 0.1)
    monkeypatch.setattr(conversation_module, "STALL_SECONDS", 0.1)
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        window = await Window.open(home, "red")

        async def never(_: object) -> None:
            await asyncio.Event().wait()

        assert red._owner is not None
        assert red._owner.server is not None
        monkeypatch.setitem(red._owner.server._service._waits, m.WaitFlushed, never)
        await window.close()
        assert "* the process that holds the profile does not answer" in window.lines


async def test_a_room_that_cannot_be_entered_changes_nothing(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red = await Window.open(home, "red")
        assert await red.types("/new cellar")
        cellar = red.talk.room
        with pytest.raises(ClientError):
            await red.talk.enter(b"gone" * 8, TypedText("for the cellar"))
        assert red.talk.room == cellar
        assert await red.types("said in the cellar")
        await red.close()
