"""This device's own commit and what it is for, as they are kept."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clave_client.errors import StoreDamaged
from clave_client.rooms.commit_records import EarlierRekey, OwnCommit, RekeyIntent
from clave_client.rooms.state_change import StateChange
from clave_crypto.mls import GroupContextExtensions, Proposal, Remove
from clave_wire.messages import Kind
from client.memory_relay import Member, in_one_room

PENDING = OwnCommit(Kind.REKEY, b"payload", b"", b"h" * 32, logged=True)


def test_records_are_decoded_as_encoded() -> None:
    intent = RekeyIntent([b"d" * 32], change=StateChange("team"))
    assert RekeyIntent.decode(intent.encode()) == intent
    assert OwnCommit.decode(PENDING.encode()) == PENDING
    earlier = [EarlierRekey(PENDING, b"epoch", b"ratchets")]
    assert EarlierRekey.decode(EarlierRekey.encode(earlier)) == earlier


@pytest.mark.parametrize("data", [b"", b"\x90", b"garbage"])
def test_damaged_records_raise_store_damaged(data: bytes) -> None:
    for kind in (RekeyIntent, OwnCommit, EarlierRekey):
        if kind is RekeyIntent and data == b"\x90":
            continue  # nothing wished for
        if kind is EarlierRekey and data == b"\x90":
            continue  # none
        with pytest.raises(StoreDamaged, match="restore a backup"):
            kind.decode(data)
    short = msgspec.structs.replace(PENDING, head=b"short")
    with pytest.raises(StoreDamaged):
        OwnCommit.decode(short.encode())


def test_an_intent_is_what_a_rekey_can_do(tmp_path: Path) -> None:
    _, (red, blue, _) = in_one_room(tmp_path, "red", "blue", "green")
    title = red.room.proposal_of(StateChange(title="team"))[0]
    proposals: list[Proposal] = [
        Remove(red.leaf_of(blue)),
        title,
        Remove(red.leaf_of(blue)),
        Member(tmp_path, "white").add(),
    ]
    members, extensions = red.room.roster.members(), red.room.group.extensions
    intent = RekeyIntent.of(proposals, members, extensions)
    accounts = [blue.account.verified.account]
    assert intent == RekeyIntent([blue.device], change=StateChange("team"), accounts=accounts)
    assert intent
    assert not RekeyIntent.of((), members, extensions)


def test_the_intent_of_an_earlier_version_is_read() -> None:
    stored = msgspec.msgpack.encode([[b"d" * 32], "team", True])
    assert RekeyIntent.decode(stored) == RekeyIntent([b"d" * 32], shared=True, change=StateChange("team"))


def test_an_intent_is_only_what_changes(tmp_path: Path) -> None:
    """Else a change made again would undo another member's change of something else."""
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    members, extensions = red.room.roster.members(), red.room.group.extensions
    (expiry,) = red.room.proposal_of(StateChange(expiry=60))
    assert isinstance(expiry, GroupContextExtensions)
    intent = RekeyIntent.of([expiry], members, extensions)
    assert intent == RekeyIntent(change=StateChange(expiry=60))
    assert not intent.undone(expiry.extensions, has_removals=False)
    assert intent.undone(extensions, has_removals=True) == intent
    assert not RekeyIntent.of([GroupContextExtensions(extensions)], members, extensions)
