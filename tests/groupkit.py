"""Parties that really hold keys and form groups in memory, for tests of groups."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Sequence
from typing import Any, TypedDict, Unpack

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Application,
    CipherSuite,
    Committed,
    Extension,
    Group,
    GroupView,
    KeyPackageBundle,
    LeafNode,
    Limits,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    NoPolicy,
    PendingCommit,
    Policy,
    PolicyRejected,
    PreSharedKeyID,
    Proposal,
    Sender,
)
from clave_crypto.mls.spread import Spread

SUITE = MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
NOW = 1_800_000_000
DAY = 86_400


class Lifetime(TypedDict):
    """When a leaf's key package is valid, in seconds since 1970."""

    not_before: int
    not_after: int


class Times(Lifetime):
    """The present and the lifetime of a new leaf, in seconds since 1970."""

    now: int


class JoinOptions(TypedDict, total=False):
    """Further arguments of `Group.join`."""

    ratchet_tree: bytes | None
    find_psk: Callable[[PreSharedKeyID], Secret | None]
    origin: GroupView | None
    limits: Limits
    spread: Spread


class ExternalJoinOptions(TypedDict, total=False):
    """Further arguments of `Group.join_externally`."""

    ratchet_tree: bytes | None
    removes: int | None
    psks: Sequence[PreSharedKeyID]
    self_removes: Sequence[bytes]
    find_psk: Callable[[PreSharedKeyID], Secret | None]
    authenticated_data: bytes
    extension_types: Sequence[int]
    limits: Limits
    random: Callable[[int], bytes]


class Rules(NoPolicy):
    """Accepts what the RFC accepts, unless told to refuse."""

    def __init__(self) -> None:
        self.refuse_leaf: Callable[[LeafNode], bool] = lambda leaf: False
        self.refuse_successor: Callable[[LeafNode, LeafNode], bool] = lambda old, new: False
        self.refuse_proposal: Callable[[Sender, Proposal], bool] = lambda sender, proposal: False
        self.refuse_joiner: Callable[[LeafNode], bool] = lambda leaf: False
        self.epochs_judged: list[int] = []

    def check_leaf(self, leaf: LeafNode) -> None:
        if self.refuse_leaf(leaf):
            raise PolicyRejected("leaf")

    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        if self.refuse_successor(old, new):
            raise PolicyRejected("successor")

    def check_external_commit(self, group: GroupView, leaf: LeafNode, proposals: Sequence[Proposal]) -> None:
        if self.refuse_joiner(leaf):
            raise PolicyRejected("joiner")

    def check_proposal(self, group: GroupView, sender: Sender, proposal: Proposal) -> None:
        self.check_commit(group, sender, [(sender, proposal)])

    def check_commit(
        self, group: GroupView, committer: Sender, proposals: Sequence[tuple[Sender, Proposal]]
    ) -> None:
        self.epochs_judged.append(group.epoch)
        if any(self.refuse_proposal(sender, proposal) for sender, proposal in proposals):
            raise PolicyRejected("commit")


class Party:
    """Someone with a signature key, who may be in a group."""

    def __init__(self, name: str, policy: Policy | None = None, suite: CipherSuite = SUITE) -> None:
        self.name = name
        self.suite = suite
        self.policy = policy or Rules()
        self.signature_secret = suite.signature.generate(os.urandom)
        self.bundles: dict[bytes, KeyPackageBundle] = {}
        self.member: Group | None = None

    @property
    def group(self) -> Group:
        assert self.member is not None
        return self.member

    def offer(self, **options: Any) -> KeyPackageBundle:
        """Make a key package."""
        options = {"not_before": NOW - DAY, "not_after": NOW + 30 * DAY} | options
        bundle = KeyPackageBundle.generate(self.suite, self.name.encode(), self.signature_secret, **options)
        self.bundles[bundle.reference] = bundle
        return bundle

    def create(self, group_id: bytes = b"room", **options: Any) -> Group:
        options = {"not_before": NOW - DAY, "not_after": NOW + 30 * DAY} | options
        self.member = Group.create(
            self.suite, group_id, self.name.encode(), self.signature_secret, policy=self.policy, **options
        )
        return self.member

    def join(
        self, welcome: bytes | None, *, other_groups: Container[bytes] = (), **options: Unpack[JoinOptions]
    ) -> Group:
        assert welcome is not None
        self.member = Group.join(
            welcome, self.bundles.get, policy=self.policy, other_groups=other_groups, **options
        )
        return self.member

    def enters(
        self,
        group_info: bytes,
        *,
        to: Sequence[Party] = (),
        other_groups: Container[bytes] = (),
        **options: Unpack[ExternalJoinOptions],
    ) -> bytes:
        """Join by an external commit, let `to` process it, and return it."""
        self.member, commit = Group.join_externally(
            group_info,
            self.name.encode(),
            self.signature_secret,
            policy=self.policy,
            other_groups=other_groups,
            **options,
        )
        for other in to:
            assert isinstance(other.sees(commit), Committed)
        return commit

    def restart(self) -> None:
        """Forget all but what is stored."""
        before = self.group.state()
        self.member = Group.restore(before, policy=self.policy)
        assert self.group.state() == before

    def sees(self, message: bytes) -> Any:
        return self.group.receive(message)

    def hears(self, message: bytes) -> bytes:
        received = self.sees(message)
        assert isinstance(received, Application)
        return received.data

    def commits(
        self, proposals: Sequence[Proposal] = (), *, to: Sequence[Party] = (), **options: Any
    ) -> PendingCommit:
        """Commit, let `to` process it, and merge."""
        pending = self.group.commit(proposals, now=NOW, **options)
        for other in to:
            assert isinstance(other.sees(pending.message), Committed)
        self.group.merge(pending)
        return pending

    def adds(self, newcomer: Party, *, to: Sequence[Party] = ()) -> None:
        pending = self.commits([Add(newcomer.offer().key_package)], to=to)
        newcomer.join(pending.welcome)


def form(*names: str, extensions: Sequence[Extension] = ()) -> list[Party]:
    """Return parties who are all in one group, the first its creator."""
    parties = [Party(name) for name in names]
    parties[0].create(extensions=extensions)
    if len(parties) > 1:
        pending = parties[0].commits([Add(party.offer().key_package) for party in parties[1:]])
        for party in parties[1:]:
            party.join(pending.welcome)
    assert_agree(parties)
    return parties


def assert_agree(parties: Sequence[Party]) -> None:
    assert len({(party.group.epoch, party.group.epoch_authenticator) for party in parties}) == 1
    assert len({party.group.members() for party in parties}) == 1
