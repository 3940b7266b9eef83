"""Commits: made, merged, discarded, and checked by the application's policy."""

from __future__ import annotations

from typing import Any

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    ExternalPsk,
    Group,
    PendingCommit,
    PolicyRejected,
    PreSharedKey,
    PreSharedKeyID,
    Remove,
    ReplayError,
    ResumptionPsk,
    ResumptionUsage,
    StalePendingError,
    UnsupportedError,
    ValidationError,
    WrongEpochError,
)
from clave_crypto.mls.framing import decode_message
from clave_crypto.mls.protection import open_sender_data
from groupkit import NOW, Party, Rules, assert_agree, form
from rulekit import refused


def generation_of(group: Group, message: Any) -> int:
    return open_sender_data(group.suite, group._epoch.secrets.sender_data_secret, message).generation


def test_first_commit_wins_and_the_other_is_discarded() -> None:
    red, blue, green = form("red", "blue", "green")
    reds, blues = red.group.commit(now=NOW), blue.group.commit(now=NOW)
    green.sees(reds.message)
    blue.sees(reds.message)
    red.group.merge(reds)
    refused(green, blues.message, WrongEpochError)
    with pytest.raises(StalePendingError):
        blue.group.merge(blues)
    blue.group.discard(blues)
    assert_agree([red, blue, green])


def test_commit_changes_nothing_but_the_ratchet() -> None:
    red, blue = form("red", "blue")
    before = red.group.state()
    red.group.commit([Remove(1)], now=NOW)
    after = red.group.state()
    assert after.epoch == before.epoch
    assert after.ratchets != before.ratchets
    assert blue.hears(red.group.encrypt(b"still here")) == b"still here"


def test_no_commit_uses_a_key_twice() -> None:
    red, blue = form("red", "blue")
    used = set()
    for _ in range(3):
        pending = red.group.commit(now=NOW)
        used.add(generation_of(blue.group, decode_message(pending.message)))
        red.group.discard(pending)
        red.restart()
    assert used == {0, 1, 2}


def test_pending_commit_survives_a_restart() -> None:
    red, blue = form("red", "blue")
    pending = red.group.commit(now=NOW)
    stored = pending.encode()
    red.restart()
    blue.sees(pending.message)
    red.group.merge(PendingCommit.decode(stored, policy=red.policy))
    assert_agree([red, blue])


def test_pending_commit_of_another_group_is_not_merged() -> None:
    (red,), (blue,) = form("red"), form("blue")
    pending = red.group.commit(now=NOW)
    with pytest.raises(StalePendingError):
        blue.group.merge(pending)
    red.group.merge(pending)


def test_policy_checks_a_stored_pending_commit_again() -> None:
    red, green = *form("red"), Party("green")
    stored = red.group.commit([Add(green.offer().key_package)], now=NOW).encode()
    rules = Rules()
    rules.refuse_leaf = lambda leaf: leaf.credential.identity == b"green"
    with pytest.raises(PolicyRejected):
        PendingCommit.decode(stored, policy=rules)


def test_a_pending_commit_is_used_once() -> None:
    (red,) = form("red")
    pending = red.group.commit(now=NOW)
    red.group.discard(pending)
    with pytest.raises(StalePendingError):
        red.group.merge(pending)
    with pytest.raises(StalePendingError):
        pending.encode()
    assert "epoch 0" in repr(pending)
    with pytest.raises(StalePendingError):
        red.group.discard(pending)


def test_messages_between_commit_and_merge_still_open() -> None:
    red, blue = form("red", "blue")
    pending = red.group.commit(now=NOW)
    first, late = blue.group.encrypt(b"first"), blue.group.encrypt(b"late")
    assert red.hears(first) == b"first"
    red.group.merge(pending)
    assert red.hears(late) == b"late"
    refused(red, first, ReplayError)


def test_concurrent_proposals_are_committed_together() -> None:
    red, blue, green, grey = parties = form("red", "blue", "green", "grey")
    white = Party("white")
    proposals = [
        blue.group.propose_update(now=NOW),
        green.group.propose(Add(white.offer().key_package), now=NOW),
        grey.group.propose(Remove(1), now=NOW),
    ]
    senders = [blue, green, grey]
    for sender, proposal in zip(senders, proposals, strict=True):
        for party in parties:
            if party is not sender:
                party.sees(proposal)
    pending = red.commits(to=[blue, green, grey])
    white.join(pending.welcome)
    assert blue.group.closed
    assert_agree([red, green, grey, white])


def test_commit_refers_only_to_what_was_seen() -> None:
    red, blue, green = form("red", "blue", "green")
    red.sees(blue.group.propose_update(now=NOW))
    pending = red.group.commit(now=NOW)
    assert refused(green, pending.message, ValidationError).rule == "proposal-known"


def test_proposal_against_the_policy_is_never_pending() -> None:
    red, blue, green = form("red", "blue", "green")
    for party in (red, green):
        assert isinstance(party.policy, Rules)
        party.policy.refuse_proposal = lambda sender, proposal: isinstance(proposal, Remove)
    proposal = blue.group.propose(Remove(2), now=NOW)
    for party in (red, green):
        refused(party, proposal, PolicyRejected)
    assert green.hears(red.group.encrypt(b"on we go")) == b"on we go"
    with pytest.raises(PolicyRejected):
        red.group.propose(Remove(2), now=NOW)
    red.commits(to=[blue, green])
    assert_agree([red, blue, green])


def test_pending_proposal_that_the_policy_refuses_beside_others_is_left_out() -> None:
    red, blue, green = form("red", "blue", "green")
    red.sees(blue.group.propose(Remove(2), now=NOW))
    assert isinstance(red.policy, Rules)
    red.policy.refuse_proposal = lambda sender, proposal: isinstance(proposal, Remove)
    red.commits(to=[blue, green])
    assert len(red.group.members()) == 3
    assert_agree([red, blue, green])


def test_bad_proposal_is_not_sent() -> None:
    red, _ = form("red", "blue")
    before = red.group.state()
    with pytest.raises(ValidationError, match="remove-member"):
        red.group.propose(Remove(5), now=NOW)
    assert red.group.state() == before


def test_policy_gets_the_prior_epoch_at_sender_and_receiver() -> None:
    red, blue = form("red", "blue")
    assert isinstance(red.policy, Rules)
    assert isinstance(blue.policy, Rules)
    red.policy.epochs_judged, blue.policy.epochs_judged = [], []
    pending = red.group.commit(now=NOW)
    assert red.policy.epochs_judged == [1]
    blue.policy.refuse_proposal = lambda sender, proposal: True
    blue.sees(pending.message)
    assert blue.policy.epochs_judged == [1]


def test_policy_can_refuse_a_leaf_in_every_place() -> None:
    def is_green(leaf: Any) -> bool:
        return bool(leaf.credential.identity == b"green")

    red, blue, green = *form("red", "blue"), Party("green")
    for party in (red, blue):
        assert isinstance(party.policy, Rules)
    assert isinstance(blue.policy, Rules)
    blue.policy.refuse_leaf = is_green
    offered = green.offer().key_package
    with pytest.raises(PolicyRejected):
        offered.verify(policy=blue.policy, now=NOW)
    refused(blue, red.group.propose(Add(offered), now=NOW), PolicyRejected)
    refused(blue, red.group.commit(now=NOW).message, ValidationError)
    picky = Party("white", blue.policy)
    red.restart()
    pending = red.group.commit([Add(picky.offer().key_package)], now=NOW)
    with pytest.raises(PolicyRejected):
        picky.join(pending.welcome)


def test_policy_refuses_a_successor() -> None:
    red, blue = form("red", "blue")
    assert isinstance(blue.policy, Rules)
    blue.policy.refuse_successor = lambda old, new: old.credential == new.credential
    refused(blue, red.group.propose_update(now=NOW), PolicyRejected)
    refused(blue, red.group.commit(now=NOW).message, PolicyRejected)


def test_key_package_out_of_its_lifetime_is_not_added() -> None:
    (red,) = form("red")
    for options in ({"not_after": NOW - 1}, {"not_before": NOW + 1}):
        with pytest.raises(ValidationError, match="leaf-lifetime"):
            red.group.commit([Add(Party("blue").offer(**options).key_package)], now=NOW)


def test_add_that_expired_on_the_way_is_followed() -> None:
    red, blue = form("red", "blue")
    pending = red.group.commit([Add(Party("green").offer(not_after=NOW + 10).key_package)], now=NOW)
    blue.group.receive(pending.message)
    red.group.merge(pending)
    assert_agree([red, blue])


def test_pre_shared_keys_must_be_known_to_all() -> None:
    red, blue = form("red", "blue")
    psk_id = PreSharedKeyID(ExternalPsk(b"link"), bytes(32))
    proposal = PreSharedKey(psk_id)

    def find_psk(_: PreSharedKeyID) -> Secret:
        return Secret(b"shared")

    with pytest.raises(UnsupportedError):
        red.group.commit([proposal], now=NOW)
    pending = red.group.commit([proposal], now=NOW, find_psk=find_psk)
    refused(blue, pending.message, UnsupportedError)
    blue.group.receive(pending.message, find_psk=find_psk)
    red.group.merge(pending)
    resumption = ResumptionPsk(ResumptionUsage.APPLICATION, b"room", 1)
    red.commits([PreSharedKey(PreSharedKeyID(resumption, bytes(32)))], to=[blue])
    assert_agree([red, blue])
