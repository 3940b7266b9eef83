"""Stories of rooms of two encryptions: post-quantum ones, and those from before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import PeerLacksSuite, RelayFault, RoomUnreadable
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayTransport
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.ui.display import room_info_lines
from clave_crypto.identity import AccountKey, DeviceKey
from clave_crypto.keys import Secret
from clave_crypto.mls import SUITES, CipherSuite
from clave_wire.messages import Invitation, PublishKeyPackages
from scenarios.stage import Relay, Somebody, agree, gather_in, people_at, relay_at
from scenarios.test_bad_input import clave

SUITE_1 = SUITES[1]
UNKNOWN = b"\xf4\xff"


@asynccontextmanager
async def device_at(
    relay: Relay,
    folder: Path,
    name: str,
    *,
    suites: Sequence[CipherSuite],
    labelled: int | None = None,
    account: Account | None = None,
) -> AsyncIterator[Account]:
    """Log in a device that publishes key packages of `suites` only, perhaps `labelled` as another's.

    With `account` it is one more device of that account.
    """
    store = Store(folder, Secret(b"k" * 32))
    if account is None:
        account = Account.load_or_create(store, name)
    else:
        secret, device = account.store.get("account_secret"), DeviceKey.generate()
        assert secret is not None
        identity = AccountKey.from_secret(Secret(secret)).certify(name, "phone", device.public)
        account = Account(store, identity, device)
    link = await RelayTransport.connect(RelayAddress.parse(relay.address), CertificateTrust(), lambda _: None)
    try:
        await link.login(account.identity, account.device, "test", "")
        for suite in suites:
            fresh = account.key_packages(suite, 0, time.time())
            assert fresh is not None
            number = suite.id if labelled is None else labelled
            await link.request(lambda request: PublishKeyPackages(request, number, *fresh))  # noqa: B023
        yield account
    finally:
        await link.close()
        store.close()


def suite_of(somebody: Somebody, room: bytes) -> CipherSuite:
    return somebody.client.sync.rooms[room].group.suite


async def test_new_rooms_are_post_quantum_and_say_so(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        assert suite_of(red, room) is suite_of(blue, room) is NEW_ROOMS
        info = blue.client.info(room)
        assert info.post_quantum
        assert (info.people, info.devices, info.unverified, info.admin) == (2, 2, 1, False)
        assert "encryption: ML-KEM-768 with X25519 (post-quantum)" in "\n".join(room_info_lines(info))
        assert not any("not post-quantum" in line for line in room_info_lines(info))


async def test_a_client_offers_key_packages_of_both_suites_and_tops_each_up(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        held = await held_for(red)
        assert held == {SUITE_1.id: 20, NEW_ROOMS.id: 20}
        for number in range(11):
            room = (await blue.client.create_room(f"room {number}")).id
            await blue.client.invite(room, "red")
        await red.go()
        await red.come()
        assert await held_for(red) == held
        assert await held_for(blue) == held, "what nobody claimed stays as it is"


async def held_for(somebody: Somebody) -> dict[int, int]:
    """Return how many key packages the relay has of a device, which has to connect anew to be told."""
    await asyncio.gather(*somebody.client.sync.tasks)
    await somebody.go()
    await somebody.come()
    link = somebody.client.sync.connection.transport
    assert link is not None
    return dict(link.logged_in.key_packages)


async def test_a_room_from_before_goes_on_and_takes_new_members(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, green),
    ):
        room = (await red.client.create_room("old friends", suite=SUITE_1)).id
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        await blue.client.accept(room)
        await red.sees(events.InvitationAccepted)
        for person in (red, blue):
            await person.go()
            await person.come()
        await red.client.send(room, "still here")
        await blue.reads("still here")
        await blue.client.invite(room, "green")
        await green.sees(events.Invited)
        await green.client.accept(room)
        await green.client.send(room, "so am I")
        await red.reads("so am I")
        await agree(room, red, blue, green)
        newer = await gather_in("new friends", red, blue, green)
        for person in (red, blue, green):
            assert suite_of(person, room) is SUITE_1
            assert suite_of(person, newer) is NEW_ROOMS
            (told,) = [line for line in room_info_lines(person.client.info(room)) if "quantum" in line]
            assert told.startswith("not post-quantum: recorded traffic would not withstand a future quantum")
        await red.client.remove(room, "green")
        await green.sees(events.RoomClosed)
        assert newer in green.client.rooms


async def test_a_client_that_lacks_the_rooms_suite_is_named_and_the_room_is_not_weakened(
    tmp_path: Path,
) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
        device_at(relay, tmp_path / "blue.db", "blue", suites=[SUITE_1]),
    ):
        room = (await red.client.create_room("friends")).id
        with pytest.raises(PeerLacksSuite) as refused:
            await red.client.invite(room, "blue")
        assert str(refused.value) == (
            f"blue cannot be invited yet: the relay has no key package of theirs for {NEW_ROOMS.words};"
            " if they are new here try again in a moment, else ask them to update clave"
        )
        assert red.authenticator(room)[0] == 0, "nothing was committed"
        await red.client.send(room, "alone")
        older = (await red.client.create_room("old friends", suite=SUITE_1)).id
        await red.client.invite(older, "blue")
        assert red.client.info(older).people == 2


async def test_of_several_devices_those_that_can_are_invited_and_the_others_named(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
        device_at(relay, tmp_path / "laptop.db", "blue", suites=[NEW_ROOMS]) as laptop,
        device_at(relay, tmp_path / "phone.db", "blue", suites=[SUITE_1], account=laptop) as phone,
    ):
        room = (await red.client.create_room("friends")).id
        person = await red.client.invite(room, "blue")
        assert person.device == laptop.device.public
        notice = await red.sees(events.Notice)
        assert notice.room == room
        assert notice.text.startswith(f"blue's device phone stays out: it lacks {NEW_ROOMS.words}")
        assert red.client.info(room).devices == 2
        fresh = phone.key_packages(NEW_ROOMS, 0, time.time())
        assert fresh is not None
        link = await RelayTransport.connect(
            RelayAddress.parse(relay.address), CertificateTrust(), lambda _: None
        )
        await link.login(phone.identity, phone.device, "updated", "")
        await link.request(lambda request: PublishKeyPackages(request, NEW_ROOMS.id, *fresh))
        await red.client.invite(room, "blue")
        assert red.client.info(room).devices == 3, "the updated device joins the other one"
        await link.close()


async def test_a_relay_that_hands_over_another_suite_is_at_fault(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
        device_at(relay, tmp_path / "blue.db", "blue", suites=[SUITE_1], labelled=NEW_ROOMS.id),
    ):
        room = (await red.client.create_room("friends")).id
        with pytest.raises(RelayFault) as caught:
            await red.client.invite(room, "blue")
        assert str(caught.value) == (
            f"the relay handed over a key package of {SUITE_1.words} for blue"
            f" when asked for {NEW_ROOMS.words}"
        )
        assert red.client.info(room).people == 1


async def test_a_welcome_of_an_unknown_suite_is_one_line(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = (await red.client.create_room("friends")).id
        await blue.go()
        await red.client.invite(room, "blue")
        session = red.client.sync
        session.connection.receive(
            [Invitation(1, b"x" * 16, 1, bytes(32), b"\x00\x01\x00\x03" + UNKNOWN + b"\x00\x00")]
        )
        notice = await red.sees(events.Notice)
        assert notice.text == "an invitation could not be used: cipher suite 0xf4ff is not supported"
        await red.client.send(room, "goes on")
        await blue.come()
        await blue.sees(events.Invited)


@pytest.mark.parametrize("fault", ["suite", "version"])
async def test_a_stored_room_this_program_cannot_read_is_one_line_and_the_others_work(
    tmp_path: Path, fault: str
) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
    ):
        room = await gather_in("friends", red, blue)
        other = await gather_in("family", red, blue)
        store = blue.client.sync.store
        epoch = store.part(room, "epoch")
        assert epoch is not None
        context = b"\x00\x01" + NEW_ROOMS.id.to_bytes(2, "big") + b"\x10" + room
        assert epoch.count(context) >= 1
        other_suite = epoch.replace(context, context[:2] + UNKNOWN + context[4:])
        with store.transaction():
            store.put_part(room, "epoch", other_suite if fault == "suite" else b"\x00\x09" + epoch[2:])
        await blue.go()
        await blue.come()
        reason = {
            "suite": "cipher suite 0xf4ff is not supported",
            "version": "stored by version 9, this program knows 1 to 3",
        }
        told = f"friends cannot be opened ({reason[fault]}); update clave, or ask to be removed and invited"
        assert (await blue.sees(events.Notice)).text.startswith(told)
        with pytest.raises(RoomUnreadable, match="cannot be opened"):
            blue.client.find_room("friends")
        await blue.client.send(other, "this one works")
        await red.reads("this one works")
        await red.client.remove(room, "blue")
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        await blue.client.accept(room)
        await red.client.send(room, "again")
        await blue.reads("again")
        await blue.client.send(room, "and I answer")
        await red.reads("and I answer")
        assert blue.client.unusable == []


async def test_info_says_in_words_how_rooms_are_encrypted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, "red", "blue") as (red, blue),
    ):
        await gather_in("friends", red, blue)
        await red.client.create_room("old friends", suite=SUITE_1)
        await red.go()
        typed = "/info\n/room friends\n/info\n/info old friends\n/info nowhere\n/help\nexit\n"
        talked = await clave("chat", "--name", "red", home=home, given=typed)
        assert talked.status == 0
        lines = talked.out.splitlines()
        assert "* you are in no room; /room TITLE enters one, /new TITLE opens one" in lines
        new = lines.index(f"* encryption: {NEW_ROOMS.words}")
        assert "post-quantum" in lines[new]
        assert lines[new - 1] == "* people: 2, 1 unverified; devices: 2; you are an admin"
        assert NEW_ROOMS.name in lines[new + 1]
        assert lines[new + 2].startswith("* everybody but guests invite people; admins and owners remove")
        assert lines[new + 3] == "* the others see what you have received, not what you have read"
        assert lines[new + 4].startswith("* code of this moment: ")
        assert lines[new + 6].startswith("* whoever reads out the same words is in this room with you")
        assert lines[new + 7] == f"* relay: {relay.address}"
        assert lines[new + 8] == f"* relay fingerprint {relay.fingerprint}"
        old = lines.index(f"* encryption: {SUITE_1.words}")
        assert SUITE_1.name in lines[old + 1]
        warning = "not post-quantum: recorded traffic would not withstand a future quantum computer"
        assert lines[old + 2].startswith(f"* {warning}")
        assert "* you are in no room called nowhere; /room or clave info lists them" in lines
        assert any(line.startswith("  /info [ROOM]") for line in lines)
        await relay.stop()
        told = await clave("info", "--name", "red", home=home)
        assert (told.status, told.err) == (0, "")
        mine, address, pinned, *rooms = told.out.splitlines()
        assert mine.startswith("red: ")
        assert (address, pinned) == (f"relay: {relay.address}", f"relay fingerprint {relay.fingerprint}")
        assert [line for line in rooms if line.startswith("encryption: ")] == [
            f"encryption: {NEW_ROOMS.words}",
            f"encryption: {SUITE_1.words}",
        ]
        assert sum(warning in line for line in rooms) == 1
        one = await clave("info", "--name", "red", "friends", home=home)
        assert one.out.splitlines() == rooms[1:10]
        none = await clave("info", "--name", "red", "nowhere", home=home)
        assert (none.status, none.line) == (
            2,
            "you are in no room called nowhere; /room or clave info lists them",
        )
        await relay.start()
