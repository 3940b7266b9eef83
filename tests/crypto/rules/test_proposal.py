"""Proposals that must not be made, and commits that must not cover them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Extension,
    ExternalPsk,
    GroupContextExtensions,
    MemberSender,
    NewMemberProposalSender,
    PolicyRejected,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    ReInit,
    Remove,
    ResumptionPsk,
    ResumptionUsage,
    Update,
)
from clave_crypto.mls.applying import combine_psks
from clave_crypto.mls.leaf_node import UpdateSource, sign_leaf_node
from clave_crypto.mls.proposals import ExternalInit, ProposalByReference
from clave_crypto.mls.rules import proposal as proposal_rules
from forgekit import forged_commit, forged_proposal, key_pair, old_key
from groupkit import NOW, SUITE, Party, Rules, form
from rulekit import breaks, proves, refused


def resumption(usage: ResumptionUsage) -> PreSharedKey:
    return PreSharedKey(PreSharedKeyID(ResumptionPsk(usage, b"room", 0), bytes(32)))


BAD_PROPOSALS: list[tuple[str, Proposal]] = [
    ("remove-member", Remove(5)),
    ("remove-member", Remove(2**32 - 1)),
    ("psk-nonce", PreSharedKey(PreSharedKeyID(ExternalPsk(b""), b"short"))),
    ("psk-nonce", PreSharedKey(PreSharedKeyID(ExternalPsk(b""), bytes(33)))),
    ("psk-usage", resumption(ResumptionUsage.REINIT)),
    ("psk-usage", resumption(ResumptionUsage.BRANCH)),
    ("reinit-version", ReInit(b"next", 0, 1, ())),
    ("extensions-unique", ReInit(b"next", 1, 1, (Extension(9, b""), Extension(9, b"")))),
    ("external-init-sender", ExternalInit(b"")),
]


@proves(*(rule_id for rule_id, _ in BAD_PROPOSALS))
@pytest.mark.parametrize(("rule_id", "proposal"), BAD_PROPOSALS)
def test_bad_proposal(rule_id: str, proposal: Proposal) -> None:
    red, blue, green = form("red", "blue", "green")
    refused(blue, forged_proposal(red, proposal), rule_id)
    refused(green, forged_commit(red, [proposal]), rule_id)
    with breaks(rule_id, red):
        red.group.propose(proposal, now=NOW)
    with breaks(rule_id, red):
        red.group.commit([proposal], now=NOW)


def update(party: Party, *, leaf_index: int = 0, encryption_key: bytes | None = None) -> Update:
    """Return an Update of the party's leaf, signed for some place."""
    template = party.group.member(party.group.own_leaf).leaf
    leaf = sign_leaf_node(
        SUITE,
        party.signature_secret,
        template,
        encryption_key=encryption_key or key_pair(),
        source=UpdateSource(),
        group_id=b"room",
        leaf_index=leaf_index,
    )
    return Update(leaf)


@proves("encryption-key-fresh")
def test_update_that_changes_no_key() -> None:
    red, blue = form("red", "blue")
    stale = update(red, encryption_key=old_key(red))
    refused(blue, forged_proposal(red, stale), "encryption-key-fresh")


@proves("leaf-signature")
def test_update_signed_for_another_place() -> None:
    red, blue = form("red", "blue")
    refused(blue, forged_proposal(red, update(red, leaf_index=1)), "leaf-signature")


@proves("leaf-source")
def test_update_from_a_key_package() -> None:
    red, blue = form("red", "blue")
    refused(blue, forged_proposal(red, Update(red.offer().key_package.leaf_node)), "leaf-source")


@proves("update-sender")
def test_update_of_somebody_who_is_no_member() -> None:
    """An earlier check covers what such senders may send; this is a second line of defence."""
    (red,) = form("red")
    for sender in (MemberSender(5), NewMemberProposalSender()):
        with breaks("update-sender"):
            proposal_rules.check_update_sender(red.group._epoch.tree, sender)


def packages() -> list[Any]:
    package = Party("white").offer().key_package
    return [Add(package), Add(package)]


SHARED = PreSharedKey(PreSharedKeyID(ExternalPsk(b""), bytes(32)))
REINIT = ReInit(b"next", 1, 1, ())

BAD_LISTS: list[tuple[str, Callable[[], list[Any]]]] = [
    ("proposal-known", lambda: [ProposalByReference(bytes(32))]),
    ("commit-committer-stays", lambda: [Remove(0)]),
    ("commit-one-change-per-leaf", lambda: [Remove(2), Remove(2)]),
    ("commit-adds-unique", packages),
    ("commit-psks-unique", lambda: [SHARED, SHARED]),
    ("commit-one-group-context-extensions", lambda: [GroupContextExtensions(())] * 2),
    ("commit-reinit-alone", lambda: [REINIT, Remove(2)]),
    ("commit-reinit-alone", lambda: [REINIT, REINIT]),
]


@proves("psks-countable")
def test_more_shared_keys_than_can_be_counted() -> None:
    proposal_rules.check_psks_countable([SHARED.psk] * 0xFFFF)
    with breaks("psks-countable"):
        combine_psks(SUITE, [SHARED.psk] * 0x10000, lambda _: Secret(b"key"))


@proves("epoch-countable")
def test_commit_at_the_maximum_epoch_number() -> None:
    red, blue = form("red", "blue")
    for one in (red, blue):
        one.group._epoch = replace(
            one.group._epoch, context=replace(one.group._epoch.context, epoch=2**64 - 1)
        )
    with breaks("epoch-countable"):
        red.group.commit(now=NOW)
    assert blue.hears(red.group.encrypt(b"the end")) == b"the end"


@proves(*(rule_id for rule_id, _ in BAD_LISTS))
@pytest.mark.parametrize(("rule_id", "proposals"), BAD_LISTS)
def test_bad_list_of_proposals(rule_id: str, proposals: Callable[[], list[Any]]) -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, forged_commit(red, proposals()), rule_id)


@proves("commit-no-own-update")
def test_commit_of_the_committers_own_update() -> None:
    red, blue = form("red", "blue")
    blue.sees(red.group.propose_update(now=NOW))
    ((reference, _, _),) = blue.group.pending_proposals
    refused(blue, forged_commit(red, [ProposalByReference(reference)]), "commit-no-own-update")
    inline = [update(red)]
    refused(blue, forged_commit(red, inline), "commit-no-own-update")


@proves("commit-one-change-per-leaf")
def test_update_and_remove_of_one_member() -> None:
    red, blue, green = form("red", "blue", "green")
    blue.sees(green.group.propose_update(now=NOW))
    ((reference, _, _),) = blue.group.pending_proposals
    both = [ProposalByReference(reference), Remove(2)]
    refused(blue, forged_commit(red, both), "commit-one-change-per-leaf")


@proves("commit-no-external-init")
def test_list_with_an_external_init() -> None:
    """Such a proposal is refused by itself; this is a second line of defence."""
    with breaks("commit-no-external-init"):
        proposal_rules.check_proposal_list(MemberSender(0), [(MemberSender(1), ExternalInit(b""))])


@proves("commit-path-present")
@pytest.mark.parametrize("proposals", [[], [Remove(2)], [GroupContextExtensions(())]])
def test_commit_without_a_required_path(proposals: list[Proposal]) -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, forged_commit(red, proposals, path=None), "commit-path-present")


@proves("commit-path-present")
def test_commit_of_an_update_needs_a_path() -> None:
    red, blue, green = form("red", "blue", "green")
    blue.sees(green.group.propose_update(now=NOW))
    ((reference, _, _),) = blue.group.pending_proposals
    refused(blue, forged_commit(red, [ProposalByReference(reference)], path=None), "commit-path-present")


@proves("confirmation-tag")
def test_commit_without_a_path_is_followed() -> None:
    """An Add, a PreSharedKey or a ReInit needs none: such a commit fails for its empty tag only."""
    red, blue = form("red", "blue")
    for proposal in (Add(Party("green").offer().key_package), REINIT):
        refused(blue, forged_commit(red, [proposal], path=None), "confirmation-tag")


def test_policy_judges_an_update_and_a_creator() -> None:
    red, blue = form("red", "blue")
    assert isinstance(blue.policy, Rules)
    blue.policy.refuse_leaf = lambda leaf: isinstance(leaf.source, UpdateSource)
    refused(blue, red.group.propose_update(now=NOW), PolicyRejected)
    blue.policy.refuse_leaf = lambda leaf: True
    with pytest.raises(PolicyRejected):
        blue.create()
