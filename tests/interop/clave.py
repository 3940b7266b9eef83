"""Members on this library."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from clave_crypto.mls import (
    SUITES,
    Add,
    Application,
    Committed,
    Group,
    KeyPackageBundle,
    NoPolicy,
    Proposal,
    ProposalReceived,
    Remove,
    decode_group_info,
    decode_key_package,
    encode_message,
    find_suite,
    propose_join,
)
from interop.peer import EXPORT_LABEL, Commit, Kind, Library, Operation, Peer, Received, State

__all__ = ["Clave", "ClavePeer"]

HOUR = 3600


class ClavePeer(Peer):
    """A client on this library. It runs by the system's clock, as those of other libraries do."""

    def __init__(self, identity: str, suite: int, *, public_handshake: bool) -> None:
        self.identity = identity
        self.suite = find_suite(suite)
        self.public_handshake = public_handshake
        self.policy = NoPolicy()
        self.signature_secret = self.suite.signature.generate(os.urandom)
        begin = int(time.time()) - HOUR
        self.lifetime: dict[str, Any] = {"not_before": begin, "not_after": begin + 30 * 24 * HOUR}
        self.bundles: dict[bytes, KeyPackageBundle] = {}
        self.member: Group | None = None

    @property
    def group(self) -> Group:
        assert self.member is not None
        return self.member

    @property
    def now(self) -> int:
        return int(time.time())

    def key_package(self) -> bytes:
        return encode_message(self.bundle().key_package)

    def bundle(self, **options: Any) -> KeyPackageBundle:
        """Make a key package with the options of `KeyPackageBundle.generate`; return it with its keys."""
        bundle = KeyPackageBundle.generate(
            self.suite, self.identity.encode(), self.signature_secret, **self.lifetime, **options
        )
        self.bundles[bundle.reference] = bundle
        return bundle

    def create(self) -> None:
        self.member = Group.create(
            self.suite,
            os.urandom(16),
            self.identity.encode(),
            self.signature_secret,
            policy=self.policy,
            **self.lifetime,
        )

    def join(self, welcome: bytes) -> None:
        self.member = Group.join(welcome, self.bundles.get, policy=self.policy, other_groups=())

    def external_join(self, group_info: bytes) -> Commit:
        self.member, message = Group.join_externally(
            group_info,
            self.identity.encode(),
            self.signature_secret,
            policy=self.policy,
            removes=None if self.member is None else self.member.own_leaf,
            other_groups=(),
        )
        return Commit(message, group_info=self.group.group_info())

    def add(self, *key_packages: bytes) -> Commit:
        return self._commit([self._offered(one) for one in key_packages])

    def update(self) -> Commit:
        return self._commit([])

    def remove(self, identity: str) -> Commit:
        return self._commit([self._removal(identity)])

    def commit(self) -> Commit:
        assert self.group.pending_proposals
        return self._commit([])

    def propose_add(self, key_package: bytes) -> bytes:
        return self._propose(self._offered(key_package))

    def propose_update(self) -> bytes:
        return self.group.propose_update(now=self.now, public=self.public_handshake)

    def propose_remove(self, identity: str) -> bytes:
        return self._propose(self._removal(identity))

    def propose_join(self, group_info: bytes) -> bytes:
        context = decode_group_info(group_info).group_context
        return propose_join(self.bundle(), context.group_id, context.epoch)

    def send(self, data: bytes) -> bytes:
        return self.group.encrypt(data)

    def receive(self, message: bytes) -> Received:
        match self.group.receive(message):
            case Application(data=data):
                return Received(Kind.APPLICATION, data)
            case ProposalReceived():
                return Received(Kind.PROPOSAL)
            case Committed(removed_self=removed):
                return Received(Kind.COMMIT, removed=removed)

    def export(self) -> bytes:
        return bytes(self.group.export(EXPORT_LABEL, b"", 32))

    def state(self) -> State:
        return State.of(self.group.epoch, (one.identity.decode() for one in self.group.members()))

    def _offered(self, message: bytes) -> Add:
        key_package = decode_key_package(message)
        key_package.verify(policy=self.policy, now=self.now)
        return Add(key_package)

    def _removal(self, identity: str) -> Remove:
        found = (one.leaf_index for one in self.group.members() if one.identity == identity.encode())
        return Remove(next(found))

    def _propose(self, proposal: Proposal) -> bytes:
        return self.group.propose(proposal, now=self.now, public=self.public_handshake)

    def _commit(self, proposals: Sequence[Proposal]) -> Commit:
        pending = self.group.commit(proposals, now=self.now, public=self.public_handshake)
        self.group.merge(pending)
        return Commit(pending.message, pending.welcome, self.group.group_info())


class Clave(Library):
    """This library."""

    name = "clave"
    suites = tuple(SUITES)
    operations = frozenset(Operation)

    def client(self, identity: str, suite: int, *, public_handshake: bool) -> ClavePeer:
        return ClavePeer(identity, suite, public_handshake=public_handshake)
