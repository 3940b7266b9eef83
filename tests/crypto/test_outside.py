"""Messages from outside a group: external commits, external senders, and proposals to be added."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    BasicCredential,
    Committed,
    Extension,
    ExtensionType,
    ExternalPsk,
    ExternalSender,
    ExternalSenderIndex,
    ExternalSenders,
    GroupContextExtensions,
    LeafNode,
    LocalError,
    MemberSender,
    NewMemberProposalSender,
    OwnMessageError,
    PolicyRejected,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    ReplayError,
    UnsupportedError,
    WrongEpochError,
    encode_message,
    new_psk_id,
    propose_externally,
    propose_join,
)
from clave_crypto.mls.framing import (
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.proposals import Commit
from forgekit import forged_entry, public
from groupkit import NOW, SUITE, Party, Rules, assert_agree, form
from rulekit import breaks, refused


def test_join_by_external_commit() -> None:
    red, blue = form("red", "blue")
    green = Party("green")
    commit = green.enters(red.group.group_info(), to=[blue])
    committed = red.sees(commit)
    assert committed.external
    assert [member.identity for member in committed.added] == [b"green"]
    assert committed.committer == committed.added[0].leaf_index == green.group.own_leaf
    assert_agree([red, blue, green])
    assert red.hears(green.group.encrypt(b"I let myself in")) == b"I let myself in"
    green.commits(to=[red, blue])
    red.adds(Party("white"), to=[blue, green])
    assert_agree([red, blue, green])


def test_external_commit_with_the_tree_kept_apart() -> None:
    red, blue = form("red", "blue")
    green = Party("green")
    info = red.group.group_info(ratchet_tree=False)
    with breaks("welcome-tree-given"):
        green.enters(info)
    green.enters(info, ratchet_tree=red.group.ratchet_tree(), to=[red, blue])
    assert_agree([red, blue, green])


def test_external_commit_takes_the_place_of_an_old_self() -> None:
    red, blue, green = form("red", "blue", "green")
    old = green.group
    commit = green.enters(red.group.group_info(), removes=old.own_leaf, to=[red, blue])
    received = old.receive(commit)
    assert isinstance(received, Committed)
    assert received.removed_self
    assert old.closed
    assert_agree([red, blue, green])
    assert len(red.group.members()) == 3


def test_external_commit_into_a_full_tree_and_into_a_gap() -> None:
    red, blue, green, white = form("red", "blue", "green", "white")
    black = Party("black")
    black.enters(red.group.group_info(), to=[red, blue, green, white])
    assert black.group.own_leaf == 4
    red.commits([Remove(1)], to=[green, white, black])
    grey = Party("grey")
    grey.enters(black.group.group_info(), to=[red, green, white, black])
    assert grey.group.own_leaf == 1
    assert_agree([red, green, white, black, grey])


def test_external_commit_with_a_shared_key() -> None:
    red, blue = form("red", "blue")
    green = Party("green")
    psk = new_psk_id(SUITE, ExternalPsk(b"link"))
    keys = {psk: Secret(b"from the link")}
    commit = green.enters(red.group.group_info(), psks=[psk], find_psk=keys.get)
    refused(red, commit, UnsupportedError)
    for one in (red, blue):
        one.group.receive(commit, find_psk=keys.get)
    assert_agree([red, blue, green])


def test_group_info_of_a_past_epoch_is_too_late() -> None:
    red, blue = form("red", "blue")
    info = red.group.group_info()
    red.commits(to=[blue])
    refused(red, Party("green").enters(info), WrongEpochError)


def test_policy_checks_external_joiners() -> None:
    red, _ = form("red", "blue")
    assert isinstance(red.policy, Rules)
    red.policy.refuse_joiner = lambda leaf: leaf.credential.identity == b"green"
    refused(red, Party("green").enters(red.group.group_info()), PolicyRejected)
    Party("white").enters(red.group.group_info(), to=[red])


def test_policy_checks_the_replacement_of_a_member() -> None:
    red, _, _ = form("red", "blue", "green")
    assert isinstance(red.policy, Rules)
    red.policy.refuse_successor = lambda old, new: old.credential != new.credential
    refused(red, Party("mallory").enters(red.group.group_info(), removes=1), PolicyRejected)


def test_someone_proposes_to_be_added() -> None:
    red, blue = form("red", "blue")
    green = Party("green")
    bundle = green.offer()
    proposal = propose_join(bundle, b"room", red.group.epoch)
    for one in (red, blue):
        received = one.sees(proposal)
        assert received.sender == NewMemberProposalSender()
        assert received.proposal == Add(bundle.key_package)
    pending = red.commits(to=[blue])
    green.join(pending.welcome)
    assert_agree([red, blue, green])


def test_proposal_to_be_added_by_another_key_is_refused() -> None:
    red, _ = form("red", "blue")
    forged = replace(Party("green").offer(), signature_secret=Secret(os.urandom(32)))
    refused(red, propose_join(forged, b"room", red.group.epoch), "message-signature")


def watched_by(*watchers: Party) -> Extension:
    senders = tuple(
        ExternalSender(SUITE.signature.public_key(one.signature_secret), BasicCredential(one.name.encode()))
        for one in watchers
    )
    return Extension(ExtensionType.EXTERNAL_SENDERS, ExternalSenders(senders).encode())


def proposes(watcher: Party, proposal: Proposal, index: int = 0, epoch: int = 1) -> bytes:
    return propose_externally(SUITE, index, watcher.signature_secret, proposal, b"room", epoch)


def test_external_sender_proposes() -> None:
    watcher = Party("watcher")
    red, blue, green = form("red", "blue", "green", extensions=[watched_by(watcher)])
    package = Party("white").offer().key_package
    for proposal in (Remove(2), Add(package), PreSharedKey(new_psk_id(SUITE, ExternalPsk(b"key")))):
        for one in (red, blue, green):
            received = one.sees(proposes(watcher, proposal))
            assert (received.sender, received.proposal) == (ExternalSenderIndex(0), proposal)
    commit = red.group.commit(now=NOW, find_psk=lambda _: Secret(b"key"))
    blue.group.receive(commit.message, find_psk=lambda _: Secret(b"key"))
    assert green.sees(commit.message).removed_self
    red.group.merge(commit)
    assert_agree([red, blue])
    assert [member.identity for member in red.group.members()] == [b"red", b"blue", b"white"]


def test_policy_judges_external_proposals() -> None:
    watcher = Party("watcher")
    red, _ = form("red", "blue", extensions=[watched_by(watcher)])
    assert isinstance(red.policy, Rules)
    red.policy.refuse_proposal = lambda sender, proposal: not isinstance(sender, MemberSender)
    refused(red, proposes(watcher, ReInit(b"next", 1, 1, ())), PolicyRejected)
    refused(red, propose_join(Party("green").offer(), b"room", 1), PolicyRejected)
    assert red.group.pending_proposals == ()


def test_public_handshakes_between_members() -> None:
    red, blue, green = form("red", "blue", "green")
    removal = red.group.propose(Remove(2), now=NOW, public=True)
    for one in (blue, green):
        one.sees(removal)
    refused(red, red.group.propose_update(now=NOW, public=True), OwnMessageError)
    pending = blue.group.commit(now=NOW, public=True)
    assert isinstance(decode_message(pending.message), PublicMessage)
    red.sees(pending.message)
    blue.group.merge(pending)
    assert_agree([red, blue])
    untagged = decode_message(pending.message)
    assert isinstance(untagged, PublicMessage)
    refused(green, encode_message(replace(untagged, membership_tag=b"")), "message-membership-tag")


class NoWatchers(Rules):
    """Takes no proposals from outside."""

    def check_external_sender(self, sender: ExternalSender) -> None:
        raise PolicyRejected("watcher")


def test_policy_judges_external_senders() -> None:
    watched = watched_by(Party("watcher"))
    with pytest.raises(PolicyRejected, match="watcher"):
        Party("red", NoWatchers()).create(extensions=[watched])
    red, blue = form("red", "blue")
    wary = Party("wary", NoWatchers())
    red.adds(wary, to=[blue])
    change = GroupContextExtensions((watched,))
    before = wary.group.state()
    for message in (red.group.propose(change, now=NOW), red.group.commit([change], now=NOW).message):
        with pytest.raises(PolicyRejected, match="watcher"):
            wary.sees(message)
    goes_on = blue.group.propose(ReInit(b"next", 1, SUITE.id, (watched,)), now=NOW)
    with pytest.raises(PolicyRejected, match="watcher"):
        wary.sees(goes_on)
    assert wary.group.state() == before
    info = form("green", extensions=[watched])[0].group.group_info()
    with pytest.raises(PolicyRejected, match="watcher"):
        wary.enters(info)


def test_policy_is_asked_only_after_the_joiners_leaf_is_verified() -> None:
    red, _, _ = form("red", "blue", "green")
    seen: list[LeafNode] = []
    assert isinstance(red.policy, Rules)

    def see(leaf: LeafNode) -> bool:
        seen.append(leaf)
        return False

    red.policy.refuse_joiner = see
    joiner = Party("white")
    commit = joiner.enters(red.group.group_info(), removes=2)
    message = decode_message(commit)
    assert isinstance(message, PublicMessage)
    assert isinstance(message.content.body, Commit)
    assert message.content.body.path is not None
    path = message.content.body.path
    unproved = replace(path, leaf_node=replace(path.leaf_node, signature=bytes(64)))
    refused(red, forged_entry(red.group, joiner, commit, path=unproved), "leaf-signature")
    assert seen == []
    red.sees(commit)
    assert [leaf.credential.identity for leaf in seen] == [b"white"]


def test_public_message_is_own_only_if_the_signature_is_own() -> None:
    red, blue = form("red", "blue")
    posing = public(blue, ProposalContent(Remove(1)), sender=MemberSender(0))
    refused(red, encode_message(posing), "message-signature")
    with pytest.raises(OwnMessageError):
        red.sees(encode_message(public(red, ProposalContent(Remove(1)))))


@pytest.mark.parametrize("public", [False, True])
def test_proposal_counts_once(public: bool) -> None:
    red, blue = form("red", "blue")
    change = GroupContextExtensions(())
    proposal = red.group.propose(change, now=NOW, public=public)
    blue.sees(proposal)
    refused(blue, proposal, ReplayError)
    before = red.group.state()
    with pytest.raises(LocalError):
        red.group.propose(change, now=NOW, public=public)
    assert red.group.state() == before
    ((reference, _, _),) = red.group.pending_proposals
    red.group.withdraw(reference)
    assert (red.group.propose(change, now=NOW, public=public) == proposal) is public
