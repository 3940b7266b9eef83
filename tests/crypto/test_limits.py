"""Input that exceeds a limit is refused, and nothing changes."""

from __future__ import annotations

import pytest

from clave_crypto.codec import encode_vector
from clave_crypto.mls import (
    Add,
    CommitRequiredError,
    Extension,
    ExtensionType,
    GroupContextExtensions,
    LimitError,
    Limits,
    LocalError,
    ReInit,
    Remove,
    ReplayError,
    TooFarAheadError,
    WrongEpochError,
)
from clave_crypto.mls.ratchet_tree import decode_nodes
from groupkit import NOW, SUITE, Party, assert_agree, form
from rulekit import refused


def limited(party: Party, **limits: int) -> None:
    """Start `party` again with other limits."""
    party.member = type(party.group).restore(
        party.group.state(), policy=party.policy, limits=Limits(**limits)
    )


def test_long_message() -> None:
    red, blue = form("red", "blue")
    message = red.group.encrypt(b"x" * 1000)
    limited(blue, message=len(message) - 1)
    refused(blue, message, LimitError)
    limited(blue, message=len(message))
    assert blue.hears(message) == b"x" * 1000


def test_long_welcome_and_group_info() -> None:
    red, _ = form("red", "blue")
    green = Party("green")
    pending = red.commits([Add(green.offer().key_package)])
    assert pending.welcome is not None
    info = red.group.group_info()
    with pytest.raises(LimitError):
        green.join(pending.welcome, limits=Limits(message=len(pending.welcome) - 1))
    with pytest.raises(LimitError):
        Party("white").enters(info, limits=Limits(message=len(info) - 1))
    green.join(pending.welcome, limits=Limits(message=len(pending.welcome)))
    assert_agree([red, green])


def test_skipped_generations() -> None:
    red, blue = form("red", "blue")
    messages = [red.group.encrypt(b"%d" % number) for number in range(8)]
    limited(blue, skip=5)
    refused(blue, messages[6], TooFarAheadError)
    assert blue.hears(messages[5]) == b"5"
    assert blue.hears(messages[7]) == b"7"


def test_stored_keys() -> None:
    red, blue = form("red", "blue")
    messages = [red.group.encrypt(b"%d" % number) for number in range(8)]
    limited(blue, stored_keys=3)
    assert blue.hears(messages[7]) == b"7"
    assert [blue.hears(messages[number]) for number in (4, 5, 6)] == [b"4", b"5", b"6"]
    refused(blue, messages[3], ReplayError)


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_past_epochs(kept: int) -> None:
    red, blue = form("red", "blue")
    limited(blue, past_epochs=kept)
    late = []
    for _ in range(5):
        late.append(red.group.encrypt(b"late"))
        red.commits(to=[blue])
    for age, message in enumerate(reversed(late), 1):
        if age <= kept:
            assert blue.hears(message) == b"late"
        else:
            refused(blue, message, WrongEpochError)


def test_tree_that_is_too_large() -> None:
    red, blue, green = form("red", "blue", "green")
    white = Party("white")
    red.adds(white, to=[blue, green])
    black = Party("black")
    commit = red.group.commit([Add(black.offer().key_package)], now=NOW)
    for one in (blue, green):
        limited(one, leaves=4)
    refused(blue, commit.message, LimitError)
    refused(green, Party("grey").enters(red.group.group_info()), LimitError)
    assert commit.welcome is not None
    with pytest.raises(LimitError):
        black.join(commit.welcome, limits=Limits(leaves=4))
    before = green.group.state()
    with pytest.raises(LimitError):
        green.group.commit([Add(Party("grey").offer().key_package)], now=NOW)
    assert green.group.state() == before
    black.join(commit.welcome, limits=Limits(leaves=8))


def test_endless_tree_is_not_read_to_its_end() -> None:
    red, _ = form("red", "blue")
    blanks = encode_vector(bytes(1 << 20))
    with pytest.raises(LimitError):
        Party("green").enters(
            red.group.group_info(ratchet_tree=False), ratchet_tree=blanks, limits=Limits(leaves=100)
        )
    assert len(decode_nodes(blanks, 200)) == 201


def test_add_that_would_make_the_tree_too_large_is_left_out() -> None:
    red, blue = form("red", "blue")
    blue.sees(red.group.propose(Add(Party("green").offer().key_package), now=NOW))
    limited(blue, leaves=2)
    pending = blue.group.commit(now=NOW)
    assert (pending.added, pending.welcome) == ((), None)


def test_proposals_of_one_sender() -> None:
    red, blue, green = form("red", "blue", "green")
    for one in (red, blue):
        limited(one, sender_proposals=2)
    first = red.group.propose(GroupContextExtensions(()), now=NOW)
    second = red.group.propose_update(now=NOW)
    before = red.group.state()
    with pytest.raises(LimitError):
        red.group.propose(Remove(2), now=NOW)
    assert red.group.state() == before
    limited(red, sender_proposals=3)
    third = red.group.propose(Remove(2), now=NOW)
    for message in (first, second):
        blue.sees(message)
    refused(blue, third, LimitError)
    blue.sees(green.group.propose_update(now=NOW))
    assert len(blue.group.pending_proposals) == 3
    refused(blue, first, ReplayError)


def test_long_proposals_leaves_and_extensions() -> None:
    red, blue = form("red", "blue")
    package = Party("green").offer().key_package
    proposal = red.group.propose(Add(package), now=NOW)
    limited(blue, proposal=len(Add(package).encode()) - 1)
    refused(blue, proposal, LimitError)
    limited(blue, proposal=len(Add(package).encode()))
    blue.sees(proposal)
    commit = red.group.commit(now=NOW)
    limited(blue, leaf=len(package.leaf_node.encode()) - 1)
    refused(blue, commit.message, LimitError)
    assert commit.welcome is not None
    extensions = GroupContextExtensions((Extension(ExtensionType.REQUIRED_CAPABILITIES, bytes(3)),))
    longer = red.group.commit([extensions], now=NOW)
    limited(blue, context=2)
    refused(blue, longer.message, LimitError)
    white = Party("white")
    info = Party("x").create(b"elsewhere", extensions=extensions.extensions).group_info()
    for limits in (Limits(context=2), Limits(leaf=100)):
        with pytest.raises(LimitError):
            white.enters(info, limits=limits)
    white.enters(info, limits=Limits(context=3))


def test_external_joiner_can_commit() -> None:
    """A leaf grows when its owner commits: a leaf that would be refused then must be refused at once."""
    size = len(Party("x" * 40).offer().key_package.leaf_node.encode())
    tight = Limits(leaf=size + 80)
    red, blue = Party("red"), Party("x" * 40)
    red.create(limits=tight)
    with pytest.raises(LimitError):
        red.group.commit([Add(Party("x" * 41).offer().key_package)], now=NOW)
    pending = red.commits([Add(blue.offer().key_package)])
    blue.join(pending.welcome, limits=tight)
    blue.commits(to=[red])
    assert_agree([red, blue])
    with pytest.raises(LimitError):
        Party("x" * 41).create(limits=tight)
    with pytest.raises(LimitError):
        Party("x" * 300).enters(red.group.group_info(), limits=tight)


def test_group_that_nobody_could_join_is_not_created() -> None:
    large = (Extension(ExtensionType.REQUIRED_CAPABILITIES, bytes(3)),)
    with pytest.raises(LimitError):
        Party("red").create(extensions=large, limits=Limits(context=2))
    red, blue = form("red", "blue")
    limited(red, context=2)
    limited(blue, context=2)
    goes_on = ReInit(b"next", 1, SUITE.id, large)
    with pytest.raises(LimitError):
        red.group.commit([goes_on], now=NOW)
    limited(red, context=3)
    refused(blue, red.group.commit([goes_on], now=NOW).message, LimitError)
    limited(red, message=600)
    with pytest.raises(LimitError):
        red.group.branch(b"aside", [blue.offer().key_package], now=NOW, not_before=NOW - 1, not_after=NOW + 1)


def test_own_data_that_is_too_long_uses_no_key() -> None:
    red, blue = form("red", "blue")
    limited(red, message=1000)
    before = red.group.state()
    with pytest.raises(LimitError):
        red.group.encrypt(bytes(1000))
    assert red.group.state() == before
    assert blue.hears(red.group.encrypt(b"short")) == b"short"


def test_own_message_or_welcome_that_is_too_long() -> None:
    red, _ = form("red", "blue")
    size = len(red.group.commit([Add(Party("green").offer().key_package)], now=NOW).message)
    for limit in (size - 1, size + 1):
        limited(red, message=limit)
        before = red.group.state()
        with pytest.raises(LimitError):
            red.group.commit([Add(Party("green").offer().key_package)], now=NOW)
        assert red.group.state() == before


def test_proposal_that_no_other_member_has_is_withdrawn() -> None:
    red, blue = form("red", "blue")
    red.group.propose_update(now=NOW)
    ((reference, _, _),) = red.group.pending_proposals
    with pytest.raises(CommitRequiredError):
        red.group.encrypt(b"hi")
    red.group.withdraw(reference)
    assert blue.hears(red.group.encrypt(b"hi")) == b"hi"
    with pytest.raises(LocalError):
        red.group.withdraw(reference)
    red.sees(blue.group.propose_update(now=NOW))
    ((reference, _, _),) = red.group.pending_proposals
    red.group.withdraw(reference)
    assert not red.group.pending_proposals
