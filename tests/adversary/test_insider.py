"""P1: whatever one member sends, the others go on talking, and it can be removed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from adversary.kit import (
    Insider,
    changed,
    device,
    help_elsewhere,
    is_in,
    members,
    notices,
    paths_spoiled_for,
    read_up,
    room_of,
    stage,
    talk,
    until,
    welcome_elsewhere,
)
from clave_client import events
from clave_client.errors import ClientError
from clave_client.formats.payload import rekey_id
from clave_client.sync import resumes
from clave_crypto.mls import Remove
from clave_crypto.mls.framing import CommitAuthData
from clave_wire.messages import Accepted, Code, Kind
from scenarios.stage import agree, gather_in

KINDS = list(Kind)


def wrong_tag(signature: bytes, tag: bytes) -> CommitAuthData:
    """Return what a commit is authenticated with, so that its confirmation tag is wrong."""
    return CommitAuthData(signature, os.urandom(len(tag)))


async def flood(insider: Insider, others: list[bytes]) -> None:
    """Submit garbage of every kind as fast as the relay answers, until cancelled."""
    step = 0
    while True:
        kind, other = KINDS[step % len(KINDS)], others[step % len(others)]
        step += 1
        match kind:
            case Kind.APPLICATION:
                await insider.put(kind, insider.garbage(kind, head=os.urandom(32)))
            case Kind.COMMIT:
                await insider.put(kind, insider.garbage(kind, add=others), os.urandom(50))
            case Kind.REKEY:
                await insider.put(kind, insider.garbage(kind, remove=others))
            case Kind.CONFIRM:
                await insider.put(kind, insider.signed(kind, ref=os.urandom(32)))
            case Kind.GROUP_INFO:
                await insider.put(kind, insider.signed(kind, add=[other]), os.urandom(99))
            case Kind.LOST:
                await insider.put(kind, insider.signed(kind))
            case Kind.PROPOSAL:
                pass  # it would be gone from the relay's list


async def test_garbage_of_every_kind_neither_stops_talk_nor_ones_removal(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        insider = Insider(blue, room)
        flooding = asyncio.create_task(flood(insider, [device(red), device(green)]))
        try:
            for _ in range(5):
                await talk(room, red, green)
                await asyncio.sleep(0.2)
            await red.client.remove(room, "blue")
            await until(lambda: "blue" not in members(green, room), seconds=20)
        finally:
            flooding.cancel()
        await talk(room, red, green)
        await agree(room, red, green)
        assert not room_of(red, room).cannot_follow
        assert not room_of(green, room).cannot_follow
        assert len([told for told in notices(green) if "does not count" in told]) <= 1, "told once"


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.REKEY])
async def test_many_commits_of_garbage_in_a_row(tmp_path: Path, kind: Kind) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        everybody = [device(red), device(green)]
        insider = Insider(blue, room)
        for _ in range(12):
            payload = insider.garbage(kind, remove=everybody if kind is Kind.REKEY else ())
            assert isinstance(await insider.put(kind, payload), Accepted)
        await blue.go()
        await talk(room, red, green)
        await red.client.set_title(room, "still here")
        await read_up(room, red, green)
        await red.go()
        await red.come()
        await talk(room, red, green)
        await blue.come()


async def test_whoever_a_path_locks_out_comes_back_by_itself(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        with paths_spoiled_for(blue, room, green):
            await blue.client.sync.commit(room, lambda _: ())
        await green.sees(events.Notice, lambda notice: "could not open a change" in notice.text)
        await green.sees(events.Notice, lambda notice: "follows friends again" in notice.text)
        await talk(room, red, blue, green)


async def test_whoever_was_locked_out_while_away_comes_back_and_can_be_removed(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        with paths_spoiled_for(blue, room, green):
            await green.go()
            await blue.client.sync.commit(room, lambda _: ())
        await red.client.send(room, "meanwhile")
        await green.come()
        await green.sees(events.Notice, lambda notice: "follows friends again" in notice.text)
        await talk(room, red, green)
        await red.client.remove(room, "green")
        await green.sees(events.RoomClosed)
        await red.client.invite(room, "green")
        await green.sees(events.Invited)
        await green.client.accept(room)
        await talk(room, red, blue, green)


async def test_whoever_is_locked_out_and_away_is_removed_and_invited_again(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        with paths_spoiled_for(blue, room, green):
            await green.go()
            await blue.client.sync.commit(room, lambda _: ())
        await red.client.remove(room, "green")
        await read_up(room, red, blue)
        await red.client.invite(room, "green")
        await green.come()
        await green.sees(events.Invited)
        await green.client.accept(room)
        await talk(room, red, blue, green)


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.GROUP_INFO])
async def test_garbage_takes_nobodys_invitation_away(tmp_path: Path, kind: Kind) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue)
        guest = device(green)
        await green.go()
        await red.client.invite(room, "green")
        await read_up(room, red, blue)
        insider = Insider(blue, room)
        payload = insider.garbage(kind, add=[guest])
        assert isinstance(await insider.put(kind, payload, os.urandom(50)), Accepted)
        await blue.go()
        await green.come()
        await green.sees(events.Invited)
        await green.client.accept(room)
        await talk(room, red, green)


async def test_a_false_welcome_takes_nobody_out_who_is_locked_out(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        with paths_spoiled_for(blue, room, green):
            await green.go()
            await blue.client.sync.commit(room, lambda _: ())
        await read_up(room, red, blue)
        insider = Insider(blue, room)
        welcome = await welcome_elsewhere(insider, "green")
        await insider.put(Kind.COMMIT, insider.garbage(Kind.COMMIT, add=[device(green)]), welcome)
        await green.come()
        await green.sees(events.Notice, lambda notice: "follows friends again" in notice.text)
        await talk(room, red, green)


async def test_who_comes_back_is_told_who_came_and_went_meanwhile(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey", "mallory") as (_, people):
        red, blue, green, _grey, mallory = people
        room = await gather_in("friends", *people[:4])
        with paths_spoiled_for(blue, room, green):
            await green.go()
            await blue.client.sync.commit(room, lambda _: ())
        await red.client.invite(room, "mallory")
        await mallory.sees(events.Invited)
        await mallory.client.accept(room)
        await red.client.remove(room, "grey")
        await green.come()
        told = await green.sees(events.Notice, lambda notice: "follows friends again" in notice.text)
        assert "; added meanwhile: mallory; removed meanwhile: grey" in told.text
        await talk(room, red, blue, green, mallory)


async def test_help_leads_nobody_into_an_epoch_of_the_helpers_own(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        before = red.authenticator(room)
        insider = Insider(blue, room)
        here = room_of(blue, room)
        mine = changed(here.state, title="mine", admins=[here.account])
        for state in (here.state, mine):
            for victim in (red, green):
                rejoin_info = help_elsewhere(insider, state, device(victim))
                payload = insider.signed(Kind.GROUP_INFO, add=[device(victim)])
                await insider.put(Kind.GROUP_INFO, payload, rejoin_info)
        await talk(room, red, green)
        assert red.authenticator(room) == green.authenticator(room) == before
        assert red.client.rooms[room].title == "friends"


async def test_a_path_that_opens_for_one_of_three(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, people):
        red, blue, _, grey = people
        room = await gather_in("friends", *people)
        with paths_spoiled_for(blue, room, red, grey):
            await blue.client.sync.commit(room, lambda _: ())
        for locked_out in (red, grey):
            await locked_out.sees(events.Notice, lambda notice: "follows friends again" in notice.text)
        await talk(room, *people)


async def test_a_path_that_opens_for_nobody_and_a_wrong_tag_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        before = red.authenticator(room)
        here = room_of(blue, room)
        payloads = []
        with paths_spoiled_for(blue, room, red, green):
            payloads.append(here.prepare_commit([]).payload)
        here.cancel_commit()
        with monkeypatch.context() as patch:
            patch.setattr("clave_crypto.mls.committing.CommitAuthData", wrong_tag)
            payloads.append(here.prepare_commit([]).payload)
        here.cancel_commit()
        here.in_flight.clear()
        insider = Insider(blue, room)
        for payload in payloads:
            await insider.put(Kind.REKEY, payload)
        await blue.go()
        await talk(room, red, green)
        assert red.authenticator(room) == green.authenticator(room) == before
        await blue.come()


async def test_an_admins_removal_with_a_wrong_tag_takes_nobodys_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, "blue", "red", "green") as (_, (blue, red, green)):
        room = await gather_in("friends", blue, red, green)  # blue is the admin, and the insider
        here = room_of(blue, room)
        leaf = here.member(device(green)).leaf_index
        with monkeypatch.context() as patch:
            patch.setattr("clave_crypto.mls.committing.CommitAuthData", wrong_tag)
            payload = here.prepare_commit([Remove(leaf)]).payload
        here.cancel_commit()
        here.in_flight.clear()
        insider = Insider(blue, room)
        await insider.put(Kind.REKEY, payload)
        await insider.put(Kind.CONFIRM, insider.signed(Kind.CONFIRM, ref=rekey_id(payload)))
        await talk(room, red, green)
        assert is_in(green, room), "nobody whom it does not remove vouched for it"


async def test_who_says_it_leaves_and_stays_is_gone_all_the_same(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green") as (_, (red, blue, green)):
        room = await gather_in("friends", red, blue, green)
        here = room_of(blue, room)
        payload = here.prepare_leave().payload
        here.in_flight.clear()
        insider = Insider(blue, room)
        garbage = insider.garbage(Kind.PROPOSAL, remove=[device(red)])
        assert not isinstance(await insider.put(Kind.PROPOSAL, garbage), Accepted), "nobody leaves for others"
        await insider.put(Kind.PROPOSAL, payload)
        await until(lambda: members(red, room) == members(green, room) == {"red", "green"})
        assert not isinstance(await insider.put(Kind.LOST, insider.signed(Kind.LOST)), Accepted)
        await talk(room, red, green)


async def test_one_members_word_takes_nobody_off_the_relays_list(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, people):
        red, blue, green, grey = people
        room = await gather_in("friends", *people)
        insider = Insider(blue, room)
        for _ in range(3):
            insider.mend(remove=[device(person) for person in (red, green, grey)])
        await talk(room, red, green, grey)
        with pytest.raises(ClientError):
            await red.client.invite(room, "blue")


async def test_whom_two_take_off_the_relays_list_is_told_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(resumes.RESUME_RETRY_SECONDS, Code.NOT_MEMBER, 1.0)
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, people):
        red, blue, green, grey = people
        room = await gather_in("friends", *people)
        told = "friends: this device is no longer a member of the room"
        insiders = Insider(blue, room), Insider(green, room)
        for times in (1, 2):
            for insider in insiders:
                insider.mend(remove=[device(grey)])
            await until(lambda times=times: notices(grey).count(told) == times)  # type: ignore[misc]
            await red.go()
            await red.come()
            await until(lambda: room_of(grey, room).resumed)
            await talk(room, red, grey)
            await grey.client.wait_until_sendable(room)


async def test_a_guest_in_an_insiders_own_epoch_takes_nobody_off_the_relays_list(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue", "green", "grey") as (_, people):
        red, blue, green, grey = people
        room = await gather_in("friends", red, blue, green)
        insider = Insider(blue, room)
        welcome = await welcome_elsewhere(insider, "grey")
        insider.mend(remove=[device(red), device(green)])
        await insider.put(Kind.COMMIT, insider.garbage(Kind.COMMIT, add=[device(grey)]), welcome)
        await grey.sees(events.Invited)
        await grey.client.accept(room)
        await until(lambda: room_of(grey, room).synced)
        assert members(grey, room) == {"blue", "grey"}
        grey.client.sync.routing.recheck(room_of(grey, room))
        await until(lambda: room_of(grey, room).synced)
        for person in (red, green):
            await person.go()
            await person.come()
        await talk(room, red, green)
        assert not any("not a member" in text or "no longer" in text for text in notices(red))
