"""Joining by links at a relay, with whole clients: what is told, what is tried again, what survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.errors import KeyMismatch, LinkUnusable, RelayFault, RelayNotOfLink, UsageError
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.join_link import JoinLink
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.profile import Profile
from clave_client.sync import link_joins
from clave_client.testing import MemoryRelay
from clave_client.testing.refusals import Refusal
from clave_client.values import Phase
from clave_wire.messages import Accepted, Code, Entry, Kind, Offer, Rejected, Submit

NOW = 1_800_000_000.0
DAY = 86_400


class Clock:
    """A clock that a test sets."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def waits() -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        yield


async def sees(client: Client, condition: Callable[[], bool]) -> None:
    """Wait until something holds at a client."""
    async with waits():
        await client.sync.wait_for(condition)


async def made(relay: MemoryRelay, *, uses: int = 5, seconds: int = DAY) -> tuple[bytes, str]:
    """Have red make a room and a link, and go; return the room's id and the link."""
    async with relay.client("red") as red:
        room = await red.create_room("friends")
        link = await red.make_link(room.id, seconds=seconds, uses=uses)
        assert link.counts
        return room.id, link.text


def texts(client: Client, room: bytes) -> list[str]:
    return [line.text for line in client.history(room)]


def people(client: Client, room: bytes) -> set[str]:
    return {each.person.name for each in client.members(room)}


async def test_somebody_joins_while_everybody_sleeps_and_is_read_later() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("green") as green:
            assert await green.join_link(link) == room
            assert green.info(room).unconfirmed
            await green.room(room).send("first words")
            (notice,) = green.notices_before_sending(room)
            assert notice.text == (
                "nobody of friends has let you in yet; what you say is read once somebody is there"
            )
        async with relay.client("green") as green:
            assert await green.join_link(link) == room, "joining again changes nothing"
            async with relay.client("red") as red:
                await sees(red, lambda: texts(red, room) == ["first words"])
                await sees(green, lambda: not green.info(room).joining)
                assert green.notices_before_sending(room) == []
                assert people(red, room) == people(green, room) == {"red", "green"}
                assert [each.uses for each in red.links(room)] == [4]
                await red.room(room).send("hello green")
                await sees(green, lambda: texts(green, room) == ["first words", "hello green"])


async def test_until_the_inviter_speaks_it_is_said_before_each_message() -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue:
        async with relay.client("red") as red:
            room = (await red.create_room("friends")).id
            await red.invite(room, "blue")
            await sees(blue, lambda: bool(blue.invitations()))
            await blue.accept(room)
            link = (await red.make_link(room, seconds=DAY, uses=5)).text
        async with relay.client("green") as green:
            await green.join_link(link)
            await sees(green, lambda: not green.info(room).unconfirmed)
            (notice,) = green.notices_before_sending(room)
            assert notice.text.startswith("red, whose link led you here, has not spoken in friends yet")
            await blue.room(room).send("red sleeps")
            await sees(green, lambda: texts(green, room) == ["red sleeps"])
            assert green.notices_before_sending(room)
            async with relay.client("red") as red:
                await red.room(room).send("I am here")
                await sees(green, lambda: not green.info(room).joining)
            assert green.notices_before_sending(room) == []


async def test_a_verified_member_is_as_good_as_the_inviter() -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue:
        async with relay.client("red") as red:
            room = (await red.create_room("friends")).id
            await red.invite(room, "blue")
            await sees(blue, lambda: bool(blue.invitations()))
            await blue.accept(room)
            link = (await red.make_link(room, seconds=DAY, uses=5)).text
        async with relay.client("green") as green:
            await green.fingerprint("blue")
            await green.verify("blue")
            await green.join_link(link)
            await sees(green, lambda: not green.info(room).joining)


async def test_of_two_who_join_at_once_the_second_joins_again_by_itself() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("green") as green, relay.client("white") as white:
            await green.join_link(link)
            await white.join_link(link)
            await green.room(room).send("from green")
            await white.room(room).send("from white")
            async with relay.client("red") as red:
                await sees(red, lambda: people(red, room) == {"red", "green", "white"})
                await sees(red, lambda: set(texts(red, room)) == {"from green", "from white"})
                await sees(green, lambda: set(texts(green, room)) == {"from green", "from white"})
                assert [each.uses for each in red.links(room)] == [3]
            assert texts(white, room).count("from white") == 1


async def test_who_was_superseded_while_away_joins_again_when_back() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("white") as white:
            await white.join_link(link)
        async with relay.client("green") as green:
            await green.join_link(link)
            await green.room(room).send("from green")
            async with relay.client("red") as red:
                await sees(red, lambda: people(red, room) == {"red", "white"})
                await sees(red, lambda: people(red, room) == {"red", "white", "green"})
                async with relay.client("white") as white:
                    await sees(white, lambda: people(white, room) == {"red", "white", "green"})
                    await sees(red, lambda: texts(red, room) == ["from green"])


async def test_what_keeps_somebody_out_has_its_own_line() -> None:
    clock = Clock()
    async with MemoryRelay(clock=clock) as relay:
        async with relay.client("red") as red:
            room = (await red.create_room("friends")).id
            one = await red.make_link(room, seconds=3600, uses=1)
            late = await red.make_link(room, seconds=3600, uses=1)
            gone = await red.make_link(room, seconds=DAY, uses=1)
            await red.revoke_links(room, gone.id)
            async with relay.client("green") as green:
                with pytest.raises(LinkUnusable, match=r"^this link was revoked; ask for a new one$"):
                    await green.join_link(gone.text)
                await green.join_link(one.text)
                await sees(red, lambda: people(red, room) == {"red", "green"})
            async with relay.client("white") as white:
                with pytest.raises(LinkUnusable, match=r"^this link is used up; ask for a new one$"):
                    await white.join_link(one.text)
        clock.now += 3600
        async with relay.client("white") as white:
            with pytest.raises(LinkUnusable, match=r"^this link has expired; ask for a new one$"):
                await white.join_link(late.text)
            unknown = JoinLink.make(JoinLink.parse(one.text).address, JoinLink.parse(one.text).pin, bytes(32))
            with pytest.raises(LinkUnusable, match=r"^its relay does not know this link: "):
                await white.join_link(unknown.text)
            assert white.rooms == {}


async def test_a_removal_ends_all_links_and_says_so() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("green") as green, relay.client("red") as red:
            await green.join_link(link)
            await sees(red, lambda: "green" in people(red, room))
            told = red.stream(events.LinksChanged, room)
            await red.remove(room, "green")
            async with waits():
                event = await anext(told)
            assert (event.ended, event.why) == (1, events.LinkEnd.REMOVAL)
            await sees(green, lambda: room not in green.rooms)
            with pytest.raises(LinkUnusable, match="this link was revoked"):
                await green.join_link(link)


async def test_a_profile_of_another_relay_does_not_join() -> None:
    async with MemoryRelay() as relay:
        _, link = await made(relay)
        parsed = JoinLink.parse(link)
        other = JoinLink(parsed.address, bytes(15) + b"1", parsed.account, parsed.seed)
        async with relay.client("green") as green:
            with pytest.raises(LinkUnusable, match="this link is of another relay, memory"):
                await green.join_link(other.text)


async def test_a_new_profile_meets_the_relay_of_its_link_only(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        pin = JoinLink.parse(link).pin
        for name, shown in (("green", pin), ("white", bytes(15) + b"1")):
            with Profile(tmp_path, name) as profile:
                client = Client(profile, relay.address, link_pin=shown, connect=relay.connect)
                if name == "green":
                    async with client:
                        assert client.connected.first_use is False
                        assert await client.join_link(link) == room
                else:
                    with pytest.raises(RelayNotOfLink, match="another relay than the link's"):
                        await client.connect()
                    await client.close()
                    assert client.never_registered


def test_a_relay_of_an_authoritys_is_named_by_that() -> None:
    trust = CertificateTrust(b"p" * 32, None, "chat.example.org")
    assert trust.link_pin == bytes(16)
    assert trust.fits_link(bytes(16))
    assert not CertificateTrust(b"p" * 32).fits_link(bytes(16))
    asked = CertificateTrust().with_link_pin(bytes(16))
    assert asked.evaluate(b"x" * 32, "chat.example.org", vouched=True).host == "chat.example.org"
    with pytest.raises(RelayNotOfLink):
        asked.evaluate(b"x" * 32, "chat.example.org", vouched=False)


async def test_an_inviter_with_another_key_than_the_known_one_is_refused() -> None:
    async with MemoryRelay() as relay:
        _, link = await made(relay)
        async with relay.client("green") as green:
            green.repin("red", bytes(31) + b"1")
            with pytest.raises(KeyMismatch):
                await green.join_link(link)
            assert green.rooms == {}


async def test_a_link_whose_maker_is_not_there_leads_nowhere() -> None:
    async with MemoryRelay() as relay:
        _, link = await made(relay)
        parsed = JoinLink.parse(link)
        other = JoinLink(parsed.address, parsed.pin, bytes(16), parsed.seed)
        async with relay.client("green") as green:
            with pytest.raises(
                LinkUnusable, match="whoever made the link is not in the room that it leads to"
            ):
                await green.join_link(other.text)
            assert green.rooms == {}


async def test_an_offer_that_a_member_spoiled_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("blue") as blue, relay.client("red") as red:
            await blue.join_link(link)
            await sees(red, lambda: people(red, room) == {"red", "blue"})
            await sees(blue, lambda: not blue.info(room).joining)
            honest = LocalRoom.offer_for

            def spoiled(self: LocalRoom, submit: Submit) -> Offer | None:
                offer = honest(self, submit)
                is_blues = self is blue.sync.rooms[room]
                return msgspec.structs.replace(offer, group_info=b"x" * 99) if offer and is_blues else offer

            monkeypatch.setattr(LocalRoom, "offer_for", spoiled)
            await red.set_topic(room, "changed")
            await sees(blue, lambda: blue.info(room).topic == "changed")
            offer = red.sync.rooms[room].offer()
            assert offer is not None
            red.sync.transport.send(offer)
            async with relay.client("green") as green:
                await green.join_link(link)
                await sees(red, lambda: people(red, room) == {"red", "blue", "green"})


async def test_after_a_restore_of_the_relay_members_offer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("red") as red:
            await sees(red, lambda: red.sync.rooms[room].synced)
            sent: list[Any] = []
            transport = red.sync.transport
            monkeypatch.setattr(transport, "send", lambda message: sent.append(message))
            red.sync.rooms[room].offer_due = True
            red.sync.submit_due(red.sync.rooms[room])
            assert [type(each) for each in sent] == [Offer]
            red.sync.submit_due(red.sync.rooms[room])
            assert len(sent) == 1
        assert JoinLink.parse(link)


async def test_an_older_relay_has_no_links() -> None:
    async with MemoryRelay(versions=(6, 5, 4)) as relay, relay.client("red") as red:
        room = await red.create_room("friends")
        with pytest.raises(RelayFault, match="this relay is too old for links"):
            await red.make_link(room.id, seconds=DAY, uses=1)


async def test_what_cannot_be_a_link_is_refused_in_words() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = (await red.create_room("friends")).id
        for seconds, uses, why in (
            (59, 1, "a minute"),
            (DAY * 366, 1, "to a year"),
            (DAY, 0, "1 to 500"),
            (DAY, 501, "1 to 500"),
        ):
            with pytest.raises(UsageError, match=why):
                await red.make_link(room, seconds=seconds, uses=uses)
        for _ in range(8):
            await red.make_link(room, seconds=DAY, uses=1)
        with pytest.raises(UsageError, match="has 8 links already; /links lists them"):
            await red.make_link(room, seconds=DAY, uses=1)
        assert await red.revoke_links(room, "all")
        assert red.links(room) == []
        with pytest.raises(UsageError, match="has no link 12345678; /links lists them"):
            await red.revoke_links(room, "12345678")
        direct = await red.open_direct("blue")
        with pytest.raises(UsageError, match="nobody else joins a room between two people"):
            await red.make_link(direct.id, seconds=DAY, uses=1)
        link = await red.make_link(room, seconds=DAY, uses=2)
        await blue.join_link(link.text)
        await sees(red, lambda: people(red, room) == {"red", "blue"})
        with pytest.raises(UsageError, match="only an admin may make links in friends"):
            await blue.make_link(room, seconds=DAY, uses=1)


async def test_the_same_seed_makes_the_same_link_once() -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = (await red.create_room("friends")).id
        first = await red.make_link(room, seconds=DAY, uses=1, seed=b"s" * 16)
        again = await red.make_link(room, seconds=2 * DAY, uses=3, seed=b"s" * 16)
        assert again == first
        assert len(red.links(room)) == 1


async def test_who_joins_and_leaves_before_anybody_comes_is_not_let_in() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("green") as green:
            await green.join_link(link)
            assert await green.leave(room)
        async with relay.client("red") as red:
            await sees(red, lambda: red.sync.rooms[room].synced)
            assert red.sync.rooms[room].confirmable is None
            assert people(red, room) == {"red"}
        async with relay.client("green") as green:
            assert room not in green.rooms or green.rooms[room].phase is Phase.CLOSED
            await green.join_link(link)
            async with relay.client("red") as red:
                await sees(red, lambda: people(red, room) == {"red", "green"})


async def test_only_the_answer_is_taken_out_of_what_comes_of_a_room() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("green") as green:
            joins = green.sync.link_joins
            secret = JoinLink.parse(link).secret
            unfit: set[object] = set()
            found = await joins._find(secret, JoinLink.parse(link).is_of, unfit)
            submitting = asyncio.ensure_future(joins._submit(*found[:3]))
            await asyncio.sleep(0)
            entry = Entry(room, 7, bytes(32), 1, Kind.APPLICATION, 0, b"")
            other = Accepted(room, 99, 6)
            batch: list[Any] = [entry, other, Rejected(room, 1, Code.STALE, "another change came first")]
            assert joins.take_answer(room, batch) == [entry, other]
            answer = await submitting
            assert isinstance(answer, Rejected)
            assert joins.take_answer(room, batch) == batch, "nothing waits any more"


def refuse(*_: object) -> None:
    raise Refusal(Code.NO_SUCH_LINK, "there is no such link")


async def test_a_join_that_no_offer_fits_is_kept_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_joins, "_REPEAT_SECONDS", 0.01)
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("white") as white, relay.client("green") as green:
            await white.join_link(link)
            await green.join_link(link)
            await green.room(room).send("kept")
            with monkeypatch.context() as gone:
                gone.setattr(relay, "find_link", refuse)
                async with relay.client("red") as red:
                    await sees(red, lambda: people(red, room) == {"red", "white"})
                    told = green.stream(events.Notice, room)
                    async with waits():
                        async for notice in told:
                            if "it is tried again" in notice.text:
                                break
                    assert green.rooms[room].phase is Phase.JOINED
            async with relay.client("red") as red:
                await sees(red, lambda: people(red, room) == {"red", "white", "green"})
                await sees(red, lambda: texts(red, room) == ["kept"])


async def test_joining_twice_at_once_is_joining_once() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("green") as green, relay.client("red") as red:
            joined = await asyncio.gather(green.join_link(link), green.join_link(link))
            assert set(joined) == {room}
            await sees(green, lambda: not green.info(room).joining)
            await green.room(room).send("once")
            await sees(red, lambda: texts(red, room) == ["once"])
            assert [each.uses for each in red.links(room)] == [4]


async def test_who_leaves_while_superseded_does_not_join_again() -> None:
    async with MemoryRelay() as relay:
        room, link = await made(relay)
        async with relay.client("white") as white:
            await white.join_link(link)
        async with relay.client("green") as green:
            await green.join_link(link)
            relay.is_reachable = False
            relay.disconnect_all()
            await sees(green, lambda: not green.is_online)
            assert not await green.leave(room)
        relay.is_reachable = True
        async with relay.client("red") as red:
            await sees(red, lambda: people(red, room) == {"red", "white"})
            async with relay.client("green") as green:
                await sees(green, lambda: room not in green.rooms)
            assert people(red, room) == {"red", "white"}
