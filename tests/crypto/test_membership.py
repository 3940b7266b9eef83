"""Adding, removing and updating members."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clave_crypto.mls import (
    Add,
    CommitRequiredError,
    Committed,
    Extension,
    Group,
    GroupClosedError,
    GroupContextExtensions,
    LocalError,
    ProposalReceived,
    Remove,
    Update,
    ValidationError,
    WrongEpochError,
)
from groupkit import NOW, Party, Rules, assert_agree, form
from rulekit import refused


def test_newcomer_agrees_and_cannot_read_what_came_before() -> None:
    red, blue, green = *form("red", "blue"), Party("green")
    before = red.group.encrypt(b"before")
    red.adds(green, to=[blue])
    assert_agree([red, blue, green])
    refused(green, before, WrongEpochError)
    assert green.hears(red.group.encrypt(b"after")) == b"after"


def test_committed_lists_added_and_removed_members() -> None:
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


def test_removed_member_reads_nothing_later_and_is_closed() -> None:
    red, blue, green = form("red", "blue", "green")
    before = green.group.state()
    pending = green.group.commit(now=NOW)
    red.commits([Remove(2)], to=[blue, green])
    assert green.group.closed
    message = red.group.encrypt(b"secret")
    assert blue.hears(message) == b"secret"
    ghost = Group.restore(before, policy=Rules())
    with pytest.raises(WrongEpochError):
        ghost.receive(message)
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


def test_removed_members_state_holds_no_keys() -> None:
    red, blue = form("red", "blue")
    red.commits([Remove(1)], to=[blue])
    state = blue.group.state()
    assert bytes(blue.signature_secret) not in state.epoch + state.ratchets


def test_leaver_is_removed_by_another() -> None:
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


def test_own_commit_leaves_out_the_committers_removal() -> None:
    _, blue = form("red", "blue")
    blue.group.propose(Remove(1), now=NOW)
    pending = blue.group.commit(now=NOW)
    blue.group.merge(pending)
    assert [member.identity for member in blue.group.members()] == [b"red", b"blue"]


def test_leaf_of_a_removed_member_is_given_again() -> None:
    red, blue, green = form("red", "blue", "green")
    red.commits([Remove(1)], to=[blue, green])
    white = Party("white")
    green.adds(white, to=[red])
    assert white.group.own_leaf == 1
    assert_agree([red, green, white])


def test_member_comes_back_with_the_same_key() -> None:
    red, blue, green = form("red", "blue", "green")
    red.commits([Remove(1)], to=[blue, green])
    red.adds(blue, to=[green])
    assert_agree([red, blue, green])


def test_client_is_removed_and_added_in_one_commit() -> None:
    red, blue, green = form("red", "blue", "green")
    pending = red.commits([Remove(1), Add(blue.offer().key_package)], to=[green])
    blue.join(pending.welcome)
    assert_agree([red, blue, green])


def test_no_client_is_a_member_twice() -> None:
    red, blue = form("red", "blue")
    with pytest.raises(ValidationError, match="keys-unique"):
        red.group.commit([Add(blue.offer().key_package)], now=NOW)


def test_remove_of_a_blank_leaf_is_refused() -> None:
    (red,) = form("red")
    with pytest.raises(ValidationError, match="remove-member"):
        red.group.commit([Remove(1)], now=NOW)


def test_group_grows_and_shrinks() -> None:
    parties = form(*(f"p{n}" for n in range(9)))
    assert len(parties[0].group.members()) == 9
    for gone in (8, 7, 6, 5):
        others = parties[1:gone]
        parties[0].commits([Remove(gone)], to=others)
        assert_agree(parties[:gone])
    late = Party("late")
    parties[3].adds(late, to=[*parties[:3], parties[4]])
    assert_agree([*parties[:5], late])


def test_ratchet_tree_may_come_separately() -> None:
    red, blue = Party("red"), Party("blue")
    red.create()
    pending = red.commits([Add(blue.offer().key_package)])
    blue.join(pending.welcome, ratchet_tree=red.group._epoch.tree.encode())
    assert_agree([red, blue])


def test_commit_renews_the_committers_keys() -> None:
    red, blue, green = form("red", "blue", "green")
    before = red.group.member(1).leaf
    blue.commits(to=[red, green])
    after = red.group.member(1).leaf
    assert after.encryption_key != before.encryption_key
    assert after.signature_key == before.signature_key
    assert_agree([red, blue, green])


def test_update_proposal_renews_the_proposers_leaf() -> None:
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


def test_update_cannot_be_given_to_propose() -> None:
    red, blue = form("red", "blue")
    with pytest.raises(LocalError):
        red.group.propose(Update(blue.group.member(1).leaf), now=NOW)


def test_removal_wins_over_update() -> None:
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


def test_extensions_are_replaced() -> None:
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


def test_extension_that_a_member_does_not_support_is_refused() -> None:
    red, _ = form("red", "blue")
    with pytest.raises(ValidationError, match="context-extensions-supported"):
        red.group.commit([GroupContextExtensions((Extension(0xF001, b""),))], now=NOW)
