"""A restored group's tree and keys are checked as a whole, and each kind of damage is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import Group, GroupClosedError, GroupState, MLSError, PolicyRejected, Remove
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.ratchet_tree import Node, ParentNode, RatchetTree, TreeNodes
from clave_crypto.mls.stored import StoredKey, StoredWholeEpoch, StoredWholeGroup
from groupkit import SUITE, Party, Rules, form


def restored(party: Party) -> Group:
    return Group.restore(party.group.state(), policy=Rules())


def changed(group: Group, change: Callable[[StoredWholeEpoch], StoredWholeEpoch]) -> Group:
    """Return a group with another stored epoch; the hash of its tree is made to fit."""
    state = group.state()
    stored = StoredWholeGroup.decode(state.epoch)
    epoch = change(stored.epoch)
    hashed = RatchetTree(SUITE, epoch.ratchet_tree.nodes).tree_hash()
    epoch = replace(epoch, context=replace(epoch.context, tree_hash=hashed))
    data = replace(stored, epoch=epoch).encode()
    return Group.restore(GroupState(data, state.ratchets), policy=Rules())


def with_node(place: int, change: Callable[[Node], Node]) -> Callable[[StoredWholeEpoch], StoredWholeEpoch]:
    def apply(epoch: StoredWholeEpoch) -> StoredWholeEpoch:
        nodes = list(epoch.ratchet_tree.nodes)
        found = nodes[place]
        assert found is not None
        nodes[place] = change(found)
        return replace(epoch, ratchet_tree=TreeNodes(tuple(nodes)))

    return apply


def with_other_signature(node: Node) -> Node:
    assert isinstance(node, LeafNode)
    return replace(node, signature=flipped(node.signature))


def with_other_parent_hash(node: Node) -> Node:
    assert isinstance(node, ParentNode)
    return replace(node, parent_hash=b"x" * SUITE.hash_size)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def test_groups_hold_through_commits_updates_and_removals() -> None:
    red, blue, green, grey = parties = form("red", "blue", "green", "grey")
    for committer in (*parties, *parties):
        committer.commits(to=[each for each in parties if each is not committer])
    red.commits([Remove(green.group.own_leaf)], to=[blue, grey])
    grey.commits(to=[red, blue])
    for party in (red, blue, grey):
        before = party.group.state()
        for group in (party.group, restored(party)):
            group.check_tree()
            group.check_keys()
            assert group.state() == before


def test_a_leaf_that_its_member_did_not_sign_is_found() -> None:
    (red,) = form("red")
    damaged = changed(red.group, with_node(0, with_other_signature))
    with pytest.raises(MLSError, match="signature"):
        damaged.check_tree()
    damaged.check_keys()


def test_a_parent_that_no_member_vouches_for_is_found() -> None:
    red, blue = form("red", "blue")
    red.commits(to=[blue])
    damaged = changed(blue.group, with_node(1, with_other_parent_hash))
    with pytest.raises(MLSError, match="parent hash"):
        damaged.check_tree()


def test_a_leaf_that_the_application_refuses_is_found() -> None:
    red, _ = form("red", "blue")
    rules = Rules()
    group = Group.restore(red.group.state(), policy=rules)
    group.check_tree()
    rules.refuse_leaf = lambda leaf: leaf.credential.identity == b"blue"
    with pytest.raises(PolicyRejected):
        group.check_tree()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda epoch: replace(epoch, confirmation_tag=flipped(epoch.confirmation_tag)), "confirmation tag"),
        (
            lambda epoch: replace(epoch, interim_transcript_hash=flipped(epoch.interim_transcript_hash)),
            "transcript hash",
        ),
        (lambda epoch: replace(epoch, signature_secret=Secret(b"s" * 32)), "signature key"),
        (
            lambda epoch: replace(
                epoch,
                private_keys=(StoredKey(2 * epoch.own_leaf, Secret(b"p" * 32)), *epoch.private_keys[1:]),
            ),
            "private key of node",
        ),
        (
            lambda epoch: replace(
                epoch,
                context=replace(
                    epoch.context, confirmed_transcript_hash=flipped(epoch.context.confirmed_transcript_hash)
                ),
            ),
            "confirmation tag",
        ),
    ],
    ids=["tag", "transcript", "signature key", "private key", "confirmed hash"],
)
def test_other_keys_than_those_of_the_epoch_are_found(
    change: Callable[[StoredWholeEpoch], StoredWholeEpoch], words: str
) -> None:
    red, blue = form("red", "blue")
    red.commits(to=[blue])
    damaged = changed(red.group, change)
    damaged.check_tree()
    with pytest.raises(MLSError, match=words):
        damaged.check_keys()


def test_a_removed_member_has_no_keys_to_check() -> None:
    red, blue = form("red", "blue")
    red.commits([Remove(blue.group.own_leaf)], to=[blue])
    with pytest.raises(GroupClosedError):
        blue.group.check_keys()
