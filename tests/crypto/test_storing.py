"""Stored groups, pending commits and key packages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from clave_crypto.errors import CryptoError
from clave_crypto.mls import (
    Add,
    Application,
    Committed,
    Group,
    GroupState,
    KeyPackageBundle,
    Limits,
    MemberSender,
    PendingCommit,
    Remove,
    StateError,
    ValidationError,
    decode_key_package,
    encode_message,
)
from clave_crypto.mls.change import Change
from clave_crypto.mls.grease import GREASE
from clave_crypto.mls.state import decode_change, encode_change
from clave_crypto.mls.stored import StoredChange, StoredRatchets, StoredWholeGroup
from groupkit import NOW, Party, Rules, form

PARTS = ("epoch", "ratchets")


def with_part(state: GroupState, part: str, data: bytes) -> GroupState:
    """Return the state with other bytes as its `epoch` or `ratchets`."""
    return replace(state, epoch=data) if part == "epoch" else replace(state, ratchets=data)


def test_parts_of_different_epochs_do_not_go_together() -> None:
    red, blue = form("red", "blue")
    before = red.group.state()
    red.commits(to=[blue])
    after = red.group.state()
    both = (before, after)
    for epoch, ratchets in product(*([getattr(one, part) for one in both] for part in PARTS)):
        mixed = GroupState(epoch, ratchets)
        if mixed not in both:
            with pytest.raises(StateError):
                Group.restore(mixed, policy=Rules())


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
    data = state.epoch if part == "epoch" else state.ratchets
    for damaged in (b"", data[:-1], data + b"\0", b"\xff\xff" + data[2:]):
        with pytest.raises(StateError):
            Group.restore(with_part(state, part, damaged), policy=Rules())


class Disk:
    """What somebody has stored who was in an epoch before, waits for a message, and has proposals pending."""

    def __init__(self) -> None:
        red, self.blue, green = form("red", "blue", "green")
        self.blue.hears(red.group.encrypt(b""))
        red.commits([Remove(2)], to=[self.blue])
        red.group.encrypt(b"not there yet")
        self.message = red.group.encrypt(b"later")
        self.blue.hears(self.message)
        red.sees(self.blue.group.propose_update(now=NOW))
        self.blue.sees(red.group.propose(Add(green.offer().key_package), now=NOW))
        self.state, commit = self.blue.group.state(), self.blue.group.commit(now=NOW)
        state = self.state
        self.parts = {
            "epoch": state.epoch,
            "ratchets": state.ratchets,
            "commit": commit.encode(),
            "bundle": green.offer().encode(),
        }

    def restored(self, part: str, data: bytes) -> Group:
        return Group.restore(with_part(self.state, part, data), policy=Rules())

    def takers(self) -> dict[str, Callable[[bytes], bytes]]:
        """Return the function that reads each part, and the one that writes it again."""
        return {
            "epoch": lambda data: self.restored("epoch", data).state().epoch,
            "ratchets": lambda data: self.restored("ratchets", data).state().ratchets,
            "commit": lambda data: PendingCommit.decode(data, policy=Rules()).encode(),
            "bundle": lambda data: KeyPackageBundle.decode(data).encode(),
        }

    def use(self, part: str, data: bytes) -> None:
        """Do with a group or a commit what one does: only its errors come out."""
        try:
            if part == "commit":
                group = self.restored("epoch", self.parts["epoch"])
                group.merge(PendingCommit.decode(data, policy=Rules()))
            else:
                group = self.restored(part, data)
            group.commit(now=NOW)
            group.receive(self.message)
        except CryptoError:
            pass


@cache
def disk() -> Disk:
    return Disk()


@pytest.mark.parametrize(
    "what", ["n_leaves", "past n_leaves", "own_leaf", "past own_leaf", "sender", "ratchets"]
)
def test_numbers_that_fit_no_tree_are_refused_at_once(what: str) -> None:
    """For example 2**31 leaves, for which no memory is allocated."""
    parts = dict(disk().parts)
    group, ratchets = StoredWholeGroup.decode(parts["epoch"]), StoredRatchets.decode(parts["ratchets"])
    (now, before), (past,), huge = ratchets.trees, group.past, 1 << 31
    match what:
        case "n_leaves":
            ratchets = replace(ratchets, trees=(replace(now, n_leaves=huge), before))
        case "past n_leaves":
            ratchets = replace(ratchets, trees=(now, replace(before, n_leaves=huge)))
            group = replace(group, past=(replace(past, n_leaves=huge),))
        case "own_leaf":
            group = replace(group, epoch=replace(group.epoch, own_leaf=huge))
        case "past own_leaf":
            group = replace(group, past=(replace(past, own_leaf=huge),))
        case "sender":
            pending = tuple(replace(one, sender=MemberSender(huge)) for one in group.pending)
            group = replace(group, pending=pending)
        case "ratchets":
            ratchets = replace(ratchets, trees=(replace(now, ratchets=now.ratchets[1:]), before))
    with pytest.raises(StateError):
        Group.restore(GroupState(group.encode(), ratchets.encode()), policy=Rules())


def change_of(party: Party) -> Change:
    """Return the change of a commit that the party makes."""
    group = party.group
    return group.commit(now=NOW).take(group.epoch_authenticator, group._epoch.tree)


@pytest.mark.parametrize("who", [{"committer": 7}, {"added": (7,)}, {"updated": (1 << 31,)}])
def test_a_change_is_of_leaves_in_its_tree(who: dict[str, Any]) -> None:
    red, _ = form("red", "blue")
    stored = encode_change(change_of(red), red.group._epoch.tree)
    assert encode_change(decode_change(stored, Limits()), None) == stored
    with pytest.raises(StateError, match="not in the tree"):
        decode_change(replace(StoredChange.decode(stored), **who).encode(), Limits())


def test_a_suite_that_is_not_known_is_a_state_error() -> None:
    for part, taker in disk().takers().items():
        if part != "ratchets":
            unknown = disk().parts[part].replace(b"\0\1" + b"\0\1", b"\0\1" + b"\xf4\xff")
            with pytest.raises(StateError, match="0xf4ff is not supported"):
                taker(unknown)


def flip(part: str, bits: Iterable[int]) -> None:
    """Check that each flipped bit is detected, or kept as it is without harm."""
    data, take = disk().parts[part], disk().takers()[part]
    assert take(data) == data
    for bit in bits:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert take(bytes(changed)) == changed
        except StateError:
            continue
        if part != "bundle":
            disk().use(part, bytes(changed))


@pytest.mark.parametrize("part", ["epoch", "ratchets", "commit", "bundle"])
def test_flipped_bit_gives_a_state_error_or_a_valid_group(part: str) -> None:
    bits = 8 * len(disk().parts[part])
    flip(part, {*range(256), *range(0, bits, 97)})


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", ["epoch", "ratchets", "commit", "bundle"])
def test_every_flipped_bit_gives_a_state_error_or_a_valid_group(part: str) -> None:
    flip(part, range(8 * len(disk().parts[part])))


def test_groups_stored_by_version_1_can_be_used() -> None:
    stored = json.loads((Path(__file__).parent / "stored" / "version-1.json").read_text())

    def restored(name: str) -> Group:
        parts = {part: bytes.fromhex(data) for part, data in stored[name].items()}
        return Group.restore(GroupState(parts["epoch"], parts["ratchets"]), policy=Rules())

    red, blue = restored("red"), restored("blue")
    pending = PendingCommit.decode(bytes.fromhex(stored["pending"]), policy=Rules())
    late = blue.receive(bytes.fromhex(stored["late"]))
    assert isinstance(late, Application)
    assert late.data == b"late"
    assert [sender for _, sender, _ in red.pending_proposals] == [MemberSender(1), MemberSender(0)]
    assert blue.receive(pending.message) == red.merge(pending)
    assert [member.identity for member in red.members()] == [b"red", b"blue"]
    assert red.epoch_authenticator == blue.epoch_authenticator
    assert Group.restore(red.state(), policy=Rules()).state() == red.state()
    with pytest.raises(StateError):
        PendingCommit.decode(bytes.fromhex(stored["pending"])[:-1], policy=Rules())


class _TakesUnlisted(Rules):
    """Takes in key packages that were made before extensions had to be listed."""

    def may_be_unlisted(self, extension_type: int) -> bool:
        return extension_type in GREASE


@pytest.mark.parametrize("name", ["with_path", "without_path"])
def test_pending_commits_stored_by_version_2_can_be_used(name: str) -> None:
    """They do not record whether they have a path, and count as having one."""
    stored = json.loads((Path(__file__).parent / "stored" / "version-2.json").read_text())
    states = [
        GroupState(bytes.fromhex(stored[party]["epoch"]), bytes.fromhex(stored[party]["ratchets"]))
        for party in ("red", "blue")
    ]
    red = Group.restore(states[0], policy=Rules())
    strict, blue = (Group.restore(states[1], policy=policy) for policy in (Rules(), _TakesUnlisted()))
    pending = PendingCommit.decode(bytes.fromhex(stored[name]), policy=Rules())
    assert pending.path
    assert PendingCommit.decode(pending.encode(), policy=Rules()).path
    with pytest.raises(ValidationError, match="key-package-extensions-listed"):
        strict.receive(pending.message)
    received = blue.receive(pending.message)
    assert isinstance(received, Committed)
    assert received.path is (name == "with_path")
    assert replace(received, path=True) == red.merge(pending)
    assert red.epoch_authenticator == blue.epoch_authenticator


@pytest.mark.parametrize("path", [False, True])
def test_a_pending_commit_is_stored_with_whether_it_has_a_path(path: bool) -> None:
    red, blue = form("red", "blue")
    added = [Add(Party("green").offer().key_package)]
    pending = red.group.commit(added, now=NOW, path=path)
    restored = PendingCommit.decode(pending.encode(), policy=Rules())
    assert restored.path is pending.path is path
    assert blue.sees(pending.message) == red.group.merge(restored)
    stored = StoredChange.decode(encode_change(change_of(blue), blue.group._epoch.tree))
    with pytest.raises(StateError, match="path"):
        decode_change(replace(stored, path=2).encode(), Limits())


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
