"""What lets a device in: how the log stood is signed, and help is for one device only."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clave_client.errors import PeerError
from clave_client.formats.payload import epoch_id
from clave_client.formats.welcome import RejoinInfo, Welcome, parse_invitation
from clave_client.rooms.policy import RoomPolicy
from clave_crypto.mls import Group, MLSError, decode_group_info
from clave_wire.header import Seen
from client.memory_relay import Member, in_one_room, join


def test_a_welcome_holds_the_signed_view_of_its_author(tmp_path: Path) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    guest = Member(tmp_path, "guest")
    submit = red.room.prepare_commit([guest.add()])
    welcome = parse_invitation(submit.welcome)
    assert isinstance(welcome, Welcome)
    assert welcome.seen == red.room.chain.seen()
    head = epoch_id(join(guest, submit.welcome, 2).group)
    welcome.check(head, red.device)
    other = msgspec.structs.replace(welcome, seen=Seen(9, b"x" * 32))
    for one, name, signer in (
        (other, head, red.device),
        (welcome, b"o" * 32, red.device),
        (welcome, head, blue.device),
    ):
        with pytest.raises(PeerError, match="signature"):
            one.check(name, signer)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x93\x01\x02\x03", b"\x93\x03\xc4\0\xc4\0"])
def test_an_invitation_of_unknown_form_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="cannot be read"):
        parse_invitation(data)


def test_a_welcome_of_protocol_3_is_recognised(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    guest = Member(tmp_path, "guest")
    welcome = parse_invitation(red.room.prepare_commit([guest.add()]).welcome)
    assert isinstance(welcome, Welcome)
    assert parse_invitation(welcome.message) == welcome.message
    assert isinstance(
        Group.join(welcome.message, guest.account.bundle, policy=RoomPolicy(), other_groups=()), Group
    )


def test_a_rejoin_info_opens_for_one_member_only(tmp_path: Path) -> None:
    _, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rejoin_info = parse_invitation(red.room.prepare_rejoin_info(blue.device).welcome)
    assert isinstance(rejoin_info, RejoinInfo)
    assert rejoin_info.head == red.room.head
    assert decode_group_info(blue.room.open_rejoin_info(rejoin_info)).group_context.group_id == red.room.id
    with pytest.raises(MLSError):
        green.room.open_rejoin_info(rejoin_info)
