"""A stage on which a scenario script is played: every role by this library, every message through bytes."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Application,
    BasicCredential,
    CipherSuite,
    Committed,
    Extension,
    ExtensionType,
    ExternalPsk,
    ExternalSender,
    ExternalSenders,
    Group,
    GroupContextExtensions,
    KeyPackage,
    KeyPackageBundle,
    NoPolicy,
    OwnMessageError,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    ReInit,
    Remove,
    ResumptionPsk,
    ResumptionUsage,
    decode_key_package,
    encode_message,
    find_extension,
    find_suite,
    new_psk_id,
    propose_externally,
    propose_join,
)
from groupkit import Lifetime

NOW = 1_800_000_000
LIFETIME: Lifetime = {"not_before": NOW - 3600, "not_after": NOW + 3600}
OTHER_SUITE = {1: 3, 2: 5, 3: 1, 4: 6, 5: 2, 6: 4, 7: 2}

Step = dict[str, Any]


class Actor:
    """Somebody with keys, known by name; in a group once it joined."""

    def __init__(self, name: str, suite: CipherSuite) -> None:
        self.name = name
        self.suite = suite
        self.signature_secret = suite.signature.generate(os.urandom)
        self.psks: dict[bytes, Secret] = {}
        self.bundles: dict[bytes, KeyPackageBundle] = {}
        self.member: Group | None = None

    @property
    def group(self) -> Group:
        assert self.member is not None, f"{self.name} is in no group"
        return self.member

    def find_psk(self, psk_id: PreSharedKeyID) -> Secret | None:
        return self.psks.get(psk_id.psk.psk_id) if isinstance(psk_id.psk, ExternalPsk) else None

    def offer(self) -> bytes:
        """Return a new key package, encoded."""
        bundle = KeyPackageBundle.generate(self.suite, self.name.encode(), self.signature_secret, **LIFETIME)
        self.bundles[bundle.reference] = bundle
        return encode_message(bundle.key_package)

    def move_to(self, suite: CipherSuite) -> None:
        """Go on with another cipher suite, which needs another signature key."""
        if suite is not self.suite:
            self.suite, self.signature_secret = suite, suite.signature.generate(os.urandom)

    def join(self, welcome: bytes, **options: Any) -> None:
        self.member = Group.join(
            welcome,
            self.bundles.get,
            policy=NoPolicy(),
            find_psk=self.find_psk,
            other_groups=(),
            **options,
        )

    def hears(self, message: bytes) -> Any:
        return self.group.receive(message, find_psk=self.find_psk)

    def leaf_of(self, name: str) -> int:
        return next(one.leaf_index for one in self.group.members() if one.identity == name.encode())


class Stage:
    """Plays one script; `results` are what its steps brought forth, by number."""

    def __init__(self, suite: CipherSuite, *, public: bool) -> None:
        self.suite = suite
        self.public = public
        self.actors: dict[str, Actor] = {}
        self.results: list[Any] = []

    def play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            fields = {_snake(name): value for name, value in step.items()}
            action: Callable[..., Any] = getattr(self, _snake(fields.pop("action")))
            self.results.append(action(**fields))

    def actor(self, name: str) -> Actor:
        return self.actors.setdefault(name, Actor(name, self.suite))

    def cast(self, names: Sequence[str]) -> list[Actor]:
        return [self.actor(name) for name in names]

    # The scripts' actions; theirs are in camel case

    def create_group(self, actor: str, members: Sequence[str] = ()) -> None:
        creator = self.actor(actor)
        creator.member = Group.create(
            self.suite, b"group", actor.encode(), creator.signature_secret, policy=NoPolicy(), **LIFETIME
        )
        packages = [one.offer() for one in self.cast(members)]
        if packages:
            adds = [Add(decode_key_package(package)) for package in packages]
            self._commit(creator, adds, [], self.cast(members))

    def create_key_package(self, actor: str) -> bytes:
        return self.actor(actor).offer()

    def install_external_psk(self, clients: Sequence[str]) -> bytes:
        psk_id, psk = os.urandom(8), Secret(os.urandom(32))
        for one in self.cast(clients):
            one.psks[psk_id] = psk
        return psk_id

    def add_proposal(self, actor: str, key_package: int) -> bytes:
        return self._propose(actor, {"proposalType": "add", "keyPackage": key_package})

    def remove_proposal(self, actor: str, removed: str) -> bytes:
        return self._propose(actor, {"proposalType": "remove", "removed": removed})

    def update_proposal(self, actor: str) -> bytes:
        return self.actor(actor).group.propose_update(now=NOW, public=self.public)

    def external_psk_proposal(self, actor: str, psk_id: int) -> bytes:
        return self._propose(actor, {"proposalType": "externalPSK", "pskID": psk_id})

    def resumption_psk_proposal(self, actor: str, epoch_id: int) -> bytes:
        return self._propose(actor, {"proposalType": "resumptionPSK", "epochID": epoch_id})

    def group_context_extensions_proposal(self, actor: str, extensions: list[Step]) -> bytes:
        return self._propose(actor, {"proposalType": "groupContextExtensions", "extensions": extensions})

    def add_external_signer(self, actor: str, signer: str) -> bytes:
        one, group = self.actor(signer), self.actor(actor).group
        public = one.suite.signature.public_key(one.signature_secret)
        data = find_extension(group.extensions, ExtensionType.EXTERNAL_SENDERS)
        before = () if data is None else ExternalSenders.decode(data).senders
        senders = (*before, ExternalSender(public, BasicCredential(signer.encode())))
        kept = [one for one in group.extensions if one.extension_type != ExtensionType.EXTERNAL_SENDERS]
        added = Extension(ExtensionType.EXTERNAL_SENDERS, ExternalSenders(senders).encode())
        return group.propose(GroupContextExtensions((*kept, added)), now=NOW, public=self.public)

    def external_signer_proposal(self, actor: str, member: str, description: Step) -> bytes:
        one, group = self.actor(actor), self.actor(member).group
        data = find_extension(group.extensions, ExtensionType.EXTERNAL_SENDERS)
        assert data is not None
        senders = ExternalSenders.decode(data).senders
        index = next(i for i, s in enumerate(senders) if s.credential.identity == actor.encode())
        proposal = self._described(self.actor(member), description)
        return propose_externally(
            self.suite, index, one.signature_secret, proposal, group.group_id, group.epoch
        )

    def new_member_add_proposal(self, actor: str, joiner: str) -> bytes:
        group, one = self.actor(actor).group, self.actor(joiner)
        one.offer()
        (bundle,) = one.bundles.values()
        return propose_join(bundle, group.group_id, group.epoch)

    def full_commit(
        self,
        actor: str,
        members: Sequence[str] = (),
        by_reference: Sequence[int] = (),
        by_value: Sequence[Step] = (),
        joiners: Sequence[str] = (),
        force_path: bool = False,
        external_tree: bool = False,
    ) -> None:
        committer = self.actor(actor)
        for number in by_reference:
            self._deliver(self.results[number], [committer, *self.cast(members)])
        proposals = [self._described(committer, one) for one in by_value]
        self._commit(
            committer,
            proposals,
            self.cast(members),
            self.cast(joiners),
            path=force_path,
            ratchet_tree=not external_tree,
        )

    def external_join(
        self,
        actor: str,
        joiner: str,
        members: Sequence[str] = (),
        external_tree: bool = False,
        remove_prior: bool = False,
        psks: Sequence[int] = (),
    ) -> None:
        insider, one = self.actor(actor), self.actor(joiner)
        ids = [new_psk_id(self.suite, ExternalPsk(self.results[number])) for number in psks]
        for psk in ids:
            assert isinstance(psk.psk, ExternalPsk)
            one.psks[psk.psk.psk_id] = insider.psks[psk.psk.psk_id]
        one.member, commit = Group.join_externally(
            insider.group.group_info(ratchet_tree=not external_tree),
            joiner.encode(),
            one.signature_secret,
            policy=NoPolicy(),
            ratchet_tree=insider.group.ratchet_tree() if external_tree else None,
            removes=insider.leaf_of(joiner) if remove_prior else None,
            psks=ids,
            find_psk=one.find_psk,
            other_groups=(),
        )
        others = [insider, *self.cast(members)]
        for other in others:
            assert other.hears(commit).external
        self._verify([one, *others])

    def protect(self, actor: str, plaintext: str, authenticated_data: str) -> bytes:
        return self.actor(actor).group.encrypt(
            plaintext.encode(), authenticated_data=authenticated_data.encode()
        )

    def unprotect(self, actor: str, ciphertext: int) -> None:
        received = self.actor(actor).hears(self.results[ciphertext])
        assert isinstance(received, Application)
        said = received.data.decode().removeprefix("hello world ")
        assert received.authenticated_data.decode() == f"btw{said}"

    def branch(
        self,
        actor: str,
        members: Sequence[str],
        extensions: Sequence[Step] = (),
        external_tree: bool = False,
        force_path: bool = False,
    ) -> None:
        first, others = self.actor(actor), self.cast(members)
        group, welcome = first.group.branch(
            b"branch",
            [self._package(one) for one in others],
            extensions=_extensions(extensions),
            now=NOW,
            path=force_path,
            ratchet_tree=not external_tree,
            **LIFETIME,
        )
        self._move(first, group, welcome, others, external_tree)

    def reinit(
        self,
        committer: str,
        welcomer: str,
        members: Sequence[str],
        proposer: str | None = None,
        external_reinit_proposal: int | None = None,
        change_ciphersuite: bool = False,
        change_group_id: bool = False,
        extensions: Sequence[Step] = (),
        external_tree: bool = False,
        force_path: bool = False,
    ) -> None:
        names = dict.fromkeys([committer, welcomer, *members, *([proposer] if proposer else [])])
        everyone, leader = self.cast(list(names)), self.actor(committer)
        if external_reinit_proposal is not None:
            message = self.results[external_reinit_proposal]
        else:
            assert proposer is not None
            reinit = self._reinit(change_ciphersuite, change_group_id, extensions)
            message = self.actor(proposer).group.propose(reinit, now=NOW, public=self.public)
        self._deliver(message, everyone)
        self._commit(leader, [], [one for one in everyone if one is not leader], [], path=force_path)
        first = self.actor(welcomer)
        assert first.group.reinit is not None
        suite = find_suite(first.group.reinit.cipher_suite)
        for one in everyone:
            one.move_to(suite)
        others = [one for one in everyone if one is not first]
        group, welcome = first.group.reinitialize(
            [self._package(one) for one in others],
            welcomer.encode(),
            first.signature_secret,
            now=NOW,
            path=force_path,
            ratchet_tree=not external_tree,
            **LIFETIME,
        )
        self._move(first, group, welcome, others, external_tree)

    # What actions have in common

    def _propose(self, actor: str, description: Step) -> bytes:
        one = self.actor(actor)
        return one.group.propose(self._described(one, description), now=NOW, public=self.public)

    def _described(self, actor: Actor, description: Step) -> Proposal:
        match description:
            case {"proposalType": "add", "keyPackage": number}:
                return Add(decode_key_package(self.results[number]))
            case {"proposalType": "remove", "removed": name}:
                return Remove(actor.leaf_of(name))
            case {"proposalType": "externalPSK", "pskID": number}:
                return PreSharedKey(new_psk_id(self.suite, ExternalPsk(self.results[number])))
            case {"proposalType": "resumptionPSK", "epochID": epoch}:
                psk = ResumptionPsk(ResumptionUsage.APPLICATION, actor.group.group_id, epoch)
                return PreSharedKey(new_psk_id(self.suite, psk))
            case {"proposalType": "groupContextExtensions", "extensions": extensions}:
                return GroupContextExtensions(_extensions(extensions))
            case {"proposalType": "reinit", "changeGroupID": group, "changeCipherSuite": suite, **rest}:
                return self._reinit(suite, group, rest["extensions"])
        raise AssertionError(f"no known proposal: {description}")

    def _reinit(self, change_suite: bool, change_id: bool, extensions: Sequence[Step]) -> ReInit:
        suite = OTHER_SUITE.get(self.suite.id, 1) if change_suite else self.suite.id
        group_id = b"next" if change_id else b"group"
        return ReInit(group_id, 1, suite, _extensions(extensions))

    def _deliver(self, proposal: bytes, everyone: Sequence[Actor]) -> None:
        """Let everyone hear a proposal but who has it pending: its sender."""
        for one in everyone:
            before = len(one.group.pending_proposals)
            try:
                one.hears(proposal)
            except OwnMessageError:
                assert before, "the proposer keeps what it proposed"
            else:
                assert len(one.group.pending_proposals) == before + 1

    def _commit(
        self,
        committer: Actor,
        proposals: Sequence[Proposal],
        members: Sequence[Actor],
        joiners: Sequence[Actor],
        *,
        path: bool = False,
        ratchet_tree: bool = True,
    ) -> None:
        covered = len(proposals) + len(committer.group.pending_proposals)
        pending = committer.group.commit(
            proposals,
            now=NOW,
            path=path,
            public=self.public,
            ratchet_tree=ratchet_tree,
            find_psk=committer.find_psk,
        )
        for one in members:
            heard = one.hears(pending.message)
            assert isinstance(heard, Committed)
            assert not heard.removed_self
        merged = committer.group.merge(pending)
        assert covered >= len(merged.added) + len(merged.removed) + len(merged.updated)
        for one in joiners:
            assert pending.welcome is not None
            one.join(pending.welcome, ratchet_tree=None if ratchet_tree else committer.group.ratchet_tree())
        if merged.reinit is None:
            self._verify([committer, *members, *joiners])

    def _package(self, actor: Actor) -> KeyPackage:
        return decode_key_package(actor.offer())

    def _move(
        self, first: Actor, group: Group, welcome: bytes, others: Sequence[Actor], tree_apart: bool
    ) -> None:
        """Take everyone into the group that continues their old one."""
        for one in others:
            one.join(welcome, origin=one.group, ratchet_tree=group.ratchet_tree() if tree_apart else None)
        first.member = group
        self._verify([first, *others])

    def _verify(self, actors: Sequence[Actor]) -> None:
        """Check that all are in the same state and hear what the first and the last of them say."""
        assert len({one.group.epoch_authenticator for one in actors}) == 1
        for speaker in {id(one): one for one in (actors[0], actors[-1])}.values():
            message = speaker.group.encrypt(b"here")
            for one in actors:
                if one is not speaker:
                    assert one.hears(message).data == b"here"


def _snake(camel: str) -> str:
    """Return `changeGroupID` as `change_group_id`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", camel).lower()


def _extensions(described: Sequence[Step]) -> tuple[Extension, ...]:
    return tuple(
        Extension(one["extension_type"], base64.b64decode(one["extension_data"])) for one in described
    )
