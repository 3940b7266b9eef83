"""A group as one member sees it: the state that messages move from epoch to epoch. Does no I/O.

Every method either does all it says or raises and changes nothing. What is on disk must never be older than
what was sent, so write `state()` after each call that changes it and before anything leaves:

- `encrypt` and `propose` use up a key: store the state before sending what they return.
- `commit` uses up a key and nothing else: store the state and the pending commit before sending its message.
  The key is never used again, whether the commit is merged, discarded or lost.
- `merge` when the commit won, `discard` when another commit of the epoch did.
- `receive` after each message.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import Applied, apply_proposals, check_proposal, combine_psks
from clave_crypto.mls.change import Change
from clave_crypto.mls.committing import describe, follow_commit, make_commit
from clave_crypto.mls.creating import create
from clave_crypto.mls.epoch import Epoch, FindPsk, Member, no_psks
from clave_crypto.mls.errors import (
    CommitRequiredError,
    GroupClosedError,
    LocalError,
    MalformedError,
    WrongEpochError,
    WrongGroupError,
)
from clave_crypto.mls.events import Committed, ProposalReceived, Received
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.framing import (
    ApplicationData,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.joining import FindBundle, join
from clave_crypto.mls.key_package import RandomBytes, new_leaf_node
from clave_crypto.mls.key_schedule import (
    export_secret,
)
from clave_crypto.mls.leaf_node import UpdateSource, sign_leaf_node
from clave_crypto.mls.opening import VerifiedContent, open_private, open_public
from clave_crypto.mls.padding import Padding, pad_to_bucket
from clave_crypto.mls.past import MAX_PAST_EPOCHS, PastEpoch, with_resumption
from clave_crypto.mls.pending import PendingCommit
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import (
    Commit,
    ContentType,
    Proposal,
    Update,
)
from clave_crypto.mls.protection import proposal_reference
from clave_crypto.mls.rules.proposal import Sent
from clave_crypto.mls.secret_tree import FoundKey, SecretTree
from clave_crypto.mls.selecting import resolve, select
from clave_crypto.mls.sending import frame, send
from clave_crypto.mls.state import GroupState, PendingProposal, restore, store
from clave_crypto.mls.suites import CipherSuite

__all__ = ["Group"]


class Group:
    """One member's view of a group, in its current epoch."""

    def __init__(
        self,
        epoch: Epoch,
        secret_tree: SecretTree,
        policy: Policy,
        *,
        past: Sequence[PastEpoch] = (),
        pending: dict[bytes, PendingProposal] | None = None,
        closed: bool = False,
    ) -> None:
        self._epoch = epoch
        self._secret_tree = secret_tree
        self._policy = policy
        self._past = list(past)
        self._pending = pending or {}
        self._closed = closed
        self._welcomed_by: int | None = None

    def __repr__(self) -> str:
        return f"<Group {self.group_id.hex()} in epoch {self.epoch}>"

    # Beginning

    @classmethod
    def create(
        cls,
        suite: CipherSuite,
        group_id: bytes,
        identity: bytes,
        signature_secret: Secret,
        *,
        policy: Policy,
        extensions: Sequence[Extension] = (),
        not_before: int,
        not_after: int,
        extension_types: Sequence[int] = (),
        random: RandomBytes = os.urandom,
    ) -> Group:
        """Make a group of one (section 11). The lifetime of its leaf is in seconds since 1970.

        Raises:
            ValidationError: the extensions do not fit together, or need what `extension_types` lacks.
            PolicyRejected: the application refuses the leaf.

        """
        leaf, leaf_secret = new_leaf_node(
            suite,
            identity,
            signature_secret,
            not_before=not_before,
            not_after=not_after,
            extension_types=extension_types,
            random=random,
        )
        policy.check_leaf(leaf)
        epoch_secret = Secret(random(suite.hash_size))
        epoch, secret_tree = create(
            suite, group_id, leaf, leaf_secret, signature_secret, extensions, epoch_secret
        )
        return cls(epoch, secret_tree, policy)

    @classmethod
    def join(
        cls,
        welcome: bytes,
        find_bundle: FindBundle,
        *,
        policy: Policy,
        ratchet_tree: bytes | None = None,
        find_psk: FindPsk = no_psks,
    ) -> Group:
        """Join by a Welcome (an encoded MLSMessage); `find_bundle` is asked for each key package it names.

        Raises:
            LocalError: it is for no key package held here.
            MalformedError: an encoding is not valid.
            DecryptionError: it does not open.
            UnsupportedError: it needs a cipher suite or pre-shared key not known here.
            ValidationError: the group info or the tree breaks a rule.
            PolicyRejected: the application refuses a member's leaf.

        """
        epoch, secret_tree, signer = join(
            welcome, find_bundle, policy=policy, ratchet_tree=ratchet_tree, find_psk=find_psk
        )
        group = cls(epoch, secret_tree, policy)
        group._welcomed_by = signer
        return group

    @classmethod
    def restore(cls, state: GroupState, *, policy: Policy) -> Group:
        """Return the group whose `state()` this is.

        Raises:
            StateError: it is not a state, or its parts belong to different epochs.

        """
        epoch, secret_tree, past, pending, closed = restore(state)
        return cls(epoch, secret_tree, policy, past=past, pending=pending, closed=closed)

    def state(self) -> GroupState:
        """Return all there is to store, private keys included; equal states give equal bytes."""
        return store(self._epoch, self._secret_tree, self._past, self._pending, closed=self._closed)

    # What is known

    @property
    def group_id(self) -> bytes:
        """The group's name."""
        return self._epoch.context.group_id

    @property
    def epoch(self) -> int:
        """How many commits the group has seen."""
        return self._epoch.context.epoch

    @property
    def suite(self) -> CipherSuite:
        """The group's cipher suite."""
        return self._epoch.suite

    @property
    def own_leaf(self) -> int:
        """This member's leaf index."""
        return self._epoch.own_leaf

    @property
    def welcomed_by(self) -> int | None:
        """The leaf of whoever signed the Welcome; known from `join` until the group is stored."""
        return self._welcomed_by

    @property
    def closed(self) -> bool:
        """Whether this member was removed."""
        return self._closed

    @property
    def epoch_authenticator(self) -> bytes:
        """Equal at two members exactly when they see the same group in the same epoch (section 8.7)."""
        return bytes(self._epoch.secrets.epoch_authenticator)

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The extensions of the group context."""
        return self._epoch.context.extensions

    @property
    def pending_proposals(self) -> tuple[tuple[bytes, int, Proposal], ...]:
        """Proposals waiting for a commit: (reference, sender's leaf index, proposal)."""
        return tuple((reference, one.sender, one.proposal) for reference, one in self._pending.items())

    def members(self) -> tuple[Member, ...]:
        """Return the members in the order of their leaves."""
        return tuple(Member.of(leaf_index, leaf) for leaf_index, leaf in self._epoch.tree.leaves())

    def member(self, leaf_index: int) -> Member:
        """Return the member at a leaf.

        Raises:
            LocalError: nobody is there.

        """
        leaf = self._epoch.tree.leaf(leaf_index)
        if leaf is None:
            raise LocalError(f"no member is at leaf {leaf_index}")
        return Member.of(leaf_index, leaf)

    def export(self, label: str, context: bytes, length: int) -> Secret:
        """Return `length` secret bytes that all members, and only they, have in this epoch (section 8.5).

        Raises:
            GroupClosedError: this member was removed.

        """
        self._check_open()
        exporter = self._epoch.secrets.exporter_secret
        return export_secret(self.suite, exporter, label.encode(), context, length)

    # Sending

    def encrypt(
        self,
        data: bytes,
        *,
        authenticated_data: bytes = b"",
        padding: Padding = pad_to_bucket,
        random: RandomBytes = os.urandom,
    ) -> bytes:
        """Return `data` as an encrypted MLSMessage; `authenticated_data` is readable by everyone.

        Raises:
            CommitRequiredError: proposals are pending.
            GroupClosedError: this member was removed.

        """
        self._check_open()
        if self._pending:
            raise CommitRequiredError("proposals are pending: commit before sending data")
        content = frame(self._epoch, ApplicationData(data), authenticated_data)
        message, _ = send(self._epoch, self._secret_tree, content, padding, random)
        return message

    def propose(self, proposal: Proposal, *, now: int, random: RandomBytes = os.urandom) -> bytes:
        """Return a proposal as an encrypted MLSMessage, and keep it as pending.

        Raises:
            LocalError: it is an Update, which `propose_update` makes.
            ValidationError: it breaks a rule.
            PolicyRejected: the application refuses it.
            GroupClosedError: this member was removed.

        """
        if isinstance(proposal, Update):
            raise LocalError("propose_update makes an Update with its keys")
        return self._propose(proposal, None, now=now, random=random)

    def propose_update(self, *, now: int, random: RandomBytes = os.urandom) -> bytes:
        """Propose new keys for this member's leaf, as an encrypted MLSMessage.

        Raises:
            PolicyRejected: the application refuses the new leaf.
            GroupClosedError: this member was removed.

        """
        self._check_open()
        leaf_secret, encryption_key = self.suite.kem.derive_key_pair(random(self.suite.hash_size))
        leaf = sign_leaf_node(
            self.suite,
            self._epoch.signature_secret,
            self.member(self.own_leaf).leaf,
            encryption_key=encryption_key,
            source=UpdateSource(),
            group_id=self.group_id,
            leaf_index=self.own_leaf,
        )
        return self._propose(Update(leaf), leaf_secret, now=now, random=random)

    def commit(
        self,
        proposals: Sequence[Proposal] = (),
        *,
        now: int,
        find_psk: FindPsk = no_psks,
        random: RandomBytes = os.urandom,
    ) -> PendingCommit:
        """Make a commit of `proposals` and the pending ones that go with them, with new keys for oneself.

        Pending proposals that break a rule beside the others, or that the policy refuses, are left out.
        Only the key that the message was encrypted with is used up: store `state()` before sending.

        Raises:
            ValidationError: one of `proposals` breaks a rule, or they do not go together.
            PolicyRejected: the application refuses them.
            UnsupportedError: a pre-shared key is not known here.
            GroupClosedError: this member was removed.

        """
        self._check_open()
        for proposal in proposals:
            check_proposal(self._epoch, self.own_leaf, proposal, policy=self._policy, now=now, sending=True)
        finder = with_resumption(self._epoch, self._past, find_psk)

        def judge(sent: Sequence[Sent]) -> Applied:
            applied = self._apply(self.own_leaf, sent)
            combine_psks(self._epoch, applied.psks, finder)
            return applied

        selection = select(self.own_leaf, proposals, self._pending, judge)
        found = self._secret_tree.find_next(self.own_leaf, ContentType.COMMIT)
        made = make_commit(self._epoch, selection, found, find_psk=finder, random=random)
        self._secret_tree.consume(found)
        return PendingCommit(made.message, made.welcome, self.epoch, self.epoch_authenticator, made.change)

    def merge(self, pending: PendingCommit) -> Committed:
        """Enter the epoch that one's own commit leads to, once it is known to be the one that counts.

        Raises:
            StalePendingError: it was made in another epoch, or is discarded or merged already.
            GroupClosedError: this member was removed.

        """
        self._check_open()
        return self._enter(pending.take(self.epoch_authenticator))

    def discard(self, pending: PendingCommit) -> None:
        """Forget the secrets of a commit that will not count; the key it used stays used.

        Raises:
            StalePendingError: it is discarded or merged already.

        """
        pending.drop()

    # Receiving

    def receive(self, message: bytes, *, now: int, find_psk: FindPsk = no_psks) -> Received:
        """Process an encoded MLSMessage to the group; `now` is in seconds since 1970.

        Raises:
            MalformedError, WrongGroupError, WrongEpochError: not a message for this group now.
            OwnMessageError: this member sent it.
            DecryptionError, ReplayError, TooFarAheadError: no key here opens it.
            ValidationError: it breaks a rule.
            PolicyRejected: the application refuses it.
            UnsupportedError: it needs a mechanism or pre-shared key not known here.
            GroupClosedError: this member was removed.

        """
        self._check_open()
        decoded = decode_message(message)
        match decoded:
            case PrivateMessage():
                return self._receive_private(decoded, now, find_psk)
            case PublicMessage():
                return self._receive_public(decoded, now, find_psk)
            case _:
                raise MalformedError("the message is not one to a group")

    def _receive_private(self, message: PrivateMessage, now: int, find_psk: FindPsk) -> Received:
        self._check_group_id(message.group_id)
        if message.epoch == self.epoch:
            content, found = open_private(
                self.suite,
                message,
                context=self._epoch.context_bytes,
                sender_data_secret=self._epoch.secrets.sender_data_secret,
                secret_tree=self._secret_tree,
                find_leaf=self._epoch.tree.leaf,
                own_leaf=self.own_leaf,
            )
            return self._accept(content, found, now, find_psk)
        past = next((one for one in self._past if one.epoch == message.epoch), None)
        if past is None or message.content_type is not ContentType.APPLICATION:
            raise WrongEpochError(message.epoch, self.epoch)
        content, found = open_private(
            self.suite,
            message,
            context=past.context,
            sender_data_secret=past.sender_data_secret,
            secret_tree=past.secret_tree,
            find_leaf=past.leaf,
            own_leaf=past.own_leaf,
        )
        past.secret_tree.consume(found)
        return content.application()

    def _receive_public(self, message: PublicMessage, now: int, find_psk: FindPsk) -> Received:
        self._check_group_id(message.content.group_id)
        if message.content.epoch != self.epoch:
            raise WrongEpochError(message.content.epoch, self.epoch)
        return self._accept(open_public(self._epoch, message), None, now, find_psk)

    def _accept(
        self, content: VerifiedContent, found: FoundKey | None, now: int, find_psk: FindPsk
    ) -> Received:
        """Take in content of the current epoch; `found` is the key that opened it, if any did."""
        received: Received
        change = None
        body = content.authenticated.content.body
        match body:
            case ApplicationData():
                received = content.application()
            case ProposalContent():
                self._judge_proposal(content.sender, body.proposal, now, sending=False)
                reference = proposal_reference(self.suite, content.authenticated)
                received = ProposalReceived(content.sender, body.proposal, reference)
            case Commit():
                change = self._follow(content, body, now, find_psk)
        if found is not None:
            self._secret_tree.consume(found)
        if change is not None:
            return self._enter(change)
        if isinstance(received, ProposalReceived):
            self._pending[received.reference] = PendingProposal(received.sender, received.proposal, None)
        return received

    def _follow(self, content: VerifiedContent, commit: Commit, now: int, find_psk: FindPsk) -> Change:
        sent, own_leaf_secret = resolve(
            self._epoch, content.sender, commit, self._pending, policy=self._policy, now=now
        )
        return follow_commit(
            self._epoch,
            content.sender,
            commit,
            content.authenticated,
            self._apply(content.sender, sent),
            own_leaf_secret=own_leaf_secret,
            policy=self._policy,
            find_psk=with_resumption(self._epoch, self._past, find_psk),
        )

    # Common ground

    def _apply(self, committer: int, sent: Sequence[Sent]) -> Applied:
        """Judge a commit's proposals as a whole and apply them beside the tree."""
        applied = apply_proposals(self._epoch, committer, sent)
        self._policy.check_commit(self, committer, sent)
        return applied

    def _enter(self, change: Change) -> Committed:
        committed = describe(self._epoch, change)
        self._pending = {}
        if change.epoch is None or change.secret_tree is None:
            self._closed, self._past = True, []
            self._epoch, self._secret_tree = (
                self._epoch.without_secrets(),
                SecretTree(self.suite, 1, Secret()),
            )
            return committed
        self._past = [PastEpoch.of(self._epoch, self._secret_tree), *self._past][:MAX_PAST_EPOCHS]
        self._epoch, self._secret_tree = change.epoch, change.secret_tree
        return committed

    def _propose(
        self, proposal: Proposal, leaf_secret: Secret | None, *, now: int, random: RandomBytes
    ) -> bytes:
        self._check_open()
        self._judge_proposal(self.own_leaf, proposal, now, sending=True)
        content = frame(self._epoch, ProposalContent(proposal))
        message, authenticated = send(self._epoch, self._secret_tree, content, pad_to_bucket, random)
        reference = proposal_reference(self.suite, authenticated)
        self._pending[reference] = PendingProposal(self.own_leaf, proposal, leaf_secret)
        return message

    def _judge_proposal(self, sender: int, proposal: Proposal, now: int, *, sending: bool) -> None:
        """Keep out what could never be committed: it would hold up everyone's messages until a commit."""
        check_proposal(self._epoch, sender, proposal, policy=self._policy, now=now, sending=sending)
        self._policy.check_commit(self, sender, [(sender, proposal)])

    def _check_group_id(self, group_id: bytes) -> None:
        if group_id != self.group_id:
            raise WrongGroupError("the message is for another group")

    def _check_open(self) -> None:
        if self._closed:
            raise GroupClosedError("this member was removed from the group")
