"""Groups that continue others: reinitialised and branched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    SUITES,
    Extension,
    ExtensionType,
    Group,
    GroupClosedError,
    LocalError,
    PreSharedKey,
    ReInit,
    Remove,
    ResumptionPsk,
    ResumptionUsage,
    UnsupportedError,
    new_psk_id,
)
from groupkit import DAY, NOW, SUITE, Party, Times, assert_agree, form
from rulekit import breaks

TIMES: Times = {"now": NOW, "not_before": NOW - DAY, "not_after": NOW + DAY}
NEXT = ReInit(b"next", 1, SUITE.id, (Extension(ExtensionType.REQUIRED_CAPABILITIES, b"\0\0\0"),))


class WelcomeOptions(TypedDict, total=False):
    """What the first commit of a group that replaces another may leave out."""

    path: bool
    ratchet_tree: bool


def retire(parties: Sequence[Party], reinit: ReInit = NEXT) -> None:
    """Let the first member commit a ReInit, and the others receive it."""
    pending = parties[0].group.commit([reinit], now=NOW, path=False)
    for other in parties[1:]:
        assert other.sees(pending.message).reinit == reinit
    assert parties[0].group.merge(pending).reinit == reinit


def succeeded(first: Party, others: Sequence[Party], **options: Unpack[WelcomeOptions]) -> list[Party]:
    """Return the parties in the group that replaces their old one."""
    packages = [other.offer().key_package for other in others]
    group, welcome = first.group.reinitialize(
        packages, first.name.encode(), first.signature_secret, **TIMES, **options
    )
    tree = group.ratchet_tree() if options.get("ratchet_tree") is False else None
    for other in others:
        other.join(welcome, origin=other.group, ratchet_tree=tree)
    first.member = group
    return [first, *others]


@pytest.mark.parametrize("options", [{}, {"path": False}, {"ratchet_tree": False}])
def test_group_is_reinitialised(options: WelcomeOptions) -> None:
    parties = form("red", "blue", "green")
    retire(parties)
    assert_agree(parties)
    red, blue, green = succeeded(parties[1], [parties[0], parties[2]], **options)
    assert_agree([red, blue, green])
    assert (green.group.group_id, green.group.epoch) == (b"next", 1)
    assert green.group.extensions == NEXT.extensions
    assert green.hears(red.group.encrypt(b"here we are")) == b"here we are"


def test_nothing_is_sent_after_a_committed_reinit() -> None:
    red, blue = form("red", "blue")
    late = blue.group.encrypt(b"late")
    retire([red, blue])
    for attempt in (
        lambda: red.group.encrypt(b"hi"),
        lambda: red.group.propose(Remove(1), now=NOW),
        lambda: red.group.propose_update(now=NOW),
        lambda: red.group.commit(now=NOW),
        lambda: red.group.group_info(),
    ):
        with pytest.raises(GroupClosedError):
            attempt()
    assert red.hears(late) == b"late"
    red.restart()
    assert red.group.reinit == NEXT


def test_reinitialise_needs_a_committed_reinit() -> None:
    red, blue = form("red", "blue")
    with pytest.raises(LocalError):
        red.group.reinitialize([blue.offer().key_package], b"red", red.signature_secret, **TIMES)
    for reinit in (ReInit(b"next", 1, 0x7777, ()), ReInit(b"next", 9, SUITE.id, ())):
        with pytest.raises(UnsupportedError):
            red.group.commit([reinit], now=NOW)
    malformed = ReInit(b"next", 1, SUITE.id, (Extension(ExtensionType.REQUIRED_CAPABILITIES, b"?"),))
    with breaks("extension-content"):
        red.group.commit([malformed], now=NOW)


def test_member_without_the_next_suite_accepts_the_reinit(monkeypatch: pytest.MonkeyPatch) -> None:
    red, blue = form("red", "blue")
    with monkeypatch.context() as only_at_red:
        only_at_red.setitem(SUITES, 0xFFFE, SUITE)
        pending = red.group.commit([ReInit(b"next", 1, 0xFFFE, ())], now=NOW)
    assert blue.sees(pending.message).reinit == red.group.merge(pending).reinit
    assert_agree([red, blue])
    with pytest.raises(GroupClosedError):
        blue.group.encrypt(b"hi")


def test_removed_member_cannot_continue_the_group() -> None:
    red, blue = form("red", "blue")
    _, welcome = red.group.branch(b"aside", [blue.offer().key_package], **TIMES)
    assert blue.sees(red.commits([Remove(1)]).message).removed_self
    with pytest.raises(GroupClosedError):
        blue.join(welcome, origin=blue.group)


def test_reinit_waits_for_the_other_proposals() -> None:
    red, blue, green = form("red", "blue", "green")
    for proposal in (NEXT, Remove(2)):
        blue.sees(red.group.propose(proposal, now=NOW))
    pending = blue.group.commit(now=NOW)
    assert (pending.removed, blue.group.merge(pending).reinit) == ((2,), None)
    assert len(blue.group.members()) == 2
    assert green.group.epoch == 1


def test_branch() -> None:
    red, blue, green = form("red", "blue", "green")
    packages = [blue.offer().key_package]
    group, welcome = red.group.branch(b"aside", packages, **TIMES)
    with pytest.raises(LocalError):
        blue.join(welcome)
    with pytest.raises(LocalError):
        blue.join(welcome, origin=Party("x").create(b"unrelated"))
    joined = Group.join(welcome, blue.bundles.get, policy=blue.policy, origin=blue.group, other_groups=())
    assert joined.epoch_authenticator == group.epoch_authenticator
    assert (joined.group_id, joined.epoch) == (b"aside", 1)
    assert_agree([red, blue, green])
    assert red.hears(blue.group.encrypt(b"the old group goes on")) == b"the old group goes on"


def test_resumption_key_of_another_group_can_be_used() -> None:
    red, blue = form("red", "blue")
    key = Secret(b"known to both")
    psk = new_psk_id(SUITE, ResumptionPsk(ResumptionUsage.APPLICATION, b"elsewhere", 3))
    pending = red.group.commit([PreSharedKey(psk)], now=NOW, find_psk=lambda _: key)
    blue.group.receive(pending.message, find_psk=lambda _: key)
    red.group.merge(pending)
    assert_agree([red, blue])
