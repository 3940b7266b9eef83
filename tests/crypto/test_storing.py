"""Groups, pending commits and key packages at rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clave_crypto.mls import (
    Application,
    Group,
    GroupState,
    KeyPackageBundle,
    MemberSender,
    PendingCommit,
    StateError,
    decode_key_package,
    encode_message,
)
from groupkit import NOW, Party, Rules, form


def test_parts_of_different_epochs_do_not_go_together() -> None:
    red, blue = form("red", "blue")
    before = red.group.state()
    red.commits(to=[blue])
    after = red.group.state()
    for epoch, ratchets in ((before.epoch, after.ratchets), (after.epoch, before.ratchets)):
        with pytest.raises(StateError):
            Group.restore(GroupState(epoch, ratchets), policy=Rules())


def test_message_changes_only_the_ratchets() -> None:
    red, blue = form("red", "blue")
    sender, receiver = red.group.state(), blue.group.state()
    blue.hears(red.group.encrypt(b""))
    assert red.group.state().epoch == sender.epoch
    assert blue.group.state().epoch == receiver.epoch
    assert red.group.state().ratchets != sender.ratchets
    assert blue.group.state().ratchets != receiver.ratchets


@pytest.mark.parametrize("part", ["epoch", "ratchets"])
def test_damage_is_noticed(part: str) -> None:
    (red,) = form("red")
    state = red.group.state()
    parts = {"epoch": state.epoch, "ratchets": state.ratchets}
    for damaged in (b"", parts[part][:-1], parts[part] + b"\0", b"\xff\xff" + parts[part][2:]):
        with pytest.raises(StateError):
            Group.restore(GroupState(**(parts | {part: damaged})), policy=Rules())


def test_groups_that_version_1_stored_go_on() -> None:
    stored = json.loads((Path(__file__).parent / "stored" / "version-1.json").read_text())

    def restored(name: str) -> Group:
        parts = {part: bytes.fromhex(data) for part, data in stored[name].items()}
        return Group.restore(GroupState(**parts), policy=Rules())

    red, blue = restored("red"), restored("blue")
    pending = PendingCommit.decode(bytes.fromhex(stored["pending"]), policy=Rules())
    late = blue.receive(bytes.fromhex(stored["late"]), now=NOW)
    assert isinstance(late, Application)
    assert late.data == b"late"
    assert [sender for _, sender, _ in red.pending_proposals] == [MemberSender(1), MemberSender(0)]
    assert blue.receive(pending.message, now=NOW) == red.merge(pending)
    assert [member.identity for member in red.members()] == [b"red", b"blue"]
    assert red.epoch_authenticator == blue.epoch_authenticator
    assert Group.restore(red.state(), policy=Rules()).state() == red.state()
    with pytest.raises(StateError):
        PendingCommit.decode(bytes.fromhex(stored["pending"])[:-1], policy=Rules())


def test_pending_commit_damage_is_noticed() -> None:
    with pytest.raises(StateError):
        PendingCommit.decode(b"damaged", policy=Rules())


def test_bundle_is_stored_whole() -> None:
    bundle = Party("red").offer(last_resort=True, extension_types=[0xF001])
    assert KeyPackageBundle.decode(bundle.encode()) == bundle
    assert bundle.key_package.last_resort
    assert not Party("red").offer().key_package.last_resort
    assert decode_key_package(encode_message(bundle.key_package)) == bundle.key_package
    with pytest.raises(StateError):
        KeyPackageBundle.decode(b"damaged")


def test_secrets_never_show() -> None:
    red, blue = form("red", "blue")
    pending = red.group.commit(now=NOW)
    bundle = red.offer()
    shown = f"{red.group!r}{red.group._epoch!r}{pending!r}{bundle!r}{red.group.state()!r}"
    shown += repr(red.group._epoch.secrets)
    for hidden in (red.signature_secret, bundle.init_secret, bundle.leaf_secret):
        assert bytes(hidden).hex() not in shown
        assert repr(bytes(hidden)) not in shown
    assert blue.group.group_id == b"room"
