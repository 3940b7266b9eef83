"""A small world of clients and one group, whose history anyone may write; after every step all must agree.

Its delivery service gives handshake messages to everyone in one order, or loses them; application messages
arrive late, in any order, twice or never. What is on a client's disk is never older than what it sent.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict, Unpack

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    SUITES,
    Add,
    BasicCredential,
    CipherSuite,
    Committed,
    Extension,
    ExternalPsk,
    ExternalSender,
    ExternalSenderIndex,
    ExternalSenders,
    Group,
    GroupClosedError,
    GroupContextExtensions,
    GroupState,
    LocalError,
    MemberSender,
    MLSError,
    OwnMessageError,
    PendingCommit,
    PreSharedKey,
    PreSharedKeyID,
    Proposal,
    Remove,
    ReplayError,
    ResumptionPsk,
    ResumptionUsage,
    StalePendingError,
    WrongEpochError,
    new_psk_id,
    propose_externally,
    propose_join,
)
from clave_crypto.mls.extensions import ExtensionType
from clave_crypto.mls.limits import DEFAULT_LIMITS
from forgekit import suite_as
from groupkit import NOW, Party, assert_agree

MOST = 50
"""Members at most."""


class CommitOptions(TypedDict, total=False):
    """How a commit is made, where it differs from the defaults of `Group.commit`."""

    path: bool
    public: bool
    ratchet_tree: bool


def without_guard(size: int) -> bytes:
    """Return random bytes, but a reuse guard of zeros: only the ratchets keep keys and nonces apart."""
    return bytes(size) if size == 4 else os.urandom(size)


class Ledger:
    """The (key, nonce) of everything that was encrypted and left its client: none may come twice."""

    def __init__(self) -> None:
        self.pairs: set[tuple[bytes, bytes]] = set()

    def record(self, key: bytes, nonce: bytes) -> None:
        pair = (bytes(key), bytes(nonce))
        assert pair not in self.pairs, "a key and nonce encrypt a second time"
        self.pairs.add(pair)

    @contextmanager
    def unsent(self) -> Iterator[None]:
        """Forget what is encrypted meanwhile: it never leaves its client."""
        before = self.pairs.copy()
        yield
        self.pairs = before


class Recording(CipherSuite):
    """A suite that writes what it seals into a ledger."""

    ledger: Ledger

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        self.ledger.record(key, nonce)
        return super().seal(key, nonce, aad, plaintext)


@dataclass
class Spoken:
    """An application message on its way to those who were members when it was sent."""

    epoch: int
    data: bytes
    message: bytes
    missing: list[Party]


class World:
    """One group, who is in it, who was, and what is still on its way."""

    def __init__(self, suite: CipherSuite, size: int) -> None:
        self.ledger = Ledger()
        self.plain, self.suite = suite, suite_as(Recording, suite)
        object.__setattr__(self.suite, "ledger", self.ledger)
        SUITES[suite.id] = self.suite
        self.names = (f"p{number}" for number in itertools.count())
        self.since: dict[Party, int] = {}
        self.resumption: dict[int, Secret] = {}
        self.watcher = self.newcomer()
        self.waiting: dict[bytes, Party] = {}
        self.spoken: list[Spoken] = []
        self.ghosts: list[tuple[Party, GroupState]] = []
        founder = self.newcomer()
        founder.create(extensions=[self.watched()])
        self.inside: list[Party] = []
        self.settles(founder)
        if size > 1:
            self.commits(founder, [self.invite() for _ in range(size - 1)])

    def close(self) -> None:
        SUITES[self.plain.id] = self.plain

    # People

    def newcomer(self) -> Party:
        return Party(next(self.names), suite=self.suite)

    def member(self, number: int) -> Party:
        return self.inside[number % len(self.inside)]

    def invite(self) -> Add:
        party = self.newcomer()
        self.waiting[party.name.encode()] = party
        return Add(party.offer().key_package)

    def room(self) -> int:
        return max(0, MOST - len(self.inside) - len(self.member(0).group.pending_proposals))

    def watched(self) -> Extension:
        key = self.suite.signature.public_key(self.watcher.signature_secret)
        senders = ExternalSenders((ExternalSender(key, BasicCredential(b"watcher")),))
        return Extension(ExtensionType.EXTERNAL_SENDERS, senders.encode())

    def find_psk(self, psk_id: PreSharedKeyID) -> Secret | None:
        """Everyone knows every external key, and is told the group's resumption keys on joining."""
        psk = psk_id.psk
        if isinstance(psk, ExternalPsk):
            return Secret(b"shared " + psk.psk_id)
        return self.resumption[psk.psk_epoch]

    def settles(self, party: Party) -> None:
        """Count somebody in who is a member from this epoch on."""
        self.inside.append(party)
        self.since[party] = party.group.epoch

    # Proposals

    def proposal(self, kind: str, number: int) -> Proposal | None:
        """Return a proposal of that kind, if there is one to make now."""
        match kind:
            case "add":
                return self.invite() if self.room() else None
            case "remove":
                return Remove(self.member(number).group.own_leaf) if len(self.inside) > 2 else None
            case "external psk":
                return PreSharedKey(new_psk_id(self.suite, ExternalPsk(b"%d" % number)))
            case "resumption psk":
                group = self.member(0).group
                psk = ResumptionPsk(ResumptionUsage.APPLICATION, group.group_id, group.epoch)
                return PreSharedKey(new_psk_id(self.suite, psk))
            case _:
                return GroupContextExtensions((self.watched(),))

    def proposes(self, sender: Party, kind: str, number: int, *, public: bool, lost: bool) -> None:
        if kind == "update":
            message = sender.group.propose_update(now=NOW, public=public, random=without_guard)
        elif proposal := self.proposal(kind, number):
            own = (MemberSender(sender.group.own_leaf), proposal)
            try:
                message = sender.group.propose(proposal, now=NOW, public=public, random=without_guard)
            except LocalError:
                assert own in [(one, other) for _, one, other in sender.group.pending_proposals]
                return
        else:
            return
        if lost:
            *_, (reference, _, _) = sender.group.pending_proposals
            sender.group.withdraw(reference)
        else:
            self.to_all(message, but=sender)

    def proposes_from_outside(self, kind: str, number: int) -> None:
        group = self.member(0).group
        if kind == "join":
            if not self.room():
                return
            party = self.newcomer()
            self.waiting[party.name.encode()] = party
            self.to_all(propose_join(party.offer(), group.group_id, group.epoch))
        elif proposal := self.proposal(kind, number):
            secret = self.watcher.signature_secret
            if (ExternalSenderIndex(0), proposal) in [
                (one, other) for _, one, other in group.pending_proposals
            ]:
                return
            self.to_all(propose_externally(self.suite, 0, secret, proposal, group.group_id, group.epoch))

    def to_all(self, message: bytes, *, but: Party | None = None) -> None:
        for party in self.inside:
            if party is not but:
                party.group.receive(message, find_psk=self.find_psk)

    # Commits

    def made(
        self, committer: Party, proposals: Sequence[Proposal] = (), **options: Unpack[CommitOptions]
    ) -> PendingCommit:
        """Make a commit; the client stores it and goes down before it is sent."""
        pending = committer.group.commit(
            proposals, now=NOW, find_psk=self.find_psk, random=without_guard, **options
        )
        stored = pending.encode()
        committer.restart()
        return PendingCommit.decode(stored, policy=committer.policy)

    def commits(
        self,
        committer: Party,
        proposals: Sequence[Proposal] = (),
        *,
        rival: Party | None = None,
        twice: bool = False,
        **options: Unpack[CommitOptions],
    ) -> None:
        """Let a commit be the one that counts, against a rival's."""
        pending = self.made(committer, proposals, **options)
        beaten = None if rival in (None, committer) else self.made(rival)
        self.end_epoch()
        before = [(party, party.group.state()) for party in self.inside]
        with pytest.raises(OwnMessageError):
            committer.sees(pending.message)
        told = [
            party.group.receive(pending.message, find_psk=self.find_psk)
            for party in self.inside
            if party is not committer
        ]
        committed = committer.group.merge(pending)
        assert all(one == committed or (isinstance(one, Committed) and one.removed_self) for one in told)
        if twice:
            for party in self.inside:
                self.refuses(party, pending.message, WrongEpochError, GroupClosedError)
        if rival is not None and beaten is not None:
            with pytest.raises(GroupClosedError if rival.group.closed else StalePendingError):
                rival.group.merge(beaten)
            rival.group.discard(beaten)
        self.leave(before)
        tree = None if options.get("ratchet_tree", True) else committer.group.ratchet_tree()
        for member in committed.added:
            party = self.waiting.pop(member.identity)
            assert pending.welcome is not None
            party.join(pending.welcome, ratchet_tree=tree, find_psk=self.find_psk)
            self.settles(party)
        self.agree()

    def loses(self, committer: Party, proposals: Sequence[Proposal]) -> None:
        """Let a commit be lost on its way: its client gives it up."""
        committer.group.discard(self.made(committer, proposals))

    def enters(self, party: Party, number: int, *, removes: int | None, psk: bool) -> None:
        """Let somebody in by an external commit."""
        info = self.member(number).group.group_info(random=without_guard)
        psks = [new_psk_id(self.suite, ExternalPsk(b"door"))] if psk else []
        commit = party.enters(info, removes=removes, psks=psks, find_psk=self.find_psk, random=without_guard)
        self.end_epoch()
        before = [(one, one.group.state()) for one in self.inside if one is not party]
        for one, _ in before:
            committed = one.group.receive(commit, find_psk=self.find_psk)
            assert isinstance(committed, Committed)
            assert committed.external
        self.inside = [one for one in self.inside if one is not party]
        self.leave(before)
        self.settles(party)
        self.agree()

    def end_epoch(self) -> None:
        self.resumption = {self.member(0).group.epoch: self.member(0).group._epoch.secrets.resumption_psk}

    def leave(self, before: Sequence[tuple[Party, GroupState]]) -> None:
        """Move out whoever was removed; a copy of each stays behind that never hears of it."""
        for party, state in before:
            if party.group.closed:
                self.inside.remove(party)
                self.ghosts.append((party, state))
                for use in (party.group.encrypt, party.sees):
                    with pytest.raises(GroupClosedError):
                        use(b"")
        del self.ghosts[:-4]

    def agree(self) -> None:
        assert_agree(self.inside)
        assert not self.member(0).group.pending_proposals
        self.speaks(self.member(self.member(0).group.epoch), b"here we are")

    # Talk

    def speaks(self, speaker: Party, data: bytes) -> None:
        """Send application data, unless proposals are pending; those who were removed cannot read it."""
        if speaker.group.pending_proposals:
            return
        message = speaker.group.encrypt(data, random=without_guard)
        others = [party for party in self.inside if party is not speaker]
        self.spoken.append(Spoken(speaker.group.epoch, data, message, others))
        self.refuses(speaker, message, OwnMessageError)
        for party, state in self.ghosts:
            ghost = Group.restore(state, policy=party.policy)
            with pytest.raises(WrongEpochError):
                ghost.receive(message)

    def hears(self, number: int, listener: int, *, twice: bool) -> None:
        """Deliver a message that was spoken at some time to one who has not heard it."""
        spoken = self.spoken[number % len(self.spoken)]
        if not spoken.missing:
            self.spoken.remove(spoken)
            return
        party = spoken.missing.pop(listener % len(spoken.missing))
        if party.group.closed:
            self.refuses(party, spoken.message, GroupClosedError)
        elif not max(self.since[party], party.group.epoch - DEFAULT_LIMITS.past_epochs) <= spoken.epoch:
            self.refuses(party, spoken.message, WrongEpochError)
        else:
            assert party.hears(spoken.message) == spoken.data
            if twice:
                self.refuses(party, spoken.message, ReplayError)

    # Mishaps

    def crashes(self, party: Party, use: Callable[[Group], object], *, sent: bool) -> None:
        """Let a client go down while it sends: before the state is stored and anything sent, or after."""
        if sent:
            use(party.group)
            party.restart()
            return
        state = party.group.state()
        with self.ledger.unsent():
            use(party.group)
        party.member = Group.restore(state, policy=party.policy)

    def refuses(self, party: Party, message: bytes, *errors: type[MLSError]) -> None:
        before = party.group.state()
        with pytest.raises(errors):
            party.sees(message)
        assert party.group.state() == before
