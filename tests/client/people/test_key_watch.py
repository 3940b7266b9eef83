"""Notices of members whose name is pinned to another key."""

from __future__ import annotations

from pathlib import Path

from clave_client.people.key_watch import KeyWatch
from clave_client.store.pins import Pins
from clave_client.ui.hints import notice_text
from clave_client.values import SeenKey
from clave_crypto.identity import AccountKey, fingerprint
from client.memory_relay import in_one_room

OTHER, THIRD = (AccountKey.generate().public for _ in range(2))
RELAY = "the relay's word only"


def test_a_member_with_another_key_is_reported_once(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    pins, own = Pins(red.store), red.account.verified.account
    watch = KeyWatch(pins, own)
    assert watch.new_notices(red.room) == []
    pins.pin("b1ue", SeenKey(OTHER, RELAY))
    (notice,) = watch.new_notices(red.room)
    assert notice.text == (
        f"blue in friends has another key than the b1ue you know: known {fingerprint(OTHER)},"
        f" here {fingerprint(blue.account.verified.account)}; ask blue over another channel"
    )
    assert notice_text(notice) == f"{notice.text}, then /trust blue or /remove blue"
    assert watch.new_notices(red.room) == []
    pins.pin("green", SeenKey(THIRD, RELAY))
    assert watch.new_notices(red.room) == []
    assert watch.mismatches(red.room) == [notice]
    pins.repin("blue", THIRD)
    assert len(watch.new_notices(red.room)) == 1
    assert len(KeyWatch(pins, own).new_notices(red.room)) == 1, "and again in the next session"


def test_a_member_with_the_own_name_is_reported(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    pins = Pins(red.store)
    pins.pin("blue", SeenKey(OTHER, "as if it were one's own"))
    (notice,) = KeyWatch(pins, OTHER).new_notices(red.room)
    here = fingerprint(blue.account.verified.account)
    assert notice.text == (
        f"somebody in friends goes by your name, blue, with the key {here}; do not trust this room"
    )
