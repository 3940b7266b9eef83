"""Settings that devices share come out alike on all of them, whatever is told to whom in which order."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_client.errors import PeerError
from clave_client.formats.own_settings import (
    MAX_STAMP,
    Contact,
    Purpose,
    Setting,
    SettingKind,
    SettingsMessage,
    decode_settings,
    encode_settings,
    in_messages,
)
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.store.own_settings import MOST_AHEAD, OwnSettings
from clave_client.store.pins import Pins
from clave_client.values import SeenKey
from clave_crypto.keys import Secret

OWN = b"\xa0" * 32
ROOM = b"\x01" * 16
NOON = 1_800_000_000_000


class Device:
    """A device with its store, and the drafts in it."""

    def __init__(self, path: Path, number: int) -> None:
        self.store_path = path
        self.store = Store(path / f"{number}.db", Secret(bytes(48)))
        self.key = bytes([number]) * 32
        self.known = OwnSettings(self.store, OWN, self.key)
        self.known.note_changes(NOON)  # the first look, which finds nothing

    def writes(self, room: bytes, text: str) -> None:
        self.store.set_room_setting(room, "draft", text)

    def draft(self, room: bytes) -> str:
        return self.store.room_setting(room, "draft")

    def sends(self, now: int, *, everything: bool = False) -> list[Setting]:
        """Return what the device has to tell, or all that it knows."""
        with self.store.transaction():
            self.known.note_changes(now)
            return self.known.take_all() if everything else self.known.take_unsent()

    def reads(self, told: list[Setting], now: int) -> None:
        """Have the device read settings, and apply drafts."""
        with self.store.transaction():
            self.known.merge(told, now)
            waiting = self.known.unapplied()
            for each in waiting:
                assert each.kind == SettingKind.DRAFT
                self.writes(each.subject, each.value.decode())
            self.known.note_applied(waiting)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Device, Device]:
    return Device(tmp_path, 1), Device(tmp_path, 2)


def test_a_change_is_told_once_and_what_was_told_is_not_told_back(pair: tuple[Device, Device]) -> None:
    red, blue = pair
    red.writes(ROOM, "a thought")
    told = red.sends(NOON)
    assert [(each.value, each.stamp, each.writer) for each in told] == [(b"a thought", NOON, red.key)]
    assert red.sends(NOON + 1) == []
    blue.reads(told, NOON + 1)
    assert blue.draft(ROOM) == "a thought"
    assert blue.sends(NOON + 2) == []


def test_what_was_deleted_on_one_device_is_deleted_on_the_other(pair: tuple[Device, Device]) -> None:
    red, blue = pair
    red.writes(ROOM, "a thought")
    blue.reads(red.sends(NOON), NOON)
    blue.writes(ROOM, "")
    red.reads(blue.sends(NOON), NOON)
    assert red.draft(ROOM) == ""


def test_the_later_change_counts_though_it_is_read_first(pair: tuple[Device, Device]) -> None:
    red, blue = pair
    red.writes(ROOM, "first")
    first = red.sends(NOON)
    red.writes(ROOM, "second")
    second = red.sends(NOON + 5)
    blue.reads(second, NOON + 6)
    blue.reads(first, NOON + 6)
    assert blue.draft(ROOM) == "second"


def test_a_change_after_another_one_counts_though_the_clock_is_behind(pair: tuple[Device, Device]) -> None:
    red, blue = pair
    red.writes(ROOM, "by a clock that is ahead")
    ahead = NOON + MOST_AHEAD
    blue.reads(red.sends(ahead), NOON)
    blue.writes(ROOM, "later")
    told = blue.sends(NOON)
    assert told[0].stamp == ahead + 1
    red.reads(told, ahead)
    assert red.draft(ROOM) == "later"


def test_nobody_can_keep_a_setting_from_being_changed_by_a_stamp_in_the_far_future(
    pair: tuple[Device, Device],
) -> None:
    red, blue = pair
    for stamp in (NOON + MOST_AHEAD + 1, MAX_STAMP):
        blue.reads([Setting(SettingKind.DRAFT, ROOM, b"for ever", stamp, b"\xff" * 32)], NOON)
    assert blue.draft(ROOM) == ""
    blue.writes(ROOM, "mine")
    red.reads(blue.sends(NOON), NOON)
    assert red.draft(ROOM) == "mine"


def test_what_was_changed_while_the_clock_was_years_ahead_is_changed_again_once_it_is_right(
    pair: tuple[Device, Device],
) -> None:
    red, blue = pair
    red.writes(ROOM, "in 2040")
    blue.reads(red.sends(2 * NOON), NOON)
    assert blue.draft(ROOM) == "", "its clock is wrong, as that device says"
    blue.writes(ROOM, "today")
    red.reads(blue.sends(NOON), NOON)
    assert red.draft(ROOM) == "today"
    red.writes(ROOM, "a day later")
    blue.reads(red.sends(NOON + 86_400_000), NOON + 86_400_000)
    assert blue.draft(ROOM) == "a day later"


def test_what_a_first_look_finds_counts_less_than_what_was_changed_since(tmp_path: Path) -> None:
    """As in a backup of before there was another device."""
    blue = Device(tmp_path, 2)
    store = Store(tmp_path / "restored.db", Secret(bytes(48)))
    store.set_room_setting(ROOM, "draft", "old")
    store.set_room_setting(b"\x02" * 16, "draft", "only here")
    restored = OwnSettings(store, OWN, b"\xff" * 32)
    blue.writes(ROOM, "new")
    changed = blue.sends(NOON)
    restored.note_changes(NOON + 5)
    told = restored.take_unsent()
    assert [each.stamp for each in told] == [0, 0]
    blue.reads(told, NOON + 5)
    assert (blue.draft(ROOM), blue.draft(b"\x02" * 16)) == ("new", "only here")
    restored.merge(changed, NOON + 5)
    assert [each.value for each in restored.unapplied()] == [b"new"]


def test_of_two_messages_that_another_device_has_read_the_further_one_counts(tmp_path: Path) -> None:
    device = Device(tmp_path, 1)
    for seq in (9, 10):
        line = HistoryLine(seq, b"d" * 32, b"a" * 32, "blue", bytes([seq]) * 32, "hello", 1)
        device.store.add_message(ROOM, line)
    later, unknown = bytes([10]) * 32, b"\xee" * 32
    told = [
        Setting(SettingKind.READ, ROOM, bytes([seq]) * 32, NOON + stamp, b"\x02" * 32)
        for seq, stamp in ((10, 0), (9, 5))
    ]
    device.known.merge(told, NOON)
    assert [each.value for each in device.known.unapplied()] == [later]
    device.known.merge([Setting(SettingKind.READ, ROOM, unknown, NOON - 5, b"\x02" * 32)], NOON)
    assert [each.value for each in device.known.unapplied()] == [unknown], "it is still to come"
    device.known.merge(told, NOON)
    assert [each.value for each in device.known.unapplied()] == [unknown]


def test_a_change_of_which_nobody_was_told_yet_is_not_lost_to_an_earlier_one(
    pair: tuple[Device, Device],
) -> None:
    red, blue = pair
    red.writes(ROOM, "of red")
    told = red.sends(NOON)
    blue.writes(ROOM, "of blue, just now")
    blue.reads(told, NOON + 1)
    assert blue.draft(ROOM) == "of blue, just now"
    red.reads(blue.sends(NOON + 2), NOON + 2)
    assert red.draft(ROOM) == "of blue, just now"


_Step = tuple[str, int, int, int]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["write", "send", "read"]),
            st.integers(0, 2),
            st.integers(0, 2),
            st.integers(-3, 3),
        ),
        max_size=40,
    )
)
def test_devices_that_have_read_the_same_have_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[_Step]
) -> None:
    path = tmp_path_factory.mktemp("devices")
    devices = [Device(path, number) for number in range(1, 4)]
    rooms = [bytes([number]) * 16 for number in range(3)]
    waiting: list[list[list[Setting]]] = [[], [], []]
    try:
        for number, (what, who, where, skew) in enumerate(steps):
            device, now = devices[who], NOON + skew
            if what == "write":
                device.writes(rooms[where], f"{number} of {who}" if skew else "")
            elif what == "send":
                told = device.sends(now)
                for other in {0, 1, 2} - {who}:
                    waiting[other].append(told)
            elif waiting[who]:
                device.reads(waiting[who].pop(where % len(waiting[who])), now)
        for who, device in enumerate(devices):
            told = device.sends(NOON, everything=True)
            for other in {0, 1, 2} - {who}:
                waiting[other].append(told)
        for device, left in zip(devices, waiting, strict=True):
            for told in reversed(left):
                device.reads(told, NOON)
        drafts = [[device.draft(room) for room in rooms] for device in devices]
        assert drafts[0] == drafts[1] == drafts[2]
        assert [device.sends(NOON) for device in devices] == [[], [], []]
    finally:
        for device in devices:
            device.store.close()


def test_a_look_at_what_has_not_changed_writes_nothing(tmp_path: Path) -> None:
    device = Device(tmp_path, 1)
    device.writes(ROOM, "a thought")
    device.sends(NOON)
    written: list[int] = []
    device.store.watch(lambda: written.append(1))
    device.known.note_changes(NOON + 5)
    assert written == []


def test_only_a_name_whose_key_the_user_has_decided_or_verified_is_decided(tmp_path: Path) -> None:
    device = Device(tmp_path, 1)
    pins = Pins(device.store)

    def contacts() -> list[Contact]:
        told = [each for each in device.sends(NOON) if each.kind == SettingKind.CONTACT]
        return [msgspec.msgpack.decode(each.value, type=Contact) for each in told]

    pins.repin("red", OWN)
    assert contacts() == [], "everybody knows the own name"
    blue, green = b"\xb0" * 32, b"\xb1" * 32
    pins.pin("blue", SeenKey(blue, "a room"))
    pins.pin("green", SeenKey(green, "a room"))
    assert contacts() == [Contact("blue", blue), Contact("green", green)]
    pins.repin("blue", blue)
    assert contacts() == [Contact("blue", blue, is_decided=True)], "though it is the same key"
    pins.verify("green", green)
    assert contacts() == [Contact("green", green, is_decided=True)]


def test_a_decided_contact_counts_more_than_a_later_one_that_is_not(pair: tuple[Device, Device]) -> None:
    red, blue = pair
    Pins(red.store).repin("green", b"\xb0" * 32)
    told = [each for each in red.sends(NOON) if each.kind == SettingKind.CONTACT]
    other = Contact("green", b"\xb1" * 32)
    later = Setting(SettingKind.CONTACT, told[0].subject, msgspec.msgpack.encode(other), NOON + 99, blue.key)
    for device, order in (
        (red, [later]),
        (blue, [later, *told]),
        (Device(blue.store_path, 3), [*told, later]),
    ):
        device.known.merge(order, NOON)
        (found,) = device.known.take_all()
        assert msgspec.msgpack.decode(found.value, type=Contact) == Contact(
            "green", b"\xb0" * 32, is_decided=True
        )


def test_settings_of_a_later_version_are_left_out(pair: tuple[Device, Device]) -> None:
    red, _ = pair
    red.reads([Setting(99, ROOM, b"?", NOON, b"\x02" * 32)], NOON)
    assert red.sends(NOON, everything=True) == []


def test_many_settings_come_in_several_messages_and_only_the_last_one_asks() -> None:
    drafts = [
        Setting(SettingKind.DRAFT, bytes([number]) * 16, b"x" * 20_000, NOON, b"\x01" * 32)
        for number in range(9)
    ]
    mutes = [
        Setting(SettingKind.MUTE, number.to_bytes(16, "big"), b"0", NOON, b"\x01" * 32)
        for number in range(2500)
    ]
    messages = list(in_messages(Purpose.ASK, drafts + mutes))
    assert [each.purpose for each in messages] == [Purpose.CHANGE] * (len(messages) - 1) + [Purpose.ASK]
    assert [each for message in messages for each in message.settings] == drafts + mutes
    encoded = [encode_settings(message) for message in messages]
    assert max(map(len, encoded)) < 120_000
    assert [decode_settings(data) for data in encoded] == messages
    assert list(in_messages(Purpose.ASK, [])) == [SettingsMessage(Purpose.ASK, [])]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x92\x00",
        msgspec.msgpack.encode([3, []]),
        msgspec.msgpack.encode([0, [[1, b"", b"", -1, b"\x01" * 32]]]),
        msgspec.msgpack.encode([0, [[1, b"", b"", MAX_STAMP + 1, b"\x01" * 32]]]),
        msgspec.msgpack.encode([0, [[1, b"", b"", 0, b"short"]]]),
        msgspec.msgpack.encode([0, [[1, b"x" * 1025, b"", 0, b"\x01" * 32]]]),
        msgspec.msgpack.encode([0, [], "more"]),
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="malformed"):
        decode_settings(data)
