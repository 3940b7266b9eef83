"""Settings follow from one device of an account to the others, and to nobody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.formats.own_settings import Purpose, Setting, SettingKind, SettingsMessage
from clave_client.rooms.message_effects import MessageEffects
from clave_client.rooms.restoring import mark_restored
from clave_client.rooms.settings_entries import ANSWER_DUE_PART
from clave_client.store import settings
from clave_client.store.profile import Profile
from clave_client.sync import own_settings
from clave_client.testing import MemoryRelay
from clave_client.values import Phase
from devicekit import add_device, device_at, devices_in, is_here, room_of, sees
from settingskit import KEY, has_notes, notes, share_at_once, told_at_either

Told = tuple[bytes, Purpose, list[Setting]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    share_at_once(monkeypatch)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """Note (reader, purpose, settings) of each message with settings that a device reads."""
    found: list[Told] = []
    apply = MessageEffects.apply

    def noting(effects: MessageEffects, content, person, place, accepted_at, report) -> None:  # type: ignore[no-untyped-def]
        reader = effects._room.roster.own_device
        if content.settings is not None and person.device != reader:
            found.append((reader, content.settings.purpose, content.settings.settings))
        apply(effects, content, person, place, accepted_at, report)

    monkeypatch.setattr(MessageEffects, "apply", noting)
    return found


def unread(client: Client, room: bytes) -> int:
    counts = client.sync.store.unread_counts(client.sync.account.verified.account)
    return counts.get(room, (0, 0))[0]


async def test_one_device_alone_has_no_room_of_its_own(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        red.set_draft(room, "a thought")
        await red.room(room).send("hello")
        await sees(blue, lambda: bool(blue.history(room)))
        assert list(red.rooms) == [room]
        assert red.sync.store.rows("SELECT * FROM own_settings") == []


async def test_a_new_device_has_all_settings_and_later_changes_go_both_ways(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        red.set_draft(room, "a thought")
        settings.mute(red.sync.store, room, 5e9)
        red.set_archived(room, archived=True)
        red.set_read_receipts(room, on=True)
        found = await red.fingerprint("blue")
        await red.verify("blue")
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            store = laptop.sync.store
            await sees(laptop, lambda: laptop.draft(room) == "a thought")
            await sees(laptop, lambda: room in laptop.sync.rooms)
            assert settings.muted_until(store) == {room: 5e9}
            assert store.room_setting(room, "archived") == "yes"
            assert laptop.sync.rooms[room].tells_what_was_read
            (person,) = [each for each in laptop.members(room) if each.person.name == "blue"]
            assert person.person.verified
            assert laptop.keys("blue")[0].account == found.account

            laptop.block("blue")
            laptop.set_draft(room, "")
            settings.mute(store, room, 0.0)
            laptop.set_archived(room, archived=False)
            laptop.set_read_receipts(room, on=False)
            await sees(red, lambda: [each.name for each in red.blocked()] == ["blue"])
            assert red.draft(room) == ""
            assert settings.muted_until(red.sync.store) == {room: 0.0}
            assert not red.sync.rooms[room].is_archived
            assert not red.sync.rooms[room].tells_what_was_read
            red.unblock("blue")
            await sees(laptop, lambda: not laptop.blocked())
        assert [line.text for line in red.history(notes(red))] == [], "they are no messages"


async def test_an_invitation_of_somebody_blocked_on_another_device_is_declined(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        await room_of(red, blue)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            theirs = (await blue.create_room("of blue")).id
            await blue.invite(theirs, "red")
            await sees(red, lambda: bool(red.invitations()))
            laptop.block("blue")
            await sees(red, lambda: not red.invitations())


async def invited_both(blue: Client, red: Client, laptop: Client) -> bytes:
    """Have a client invite both devices of an account to a room, and return its id."""
    room = (await blue.create_room("of blue")).id
    await blue.invite(room, "red")
    for each in (red, laptop):
        await sees(each, lambda each=each: room in {found.id for found in each.invitations()})  # type: ignore[misc]
    return room


async def test_an_answer_and_a_leave_count_on_all_devices(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            room = await invited_both(blue, red, laptop)
            accepted = blue.stream(events.InvitationAccepted)
            await laptop.accept(room)
            await sees(red, lambda: room in red.rooms and red.rooms[room].phase is Phase.JOINED)
            assert (await anext(accepted)).person.device == laptop.sync.own_device
            await sees(red, lambda: red.sync.rooms[room].may_send)
            await red.room(room).leave()
            await sees(laptop, lambda: room not in laptop.sync.rooms)
            await sees(blue, lambda: devices_in(blue, room) == {"blue/main"})
            again = await invited_both(blue, red, laptop)
            await red.decline(again)
            await sees(laptop, lambda: again not in laptop.sync.rooms)
            await blue.invite(room, "red")
            for each in (red, laptop):
                await sees(each, lambda each=each: room in {found.id for found in each.invitations()})  # type: ignore[misc]
            settings.mute(red.sync.store, room, 7.0)
            await sees(laptop, lambda: bool(settings.muted_until(laptop.sync.store)))
            assert room in {found.id for found in laptop.invitations()}, "the leave was of before"


async def test_an_invitation_by_another_key_than_the_pinned_one_is_not_accepted_along(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            room = await invited_both(blue, red, laptop)
        with Profile(tmp_path, "red") as profile:
            offline = Client(profile, clock=relay.clock, connect=relay.connect)
            offline.open()
            offline.sync.store.add_pin("blue", KEY)
            await offline.close()
        await red.accept(room)
        async with device_at(relay, tmp_path, "red") as laptop:
            settings.mute(red.sync.store, room, 7.0)
            await sees(laptop, lambda: bool(settings.muted_until(laptop.sync.store)))
            assert room in {found.id for found in laptop.invitations()}


async def test_what_was_read_on_one_device_is_read_on_the_other_and_stays_so(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: room in laptop.sync.rooms and has_notes(laptop)())
            await sees(laptop, lambda: laptop.sync.rooms[room].may_send)
            for number in range(3):
                await blue.room(room).send(f"{number}")
            for each in (red, laptop):
                await sees(each, lambda each=each: unread(each, room) == 3)  # type: ignore[misc]
            lines = red.history(room)
            laptop.mark_shown(room, lines[0].seq)
            red.mark_shown(room, lines[1].seq)
            await sees(laptop, lambda: unread(laptop, room) == 1)
            await sees(red, lambda: unread(red, room) == 1)
            laptop.mark_shown(room, lines[2].seq)
            await sees(red, lambda: unread(red, room) == 0)
            await laptop.room(room).send("said on the laptop")
            await sees(red, lambda: len(red.history(room)) == 4)
            assert unread(red, room) == 0, "it is of the same account"


async def test_a_message_disappears_after_it_was_read_on_another_device(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    async with (
        MemoryRelay(clock=lambda: now) as relay,
        relay.client("red") as red,
        relay.client("blue") as blue,
    ):
        room = await room_of(red, blue)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: room in laptop.sync.rooms and has_notes(laptop)())
            await sees(laptop, lambda: laptop.sync.rooms[room].may_send)
            blue.post(room, "for a minute", expires_after=60)
            for each in (red, laptop):
                await sees(each, lambda each=each: unread(each, room) == 1)  # type: ignore[misc]
            red.mark_shown(room, red.history(room)[-1].seq)
            await sees(laptop, lambda: unread(laptop, room) == 0)
            assert laptop.sync.expiry._timer is not None
            now += 61
            laptop.sync.expiry.check()
            assert laptop.history(room) == []


async def test_a_device_that_was_away_is_not_told_that_it_has_read_less(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: room in laptop.sync.rooms and has_notes(laptop)())
            await sees(laptop, lambda: laptop.sync.rooms[room].may_send)
            for number in range(4):
                await blue.room(room).send(f"{number}")
            await sees(laptop, lambda: unread(laptop, room) == 4)
            await sees(red, lambda: unread(red, room) == 4)
            lines = red.history(room)
        with Profile(tmp_path, "red") as profile:
            away = Client(profile, clock=relay.clock, connect=relay.connect)
            away.open()
            away.mark_shown(room, lines[1].seq)
            await away.close()
        red.mark_shown(room, lines[3].seq)
        await sees(red, lambda: not red.sync.rooms[notes(red)].outbox)
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, lambda: unread(laptop, room) == 0)
            await sees(laptop, lambda: not laptop.sync.rooms[notes(laptop)].outbox)
            await sees(red, is_here(red, laptop))
        assert unread(red, room) == 0


async def test_what_changed_while_the_relay_was_away_or_as_the_program_ended_is_told(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            laptop.sync.devices.settings._is_due = True  # so that only the end sends it
            laptop.set_draft(room, "typed and left")
        await sees(red, lambda: red.draft(room) == "typed and left")
        with Profile(tmp_path, "red") as profile:
            offline = Client(profile, clock=relay.clock, connect=relay.connect)
            offline.open()
            offline.set_draft(room, "typed offline")
            await offline.close()
        async with device_at(relay, tmp_path, "red"):
            await sees(red, lambda: red.draft(room) == "typed offline")


async def test_one_of_several_devices_answers_a_new_one(
    tmp_path: Path, told: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_settings, "_LEFT_TO_OTHERS_SECONDS", 1000.0)
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path / "1", "laptop")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, has_notes(laptop))
            own = notes(red)
            await sees(laptop, lambda: any(purpose is Purpose.ANSWER for _, purpose, _ in told))
            told.clear()
            red.sync.store.set_room_setting(b"\x01" * 16, "draft", "a thought")
            await add_device(relay, red, tmp_path / "2", "phone")
            async with device_at(relay, tmp_path / "2", "red") as phone:
                await sees(phone, lambda: phone.draft(b"\x01" * 16) == "a thought")
                for each in (red, laptop):
                    await sees(each, lambda each=each: each.sync.rooms[own].part(ANSWER_DUE_PART) is None)  # type: ignore[misc]
                answers = {purpose for reader, purpose, _ in told if reader == phone.sync.own_device}
                assert answers == {Purpose.ANSWER}
                heard = [reader for reader, purpose, _ in told if purpose is Purpose.ANSWER]
                assert len(heard) == len(set(heard)), "each device has heard one answer"


async def test_another_device_answers_if_the_first_one_does_not(
    tmp_path: Path, told: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path / "1", "laptop")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, has_notes(laptop))
            monkeypatch.setattr(red.sync.devices.settings, "_look", lambda: None)
            laptop.sync.store.set_room_setting(b"\x01" * 16, "draft", "a thought")
            await add_device(relay, red, tmp_path / "2", "phone")
            async with device_at(relay, tmp_path / "2", "red") as phone:
                await sees(phone, lambda: phone.draft(b"\x01" * 16) == "a thought")
        assert [purpose for reader, purpose, _ in told if reader == phone.sync.own_device][-1:] == [
            Purpose.ANSWER
        ]


async def test_a_pin_to_another_key_is_told_and_followed_only_if_the_user_decided(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue"):
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            red.sync.store.add_pin("green", KEY)
            await sees(laptop, lambda: bool(laptop.sync.store.pins("green")))
        found = await red.fingerprint("blue")
        with Profile(tmp_path, "red") as profile:  # meanwhile, by what another relay says
            offline = Client(profile, clock=relay.clock, connect=relay.connect)
            offline.open()
            offline.sync.store.add_pin("blue", KEY)
            await offline.close()
        async with device_at(relay, tmp_path, "red") as laptop:
            await told_at_either("knows blue by another key", red, laptop)
            assert laptop.sync.store.pins("blue") == [("blue", KEY)]
            assert red.sync.store.pins("blue") == [("blue", found.account)]
            red.repin("blue", b"\xb2" * 32)
            await sees(laptop, lambda: laptop.sync.store.pins("blue") == [("blue", b"\xb2" * 32)])
            assert laptop.keys("blue")[0].account == b"\xb2" * 32


async def test_settings_that_somebody_else_sends_do_nothing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, relay.client("blue") as blue:
        room = await room_of(red, blue)
        direct = await blue.open_direct("red")
        await sees(red, lambda: bool(red.invitations()))
        await red.open_direct("blue")
        notices = red.stream(events.Notice)
        for where in (room, direct.id):
            draft = Setting(SettingKind.DRAFT, room, b"of blue", 1, blue.sync.own_device)
            here = blue.sync.rooms[where]
            here.enqueue(here.composer.settings(SettingsMessage(Purpose.ASK, [draft])))
            blue.submit_noted(where)
            assert (await anext(notices)).text == "blue sent settings of its own; nothing changed"
            assert red.sync.rooms[where].part(ANSWER_DUE_PART) is None
        assert red.sync.store.rows("SELECT * FROM own_settings") == []


@pytest.mark.parametrize(
    ("kind", "subject", "value"),
    [
        (SettingKind.DRAFT, b"\x01" * 16, b"\xff"),
        (SettingKind.MUTE, b"\x01" * 16, b"nan"),
        (SettingKind.MUTE, b"\x01" * 16, b"soon"),
        (SettingKind.BLOCK, b"short", b"blue"),
        (SettingKind.VERIFIED, b"short", b"blue"),
        (SettingKind.CONTACT, b"blue", b"no contact"),
        (SettingKind.CONTACT, b"blue", b"\x93\xa5green\xc4\x20" + KEY + b"\xc2"),
        (SettingKind.READ, b"\x01" * 16, b"no message"),
    ],
)
async def test_a_setting_that_makes_no_sense_does_nothing(
    kind: SettingKind, subject: bytes, value: bytes, tmp_path: Path
) -> None:
    def stored(client: Client) -> list[object]:
        store = client.sync.store
        pins, names = store.rows("SELECT * FROM pins"), store.names()
        return [store.blocked(), pins, names, store.rows("SELECT * FROM room_settings")]

    async with MemoryRelay() as relay, relay.client("red") as red:
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            before = stored(red)
            here = laptop.sync.rooms[notes(laptop)]
            wrong = Setting(kind, subject, value, 1, laptop.sync.own_device)
            right = Setting(SettingKind.MUTE, b"\x02" * 16, b"7.0", 1, laptop.sync.own_device)
            here.enqueue(here.composer.settings(SettingsMessage(Purpose.CHANGE, [wrong, right])))
            laptop.submit_noted(here.id)
            await sees(red, lambda: settings.muted_until(red.sync.store) == {b"\x02" * 16: 7.0})
            assert stored(red) == before


async def test_the_own_account_is_neither_blocked_nor_verified_nor_pinned_otherwise(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        own = red.sync.account.verified.account
        await add_device(relay, red, tmp_path, "laptop")
        async with device_at(relay, tmp_path, "red") as laptop:
            await sees(laptop, has_notes(laptop))
            laptop.sync.store.block(own, "red")
            laptop.sync.store.add_account(own, "red")
            laptop.sync.store.verify_account(own)
            with laptop.sync.store.transaction():
                laptop.sync.store.drop_pin("red")
                laptop.sync.store.add_pin("red", KEY)
            settings.mute(laptop.sync.store, b"\x02" * 16, 7.0)
            await sees(red, lambda: bool(settings.muted_until(red.sync.store)))
            await sees(red, lambda: not red.sync.devices.settings._known.unapplied())
            assert (red.blocked(), red.sync.store.pins("red")) == ([], [("red", own)])


async def test_a_removed_device_is_told_nothing_more(tmp_path: Path, told: list[Told]) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path / "1", "laptop")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, has_notes(laptop))
            stolen, own = laptop.sync.own_device, notes(red)
            await add_device(relay, red, tmp_path / "2", "phone")
            async with device_at(relay, tmp_path / "2", "red") as phone:
                await sees(phone, has_notes(phone))
                await sees(red, lambda: not red.rooms_to_settle and not red.sync.rooms[own].outbox)
                told.clear()
                removing = red.sync.devices.known.add_revoked
                revocation = red.sync.account.account_key().revoke(stolen)
                removing({stolen: revocation})  # before anything is done about it in rooms
                red.set_draft(room, "a secret")
                red.sync.devices.settings._look()
                assert not red.sync.rooms[own].outbox
                red.sync.devices._changed()
                await sees(phone, lambda: phone.draft(room) == "a secret")
                assert all(reader != stolen for reader, _, found in told if found)


async def test_a_restored_profile_asks_again(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red:
        room = await room_of(red)
        await add_device(relay, red, tmp_path / "1", "laptop")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            await sees(laptop, has_notes(laptop))
        shutil.copytree(tmp_path / "1", tmp_path / "2")
        async with device_at(relay, tmp_path / "1", "red") as laptop:
            red.set_draft(room, "a thought")
            await sees(laptop, lambda: laptop.draft(room) == "a thought")
        with Profile(tmp_path / "2", "red") as profile:
            restored = Client(profile, clock=relay.clock, connect=relay.connect)
            restored.open()
            mark_restored(restored.sync.store, relay.clock)
            await restored.close()
        async with device_at(relay, tmp_path / "2", "red") as laptop:
            await sees(laptop, lambda: laptop.draft(room) == "a thought")


async def test_a_room_of_notes_that_was_left_is_made_again(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        async with relay.client("red") as red:
            room = await room_of(red)
            await add_device(relay, red, tmp_path, "laptop")
            await sees(red, has_notes(red))
            left = notes(red)
            await red.room(left).leave()
            await sees(red, lambda: left not in red.sync.rooms)
        async with relay.client("red") as red, device_at(relay, tmp_path, "red") as laptop:
            await sees(red, has_notes(red))
            red.set_draft(room, "a thought")
            await sees(laptop, lambda: laptop.draft(room) == "a thought")
            assert red.rooms[notes(red)].phase is Phase.JOINED
