"""Groups with members of this library and of mls-rs: each creates, adds, sends, updates and removes.

Neither side is told what the other computed: they agree when the secret that each exports is the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Application,
    Committed,
    Group,
    KeyPackageBundle,
    Proposal,
    ProposalReceived,
    Remove,
    decode_key_package,
    encode_message,
)
from groupkit import SUITE, Rules

mls_rs = pytest.importorskip("mls_rs_uniffi", reason="needs mls-rs: pip install --group interop")

HOUR = 3600


class Member(Protocol):
    """One party, whichever library it runs on. Messages are bytes; who commits applies the commit itself."""

    name: str

    def offer(self) -> bytes: ...
    def create(self) -> None: ...
    def join(self, welcome: bytes) -> None: ...
    def add(self, *key_packages: bytes) -> tuple[bytes, bytes]: ...
    def commit(self) -> tuple[bytes, bytes | None]: ...
    def remove(self, name: str) -> bytes: ...
    def propose_add(self, key_package: bytes) -> bytes: ...
    def propose_remove(self, name: str) -> bytes: ...
    def say(self, data: bytes) -> bytes: ...
    def hear(self, message: bytes) -> bytes: ...
    def follow(self, message: bytes) -> bool:
        """Process a commit; return whether it removed this member."""
        ...

    def note(self, proposal: bytes) -> None: ...
    def exported(self) -> bytes: ...


class Ours:
    """A member on this library. It runs by the same clock as mls-rs, which takes no other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.policy = Rules()
        self.signature_secret = Secret(os.urandom(32))
        begin = int(time.time()) - HOUR
        self.lifetime: dict[str, Any] = {"not_before": begin, "not_after": begin + 30 * 24 * HOUR}
        self.bundles: dict[bytes, KeyPackageBundle] = {}

    @property
    def now(self) -> int:
        return int(time.time())

    def offer(self) -> bytes:
        bundle = KeyPackageBundle.generate(SUITE, self.name.encode(), self.signature_secret, **self.lifetime)
        self.bundles[bundle.reference] = bundle
        return encode_message(bundle.key_package)

    def create(self) -> None:
        self.group = Group.create(
            SUITE, b"room", self.name.encode(), self.signature_secret, policy=self.policy, **self.lifetime
        )

    def join(self, welcome: bytes) -> None:
        self.group = Group.join(welcome, self.bundles.get, policy=self.policy, other_groups=())

    def add(self, *key_packages: bytes) -> tuple[bytes, bytes]:
        commit, welcome = self._commit([self._offered(one) for one in key_packages])
        assert welcome is not None
        return commit, welcome

    def commit(self) -> tuple[bytes, bytes | None]:
        return self._commit([])

    def remove(self, name: str) -> bytes:
        return self._commit([Remove(self._find(name))])[0]

    def propose_add(self, key_package: bytes) -> bytes:
        return self.group.propose(self._offered(key_package), now=self.now)

    def propose_remove(self, name: str) -> bytes:
        return self.group.propose(Remove(self._find(name)), now=self.now)

    def say(self, data: bytes) -> bytes:
        return self.group.encrypt(data)

    def hear(self, message: bytes) -> bytes:
        received = self.group.receive(message)
        assert isinstance(received, Application)
        return received.data

    def follow(self, message: bytes) -> bool:
        received = self.group.receive(message)
        assert isinstance(received, Committed)
        return received.removed_self

    def note(self, proposal: bytes) -> None:
        assert isinstance(self.group.receive(proposal), ProposalReceived)

    def exported(self) -> bytes:
        return self.group.export("label", b"context", 32)

    def _offered(self, message: bytes) -> Add:
        key_package = decode_key_package(message)
        key_package.verify(policy=self.policy, now=self.now)
        return Add(key_package)

    def _find(self, name: str) -> int:
        return next(one.leaf_index for one in self.group.members() if one.identity == name.encode())

    def _commit(self, proposals: Sequence[Proposal]) -> tuple[bytes, bytes | None]:
        pending = self.group.commit(proposals, now=self.now)
        self.group.merge(pending)
        return pending.message, pending.welcome


class Theirs:
    """A member on mls-rs. It names whom it removes by what it heard from them."""

    def __init__(self, name: str) -> None:
        self.name = name
        keys = mls_rs.generate_signature_keypair(mls_rs.CipherSuite.CURVE25519_AES128)
        self.client = mls_rs.Client(name.encode(), keys, mls_rs.client_config_default())
        self.heard: dict[str, Any] = {}

    def offer(self) -> bytes:
        return bytes(self.client.generate_key_package_message().to_bytes())

    def create(self) -> None:
        self.group = self.client.create_group(None)

    def join(self, welcome: bytes) -> None:
        self.group = self.client.join_group(None, mls_rs.Message.from_bytes(welcome)).group

    def add(self, *key_packages: bytes) -> tuple[bytes, bytes]:
        made = self.group.add_members([mls_rs.Message.from_bytes(one) for one in key_packages])
        commit, welcome = self._apply(made)
        assert welcome is not None
        return commit, welcome

    def commit(self) -> tuple[bytes, bytes | None]:
        return self._apply(self.group.commit())

    def remove(self, name: str) -> bytes:
        return self._apply(self.group.remove_members([self.heard[name]]))[0]

    def propose_add(self, key_package: bytes) -> bytes:
        return bytes(self.group.propose_add_members([mls_rs.Message.from_bytes(key_package)])[0].to_bytes())

    def propose_remove(self, name: str) -> bytes:
        return bytes(self.group.propose_remove_members([self.heard[name]])[0].to_bytes())

    def say(self, data: bytes) -> bytes:
        return bytes(self.group.encrypt_application_message(data).to_bytes())

    def hear(self, message: bytes) -> bytes:
        received = self._process(message)
        assert received.is_application_message()
        data = bytes(received.data)
        self.heard[data.decode()] = received.sender
        return data

    def follow(self, message: bytes) -> bool:
        received = self._process(message)
        assert received.is_commit()
        return bool(received.effect.is_removed())

    def note(self, proposal: bytes) -> None:
        assert self._process(proposal).is_received_proposal()

    def exported(self) -> bytes:
        return bytes(self.group.export_secret(b"label", b"context", 32))

    def _process(self, message: bytes) -> Any:
        return self.group.process_incoming_message(mls_rs.Message.from_bytes(message))

    def _apply(self, made: Any) -> tuple[bytes, bytes | None]:
        message = bytes(made.commit_message.to_bytes())
        self._process(message)
        return message, made.welcome_message and bytes(made.welcome_message.to_bytes())


Kind = Callable[[str], Member]
MIXED: list[tuple[Kind, ...]] = [
    (Ours, Theirs),
    (Theirs, Ours),
    (Ours, Ours, Theirs),
    (Ours, Theirs, Ours),
    (Ours, Theirs, Theirs),
    (Theirs, Ours, Ours),
    (Theirs, Ours, Theirs),
    (Theirs, Theirs, Ours),
]
of_every_mix = pytest.mark.parametrize(
    "kinds", MIXED, ids=lambda kinds: "-".join(kind.__name__.lower() for kind in kinds)
)


def others(members: Sequence[Member], one: Member) -> list[Member]:
    return [member for member in members if member is not one]


def agree(members: Sequence[Member]) -> None:
    assert len({member.exported() for member in members}) == 1


def form(kinds: Sequence[Kind]) -> list[Member]:
    """Return the members of one group, the first its creator, added one commit each."""
    members = [kind(f"member {number}") for number, kind in enumerate(kinds)]
    members[0].create()
    for number, newcomer in enumerate(members[1:], 1):
        commit, welcome = members[0].add(newcomer.offer())
        for earlier in members[1:number]:
            assert not earlier.follow(commit)
        newcomer.join(welcome)
        agree(members[: number + 1])
    talk(members)
    return members


def talk(members: Sequence[Member]) -> None:
    for speaker in members:
        message = speaker.say(speaker.name.encode())
        for listener in others(members, speaker):
            assert listener.hear(message) == speaker.name.encode()


def update(members: Sequence[Member]) -> None:
    for committer in members:
        before = committer.exported()
        commit, _ = committer.commit()
        for member in others(members, committer):
            assert not member.follow(commit)
        agree(members)
        assert committer.exported() != before


@of_every_mix
def test_all_members_send_and_update(kinds: tuple[Kind, ...]) -> None:
    members = form(kinds)
    for _ in range(2):
        update(members)
        talk(members)


@of_every_mix
def test_several_join_by_one_commit(kinds: tuple[Kind, ...]) -> None:
    members = [kind(f"member {number}") for number, kind in enumerate(kinds)]
    members[0].create()
    _, welcome = members[0].add(*(member.offer() for member in members[1:]))
    for newcomer in members[1:]:
        newcomer.join(welcome)
    agree(members)
    talk(members)
    update(members)


@of_every_mix
@pytest.mark.parametrize("updated", [False, True], ids=["fresh", "updated"])
def test_each_removes_each(kinds: tuple[Kind, ...], updated: bool) -> None:
    for remover in range(len(kinds)):
        for removed in set(range(len(kinds))) - {remover}:
            members = form(kinds)
            if updated:
                update(members)
            commit = members[remover].remove(members[removed].name)
            for number, member in enumerate(members):
                if number != remover:
                    assert member.follow(commit) == (number == removed)
            staying = others(members, members[removed])
            agree(staying)
            talk(staying)
            update(staying)


@of_every_mix
def test_removed_member_rejoins(kinds: tuple[Kind, ...]) -> None:
    members = form(kinds)
    *staying, leaver = members
    commit = staying[0].remove(leaver.name)
    for member in members[1:]:
        member.follow(commit)
    again = type(leaver)("member again")  # type: ignore[call-arg]  # both kinds are made of a name
    commit, welcome = staying[-1].add(again.offer())
    for member in staying[:-1]:
        member.follow(commit)
    again.join(welcome)
    agree([*staying, again])
    talk([*staying, again])
    update([*staying, again])


@of_every_mix
@pytest.mark.parametrize("newcomer_kind", [Ours, Theirs])
def test_one_proposes_to_add_and_another_commits(kinds: tuple[Kind, ...], newcomer_kind: Kind) -> None:
    for proposer in range(len(kinds)):
        for committer in set(range(len(kinds))) - {proposer}:
            members = form(kinds)
            newcomer = newcomer_kind("newcomer")
            proposal = members[proposer].propose_add(newcomer.offer())
            for member in others(members, members[proposer]):
                member.note(proposal)
            commit, welcome = members[committer].commit()
            assert welcome is not None
            for member in others(members, members[committer]):
                assert not member.follow(commit)
            newcomer.join(welcome)
            agree([*members, newcomer])
            talk([*members, newcomer])


@pytest.mark.parametrize(
    "kinds",
    [mix for mix in MIXED if len(mix) == 3],
    ids=lambda kinds: "-".join(kind.__name__.lower() for kind in kinds),
)
def test_one_proposes_to_remove_and_another_commits(kinds: tuple[Kind, ...]) -> None:
    for proposer in range(3):
        for committer in {0, 1, 2} - {proposer}:
            members = form(kinds)
            third = next(members[number] for number in range(3) if number not in {proposer, committer})
            proposal = members[proposer].propose_remove(third.name)
            for member in others(members, members[proposer]):
                member.note(proposal)
            commit, _ = members[committer].commit()
            assert not members[proposer].follow(commit)
            assert third.follow(commit)
            staying = others(members, third)
            agree(staying)
            talk(staying)
