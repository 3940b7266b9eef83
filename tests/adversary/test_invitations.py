"""P1, P6: nobody's invitation takes the place of another's, nor all places there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from adversary.kit import (
    Insider,
    device,
    lies,
    members,
    notices,
    of_kind,
    read_up,
    room_of,
    stage,
    talk,
    until,
    welcome_elsewhere,
    wire_of,
)
from clave_client import events
from clave_client.formats.welcome import Welcome, parse_invitation
from clave_client.sync import invitations, resumes, routing
from clave_crypto.identity import AccountKey
from clave_wire.messages import Code, Kind, TakeInvitation, ToRelay
from scenarios.stage import gather_in


async def test_an_insiders_welcome_takes_no_unanswered_invitations_place(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, (red, blue, green, grey)):
        room = await gather_in("friends", red, blue, green)
        await red.client.invite(room, "grey")
        await grey.sees(events.Invited)
        await read_up(room, red, blue, green)
        insider = Insider(blue, room)
        welcome = await welcome_elsewhere(insider, "grey")
        await insider.put(Kind.COMMIT, insider.garbage(Kind.COMMIT, add=[device(grey)]), welcome)
        await until(lambda: "blue invites you to friends too" in " ".join(notices(grey)))
        assert [invited.inviter.name for invited in of_kind(grey, events.Invited)] == ["red"]
        await grey.client.accept(room)
        await talk(room, red, green, grey)


async def test_who_was_led_into_an_insiders_own_room_is_told_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(resumes.RESUME_RETRY_SECONDS, Code.NOT_MEMBER, 1.0)
    monkeypatch.setattr(routing, "CHECK_SECONDS", 2.0)
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, (red, blue, green, grey)):
        room = await gather_in("friends", red, blue, green)
        insider = Insider(blue, room)
        welcome = await welcome_elsewhere(insider, "grey")
        await insider.put(Kind.COMMIT, insider.garbage(Kind.COMMIT, add=[device(grey)]), welcome)
        await grey.sees(events.Invited)
        await grey.client.accept(room)
        assert members(grey, room) == {"blue", "grey"}
        await red.client.send(room, "where is grey?")
        await until(lambda: "whom your inviter left out" in " ".join(notices(grey)))
        with monkeypatch.context() as patch:  # what its inviter does by itself is over before it leaves
            patch.setattr(routing, "RECHECK_SECONDS", 3600.0)
            await red.client.invite(room, "grey")
        await grey.client.leave(room)
        await grey.sees(events.Invited, lambda invited: invited.inviter.name == "red")
        await grey.client.accept(room)
        await until(lambda: "had stopped delivering" in " ".join(notices(red)))
        await until(lambda: room_of(grey, room).resumed)
        await talk(room, red, green, grey)
        assert not lies(grey), "what it said in the made-up room is its own"


async def test_one_strangers_invitations_leave_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MOST_OPEN_OF_ONE", 3)
    monkeypatch.setattr(invitations, "MOST_OPEN", 5)
    async with stage(tmp_path, "red", "mallory", "grey") as (_, (red, mallory, grey)):
        for number in range(6):
            await mallory.client.invite((await mallory.client.create_room(f"spam {number}")).id, "grey")
        room = (await red.client.create_room("friends")).id
        await red.client.invite(room, "grey")
        await until(lambda: room in grey.client.rooms)
        spam = [each for each in grey.client.rooms if each != room]
        assert len(spam) == 3
        await grey.client.decline(spam[0])
        await until(lambda: len([each for each in grey.client.rooms if each not in (room, spam[0])]) == 3)


@pytest.mark.parametrize("raw", [False, True])
async def test_accounts_that_a_stranger_makes_up_have_no_places_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bool
) -> None:
    monkeypatch.setattr(invitations, "MOST_OPEN_OF_ONE", 2)
    async with stage(tmp_path, "red", "mallory", "grey") as (_, (red, mallory, grey)):
        own = mallory.client.sync.account
        for number in range(4):
            insider = Insider(mallory, (await mallory.client.create_room(f"spam {number}")).id)
            identity = AccountKey.generate().certify(f"made-up-{number}", "laptop", own.device.public)
            with monkeypatch.context() as patch:
                patch.setattr(own, "identity", identity)
                welcome = await welcome_elsewhere(insider, "grey")
            if raw:  # as protocol 3 had it
                made = parse_invitation(welcome)
                assert isinstance(made, Welcome)
                welcome = made.message
            await insider.put(Kind.COMMIT, insider.garbage(Kind.COMMIT, add=[device(grey)]), welcome)
        room = (await red.client.create_room("friends")).id
        await red.client.invite(room, "grey")
        await until(lambda: room in grey.client.rooms)
        assert len(grey.client.rooms) == 3


async def test_a_welcome_that_was_used_is_not_held_when_it_comes_again(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "grey") as (_, (red, grey)):
        wire, taken = wire_of("grey"), list[ToRelay]()
        wire.told = lambda message: () if isinstance(message, TakeInvitation) else (message,)
        room = await gather_in("friends", red, grey)
        wire.told = lambda message: taken.append(message) or (message,)  # type: ignore[func-returns-value]
        await grey.go()
        await grey.come()
        await until(lambda: any(isinstance(message, TakeInvitation) for message in taken))
        assert not grey.client.sync.invitations.deferred
        await talk(room, red, grey)
