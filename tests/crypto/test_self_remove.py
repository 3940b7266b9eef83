"""Members leave by a SelfRemove (draft-ietf-mls-extensions), also if the next commit is an external join."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clave_crypto.mls import (
    Add,
    CommitPreview,
    Committed,
    GroupClosedError,
    LocalError,
    MalformedError,
    Remove,
    SelfRemove,
    WrongEpochError,
    WrongGroupError,
    encode_message,
)
from clave_crypto.mls.framing import ProposalContent
from clave_crypto.mls.proposals import ProposalByReference
from clave_crypto.mls.senders import MemberSender
from forgekit import forged, forged_commit, public, signed, with_capabilities
from groupkit import NOW, Party, assert_agree, form
from rulekit import breaks, proves, refused


def leaves(party: Party, *to: Party) -> bytes:
    message = party.group.propose(SelfRemove(), now=NOW, public=True)
    for other in to:
        other.sees(message)
    return message


def test_the_next_commit_of_a_member_removes_who_left() -> None:
    red, blue, green = form("red", "blue", "green")
    leaves(green, red, blue)
    pending = red.group.commit(now=NOW, path=False)
    assert pending.path, "a SelfRemove needs a path"
    preview = green.group.preview(pending.message)
    assert isinstance(preview, CommitPreview)
    assert [member.identity for member in preview.removed] == [b"green"]
    for other in (blue, green):
        committed = other.sees(pending.message)
        assert isinstance(committed, Committed)
        assert [member.identity for member in committed.removed] == [b"green"]
        assert committed.removed_self is (other is green)
    red.group.merge(pending)
    assert_agree([red, blue])
    with pytest.raises(GroupClosedError):
        green.group.encrypt(b"still here")


def test_an_external_join_removes_who_left() -> None:
    red, blue, green, white = form("red", "blue", "green", "white")
    messages = [leaves(green, red, blue, white), leaves(white, red, blue, green)]
    joiner = Party("grey")
    joiner.enters(red.group.group_info(), self_removes=messages, to=[red, blue, green])
    assert_agree([red, blue, joiner])
    assert [member.identity for member in red.group.members()] == [b"red", b"blue", b"grey"]
    assert green.group.closed


def test_who_returns_removes_its_old_leaf_and_who_left() -> None:
    red, blue, green = form("red", "blue", "green")
    message = leaves(green, red)
    again = Party("blue")
    again.enters(red.group.group_info(), removes=1, self_removes=[message], to=[red])
    assert_agree([red, again])
    assert [member.identity for member in red.group.members()] == [b"red", b"blue"]
    assert blue


def test_a_member_that_leaves_twice_keeps_nobody_from_joining() -> None:
    red, blue, green = form("red", "blue", "green")
    twice = [
        encode_message(public(green, ProposalContent(SelfRemove()), authenticated_data=data))
        for data in (b"one", b"two")
    ]
    for message in twice:
        red.sees(message)
    Party("grey").enters(red.group.group_info(), self_removes=twice, to=[red])
    assert [member.identity for member in red.group.members()] == [b"red", b"blue", b"grey"]
    assert blue


def test_who_returns_may_have_wanted_to_leave() -> None:
    red, blue = form("red", "blue")
    message = leaves(blue, red)
    again = Party("blue")
    again.enters(red.group.group_info(), removes=1, self_removes=[message], to=[red])
    assert_agree([red, again])


def test_a_remove_of_who_leaves_is_left_out() -> None:
    red, blue, green = form("red", "blue", "green")
    removal = blue.group.propose(Remove(2), now=NOW)
    leaving = leaves(green)
    for message in (removal, leaving):
        red.sees(message)
    blue.sees(leaving)
    pending = red.group.commit(now=NOW)
    assert [member.identity for member in blue.sees(pending.message).removed] == [b"green"]


def test_who_leaves_says_so_once_and_unencrypted() -> None:
    red, _ = form("red", "blue")
    with pytest.raises(LocalError, match="pass public=True"):
        red.group.propose(SelfRemove(), now=NOW)
    leaves(red)
    with pytest.raises(LocalError, match="pending already"):
        leaves(red)


@proves("commit-committer-stays")
def test_nobody_commits_to_leave() -> None:
    red, blue = form("red", "blue")
    message = leaves(red, blue)
    ((reference, _, _),) = blue.group.pending_proposals
    covered = [ProposalByReference(reference)]
    assert red.group.commit(now=NOW), "the own SelfRemove is left out"
    refused(blue, forged_commit(red, covered), "commit-committer-stays")
    assert message


@proves("self-remove-by-reference")
def test_a_self_remove_by_value() -> None:
    red, blue = form("red", "blue")
    with breaks("self-remove-by-reference", red):
        red.group.commit([SelfRemove()], now=NOW)
    refused(blue, forged_commit(red, [SelfRemove()]), "self-remove-by-reference")


@proves("self-remove-public")
def test_an_encrypted_self_remove() -> None:
    red, blue = form("red", "blue")
    refused(blue, forged(red, ProposalContent(SelfRemove())), "self-remove-public")


def test_a_joiner_takes_no_self_remove_of_a_former_epoch() -> None:
    red, blue, green = form("red", "blue", "green")
    message = leaves(green, red, blue)
    red.commits(to=[blue])
    with pytest.raises(WrongEpochError):
        Party("grey").enters(red.group.group_info(), self_removes=[message])


def test_a_joiner_takes_nothing_but_the_groups_self_removes() -> None:
    red, _ = form("red", "blue")
    (alone,) = form("alone")
    alone.create(b"another")
    for message, error in (
        (red.group.encrypt(b"hello"), MalformedError),
        (red.group.propose(Remove(1), now=NOW, public=True), MalformedError),
        (leaves(alone), WrongGroupError),
    ):
        with pytest.raises(error):
            Party("green").enters(red.group.group_info(), self_removes=[message])


@proves("message-signature")
def test_a_joiner_checks_who_signed_a_self_remove() -> None:
    red, blue = form("red", "blue")
    message = public(blue, ProposalContent(SelfRemove()))
    for signer in (blue, red):
        signed_by = public(signer, ProposalContent(SelfRemove()), sender=MemberSender(1))
        joining = Party("green")
        if signer is blue:
            joining.enters(red.group.group_info(), self_removes=[encode_message(signed_by)])
            assert [member.identity for member in joining.group.members()] == [b"red", b"green"]
        else:
            with breaks("message-signature"):
                joining.enters(red.group.group_info(), self_removes=[encode_message(signed_by)])
    assert message.content == signed_by.content


@proves("self-remove-sender")
def test_a_self_remove_of_nobody() -> None:
    red, blue = form("red", "blue")
    nobody = public(blue, ProposalContent(SelfRemove()), sender=MemberSender(5))
    with breaks("self-remove-sender"):
        Party("green").enters(red.group.group_info(), self_removes=[encode_message(nobody)])


@proves("commit-proposals-supported")
def test_a_self_remove_that_a_member_does_not_support() -> None:
    red, blue = form("red", "blue")
    old = Party("old")
    unaware = replace(
        old.offer().key_package,
        leaf_node=with_capabilities(old, proposals=()),
    )
    red.commits([Add(signed(old, unaware))], to=[blue])
    with breaks("commit-proposals-supported", blue):
        leaves(blue)
    refused(red, encode_message(public(blue, ProposalContent(SelfRemove()))), "commit-proposals-supported")
    red.commits([Remove(2)], to=[blue])
    leaves(blue, red)


def test_a_group_with_a_pending_self_remove_is_restored() -> None:
    red, blue, green = form("red", "blue", "green")
    leaves(green, red, blue)
    red.restart()
    blue.sees(red.commits().message)
    assert_agree([red, blue])
