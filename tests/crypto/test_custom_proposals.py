"""Proposals of the application's: sent, judged by the policy, committed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from clave_crypto.mls import (
    Add,
    CustomProposal,
    Extension,
    GroupContextExtensions,
    GroupView,
    NoPolicy,
    PolicyRejected,
    Proposal,
    ProposalReceived,
    ReInit,
    Sender,
    UnsupportedError,
)
from clave_crypto.mls.extensions import find_extension
from clave_crypto.mls.framing import ProposalContent
from clave_crypto.mls.senders import MemberSender
from forgekit import forged, forged_commit
from groupkit import NOW, Party, assert_agree
from rulekit import breaks, proves, refused

KIND = 0xF001
EXTENSION = 0xF002


class _Noting(NoPolicy):
    """Takes in proposals whose data is not "no", and notes what was committed."""

    def __init__(self) -> None:
        self.committed: list[tuple[Sender, Proposal]] = []

    def check_proposal(self, group: GroupView, sender: Sender, proposal: Proposal) -> None:
        if isinstance(proposal, CustomProposal) and proposal.data == b"no":
            raise PolicyRejected("no")

    def check_commit(
        self, group: GroupView, committer: Sender, proposals: Sequence[tuple[Sender, Proposal]]
    ) -> None:
        self.committed += proposals


def room(*names: str, kinds: Sequence[int] = (KIND,)) -> list[Party]:
    parties = [Party(name, policy=_Noting()) for name in names]
    parties[0].create(proposal_types=kinds)
    pending = parties[0].commits([Add(each.offer(proposal_types=kinds).key_package) for each in parties[1:]])
    for each in parties[1:]:
        each.join(pending.welcome)
    return parties


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("data", [b"", b"make red an admin", bytes(20_000)])
def test_one_is_proposed_and_committed(public: bool, data: bytes) -> None:
    red, blue, green = room("red", "blue", "green")
    proposal = CustomProposal(KIND, data)
    message = blue.group.propose(proposal, now=NOW, public=public)
    received = red.sees(message)
    assert isinstance(received, ProposalReceived)
    assert received.proposal == proposal
    green.sees(message)
    red.restart()
    red.policy.committed.clear()  # type: ignore[attr-defined]  # a _Noting
    blue.policy.committed.clear()  # type: ignore[attr-defined]  # the same
    own = CustomProposal(KIND, b"by value")
    red.commits([own], to=[blue, green])
    assert_agree([red, blue, green])
    assert blue.policy.committed == [(MemberSender(0), own), (MemberSender(1), proposal)]  # type: ignore[attr-defined]  # the same


def test_the_policy_refuses_one() -> None:
    red, blue = room("red", "blue")
    refused(blue, forged(red, ProposalContent(CustomProposal(KIND, b"no"))), PolicyRejected)


@proves("commit-proposals-supported")
def test_one_that_a_member_does_not_support() -> None:
    red, blue = room("red", "blue")
    red.commits([Add(Party("green").offer().key_package)], to=[blue])
    with breaks("commit-proposals-supported", red):
        red.group.propose(CustomProposal(KIND, b""), now=NOW)
    refused(blue, forged_commit(red, [CustomProposal(KIND, b"")]), "commit-proposals-supported")


@proves("custom-proposal-type")
@pytest.mark.parametrize("kind", [0, 1, 10, 0x0A0A])
def test_types_that_are_not_the_applications(kind: int) -> None:
    red, _ = room("red", "blue")
    with breaks("custom-proposal-type", red):
        red.group.propose(CustomProposal(kind, b""), now=NOW)


@proves("custom-proposal-type")
def test_grease_is_no_proposal() -> None:
    red, blue = room("red", "blue", kinds=(KIND, 0x1A1A))
    refused(blue, forged(red, ProposalContent(CustomProposal(0x1A1A, b""))), "custom-proposal-type")


def test_one_of_another_form_is_unsupported() -> None:
    red, blue = room("red", "blue")
    refused(blue, forged(red, ProposalContent(_Number(2))), UnsupportedError)


class _Number(CustomProposal):
    """A proposal whose content is not a vector."""

    __slots__ = ()

    def __init__(self, number: int) -> None:
        super().__init__(KIND, b"")

    def write(self, w: object) -> None:
        assert callable(w)
        w(KIND.to_bytes(2, "big") + b"\xff\xff")


class _Wary(_Noting):
    """Refuses a group whose extension of one kind has bad contents."""

    def check_context_extensions(self, extensions: Sequence[Extension]) -> None:
        if find_extension(extensions, EXTENSION) == b"bad":
            raise PolicyRejected("bad contents")


def test_the_policy_judges_the_contents_of_a_groups_extensions() -> None:
    bad, good = ((Extension(EXTENSION, data),) for data in (b"bad", b"good"))
    red, blue, green = (Party(name, policy=_Wary()) for name in ("red", "blue", "green"))
    with pytest.raises(PolicyRejected):
        red.create(extensions=bad, extension_types=(EXTENSION,))
    careless = Party("careless")
    careless.create(extensions=bad, extension_types=(EXTENSION,))
    welcome = careless.commits([Add(blue.offer(extension_types=(EXTENSION,)).key_package)]).welcome
    with pytest.raises(PolicyRejected):
        blue.join(welcome)
    with pytest.raises(PolicyRejected):
        green.enters(careless.group.group_info(), extension_types=(EXTENSION,))
    red.create(extensions=good, extension_types=(EXTENSION,))
    red.commits([Add(blue.offer(extension_types=(EXTENSION,)).key_package)])
    with pytest.raises(PolicyRejected):
        red.group.commit([GroupContextExtensions(bad)], now=NOW)
    with pytest.raises(PolicyRejected):
        red.group.propose(ReInit(b"next", 1, 1, bad), now=NOW)
