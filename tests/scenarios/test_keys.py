"""Stories of keys: the one that was compared, and others that turn up under the same name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from clave_client import events
from clave_client.errors import KeyMismatch, RelayFault, UsageError
from clave_client.ui.chat_commands import run_input
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import plain
from clave_client.ui.hints import notice_text
from clave_client.ui.sending import Sender
from clave_crypto.identity import fingerprint
from commandkit import said
from scenarios.impostor import Impostor, lying_relay, plant
from scenarios.stage import TIMEOUT, Relay, Somebody, gather_in, people_at, relay_at
from scenarios.test_bad_input import clave
from sessionkit import ClientSession, session_on

CREDULOUS = """
from clave_server.rooms import sequencer
from clave_server.cli.main import main
sequencer.check_names = lambda *_: None
main(prog_name="clave-relay")
"""
"""A relay that lets somebody be added under a name that is not registered for the device."""


@asynccontextmanager
async def three(tmp_path: Path) -> AsyncIterator[tuple[Relay, Somebody, Somebody, Somebody]]:
    async with (
        relay_at(tmp_path / "relay", "--mirror", "off", program=("-c", CREDULOUS)) as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "mallory") as (red, blue, mallory),
    ):
        try:
            yield relay, red, blue, mallory
        finally:
            for talk in Talk.opened:
                await talk.close()
            Talk.opened.clear()


def account(person: Somebody) -> bytes:
    return person.client.sync.account.verified.account


class Talk:
    """A conversation of somebody's, with a clock that a test turns; `three` closes it."""

    opened: ClassVar[list[Talk]] = []

    def __init__(self, person: Somebody) -> None:
        self.lines: list[str] = []
        self.now = 0.0
        self.session = ClientSession(person.client)
        self.conversation = Conversation(
            self.session, lambda line: self.lines.append(plain(line)), clock=lambda: self.now
        )

    @classmethod
    async def of(cls, person: Somebody) -> Talk:
        talk = cls(person)
        cls.opened.append(talk)
        await talk.session.open()
        await talk.conversation.refresh()
        return talk

    async def close(self) -> None:
        await self.session.close()
        await self.session.server.close()

    async def types(self, text: str) -> list[str]:
        """Return what is shown after `text` was typed."""
        self.lines.clear()
        await run_input(self.conversation, text)
        return list(self.lines)

    async def talks_in(self, room: bytes) -> None:
        await self.conversation.enter(room)


async def planted(title: str, red: Somebody, mallory: Somebody, impostor: Impostor) -> bytes:
    """Have red in a room of mallory's, where somebody goes by the impostor's name."""
    room = await gather_in(title, mallory, red)
    await plant(mallory, room, impostor)
    await red.sees(events.MemberAdded, lambda added: added.person.account == impostor.account)
    return room


# Verified means that very key


async def test_the_key_that_was_shown_is_marked_whatever_the_relay_says_next(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        shown = await red.client.fingerprint("blue")
        assert (shown.account, shown.source) == (account(blue), "the relay's word only")
        with lying_relay(red, Impostor("blue")) as lies:
            await red.client.verify("blue")
            again = await red.client.fingerprint("blue")
            assert lies.asked == [], "nobody is asked about a key that was shown"
        assert (again.account, again.verified) == (account(blue), True)
        room = await gather_in("friends", red, blue)
        (seen,) = (person for person, *_ in red.client.members(room) if person.name == "blue")
        assert seen.verified


async def test_only_a_key_that_was_shown_or_given_is_marked(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        await gather_in("friends", red, blue)
        with pytest.raises(UsageError, match="no key of blue was shown yet"):
            await red.client.verify("blue")
        with pytest.raises(KeyMismatch, match="the key that was compared"):
            await red.client.verify("blue", Impostor("blue").account)
        with pytest.raises(UsageError, match="your own key"):
            await red.client.verify("red", account(red))
        await red.client.verify("blue", account(blue))
        assert (await red.client.fingerprint("blue")).verified


async def test_fingerprint_and_verify_are_about_one_key(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        talk, true = await Talk.of(red), fingerprint(account(blue))
        lines = await talk.types("/fingerprint blue")
        assert lines[0] == f"* blue: {true}  (from the relay's word only)"
        assert lines[2] == "* compare it, then /verify blue"
        with lying_relay(red, Impostor("blue")) as lies:
            assert await talk.types("/verify blue") == [f"* blue is verified: {true}"]
            assert lies.asked == []


async def test_verify_alone_shows_the_key_and_asks(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        talk, true = await Talk.of(red), fingerprint(account(blue))
        asks = "* compare it, then /verify blue yes, or type what blue reads to you: /verify blue DIGITS"
        for typed in ("/verify blue", "/verify blue yes"):
            talk.now += 1000
            lines = await talk.types(typed)
            assert lines[0].startswith(f"* blue: {true}"), (
                "a yes to nothing shown, or shown long ago, is asked"
            )
            assert lines[-1] == asks
        assert await talk.types("/verify blue") == [asks]
        assert not (await red.client.fingerprint("blue")).verified
        assert await talk.types("/verify blue yes") == [f"* blue is verified: {true}"]
        assert (await talk.types("/verify red"))[-1].startswith("* this is your own key")


async def test_digits_that_were_read_out_decide(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        number = (await blue.client.fingerprint("red")).safety_number
        true = fingerprint(account(blue))
        for wrong in (true[:14], number[:29], "2222 " * 8, true[5:], fingerprint(account(mallory))):
            talk = await Talk.of(red)
            assert (await talk.types(f"/verify blue {wrong}"))[-1].startswith("* that is not the key shown")
            assert not (await red.client.fingerprint("blue")).verified
        for right in (true, true.upper(), true[:19], number, number.replace(" ", "")[:30]):
            talk = await Talk.of(red)
            assert (await talk.types(f"/verify blue {right}"))[-1] == f"* blue is verified: {true}"


# A name is bound to its key


@pytest.mark.parametrize("how", ["fingerprint", "invite", "accept", "verify"])
async def test_who_was_met_by_ones_own_act_is_not_exchanged(tmp_path: Path, how: str) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        match how:
            case "fingerprint":
                await red.client.fingerprint("blue")
            case "invite":
                await red.client.invite((await red.client.create_room("one")).id, "blue")
            case "accept":
                await red.client.leave(await gather_in("one", blue, red))
            case _:
                await red.client.verify("blue", account(blue))
        room, impostor = (await red.client.create_room("two")).id, Impostor("blue")
        await red.go()
        await red.come()
        await red.client.sync.wait_for(lambda: red.client.sync.rooms[room].synced)
        with lying_relay(red, impostor):
            with pytest.raises(KeyMismatch) as caught:
                await red.client.invite(room, "blue")
            for key in (account(blue), impostor.account):
                assert fingerprint(key) in str(caught.value)
            assert len(red.client.members(room)) == 1
            red.client.repin("blue", impostor.account)
            assert (await red.client.invite(room, "blue")).account == impostor.account
        with pytest.raises(KeyMismatch):
            await red.client.invite((await red.client.create_room("three")).id, "blue")


async def test_key_packages_of_another_account_show_both_keys(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        room, impostor = (await red.client.create_room("friends")).id, Impostor("blue")
        with lying_relay(red, impostor, about_lookups=False), pytest.raises(RelayFault) as caught:
            await red.client.invite(room, "blue")
        for key in (account(blue), impostor.account):
            assert fingerprint(key) in str(caught.value)


async def test_a_strangers_room_binds_no_name_and_cannot_hide_its_own(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        await red.client.verify("blue", account(blue))
        impostor = Impostor("blue")
        room = await planted("strangers", red, mallory, impostor)
        (notice,) = told(red)
        assert notice.text == (
            "blue in strangers has another key than the blue you verified:"
            f" known {fingerprint(account(blue))}, here {fingerprint(impostor.account)};"
            " ask blue over another channel"
        )
        assert notice_text(notice) == f"{notice.text}, then /trust blue or /remove blue"
        (seen,) = (person for person, *_ in red.client.members(room) if person.name == "blue")
        assert (seen.known, seen.verified) == (account(blue), False)
        talk = await Talk.of(red)
        await talk.talks_in(room)
        assert any(", other key, " in line.replace(": ", ", ") for line in await talk.types("/members"))
        with pytest.raises(KeyMismatch, match=r"the blue you verified\) and .* \(the group strangers"):
            await red.client.fingerprint("blue")
        await red.client.send(room, "hello")
        await mallory.client.send(room, "hi")
        await red.reads("hi")
        assert len(told(red)) == 1, "once in a session"
        own = (await red.client.create_room("own")).id
        assert (await red.client.invite(own, "blue")).account == account(blue)
        red.client.repin("blue", account(blue))
        assert (await red.client.fingerprint("blue", room=room)).account == account(blue)


def told(person: Somebody) -> list[events.Notice]:
    return [event for event in person.happened if isinstance(event, events.Notice)]


async def test_rooms_that_disagree_about_somebody_never_met_are_decided_by_the_person(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        impostor = Impostor("blue")
        await planted("strangers", red, mallory, impostor)
        own = (await red.client.create_room("own")).id
        with pytest.raises(KeyMismatch, match=r"the group strangers\) and .* \(the relay's word only"):
            await red.client.invite(own, "blue")
        friends = await gather_in("friends", mallory, red)
        mallory.client.repin("blue", account(blue))
        await mallory.client.invite(friends, "blue")
        await red.sees(events.MemberAdded, lambda added: added.room == friends)
        with pytest.raises(KeyMismatch, match=r"the group friends\) and .* \(the group strangers"):
            await red.client.fingerprint("blue", room=friends)
        talk, true = await Talk.of(red), fingerprint(account(blue))
        await talk.talks_in(friends)
        lines = await talk.types("/trust blue")
        assert lines[:2] == [
            f"* blue: {true}  (the group friends)",
            f"* blue: {fingerprint(impostor.account)}  (the group strangers)",
        ]
        assert (await talk.types("/trust blue yes"))[0].startswith("* say which of the keys shown")
        assert await talk.types(f"/trust blue {true[:19]}") == [
            f"* blue is {true} from now on; compare with /fingerprint blue"
        ]
        found = await red.client.fingerprint("blue", room=friends)
        assert (found.account, found.source, found.verified) == (account(blue), "the group friends", False)
        assert (await red.client.invite(own, "blue")).account == account(blue)


async def test_trust_is_about_the_key_that_stopped_something(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        await red.client.verify("blue", account(blue))
        talk, impostor = await Talk.of(red), Impostor("blue")
        await talk.talks_in((await red.client.create_room("own")).id)
        assert (await talk.types("/trust blue"))[0].startswith("* there is nothing to decide")
        with lying_relay(red, impostor):
            (line,) = await talk.types("/invite blue")
            assert line == (
                "* two keys go by blue, nothing was done:"
                f" {fingerprint(account(blue))} (the blue you verified) and"
                f" {fingerprint(impostor.account)} (the relay's word only);"
                " the name may have a new owner: ask blue over another channel which is right,"
                " then /trust blue"
            )
            shown = [
                f"* blue: {fingerprint(account(blue))}  (the blue you verified)",
                f"* blue: {fingerprint(impostor.account)}  (the relay's word only)",
                "* if blue says that the second is right: /trust blue yes; to keep the first, do nothing",
            ]
            assert await talk.types("/trust blue yes") == shown, "a yes to nothing shown decides nothing"
            await talk.types("/trust blue yes")
            found = await red.client.fingerprint("blue")
            assert (found.account, found.verified) == (impostor.account, False)
        with pytest.raises(UsageError, match="red is you"):
            red.client.repin("red", impostor.account)


async def test_an_invitation_from_another_key_waits_for_a_decision(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        await red.client.verify("blue", account(blue))
        impostor = Impostor("blue")
        room = impostor.invites(red, "secrets")
        invited = await red.sees(events.Invited)
        assert invited.inviter.known == account(blue)
        talk = await Talk.of(red)
        await talk.conversation.show_event(invited)
        assert talk.lines == [
            "[secrets] * blue (other key) invites you to secrets (one person is there);"
            " other key than the blue you know:"
            f" known {fingerprint(account(blue))}, here {fingerprint(impostor.account)};"
            " ask blue over another channel, then /trust blue or /decline secrets"
        ]
        for _ in range(2):
            with pytest.raises(KeyMismatch, match="who sent this invitation"):
                await red.client.accept(room)
            await red.go()
            await red.come()
        assert (await red.client.fingerprint("blue")).account == account(blue), "it stops nothing else"
        talk = await Talk.of(red)
        await talk.conversation.begin(None)
        assert any("blue (other key) invites you to secrets" in line for line in talk.lines)
        await red.client.decline(room)
        assert room not in red.client.rooms


async def test_an_unanswered_invitation_binds_nobody(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        impostor = Impostor("blue")
        impostor.invites(red, "secrets")
        await red.sees(events.Invited)
        assert red.client.keys("blue") != []
        assert (await red.client.fingerprint("blue")).account == account(blue)


async def test_the_key_of_the_room_talked_in_comes_first(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        rooms = [await gather_in(title, red, blue) for title in ("one", "two")]
        red.client.sync.store.drop_pin("blue")
        for room, title in zip(rooms, ("one", "two"), strict=True):
            assert (await red.client.fingerprint("blue", room=room)).source == f"the group {title}"


# Before something is sent


async def test_send_tells_of_another_key_before_it_sends(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        assert (await red.client.fingerprint("blue")).account == account(blue)
        room = await gather_in("strangers", mallory, red)
        await red.go()
        await plant(mallory, room, Impostor("blue"))
        for words, given in ((("hello",), ""), (("-",), "one\ntwo\n")):
            ran = await clave("send", "--name", "red", "strangers", *words, home=red.home, given=given)
            assert ran.status == 0
            assert "blue in strangers has another key than the blue you know" in ran.err
        told = await clave("info", "--name", "red", "strangers", home=red.home)
        assert "blue in strangers has another key" in told.out
        await mallory.reads("two")
        await red.come()


async def test_who_comes_while_lines_are_sent_is_told_before_the_next_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        assert (await red.client.fingerprint("blue")).account == account(blue)
        room = await gather_in("strangers", mallory, red)
        await red.stop_listening()
        read, write = os.pipe()
        async with session_on(red.client) as session:
            sender = Sender(session, room="strangers", wait=30, key="", as_json=False)
            typing = os.fdopen(write, "w", encoding="utf-8")
            saying = asyncio.create_task(sender.send_lines(read))
            print("one", file=typing, flush=True)
            await mallory.reads("one")
            assert capsys.readouterr().err == ""
            await plant(mallory, room, Impostor("blue"))
            sync = red.client.sync
            await sync.wait_for(lambda: len(sync.rooms[room].group.members()) == 3)
            print("two", file=typing, flush=True)
            await mallory.reads("two")
            typing.close()
            await saying
        os.close(read)
        lines = capsys.readouterr().err.splitlines()
        known = [line for line in lines if "blue in strangers has another key than the blue you know" in line]
        assert len(known) == 1


async def test_chat_tells_of_another_key_before_it_sends(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        assert (await red.client.fingerprint("blue")).account == account(blue)
        room = await gather_in("strangers", mallory, red)
        talk = await Talk.of(red)
        await talk.talks_in(room)
        await red.stop_listening()
        await plant(mallory, room, Impostor("blue"))
        session = red.client.sync
        await session.wait_for(lambda: len(session.rooms[room].group.members()) == 3)
        (line,) = await talk.types("hello")
        assert "blue in strangers has another key than the blue you know" in line
        assert await talk.types("hello again") == []
        await mallory.reads("hello again")


async def test_messages_of_another_key_carry_the_word(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, _):
        room = await gather_in("friends", red, blue)
        await blue.client.send(room, "hello")
        said = await red.reads("hello")
        assert (said.sender.known, said.sender.verified) == (b"", False)
        impostor = Impostor("blue")
        red.client.repin("blue", impostor.account)
        await blue.client.send(room, "again")
        assert (await red.reads("again")).sender.known == impostor.account
        talk = await Talk.of(red)
        await talk.talks_in(room)
        assert [line[6:] for line in await talk.types("/history")] == [
            "blue (other key): hello",
            "blue (other key): again",
        ]


# Rooms of one title


async def test_a_strangers_room_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, red, blue, mallory):
        room = await gather_in("friends", red, blue)
        strange = (await mallory.client.create_room("friends")).id
        await mallory.client.invite(strange, "red")
        invited = await red.sees(events.Invited)
        talk = await Talk.of(red)
        await talk.conversation.show_event(invited)
        told = f"* you have a room called friends already; this is another one, {strange.hex()[:8]}"
        assert talk.lines[-1] == told
        assert red.client.find_room("friends") == room
        assert red.client.find_room("friends", invited=True) == strange
        assert (await talk.types("/accept friends"))[-1] == "* talking in friends"
        with pytest.raises(UsageError, match=f"use the id: .*{room.hex()[:8]} .friends"):
            red.client.find_room("friends")
        await mallory.client.set_title(strange, room.hex()[:8])
        await red.sees(events.RoomChanged)
        with pytest.raises(UsageError, match=room.hex()):
            red.client.find_room(room.hex()[:8])
        assert red.client.find_room(room.hex()) == room
        assert red.client.find_room("friends") == room
        assert (await talk.types("/decline friends"))[-1] == "* there is no open invitation to friends"


# A name that the operator freed


async def test_who_knew_a_freed_name_is_told_that_another_key_has_it(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        former = account(red)
        await blue.client.fingerprint("red")
        await blue.client.verify("red")
        friends = await gather_in("friends", blue, red)
        freed = await said(relay.data, "account", "free", "red")
        assert freed.startswith("red is free to be registered anew; devices that can no longer log in: 1,")
        async with asyncio.timeout(TIMEOUT), red.news:
            await red.news.wait_for(lambda: red.ended_by is not None)
        assert "the name red is no longer this key's" in str(red.ended_by)
        async with people_at(relay, tmp_path / "anew", "red") as (heir,):
            for room in (friends, (await blue.client.create_room("own")).id):
                with pytest.raises(KeyMismatch, match="two keys go by red") as mismatch:
                    await blue.client.invite(room, "red")
                assert (mismatch.value.known, mismatch.value.found) == (former, account(heir))
            assert (await blue.client.fingerprint("red")).account == former, "what was compared stays"
            theirs = (await heir.client.create_room("theirs")).id
            await heir.client.invite(theirs, "blue")
            await blue.sees(events.Invited, lambda invited: invited.room == theirs)
            with pytest.raises(KeyMismatch, match="two keys go by red"):
                await blue.client.accept(theirs)
            blue.client.repin("red", account(heir))
            await blue.client.accept(theirs)
            await heir.sees(events.InvitationAccepted, lambda accepted: accepted.room == theirs)
            shown = await blue.client.fingerprint("red")
            assert (shown.account, shown.verified) == (account(heir), False)
