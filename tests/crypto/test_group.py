"""The life of a group: who can read what, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Application,
    CommitRequiredError,
    Committed,
    DecryptionError,
    Extension,
    ExternalPsk,
    Group,
    GroupClosedError,
    GroupContextExtensions,
    GroupState,
    KeyPackageBundle,
    LocalError,
    MalformedError,
    MLSError,
    OwnMessageError,
    PendingCommit,
    PolicyRejected,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    ProposalReceived,
    Remove,
    ReplayError,
    ResumptionPsk,
    ResumptionUsage,
    StalePendingError,
    StateError,
    TooFarAheadError,
    UnsupportedError,
    Update,
    ValidationError,
    WrongEpochError,
    WrongGroupError,
    decode_key_package,
    encode_message,
    peek,
)
from clave_crypto.mls.framing import decode_message
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.protection import open_sender_data
from clave_crypto.mls.welcome import Welcome
from groupkit import DAY, NOW, SUITE, Party, Rules, assert_agree, form


def refused(party: Party, message: bytes, error: type[MLSError]) -> Any:
    """Check that `message` raises and leaves the state byte-identical."""
    before = party.group.state()
    with pytest.raises(error) as caught:
        party.sees(message)
    assert party.group.state() == before
    return caught.value


def generation_of(group: Group, message: Any) -> int:
    return open_sender_data(group.suite, group._epoch.secrets.sender_data_secret, message).generation


class TestTalking:
    def test_everyone_reads_what_anyone_says(self) -> None:
        parties = form("red", "green", "blue")
        for speaker in parties:
            message = speaker.group.encrypt(b"hello", authenticated_data=b"seen")
            for listener in parties:
                if listener is not speaker:
                    received = listener.sees(message)
                    assert received == Application(
                        speaker.group.own_leaf,
                        listener.group.member(speaker.group.own_leaf).signature_key,
                        speaker.name.encode(),
                        speaker.group.epoch,
                        b"hello",
                        b"seen",
                    )

    def test_own_message_is_told_apart(self) -> None:
        red, blue = form("red", "blue")
        refused(red, red.group.encrypt(b"hello"), OwnMessageError)
        refused(red, red.group.propose(Remove(1), now=NOW), OwnMessageError)
        refused(blue, blue.group.commit(now=NOW).message, OwnMessageError)

    def test_replay_is_refused(self) -> None:
        red, blue = form("red", "blue")
        message = red.group.encrypt(b"hello")
        assert blue.hears(message) == b"hello"
        refused(blue, message, ReplayError)

    def test_messages_arrive_in_any_order(self) -> None:
        red, blue = form("red", "blue")
        messages = [red.group.encrypt(bytes([n])) for n in range(8)]
        for n in (3, 0, 7, 5, 1, 2, 6, 4):
            assert blue.hears(messages[n]) == bytes([n])
            blue.restart()
        for message in messages:
            refused(blue, message, ReplayError)

    def test_a_generation_too_far_ahead_is_refused(self) -> None:
        red, blue = form("red", "blue")
        for _ in range(1001):
            message = red.group.encrypt(b"")
        refused(blue, red.group.encrypt(b""), TooFarAheadError)
        assert blue.hears(message) == b""

    @pytest.mark.parametrize("length", [0, 1, 150, 300, 5000, 70_000])
    def test_length_is_hidden_in_buckets(self, length: int) -> None:
        red, blue = form("red", "blue")
        shorter, longer = red.group.encrypt(bytes(length)), red.group.encrypt(bytes(length + 1))
        assert len(shorter) >= 256
        assert blue.hears(shorter) == bytes(length)
        assert blue.hears(longer) == bytes(length + 1)

    def test_padding_grows_by_at_most_an_eighth(self) -> None:
        lengths = [pad_to_bucket(n) for n in range(1, 10_000)]
        assert lengths == sorted(lengths)
        assert len(set(lengths)) < 100
        assert all(n <= padded <= max(256, n * 1.13) for n, padded in enumerate(lengths, 1))

    def test_another_groups_message_is_refused(self) -> None:
        red, _ = form("red", "blue")
        other = Party("green")
        other.create(b"another room")
        refused(red, other.group.encrypt(b""), WrongGroupError)

    def test_other_message_kinds_are_refused(self) -> None:
        red, blue = form("red", "blue")
        refused(red, encode_message(blue.offer().key_package), MalformedError)
        refused(red, b"", MalformedError)

    def test_key_package_messages_are_told_apart(self) -> None:
        red, _ = form("red", "blue")
        with pytest.raises(MalformedError):
            decode_key_package(red.group.encrypt(b""))

    def test_nobody_is_at_an_empty_leaf(self) -> None:
        (red,) = form("red")
        with pytest.raises(LocalError):
            red.group.member(1)

    def test_peek_tells_group_epoch_and_type(self) -> None:
        red, blue = form("red", "blue")
        assert peek(red.group.encrypt(b"")) == (b"room", 1, 1)
        assert peek(red.group.propose(Remove(1), now=NOW)) == (b"room", 1, 2)
        assert peek(blue.group.commit(now=NOW).message) == (b"room", 1, 3)
        with pytest.raises(MalformedError):
            peek(encode_message(blue.offer().key_package))


class TestMembership:
    def test_newcomer_agrees_and_cannot_read_what_came_before(self) -> None:
        red, blue, green = *form("red", "blue"), Party("green")
        before = red.group.encrypt(b"before")
        red.adds(green, to=[blue])
        assert_agree([red, blue, green])
        refused(green, before, WrongEpochError)
        assert green.hears(red.group.encrypt(b"after")) == b"after"

    def test_committed_says_who_came_and_went(self) -> None:
        red, blue, green, grey = form("red", "blue", "green", "grey")
        white = Party("white")
        grey_member = red.group.member(3)
        pending = red.group.commit([Add(white.offer().key_package), Remove(3)], now=NOW)
        assert [member.identity for member in pending.added] == [b"white"]
        assert pending.removed == (3,)
        seen = blue.sees(pending.message)
        assert red.group.merge(pending) == seen == green.sees(pending.message)
        assert isinstance(seen, Committed)
        assert (seen.committer, seen.epoch, seen.removed) == (0, 2, (grey_member,))
        assert [member.identity for member in seen.added] == [b"white"]
        assert not seen.extensions_changed
        assert not seen.removed_self
        assert seen.added[0].leaf_index == 3
        told = grey.sees(pending.message)
        assert told.removed_self
        assert told.removed == (grey_member,)

    def test_removed_member_reads_nothing_later_and_is_closed(self) -> None:
        red, blue, green = form("red", "blue", "green")
        before = green.group.state()
        pending = green.group.commit(now=NOW)
        red.commits([Remove(2)], to=[blue, green])
        assert green.group.closed
        message = red.group.encrypt(b"secret")
        assert blue.hears(message) == b"secret"
        ghost = Group.restore(before, policy=Rules())
        with pytest.raises(WrongEpochError):
            ghost.receive(message, now=NOW)
        green.restart()
        uses: list[Callable[[], object]] = [
            lambda: green.sees(message),
            lambda: green.group.encrypt(b""),
            lambda: green.group.commit(now=NOW),
            lambda: green.group.propose(Remove(0), now=NOW),
            lambda: green.group.propose_update(now=NOW),
            lambda: green.group.export("label", b"", 16),
            lambda: green.group.merge(pending),
        ]
        for use in uses:
            with pytest.raises(GroupClosedError):
                use()

    def test_removed_members_state_holds_no_keys(self) -> None:
        red, blue = form("red", "blue")
        red.commits([Remove(1)], to=[blue])
        state = blue.group.state()
        assert bytes(blue.signature_secret) not in state.epoch + state.ratchets

    def test_leaver_is_removed_by_another(self) -> None:
        red, blue, green = form("red", "blue", "green")
        proposal = green.group.propose(Remove(2), now=NOW)
        for party in (red, blue):
            assert isinstance(party.sees(proposal), ProposalReceived)
            assert [p for _, _, p in party.group.pending_proposals] == [Remove(2)]
            with pytest.raises(CommitRequiredError):
                party.group.encrypt(b"")
        blue.commits(to=[red, green])
        assert green.group.closed
        assert not red.group.pending_proposals
        assert red.hears(blue.group.encrypt(b"on we go")) == b"on we go"

    def test_leavers_own_commit_leaves_its_removal_out(self) -> None:
        _, blue = form("red", "blue")
        blue.group.propose(Remove(1), now=NOW)
        pending = blue.group.commit(now=NOW)
        blue.group.merge(pending)
        assert [member.identity for member in blue.group.members()] == [b"red", b"blue"]

    def test_leaf_of_a_removed_member_is_given_again(self) -> None:
        red, blue, green = form("red", "blue", "green")
        red.commits([Remove(1)], to=[blue, green])
        white = Party("white")
        green.adds(white, to=[red])
        assert white.group.own_leaf == 1
        assert_agree([red, green, white])

    def test_member_comes_back_with_the_same_key(self) -> None:
        red, blue, green = form("red", "blue", "green")
        red.commits([Remove(1)], to=[blue, green])
        red.adds(blue, to=[green])
        assert_agree([red, blue, green])

    def test_nobody_is_in_twice(self) -> None:
        red, blue = form("red", "blue")
        with pytest.raises(ValidationError, match="keys-unique"):
            red.group.commit([Add(blue.offer().key_package)], now=NOW)

    def test_remove_of_nobody_is_refused(self) -> None:
        (red,) = form("red")
        with pytest.raises(ValidationError, match="remove-member"):
            red.group.commit([Remove(1)], now=NOW)

    def test_group_grows_and_shrinks(self) -> None:
        parties = form(*(f"p{n}" for n in range(9)))
        assert len(parties[0].group.members()) == 9
        for gone in (8, 7, 6, 5):
            others = parties[1:gone]
            parties[0].commits([Remove(gone)], to=others)
            assert_agree(parties[:gone])
        late = Party("late")
        parties[3].adds(late, to=[*parties[:3], parties[4]])
        assert_agree([*parties[:5], late])

    def test_ratchet_tree_may_come_separately(self) -> None:
        red, blue = Party("red"), Party("blue")
        red.create()
        pending = red.commits([Add(blue.offer().key_package)])
        blue.join(pending.welcome, ratchet_tree=red.group._epoch.tree.encode())
        assert_agree([red, blue])


class TestUpdating:
    def test_commit_renews_the_committers_keys(self) -> None:
        red, blue, green = form("red", "blue", "green")
        before = red.group.member(1).leaf
        blue.commits(to=[red, green])
        after = red.group.member(1).leaf
        assert after.encryption_key != before.encryption_key
        assert after.signature_key == before.signature_key
        assert_agree([red, blue, green])

    def test_update_proposal_renews_the_proposers_leaf(self) -> None:
        red, blue, green = form("red", "blue", "green")
        proposal = blue.group.propose_update(now=NOW)
        for other in (red, green):
            other.sees(proposal)
        blue.restart()
        pending = red.group.commit(now=NOW)
        for other in (blue, green):
            committed = other.sees(pending.message)
            assert [member.identity for member in committed.updated] == [b"blue"]
        red.group.merge(pending)
        assert_agree([red, blue, green])
        blue.commits(to=[red, green])
        assert_agree([red, blue, green])

    def test_update_cannot_be_handed_in(self) -> None:
        red, blue = form("red", "blue")
        with pytest.raises(LocalError):
            red.group.propose(Update(blue.group.member(1).leaf), now=NOW)

    def test_removal_wins_over_update(self) -> None:
        red, blue, green = form("red", "blue", "green")
        update = green.group.propose_update(now=NOW)
        for party in (red, blue):
            party.sees(update)
        removal = blue.group.propose(Remove(2), now=NOW)
        for party in (red, green):
            party.sees(removal)
        red.commits(to=[blue, green])
        assert green.group.closed
        assert_agree([red, blue])

    def test_extensions_are_replaced(self) -> None:
        red, blue = Party("red"), Party("blue")
        red.create(extension_types=[0xF001])
        pending = red.commits([Add(blue.offer(extension_types=[0xF001]).key_package)])
        blue.join(pending.welcome)
        extension = Extension(0xF001, b"title")
        pending = red.group.commit([GroupContextExtensions((extension,))], now=NOW)
        committed = blue.sees(pending.message)
        red.group.merge(pending)
        assert committed.extensions_changed
        assert red.group.extensions == blue.group.extensions == (extension,)
        with pytest.raises(ValidationError, match="context-extensions-supported"):
            red.group.commit([Add(Party("green").offer().key_package)], now=NOW)

    def test_extension_that_a_member_lacks_is_refused(self) -> None:
        red, _ = form("red", "blue")
        with pytest.raises(ValidationError, match="context-extensions-supported"):
            red.group.commit([GroupContextExtensions((Extension(0xF001, b""),))], now=NOW)


class TestCommitting:
    def test_first_commit_wins_and_the_other_is_discarded(self) -> None:
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

    def test_commit_changes_nothing_but_the_ratchet(self) -> None:
        red, blue = form("red", "blue")
        before = red.group.state()
        red.group.commit([Remove(1)], now=NOW)
        after = red.group.state()
        assert after.epoch == before.epoch
        assert after.ratchets != before.ratchets
        assert blue.hears(red.group.encrypt(b"still here")) == b"still here"

    def test_no_commit_uses_a_key_twice(self) -> None:
        red, blue = form("red", "blue")
        used = set()
        for _ in range(3):
            pending = red.group.commit(now=NOW)
            used.add(generation_of(blue.group, decode_message(pending.message)))
            red.group.discard(pending)
            red.restart()
        assert used == {0, 1, 2}

    def test_pending_commit_survives_a_restart(self) -> None:
        red, blue = form("red", "blue")
        pending = red.group.commit(now=NOW)
        stored = pending.encode()
        red.restart()
        blue.sees(pending.message)
        red.group.merge(PendingCommit.decode(stored, policy=red.policy))
        assert_agree([red, blue])

    def test_pending_commit_of_another_group_is_not_merged(self) -> None:
        (red,), (blue,) = form("red"), form("blue")
        pending = red.group.commit(now=NOW)
        with pytest.raises(StalePendingError):
            blue.group.merge(pending)
        red.group.merge(pending)

    def test_stored_pending_commit_is_judged_again(self) -> None:
        red, green = *form("red"), Party("green")
        stored = red.group.commit([Add(green.offer().key_package)], now=NOW).encode()
        rules = Rules()
        rules.refuse_leaf = lambda leaf: leaf.credential.identity == b"green"
        with pytest.raises(PolicyRejected):
            PendingCommit.decode(stored, policy=rules)

    def test_a_pending_commit_is_used_once(self) -> None:
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

    def test_messages_between_commit_and_merge_still_open(self) -> None:
        red, blue = form("red", "blue")
        pending = red.group.commit(now=NOW)
        first, late = blue.group.encrypt(b"first"), blue.group.encrypt(b"late")
        assert red.hears(first) == b"first"
        red.group.merge(pending)
        assert red.hears(late) == b"late"
        refused(red, first, ReplayError)

    def test_concurrent_proposals_are_committed_together(self) -> None:
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

    def test_commit_refers_only_to_what_was_seen(self) -> None:
        red, blue, green = form("red", "blue", "green")
        red.sees(blue.group.propose_update(now=NOW))
        pending = red.group.commit(now=NOW)
        assert refused(green, pending.message, ValidationError).rule == "proposal-known"

    def test_proposal_against_the_policy_is_never_pending(self) -> None:
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

    def test_pending_proposal_that_the_policy_refuses_beside_others_is_left_out(self) -> None:
        red, blue, green = form("red", "blue", "green")
        red.sees(blue.group.propose(Remove(2), now=NOW))
        assert isinstance(red.policy, Rules)
        red.policy.refuse_proposal = lambda sender, proposal: isinstance(proposal, Remove)
        red.commits(to=[blue, green])
        assert len(red.group.members()) == 3
        assert_agree([red, blue, green])

    def test_bad_proposal_is_not_sent(self) -> None:
        red, _ = form("red", "blue")
        before = red.group.state()
        with pytest.raises(ValidationError, match="remove-member"):
            red.group.propose(Remove(5), now=NOW)
        assert red.group.state() == before

    def test_policy_judges_both_sides_on_the_prior_epoch(self) -> None:
        red, blue = form("red", "blue")
        assert isinstance(red.policy, Rules)
        assert isinstance(blue.policy, Rules)
        red.policy.epochs_judged, blue.policy.epochs_judged = [], []
        pending = red.group.commit(now=NOW)
        assert red.policy.epochs_judged == [1]
        blue.policy.refuse_proposal = lambda sender, proposal: True
        blue.sees(pending.message)
        assert blue.policy.epochs_judged == [1]

    def test_policy_refuses_leaves_everywhere(self) -> None:
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

    def test_policy_refuses_a_successor(self) -> None:
        red, blue = form("red", "blue")
        assert isinstance(blue.policy, Rules)
        blue.policy.refuse_successor = lambda old, new: old.credential == new.credential
        refused(blue, red.group.propose_update(now=NOW), PolicyRejected)
        refused(blue, red.group.commit(now=NOW).message, PolicyRejected)

    def test_key_package_out_of_its_lifetime_is_not_added(self) -> None:
        (red,) = form("red")
        for options in ({"not_after": NOW - 1}, {"not_before": NOW + 1}):
            with pytest.raises(ValidationError, match="leaf-lifetime"):
                red.group.commit([Add(Party("blue").offer(**options).key_package)], now=NOW)

    def test_add_that_expired_on_the_way_is_followed(self) -> None:
        red, blue = form("red", "blue")
        pending = red.group.commit([Add(Party("green").offer(not_after=NOW + 10).key_package)], now=NOW)
        blue.group.receive(pending.message, now=NOW + DAY)
        red.group.merge(pending)
        assert_agree([red, blue])

    def test_pre_shared_keys_must_be_known_to_all(self) -> None:
        red, blue = form("red", "blue")
        psk_id = PreSharedKeyID(ExternalPsk(b"link"), bytes(32))
        proposal = PreSharedKey(psk_id)

        def find_psk(_: PreSharedKeyID) -> Secret:
            return Secret(b"shared")

        with pytest.raises(UnsupportedError):
            red.group.commit([proposal], now=NOW)
        pending = red.group.commit([proposal], now=NOW, find_psk=find_psk)
        refused(blue, pending.message, UnsupportedError)
        blue.group.receive(pending.message, now=NOW, find_psk=find_psk)
        red.group.merge(pending)
        resumption = ResumptionPsk(ResumptionUsage.APPLICATION, b"room", 1)
        red.commits([PreSharedKey(PreSharedKeyID(resumption, bytes(32)))], to=[blue])
        assert_agree([red, blue])


class TestEpochs:
    def test_two_past_epochs_still_open_and_no_more(self) -> None:
        red, blue, green = form("red", "blue", "green")
        messages = []
        for _ in range(4):
            messages.append(green.group.encrypt(b"late"))
            red.commits(to=[blue, green])
        blue.restart()
        refused(blue, messages[0], WrongEpochError)
        refused(blue, messages[1], WrongEpochError)
        for message in messages[2:]:
            assert blue.hears(message) == b"late"
            refused(blue, message, ReplayError)

    def test_late_message_of_a_removed_member_opens(self) -> None:
        red, blue, green = form("red", "blue", "green")
        late = green.group.encrypt(b"bye")
        red.commits([Remove(2)], to=[blue])
        red.adds(Party("white"), to=[blue])
        blue.restart()
        received = blue.sees(late)
        assert (received.identity, received.sender) == (b"green", 2)

    def test_past_handshake_messages_are_refused(self) -> None:
        red, blue, green = form("red", "blue", "green")
        proposal = green.group.propose_update(now=NOW)
        red.commits(to=[blue])
        assert refused(blue, proposal, WrongEpochError).epoch == 1

    def test_future_epoch_is_refused(self) -> None:
        red, blue = form("red", "blue")
        red.commits()
        assert refused(blue, red.group.encrypt(b""), WrongEpochError).epoch == 2

    def test_export_is_shared_and_changes(self) -> None:
        red, blue = form("red", "blue")
        exported = red.group.export("label", b"context", 48)
        assert exported == blue.group.export("label", b"context", 48)
        assert len(exported) == 48
        assert exported != red.group.export("label", b"other", 48)
        assert exported != red.group.export("other", b"context", 48)
        red.commits(to=[blue])
        assert exported != red.group.export("label", b"context", 48)


class TestStoring:
    def test_parts_of_different_epochs_do_not_go_together(self) -> None:
        red, blue = form("red", "blue")
        before = red.group.state()
        red.commits(to=[blue])
        after = red.group.state()
        for epoch, ratchets in ((before.epoch, after.ratchets), (after.epoch, before.ratchets)):
            with pytest.raises(StateError):
                Group.restore(GroupState(epoch, ratchets), policy=Rules())

    def test_message_changes_only_the_ratchets(self) -> None:
        red, blue = form("red", "blue")
        sender, receiver = red.group.state(), blue.group.state()
        blue.hears(red.group.encrypt(b""))
        assert red.group.state().epoch == sender.epoch
        assert blue.group.state().epoch == receiver.epoch
        assert red.group.state().ratchets != sender.ratchets
        assert blue.group.state().ratchets != receiver.ratchets

    @pytest.mark.parametrize("part", ["epoch", "ratchets"])
    def test_damage_is_noticed(self, part: str) -> None:
        (red,) = form("red")
        state = red.group.state()
        parts = {"epoch": state.epoch, "ratchets": state.ratchets}
        for damaged in (b"", parts[part][:-1], parts[part] + b"\0", b"\xff\xff" + parts[part][2:]):
            with pytest.raises(StateError):
                Group.restore(GroupState(**(parts | {part: damaged})), policy=Rules())

    def test_pending_commit_damage_is_noticed(self) -> None:
        with pytest.raises(StateError):
            PendingCommit.decode(b"damaged", policy=Rules())

    def test_bundle_is_stored_whole(self) -> None:
        bundle = Party("red").offer(last_resort=True, extension_types=[0xF001])
        assert KeyPackageBundle.decode(bundle.encode()) == bundle
        assert bundle.key_package.last_resort
        assert not Party("red").offer().key_package.last_resort
        assert decode_key_package(encode_message(bundle.key_package)) == bundle.key_package
        with pytest.raises(StateError):
            KeyPackageBundle.decode(b"damaged")

    def test_secrets_never_show(self) -> None:
        red, blue = form("red", "blue")
        pending = red.group.commit(now=NOW)
        bundle = red.offer()
        shown = f"{red.group!r}{red.group._epoch!r}{pending!r}{bundle!r}{red.group.state()!r}"
        shown += repr(red.group._epoch.secrets)
        for hidden in (red.signature_secret, bundle.init_secret, bundle.leaf_secret):
            assert bytes(hidden).hex() not in shown
            assert repr(bytes(hidden)) not in shown
        assert blue.group.group_id == b"room"


class TestJoining:
    def test_newcomer_needs_the_pre_shared_keys(self) -> None:
        red, blue = Party("red"), Party("blue")
        red.create()
        psk = PreSharedKey(PreSharedKeyID(ExternalPsk(b"link"), bytes(32)))

        def find_psk(_: PreSharedKeyID) -> Secret:
            return Secret(b"shared")

        add = Add(blue.offer().key_package)
        pending = red.group.commit([add, psk], now=NOW, find_psk=find_psk)
        red.group.merge(pending)
        with pytest.raises(UnsupportedError):
            blue.join(pending.welcome)
        with pytest.raises(DecryptionError):
            blue.join(pending.welcome, find_psk=lambda _: Secret(b"wrong"))
        blue.join(pending.welcome, find_psk=find_psk)
        assert_agree([red, blue])

    def test_welcome_for_several_key_packages_of_ones_own(self) -> None:
        red, blue, green = Party("red"), Party("blue"), Party("green")
        red.create()
        newcomers = [green, blue]
        pending = red.commits([Add(one.offer().key_package) for one in newcomers])
        for one in newcomers:
            one.join(pending.welcome)
        assert_agree([red, blue, green])

    def test_malformed_tree_is_refused(self) -> None:
        red, blue = Party("red"), Party("blue")
        red.create()
        pending = red.commits([Add(blue.offer().key_package)])
        message = decode_message(pending.welcome or b"")
        assert isinstance(message, Welcome)
        with pytest.raises(UnsupportedError):
            blue.join(encode_message(replace(message, cipher_suite=0x7777)))
        with pytest.raises(DecryptionError):
            blue.join(encode_message(replace(message, encrypted_group_info=bytes(64))))

    def test_welcome_for_someone_else(self) -> None:
        red, blue, green = Party("red"), Party("blue"), Party("green")
        red.create()
        pending = red.commits([Add(blue.offer().key_package)])
        green.offer()
        with pytest.raises(LocalError):
            green.join(pending.welcome)

    def test_message_that_is_no_welcome(self) -> None:
        red, blue = form("red", "blue")
        with pytest.raises(MalformedError):
            blue.join(red.group.encrypt(b""))

    def test_a_changed_welcome_gives_only_typed_errors(self) -> None:
        red, blue = Party("red"), Party("blue")
        red.create()
        welcome = red.commits([Add(blue.offer().key_package)]).welcome
        assert welcome is not None
        for position in range(0, len(welcome), 7):
            changed = bytearray(welcome)
            changed[position] ^= 1 << position % 8
            with pytest.raises(MLSError):
                blue.join(bytes(changed))


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.data())
def test_changed_messages_give_only_typed_errors(data: st.DataObject) -> None:
    blue, messages, state = mutation_subjects()
    message = bytearray(data.draw(st.sampled_from(messages)))
    match data.draw(st.sampled_from(["flip", "cut", "grow", "splice"])):
        case "flip":
            position = data.draw(st.integers(0, len(message) - 1))
            message[position] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del message[data.draw(st.integers(0, len(message) - 1)) :]
        case "grow":
            message += data.draw(st.binary(min_size=1, max_size=20))
        case _:
            start = data.draw(st.integers(0, len(message) - 1))
            message[start : start + 8] = data.draw(st.binary(max_size=12))
    if bytes(message) in messages:
        return
    group = Group.restore(state, policy=Rules())
    try:
        group.receive(bytes(message), now=NOW)
    except MLSError:
        assert group.state() == state
    else:
        raise AssertionError("a changed message was accepted")
    assert blue


_SUBJECTS: list[Any] = []


def mutation_subjects() -> tuple[Party, list[bytes], GroupState]:
    """A member, valid messages to it of each kind, and its state before them."""
    if not _SUBJECTS:
        red, blue = form("red", "blue")
        messages = [
            red.group.encrypt(b"hello"),
            red.group.commit([Add(Party("green").offer().key_package)], now=NOW).message,
            red.group.propose_update(now=NOW),
        ]
        _SUBJECTS.append((blue, messages, blue.group.state()))
    blue, messages, state = _SUBJECTS[0]
    return blue, messages, state


@pytest.fixture
def sealed() -> Iterator[list[tuple[bytes, bytes]]]:
    """Record the key and nonce of everything that anyone encrypts symmetrically."""
    used: list[tuple[bytes, bytes]] = []

    class RecordingAead:
        def __init__(self, key: bytes) -> None:
            self.key = bytes(key)
            self.decrypt = AESGCM(key).decrypt

        def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
            used.append((self.key, bytes(nonce)))
            return AESGCM(self.key).encrypt(nonce, data, associated_data)

    object.__setattr__(SUITE, "aead", RecordingAead)
    yield used
    object.__setattr__(SUITE, "aead", AESGCM)


def test_no_key_and_nonce_twice_across_crashes(sealed: list[tuple[bytes, bytes]]) -> None:
    """With a reuse guard that is always zero, so that only the ratchets keep them apart."""
    red, blue = form("red", "blue")
    sealed.clear()
    for _ in range(5):
        stored = red.group.commit(now=NOW, random=bytes).encode()
        red.restart()
        red.group.encrypt(b"", random=bytes)
        red.restart()
        red.group.discard(PendingCommit.decode(stored, policy=red.policy))
        red.group.propose(Remove(1), now=NOW, random=bytes)
        red.group._pending.clear()
    blue.group.encrypt(b"", random=bytes)
    message_keys = [pair for pair in sealed if sealed.count(pair) > 1]
    assert not message_keys
    assert len(sealed) >= 5 * 3 * 2


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_agree(seed: int, sealed: list[tuple[bytes, bytes]]) -> None:
    """Anyone adds, removes, updates, proposes, loses commits and restarts; after every step all agree."""
    dice = random.Random(seed)  # noqa: S311 - a history, not a secret
    names = (f"p{number}" for number in itertools.count())
    inside = form(*itertools.islice(names, 3))
    outside: list[tuple[Party, GroupState]] = []
    for _ in range(25):
        committer = dice.choice(inside)
        others = [party for party in inside if party is not committer]
        proposals: list[Proposal] = []
        room = max(0, 14 - len(inside))
        newcomers = [Party(next(names)) for _ in range(min(room, dice.choice([0, 0, 1, 1, 3])))]
        proposals += [Add(newcomer.offer().key_package) for newcomer in newcomers]
        leaving = []
        if len(inside) > 3 and dice.random() < 0.4:
            leaving = [dice.choice(others)]
            proposals.append(Remove(leaving[0].group.own_leaf))
        if dice.random() < 0.5:
            updater = dice.choice(inside)
            message = updater.group.propose_update(now=NOW)
            for party in inside:
                if party is not updater:
                    party.sees(message)
        if dice.random() < 0.3:
            committer.group.discard(committer.group.commit(proposals, now=NOW))
        if dice.random() < 0.3:
            dice.choice(inside).restart()
        outside += [(party, party.group.state()) for party in leaving]
        pending = committer.commits(proposals, to=others)
        inside = [party for party in inside if party not in leaving]
        for newcomer in newcomers:
            newcomer.join(pending.welcome)
            inside.append(newcomer)
        assert_agree(inside)
        speaker = dice.choice(inside)
        message = speaker.group.encrypt(b"hello")
        for party in inside:
            if party is not speaker:
                assert party.hears(message) == b"hello"
        for _, state in outside:
            with pytest.raises((WrongEpochError, DecryptionError)):
                Group.restore(state, policy=Rules()).receive(message, now=NOW)
    assert len(set(sealed)) == len(sealed)
