"""Previews of commits: the effect, the fate at this member, and errors that every member can check."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    CommitFate,
    CommitPreview,
    Committed,
    DecryptionError,
    ExternalPsk,
    GroupClosedError,
    GroupContextExtensions,
    MalformedError,
    MLSError,
    OwnMessageError,
    PendingCommit,
    PolicyRejected,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    ReInit,
    Remove,
    UnsupportedError,
    ValidationError,
    WrongEpochError,
    WrongGroupError,
    committing,
    encode_message,
    treekem,
)
from clave_crypto.mls.committing import make_commit
from clave_crypto.mls.framing import PublicMessage, decode_message
from clave_crypto.mls.proposals import Commit, ContentType, ExternalInit, ProposalByValue
from clave_crypto.mls.rules.registry import RULES
from clave_crypto.mls.senders import MemberSender
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.update_path import HPKECiphertext, UpdatePath
from forgekit import forged_commit, forged_entry, good_path, key_pair
from groupkit import NOW, SUITE, Party, Rules, assert_agree, form
from rulekit import refused


def previewed(party: Party, message: bytes, **options: Any) -> CommitPreview:
    """Preview twice, which changes no byte of the state."""
    before = party.group.state()
    preview = party.group.preview(message, **options)
    assert party.group.preview(message, **options) == preview
    assert party.group.state() == before
    return preview


def not_previewed(party: Party, message: bytes, expected: type[MLSError]) -> Any:
    """Check that `preview` raises what `receive` does, and that neither changes the state."""
    error = refused(party, message, expected)
    before = party.group.state()
    with pytest.raises(expected) as caught:
        party.group.preview(message)
    assert party.group.state() == before
    assert str(caught.value) == str(error)
    return caught.value


def commit_with(
    monkeypatch: pytest.MonkeyPatch, sender: Party, change: Callable[[UpdatePath], UpdatePath], **options: Any
) -> PendingCommit:
    """Return a commit whose path is changed after it was encrypted; signature and tag fit it."""
    encrypt = treekem.encrypt_path
    with monkeypatch.context() as patch:
        patch.setattr(committing, "encrypt_path", lambda *arguments: change(encrypt(*arguments)))
        return sender.group.commit(now=NOW, **options)


def resealed(node: int, position: int, *sealed: bytes) -> Callable[[UpdatePath], UpdatePath]:
    """Return what replaces one ciphertext of a path."""

    def change(path: UpdatePath) -> UpdatePath:
        ciphertexts = list(path.nodes[node].encrypted_path_secret)
        ciphertexts[position] = HPKECiphertext(*sealed)
        nodes = list(path.nodes)
        nodes[node] = replace(nodes[node], encrypted_path_secret=tuple(ciphertexts))
        return UpdatePath(path.leaf_node, tuple(nodes))

    return change


def wrongly_tagged(sender: Party, proposals: Sequence[Proposal], *, path: bool = True) -> bytes:
    """Return a commit that is valid except for its confirmation tag."""
    group = sender.group
    own = MemberSender(group.own_leaf)
    applied = group._apply(own, [(own, proposal) for proposal in proposals])
    return make_commit(
        group._epoch,
        own,
        applied,
        [ProposalByValue(proposal) for proposal in proposals],
        template=group.member(group.own_leaf).leaf if path else None,
        init_secret=Secret(bytes(SUITE.hash_size)),
        found=group._secret_tree.find_next(group.own_leaf, ContentType.COMMIT),
        authenticated_data=b"",
        find_psk=lambda _: None,
        limits=group._limits,
        random=os.urandom,
    ).message


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("path", [False, True])
def test_preview_of_a_commit_that_can_be_followed(public: bool, path: bool) -> None:
    red, blue, green = form("red", "blue", "green")
    white = Party("white")
    pending = red.group.commit(
        [Add(white.offer().key_package)], now=NOW, path=path, public=public, authenticated_data=b"bound"
    )
    assert pending.path is path
    for party in (blue, green):
        preview = previewed(party, pending.message)
        assert preview.fate is CommitFate.OPENS
        assert (preview.committer, preview.external, preview.path) == (0, False, path)
        assert preview.added == pending.added
        assert preview.authenticated_data == b"bound"
        assert (preview.removed, preview.updated, preview.extensions_changed) == ((), (), False)
        received = party.sees(pending.message)
        assert received.path is path
        for field in ("committer", "external", "path", "added", "removed", "updated", "authenticated_data"):
            assert getattr(preview, field) == getattr(received, field)
    assert red.group.merge(pending).path is path
    white.join(pending.welcome)
    assert_agree([red, blue, green, white])


def test_commit_of_pending_proposals() -> None:
    red, blue, green, white = form("red", "blue", "green", "white")
    update = blue.group.propose_update(now=NOW)
    for party in (red, green, white):
        party.sees(update)
    pending = red.group.commit([Remove(3), GroupContextExtensions(())], now=NOW)
    for party in (blue, green):
        preview = previewed(party, pending.message)
        assert preview.fate is CommitFate.OPENS
        assert [member.identity for member in preview.removed] == [b"white"]
        assert [member.identity for member in preview.updated] == [b"blue"]
        assert preview.updated[0].leaf != red.group.member(1).leaf
        assert not preview.extensions_changed
        assert preview.updated == party.sees(pending.message).updated
    removed = previewed(white, pending.message)
    assert removed.fate is CommitFate.REMOVES
    assert removed.updated == preview.updated


def test_commit_that_ends_the_group() -> None:
    red, blue = form("red", "blue")
    end = ReInit(b"next", 1, SUITE.id, ())
    message = red.group.commit([end], now=NOW).message
    assert previewed(blue, message).reinit == end
    blue.sees(message)
    with pytest.raises(GroupClosedError):
        blue.group.preview(message)


GARBAGE = [(key_pair(), bytes(48)), (b"", b""), (bytes(32), bytes(48)), (bytes([9]) * 31, b"x")]


@pytest.mark.parametrize("sealed", GARBAGE)
def test_path_secret_that_is_garbage_for_one_member(
    monkeypatch: pytest.MonkeyPatch, sealed: tuple[bytes, bytes]
) -> None:
    red, blue, green, white = form("red", "blue", "green", "white")
    pending = commit_with(monkeypatch, red, resealed(0, 0, *sealed))
    shut_out = previewed(blue, pending.message)
    assert shut_out.fate is CommitFate.SEALED
    for party in (green, white):
        preview = previewed(party, pending.message)
        assert preview == replace(shut_out, fate=CommitFate.OPENS)
        party.sees(pending.message)
    red.group.merge(pending)
    assert_agree([red, green, white])
    refused(blue, pending.message, DecryptionError)


@pytest.mark.parametrize("size", [0, 1, 32, 500])
def test_path_secret_that_gives_one_member_other_keys(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    red, blue, green, white = form("red", "blue", "green", "white")
    secrets: list[tuple[bytes, bytes]] = []
    encrypt = treekem.encrypt_path

    def encrypt_another(
        tree: Any, path: Any, context: bytes, added: frozenset[int], spread: Spread
    ) -> UpdatePath:
        key = blue.group.member(1).leaf.encryption_key
        secrets.append(SUITE.encrypt_with_label(key, b"UpdatePathNode", context, os.urandom(size)))
        return resealed(0, 0, *secrets[0])(encrypt(tree, path, context, added, spread))

    with monkeypatch.context() as patch:
        patch.setattr(committing, "encrypt_path", encrypt_another)
        pending = red.group.commit(now=NOW)
    assert previewed(blue, pending.message).fate is CommitFate.SEALED
    assert [previewed(party, pending.message).fate for party in (green, white)] == [CommitFate.OPENS] * 2
    assert refused(blue, pending.message, ValidationError).rule == "path-keys-match"


@pytest.mark.parametrize("path", [False, True])
def test_wrong_tag_is_wrong_for_every_member_that_decrypts(path: bool) -> None:
    red, blue, green = form("red", "blue", "green")
    message = wrongly_tagged(red, [Add(Party("white").offer().key_package)], path=path)
    for party in (blue, green):
        assert previewed(party, message).fate is CommitFate.WRONG_TAG
        assert refused(party, message, ValidationError).rule == "confirmation-tag"


def test_removed_member_cannot_check_the_tag() -> None:
    red, blue, green = form("red", "blue", "green")
    wrong = wrongly_tagged(red, [Remove(2)])
    assert previewed(blue, wrong).fate is CommitFate.WRONG_TAG
    claimed = previewed(green, wrong)
    assert claimed.fate is CommitFate.REMOVES
    assert [member.identity for member in claimed.removed] == [b"green"]
    right = red.group.commit([Remove(2)], now=NOW).message
    assert previewed(blue, right).fate is CommitFate.OPENS
    assert previewed(green, right).fate is CommitFate.REMOVES
    committed = green.sees(wrong)
    assert isinstance(committed, Committed)
    assert committed.removed_self
    assert green.group.closed
    refused(blue, wrong, ValidationError)


def test_errors_that_everybody_can_check_are_raised() -> None:
    red, blue, _ = form("red", "blue", "green")
    good = good_path(red)
    short = forged_commit(red, [], path=replace(good, nodes=good.nodes[1:]))
    assert not_previewed(blue, short, ValidationError).rule == "path-length"
    assert not_previewed(blue, forged_commit(red, [Remove(9)]), ValidationError).rule == "remove-member"
    red.create(b"another")
    for public in (False, True):
        not_previewed(blue, red.group.commit(now=NOW, public=public).message, WrongGroupError)


def test_too_many_pre_shared_keys_are_refused_by_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    red, blue, green = form("red", "blue", "green")
    psk = PreSharedKey(PreSharedKeyID(ExternalPsk(b"link"), bytes(32)))
    pending = red.group.commit([psk, Remove(2)], now=NOW, find_psk=lambda _: Secret(b"x"))

    def refuse(*_: Any) -> None:
        raise ValidationError("psks-countable", "8.4", "too many")

    (rule_id,) = (one for one in RULES if "psk" in one and "count" in one)
    monkeypatch.setitem(RULES, rule_id, replace(RULES[rule_id], check=refuse))
    for party in (blue, green):
        not_previewed(party, pending.message, ValidationError)


def test_policy_is_asked() -> None:
    red, blue, _ = form("red", "blue", "green")
    assert isinstance(blue.policy, Rules)
    message = red.group.commit([Remove(2)], now=NOW).message
    blue.policy.refuse_successor = lambda old, new: True
    not_previewed(blue, message, PolicyRejected)
    blue.policy.refuse_successor = lambda old, new: False
    blue.policy.refuse_proposal = lambda sender, proposal: True
    not_previewed(blue, message, PolicyRejected)


@pytest.mark.parametrize("public", [False, True])
def test_preview_of_messages_that_are_not_commits(public: bool) -> None:
    red, blue, green = form("red", "blue", "green")
    proposal = blue.group.propose(Remove(2), now=NOW, public=public)
    commit = blue.group.commit(now=NOW, public=public).message
    no_commits = [proposal, red.group.encrypt(b"hi"), green.group.group_info(), b""]
    no_commits.append(encode_message(green.offer().key_package))
    before = red.group.state()
    for message in no_commits:
        with pytest.raises(MalformedError):
            red.group.preview(message)
    assert red.group.state() == before
    not_previewed(blue, commit, OwnMessageError)
    red.sees(proposal)
    assert previewed(red, commit).fate is CommitFate.OPENS
    red.sees(commit)
    not_previewed(red, commit, WrongEpochError)


def test_nothing_is_previewed_after_removal() -> None:
    red, blue, _ = form("red", "blue", "green")
    red.commits([Remove(1)], to=[blue])
    not_previewed(blue, red.group.commit(now=NOW).message, GroupClosedError)


def test_preview_needs_the_pre_shared_keys() -> None:
    red, blue = form("red", "blue")
    psk = PreSharedKey(PreSharedKeyID(ExternalPsk(b"link"), bytes(32)))
    message = red.group.commit([psk], now=NOW, find_psk=lambda _: Secret(b"shared")).message
    not_previewed(blue, message, UnsupportedError)
    assert previewed(blue, message, find_psk=lambda _: Secret(b"shared")).fate is CommitFate.OPENS
    assert previewed(blue, message, find_psk=lambda _: Secret(b"another")).fate is CommitFate.WRONG_TAG


def test_external_commit() -> None:
    red, blue = form("red", "blue")
    white = Party("white")
    commit = white.enters(red.group.group_info(), authenticated_data=b"bound")
    for party in (red, blue):
        preview = previewed(party, commit)
        assert (preview.fate, preview.external, preview.path) == (CommitFate.OPENS, True, True)
        assert preview.added == (white.group.member(2),)
        assert preview.authenticated_data == b"bound"
        received = party.sees(commit)
        assert (received.path, received.added, received.authenticated_data) == (True, preview.added, b"bound")


def test_external_commit_whose_init_does_not_open() -> None:
    red, blue = form("red", "blue")
    white = Party("white")
    commit = white.enters(red.group.group_info())
    message = decode_message(commit)
    assert isinstance(message, PublicMessage)
    assert isinstance(message.content.body, Commit)
    unfit = (ProposalByValue(ExternalInit(bytes(32))), *message.content.body.proposals[1:])
    forged = forged_entry(red.group, white, commit, proposals=unfit)
    for party in (red, blue):
        assert previewed(party, forged).fate is CommitFate.SEALED
        refused(party, forged, DecryptionError)


def test_rejoining_from_an_old_epoch() -> None:
    """A member that could not follow rejoins in place of its old leaf, by a GroupInfo sealed to that leaf."""
    red, blue, green = form("red", "blue", "green")
    red.commits(to=[blue])
    blue.commits(to=[red])
    assert green.group.epoch == red.group.epoch - 2
    old = green.group
    sealed = blue.group.seal_to_member(old.own_leaf, "clave GroupInfo", blue.group.group_info())
    info = old.open_from_member("clave GroupInfo", sealed)
    commit = green.enters(info, removes=old.own_leaf, other_groups={b"elsewhere"})

    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return False

    for party in (red, blue):
        assert isinstance(party.policy, Rules)
        party.policy.refuse_successor = lambda before, after: ask("successor")
        party.policy.refuse_joiner = lambda leaf: ask("external commit")
        preview = previewed(party, commit)
        assert asked[:2] == ["successor", "external commit"]
        assert (preview.fate, preview.external, preview.path) == (CommitFate.OPENS, True, True)
        assert [(one.leaf_index, one.identity) for one in preview.removed] == [(2, b"green")]
        assert [(one.leaf_index, one.identity) for one in preview.added] == [(2, b"green")]
        asked.clear()
        assert party.sees(commit).removed == preview.removed
        assert asked == ["successor", "external commit"]
        asked.clear()
    assert_agree([red, blue, green])
    for party in (red, blue):
        assert party.hears(green.group.encrypt(b"back again")) == b"back again"
    assert green.hears(red.group.encrypt(b"welcome back")) == b"welcome back"
    with pytest.raises(WrongEpochError):
        old.preview(commit)


@pytest.mark.parametrize("refusal", ["refuse_successor", "refuse_joiner"])
def test_policy_can_refuse_a_rejoining_member(refusal: str) -> None:
    red, blue, green = form("red", "blue", "green")
    commit = green.enters(red.group.group_info(), removes=2)
    assert isinstance(blue.policy, Rules)
    setattr(blue.policy, refusal, lambda *_: True)
    not_previewed(blue, commit, PolicyRejected)
    refused(blue, commit, PolicyRejected)


def test_replaced_member_sees_its_removal() -> None:
    red, _, green = form("red", "blue", "green")
    old = green.group
    commit = green.enters(red.group.group_info(), removes=2)
    assert old.preview(commit).fate is CommitFate.REMOVES
    assert not old.closed
