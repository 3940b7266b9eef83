"""A group as one member sees it: sends and receives messages, and moves from epoch to epoch. Does no I/O.

A method that raises changes nothing. What is on disk must never be older than what was sent or shown. So
store the following in one transaction per call, before anything is sent or shown:

- `encrypt` and `propose` use up a key: store the state and the message, then send it.
- `withdraw` changes only the state: store it.
- `commit` uses up a message key and changes nothing else: store the state and the pending commit, then send
  its message. The key is never used again, whether the commit is merged, discarded or lost.
- `merge`, if this commit was accepted: store the state, delete the pending commit, and keep its Welcome until
  it is sent. `discard`, if another commit of the epoch was accepted: delete the pending commit.
- `receive` deletes the message's key: store the state and what was received, then show it.
- `preview` changes nothing: store nothing.

The base class `GroupStart` creates, joins and restores groups; `GroupView` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import Applied, apply_external, apply_proposals, check_proposal, combine_psks
from clave_crypto.mls.change import Change
from clave_crypto.mls.committing import make_commit
from clave_crypto.mls.epoch import FindPsk, no_psks
from clave_crypto.mls.errors import (
    CommitRequiredError,
    LocalError,
    MalformedError,
    ReplayError,
    WrongEpochError,
    WrongGroupError,
)
from clave_crypto.mls.events import Application, CommitPreview, Committed, ProposalReceived, Received
from clave_crypto.mls.following import CheckedCommit, check_commit, describe, follow_commit
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    AuthenticatedContent,
    FramedContent,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.grease import DEFAULT_GREASE, Grease
from clave_crypto.mls.group_start import GroupStart
from clave_crypto.mls.key_package import RandomBytes
from clave_crypto.mls.leaf_node import UpdateSource, sign_leaf_node
from clave_crypto.mls.opening import VerifiedContent, VerifyLater, open_private, open_public
from clave_crypto.mls.padding import Padding, pad_to_bucket
from clave_crypto.mls.past import PastEpoch
from clave_crypto.mls.pending import PendingCommit
from clave_crypto.mls.previewing import preview_commit
from clave_crypto.mls.proposals import Add, Commit, ContentType, Proposal, Update
from clave_crypto.mls.protection import proposal_reference
from clave_crypto.mls.rules.external import check_external_commit
from clave_crypto.mls.rules.leaf import check_lifetime
from clave_crypto.mls.rules.proposal import Sent, needs_path
from clave_crypto.mls.secret_tree import FoundKey, SecretTree
from clave_crypto.mls.selecting import resolve, select
from clave_crypto.mls.senders import MemberSender, NewMemberCommitSender, Sender
from clave_crypto.mls.sending import frame, protect, sign, wire_format_of
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.state import PendingProposal
from clave_crypto.mls.welcoming import make_welcome

__all__ = ["Group"]


class Group(GroupStart):
    """One member's group, which sends, receives and moves from epoch to epoch."""

    # Sending

    def encrypt(
        self,
        data: bytes,
        *,
        authenticated_data: bytes = b"",
        padding: Padding = pad_to_bucket,
        random: RandomBytes = os.urandom,
    ) -> bytes:
        """Return `data` as an encrypted MLSMessage; `authenticated_data` is authenticated, not encrypted.

        Raises:
            CommitRequiredError: proposals are pending.
            LimitError: the message would be too long.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        if self._pending:
            raise CommitRequiredError("proposals are pending: commit before sending data")
        found = self._secret_tree.find_next(self.own_leaf, ContentType.APPLICATION)
        content = frame(self._epoch.context, self._sender, ApplicationData(data), authenticated_data)
        auth = AuthData(sign(self._epoch, content, found))
        message = protect(self._epoch, content, auth, found, padding=padding, random=random)
        self._limits.check_message(len(message))
        self._secret_tree.consume(found)
        return message

    def propose(
        self,
        proposal: Proposal,
        *,
        now: int,
        public: bool = False,
        authenticated_data: bytes = b"",
        random: RandomBytes = os.urandom,
    ) -> bytes:
        """Return a proposal as an MLSMessage, encrypted unless `public`, and keep it as pending.

        Raises:
            LocalError: it is an Update (use `propose_update`), or is pending already.
            ValidationError: it breaks a rule.
            PolicyRejected: the application refuses it.
            LimitError: too many proposals are pending.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        if isinstance(proposal, Update):
            raise LocalError("an Update needs new keys: use propose_update")
        return self._propose(proposal, None, now, public, authenticated_data, random)

    def propose_update(
        self,
        *,
        now: int,
        public: bool = False,
        authenticated_data: bytes = b"",
        random: RandomBytes = os.urandom,
    ) -> bytes:
        """Propose new keys for this member's leaf, as an MLSMessage that is encrypted unless `public`.

        Raises:
            PolicyRejected: the application refuses the new leaf.
            LimitError: too many proposals are pending.
            GroupClosedError: this member was removed, or a ReInit was committed.

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
        return self._propose(Update(leaf), leaf_secret, now, public, authenticated_data, random)

    def withdraw(self, reference: bytes) -> None:
        """Delete a pending proposal; all members that have it must delete it.

        Raises:
            LocalError: no proposal is pending under that reference.

        """
        if self._pending.pop(reference, None) is None:
            raise LocalError("no proposal is pending under that reference")

    def commit(
        self,
        proposals: Sequence[Proposal] = (),
        *,
        now: int,
        path: bool = True,
        public: bool = False,
        ratchet_tree: bool = True,
        authenticated_data: bytes = b"",
        find_psk: FindPsk = no_psks,
        grease: Grease = DEFAULT_GREASE,
        spread: Spread = map,
        random: RandomBytes = os.urandom,
    ) -> PendingCommit:
        """Make a commit of `proposals` and of the pending ones that do not conflict with them.

        It has a path, which renews this member's keys, unless `path` is false and no proposal requires one
        (section 12.4). It is encrypted unless `public`. The Welcome has the tree unless `ratchet_tree` is
        false. Pending proposals are left out if they break a rule together with the others or the policy
        refuses them. The group stays in its epoch; only the key that encrypted the message is used up: store
        `state()` before sending. Secrets are encrypted to one member after the other unless `spread`
        distributes that, as a `ThreadPoolExecutor`'s `map` does.

        Raises:
            ValidationError: one of `proposals` breaks a rule, or they conflict.
            PolicyRejected: the application refuses them.
            UnsupportedError: this member does not have a pre-shared key.
            LimitError: the tree, the message or the Welcome would be too large.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        for proposal in proposals:
            check_proposal(self._epoch, self._sender, proposal, policy=self._policy, now=now)
        finder = self._find_psk(find_psk)

        def judge(sent: Sequence[Sent]) -> Applied:
            for _, proposal in sent:
                if isinstance(proposal, Add):
                    check_lifetime(proposal.key_package.leaf_node, now)
            applied = self._apply(self._sender, sent)
            combine_psks(self.suite, applied.psks, finder)
            return applied

        selection = select(self._sender, proposals, self._pending, judge)
        covered = [proposal for _, proposal in selection.sent]
        with_path = path or needs_path(covered)
        found = None if public else self._secret_tree.find_next(self.own_leaf, ContentType.COMMIT)
        made = make_commit(
            self._epoch,
            self._sender,
            selection.applied,
            selection.named,
            template=self.member(self.own_leaf).leaf if with_path else None,
            init_secret=self._epoch.secrets.init_secret,
            found=found,
            authenticated_data=authenticated_data,
            find_psk=finder,
            limits=self._limits,
            spread=spread,
            random=random,
        )
        welcome = None
        if selection.applied.added:
            added = [proposal.key_package for proposal in covered if isinstance(proposal, Add)]
            welcome = make_welcome(
                made.epoch,
                made.joiner_secret,
                list(zip(selection.applied.added, added, strict=True)),
                path=made.path,
                psk_secret=made.psk_secret,
                psks=selection.applied.psks,
                ratchet_tree=ratchet_tree,
                grease=grease,
                spread=spread,
                random=random,
            )
            self._limits.check_message(len(welcome))
        if found is not None:
            self._secret_tree.consume(found)
        change = selection.applied.change(with_path, authenticated_data, made.epoch, made.secret_tree)
        return PendingCommit(made.message, welcome, self.epoch, self.epoch_authenticator, change)

    def merge(self, pending: PendingCommit) -> Committed:
        """Enter the epoch of this member's own commit, once it is known to be accepted.

        Raises:
            StalePendingError: it was made in another epoch, or is discarded or merged already.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        return self._enter(pending.take(self.epoch_authenticator))

    def discard(self, pending: PendingCommit) -> None:
        """Delete the secrets of a commit that was not accepted; its message key stays used.

        Raises:
            StalePendingError: it is discarded or merged already.

        """
        pending.drop()

    # Receiving

    def preview(self, message: bytes, *, find_psk: FindPsk = no_psks) -> CommitPreview:
        """Return what another member's commit would do and whether this member can follow it.

        Checks what every member of the epoch can check, then tries to decrypt what is for this member
        (section 12.4.2). Changes nothing: the same message can be previewed again, and received.

        Raises:
            MalformedError: not an encoded commit.
            WrongGroupError, WrongEpochError: for another group or epoch.
            OwnMessageError: it claims this member as its sender, which in an encrypted message proves
                nothing.
            DecryptionError, ReplayError: no key of this member decrypts the message itself.
            LimitError, TooFarAheadError: it exceeds the limits.
            ValidationError: it breaks a rule that every member of the epoch can check.
            PolicyRejected: the application refuses it.
            UnsupportedError: it needs a mechanism or pre-shared key that this member does not have.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        self._limits.check_message(len(message))
        decoded = decode_message(message)
        match decoded:
            case PrivateMessage(content_type=ContentType.COMMIT):
                content, _, _ = self._open_private(decoded)
            case PublicMessage(content=FramedContent(body=Commit())):
                content = self._open_public(decoded)
            case _:
                raise MalformedError("the message is not a commit")
        commit = content.authenticated.content.body
        assert isinstance(commit, Commit)  # noqa: S101 - the content type says so, and the codec goes by that
        checked = self._check_commit(content, commit)
        return preview_commit(checked, find_psk=self._find_psk(find_psk), limits=self._limits)

    def receive(
        self,
        message: bytes,
        *,
        find_psk: FindPsk = no_psks,
        check: Callable[[Application], None] | None = None,
        verify_later: VerifyLater | None = None,
    ) -> Received:
        """Process an encoded MLSMessage to the group.

        `check` is called with verified application data before the message's key is deleted; if it raises,
        the group is unchanged. With `verify_later` application data of this epoch is not verified, neither
        then nor when it is returned: the check of its signature is passed to `verify_later`. Until that was
        called and raised nothing, show and store nothing; if it raises, restore the group as stored before.

        A commit that removes this member closes the group for good (`Committed.removed_self`). This is only
        the signer's claim: a removed member cannot check the confirmation tag, so other members may have
        refused the commit. To be sure, call `preview` first and keep the state until other members confirm
        the commit.

        Raises:
            MalformedError, WrongGroupError, WrongEpochError: malformed, or for another group or epoch.
            OwnMessageError: it claims this member as its sender, which in an encrypted message proves
                nothing.
            DecryptionError, ReplayError: no key of this member decrypts it, or the proposal is pending
                already.
            LimitError, TooFarAheadError: it exceeds the limits.
            ValidationError: it breaks a rule.
            PolicyRejected: the application refuses it.
            UnsupportedError: it needs a mechanism or pre-shared key that this member does not have.
            GroupClosedError: this member was removed.

        """
        self._check_member()
        self._limits.check_message(len(message))
        decoded = decode_message(message)
        match decoded:
            case PrivateMessage():
                return self._receive_private(decoded, find_psk, check, verify_later)
            case PublicMessage():
                return self._accept(self._open_public(decoded), None, find_psk)
            case _:
                raise MalformedError("the message is not one to a group")

    def _receive_private(
        self,
        message: PrivateMessage,
        find_psk: FindPsk,
        check: Callable[[Application], None] | None,
        verify_later: VerifyLater | None,
    ) -> Received:
        self._check_group_id(message.group_id)
        if message.epoch == self.epoch:
            content, application, found = self._open_private(message, verify_later)
            if application is None:
                return self._accept(content, found, find_psk)
            if check is not None:
                check(application)
            self._secret_tree.consume(found)
            return application
        past = next((one for one in self._past if one.epoch == message.epoch), None)
        if past is None or message.content_type is not ContentType.APPLICATION:
            raise WrongEpochError(message.epoch, self.epoch)
        _, application, found = open_private(
            self.suite,
            message,
            context=past.context,
            sender_data_secret=past.sender_data_secret,
            secret_tree=past.secret_tree,
            find_leaf=past.leaf,
            own_leaf=past.own_leaf,
        )
        assert application is not None  # noqa: S101 - the content type says so, and the codec goes by that
        if check is not None:
            check(application)
        past.secret_tree.consume(found)
        return application

    def _open_private(
        self, message: PrivateMessage, verify_later: VerifyLater | None = None
    ) -> tuple[VerifiedContent, Application | None, FoundKey]:
        """Decrypt and verify a private message of the current epoch; changes nothing."""
        self._check_group_id(message.group_id)
        if message.epoch != self.epoch:
            raise WrongEpochError(message.epoch, self.epoch)
        return open_private(
            self.suite,
            message,
            context=self._epoch.context_bytes,
            sender_data_secret=self._epoch.secrets.sender_data_secret,
            secret_tree=self._secret_tree,
            find_leaf=self._epoch.tree.leaf,
            own_leaf=self.own_leaf,
            verify_later=verify_later,
        )

    def _open_public(self, message: PublicMessage) -> VerifiedContent:
        """Verify a public message of the current epoch; changes nothing."""
        self._check_group_id(message.content.group_id)
        if message.content.epoch != self.epoch:
            raise WrongEpochError(message.content.epoch, self.epoch)
        return open_public(self._epoch, message)

    def _accept(self, content: VerifiedContent, found: FoundKey | None, find_psk: FindPsk) -> Received:
        """Process a verified proposal or commit of this epoch, decrypted by the key `found` if any."""
        self._check_open()
        framed = content.authenticated.content
        received: ProposalReceived | None = None
        match framed.body:
            case ProposalContent(proposal):
                reference = proposal_reference(self.suite, content.authenticated)
                if reference in self._pending:
                    raise ReplayError("the proposal is pending already")
                self._judge_proposal(content.sender, proposal, None)
                received = ProposalReceived(content.sender, proposal, reference, framed.authenticated_data)
            case Commit() as commit:
                checked = self._check_commit(content, commit)
                change = follow_commit(checked, find_psk=self._find_psk(find_psk), limits=self._limits)
            case _:
                raise MalformedError("the message has application data in place of a proposal or commit")
        if found is not None:
            self._secret_tree.consume(found)
        if received is None:
            return self._enter(change)
        self._pending[received.reference] = PendingProposal(received.sender, received.proposal, None)
        return received

    def _check_commit(self, content: VerifiedContent, commit: Commit) -> CheckedCommit:
        """Check what every member of this epoch can check of a commit; changes nothing."""
        own_leaf_secret = None
        proposals: Sequence[Proposal] = ()
        if isinstance(content.sender, NewMemberCommitSender):
            proposals = check_external_commit(commit)
            applied = apply_external(self._epoch, proposals, limits=self._limits)
        else:
            assert isinstance(content.sender, MemberSender)  # noqa: S101 - only these two send commits
            sent, own_leaf_secret = resolve(
                self._epoch, content.sender, commit, self._pending, policy=self._policy
            )
            applied = self._apply(content.sender, sent)
        return check_commit(
            self._epoch,
            commit,
            content.authenticated,
            applied,
            own_leaf_secret=own_leaf_secret,
            policy=self._policy,
            judge_joiner=lambda leaf: self._policy.check_external_commit(self, leaf, proposals),
            limits=self._limits,
        )

    # Used by both

    @property
    def _sender(self) -> MemberSender:
        return MemberSender(self.own_leaf)

    def _apply(self, committer: MemberSender, sent: Sequence[Sent]) -> Applied:
        """Check a commit's proposals together and apply them to a copy of the tree."""
        applied = apply_proposals(self._epoch, committer, sent, limits=self._limits)
        self._policy.check_commit(self, committer, sent)
        return applied

    def _enter(self, change: Change) -> Committed:
        committed = describe(self._epoch, change)
        self._pending = {}
        if change.epoch is None or change.secret_tree is None:
            self._closed, self._past = True, []
            self._epoch = self._epoch.without_secrets()
            self._secret_tree = SecretTree(self.suite, 1, Secret(), self._limits)
            return committed
        past = [PastEpoch.of(self._epoch, self._secret_tree), *self._past]
        self._past = past[: self._limits.past_epochs]
        self._epoch, self._secret_tree = change.epoch, change.secret_tree
        self._reinit = change.reinit
        return committed

    def _propose(
        self,
        proposal: Proposal,
        leaf_secret: Secret | None,
        now: int,
        public: bool,
        authenticated_data: bytes,
        random: RandomBytes,
    ) -> bytes:
        self._check_open()
        self._judge_proposal(self._sender, proposal, now)
        found = None if public else self._secret_tree.find_next(self.own_leaf, ContentType.PROPOSAL)
        content = frame(self._epoch.context, self._sender, ProposalContent(proposal), authenticated_data)
        auth = AuthData(sign(self._epoch, content, found))
        authenticated = AuthenticatedContent(wire_format_of(found), content, auth)
        reference = proposal_reference(self.suite, authenticated)
        if reference in self._pending:
            raise LocalError("this member has the same proposal pending already")
        message = protect(self._epoch, content, auth, found, padding=pad_to_bucket, random=random)
        if found is not None:
            self._secret_tree.consume(found)
        self._pending[reference] = PendingProposal(self._sender, proposal, leaf_secret)
        return message

    def _judge_proposal(self, sender: Sender, proposal: Proposal, now: int | None) -> None:
        """Check a proposal by itself; once pending it blocks application messages until a commit."""
        self._limits.check_proposal(len(proposal.encode()))
        self._limits.check_waiting(sum(one.sender == sender for one in self._pending.values()))
        check_proposal(self._epoch, sender, proposal, policy=self._policy, now=now)
        self._policy.check_proposal(self, sender, proposal)

    def _check_group_id(self, group_id: bytes) -> None:
        if group_id != self.group_id:
            raise WrongGroupError("the message is for another group")
