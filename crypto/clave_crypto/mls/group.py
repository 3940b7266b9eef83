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

Its base classes are `GroupSending`, which sends, `GroupStart`, which creates, joins and restores groups, and
`GroupView`, which reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import apply_external
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import FindPsk, no_psks
from clave_crypto.mls.errors import (
    MalformedError,
    ReplayError,
    WrongEpochError,
    WrongGroupError,
)
from clave_crypto.mls.events import Application, CommitPreview, Committed, ProposalReceived, Received
from clave_crypto.mls.following import CheckedCommit, check_commit, describe, follow_commit
from clave_crypto.mls.framing import (
    FramedContent,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.group_sending import GroupSending
from clave_crypto.mls.opening import VerifiedContent, VerifyLater, open_private, open_public
from clave_crypto.mls.past import PastEpoch
from clave_crypto.mls.pending import PendingCommit
from clave_crypto.mls.previewing import preview_commit
from clave_crypto.mls.proposals import Commit, ContentType
from clave_crypto.mls.protection import proposal_reference
from clave_crypto.mls.rules.external import check_external_commit
from clave_crypto.mls.rules.proposal import Sent, check_proposal_known, check_self_remove_public
from clave_crypto.mls.secret_tree import FoundKey, SecretTree
from clave_crypto.mls.selecting import resolve
from clave_crypto.mls.senders import MemberSender, NewMemberCommitSender
from clave_crypto.mls.state import PendingProposal
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["Group"]


class Group(GroupSending):
    """One member's group, which sends, receives and moves from epoch to epoch."""

    @checked
    def merge(self, pending: PendingCommit) -> Committed:
        """Enter the epoch of this member's own commit, once it is known to be accepted.

        Raises:
            StalePendingError: it was made in another epoch, or is discarded or merged already.
            StateError: a page of the stored tree is missing or does not belong to this epoch.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        return self._enter(pending.take(self.epoch_authenticator, self._epoch.held_tree))

    @checked
    def discard(self, pending: PendingCommit) -> None:
        """Delete the secrets of a commit that was not accepted; its message key stays used.

        Raises:
            StalePendingError: it is discarded or merged already.

        """
        pending.drop()

    # Receiving

    @checked
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

    @checked
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
            find_leaf=lambda leaf_index: past.leaf(leaf_index, self._epoch),
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
            find_leaf=self._epoch.leaf,
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
                is_public = content.authenticated.wire_format is WireFormat.PUBLIC_MESSAGE
                check_self_remove_public(proposal, is_public=is_public)
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
        proposals: Sequence[Sent] = ()
        if isinstance(content.sender, NewMemberCommitSender):
            proposals = check_external_commit(commit, self._pending_sent)
            applied = apply_external(self._epoch, proposals, limits=self._limits)
        else:
            assert isinstance(content.sender, MemberSender)  # noqa: S101 - only these two send commits
            sent, own_leaf_secret = resolve(
                self._epoch,
                content.sender,
                commit,
                self._pending,
                policy=self._policy,
                limits=self._limits,
            )
            applied = self._apply(content.sender, sent)
        return check_commit(
            self._epoch,
            commit,
            content.authenticated,
            applied,
            own_leaf_secret=own_leaf_secret,
            policy=self._policy,
            judge_joiner=lambda leaf: self._policy.check_external_commit(
                self, leaf, [proposal for _, proposal in proposals]
            ),
            limits=self._limits,
        )

    def _pending_sent(self, reference: bytes) -> Sent:
        """Return a pending proposal with its sender. Raises `ValidationError`."""
        known = check_proposal_known(self._pending.get(reference))
        return known.sender, known.proposal

    def _enter(self, change: Change) -> Committed:
        committed = describe(self._epoch, change)
        self._pending = {}
        if change.epoch is None or change.secret_tree is None:
            self._closed, self._past = True, []
            self._epoch = self._epoch.without_secrets()
            self._secret_tree = SecretTree(self.suite, 1, Secret(), self._limits)
            return committed
        before = self._epoch.tree.leaves_that_differ(change.epoch.tree)
        past = [PastEpoch.of(self._epoch, self._secret_tree), *self._past][: self._limits.past_epochs]
        self._past = [one.seen_from(change.epoch, before) for one in past]
        self._epoch, self._secret_tree = change.epoch, change.secret_tree
        self._reinit = change.reinit
        return committed

    def _check_group_id(self, group_id: bytes) -> None:
        if group_id != self.group_id:
            raise WrongGroupError("the message is for another group")
