"""The part of `Group` that sends: messages, proposals and commits. Enters no epoch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from clave_crypto.codec import u16
from clave_crypto.keys import Secret
from clave_crypto.mls.applying import (
    Applied,
    apply_proposals,
    check_own_proposals,
    check_proposal,
    combine_psks,
)
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.committing import make_commit
from clave_crypto.mls.credentials import Credential
from clave_crypto.mls.epoch import FindPsk, no_psks
from clave_crypto.mls.errors import (
    CommitRequiredError,
    LocalError,
)
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    AuthenticatedContent,
    ProposalContent,
)
from clave_crypto.mls.grease import DEFAULT_GREASE, Grease
from clave_crypto.mls.group_start import GroupStart
from clave_crypto.mls.key_package import RandomBytes, replace_in_leaf
from clave_crypto.mls.leaf_node import UpdateSource, sign_leaf_node
from clave_crypto.mls.padding import Padding, pad_to_bucket
from clave_crypto.mls.pending import PendingCommit
from clave_crypto.mls.proposals import Add, ContentType, Proposal, SelfRemove, Update
from clave_crypto.mls.protection import proposal_reference
from clave_crypto.mls.rules.leaf import check_lifetime
from clave_crypto.mls.rules.proposal import Sent, check_not_self_remove, needs_path
from clave_crypto.mls.selecting import select
from clave_crypto.mls.senders import MemberSender, Sender
from clave_crypto.mls.sending import frame, protect, sign, wire_format_of
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.state import PendingProposal
from clave_crypto.mls.welcoming import make_welcome

__all__ = ["GroupSending"]


class GroupSending(GroupStart):
    """A group that sends messages, proposals and commits."""

    @checked
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

    @checked
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
        if isinstance(proposal, SelfRemove) and not public:
            raise LocalError("a SelfRemove is for those who join externally, too: pass public=True")
        return self._propose(proposal, None, now, public, authenticated_data, random)

    @checked
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

    @checked
    def withdraw(self, reference: bytes) -> None:
        """Delete a pending proposal; all members that have it must delete it.

        Raises:
            LocalError: no proposal is pending under that reference.

        """
        if self._pending.pop(reference, None) is None:
            raise LocalError("no proposal is pending under that reference")

    @checked
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
        signature_secret: Secret | None = None,
        credential: Credential | None = None,
        extension_types: Sequence[u16] = (),
        grease: Grease = DEFAULT_GREASE,
        spread: Spread = map,
        random: RandomBytes = os.urandom,
    ) -> PendingCommit:
        """Make a commit of `proposals` and of the pending ones that do not conflict with them.

        It has a path, which renews this member's keys, unless `path` is false and no proposal requires one
        (section 12.4). It is encrypted unless `public`. The Welcome has the tree unless `ratchet_tree` is
        false. Pending proposals are left out if they break a rule together with the others or the policy
        refuses them. The group stays in its epoch; only the key that encrypted the message is used up: store
        `state()` before sending. Key packages are checked, and secrets encrypted, for one member after the
        other unless `spread` distributes that, as a `ThreadPoolExecutor`'s `map` does.

        `signature_secret` and `credential` replace this member's own from the next epoch on: the new leaf is
        signed by the new key, the commit by the former one. `extension_types` are listed in the leaf's
        capabilities from then on, beside those that are. A commit that changes the leaf so has a path.

        Raises:
            ValidationError: one of `proposals` breaks a rule, or they conflict.
            PolicyRejected: the application refuses them.
            UnsupportedError: this member does not have a pre-shared key.
            LimitError: the tree, the message or the Welcome would be too large.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        for proposal in proposals:
            check_not_self_remove(proposal)
        check_own_proposals(
            self._epoch,
            self._sender,
            proposals,
            policy=self._policy,
            limits=self._limits,
            now=now,
            spread=spread,
        )
        own = self.member(self.own_leaf).leaf
        template = replace_in_leaf(self.suite, own, signature_secret, credential, extension_types)
        if template is not own:
            self._policy.check_leaf(template)
            self._policy.check_successor(own, template)
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
        with_path = path or needs_path(covered) or template is not own
        found = None if public else self._secret_tree.find_next(self.own_leaf, ContentType.COMMIT)
        made = make_commit(
            self._epoch,
            self._sender,
            selection.applied,
            selection.named,
            template=template if with_path else None,
            signature_secret=signature_secret,
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
        return PendingCommit(
            made.message, welcome, self.epoch, self.epoch_authenticator, change, self._epoch.tree
        )

    @property
    def _sender(self) -> MemberSender:
        return MemberSender(self.own_leaf)

    def _apply(self, committer: MemberSender, sent: Sequence[Sent]) -> Applied:
        """Check a commit's proposals together and apply them to a copy of the tree."""
        applied = apply_proposals(self._epoch, committer, sent, limits=self._limits)
        self._policy.check_commit(self, committer, sent)
        return applied

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
        if reference in self._pending or (isinstance(proposal, SelfRemove) and self._is_leaving):
            raise LocalError("this member has the same proposal pending already")
        message = protect(self._epoch, content, auth, found, padding=pad_to_bucket, random=random)
        if found is not None:
            self._secret_tree.consume(found)
        self._pending[reference] = PendingProposal(self._sender, proposal, leaf_secret)
        return message

    @property
    def _is_leaving(self) -> bool:
        own = (one.proposal for one in self._pending.values() if one.sender == self._sender)
        return any(isinstance(proposal, SelfRemove) for proposal in own)

    def _judge_proposal(self, sender: Sender, proposal: Proposal, now: int | None) -> None:
        """Check a proposal by itself; once pending it blocks application messages until a commit."""
        self._limits.check_proposal(len(proposal.encode()))
        self._limits.check_waiting(sum(one.sender == sender for one in self._pending.values()))
        check_proposal(self._epoch, sender, proposal, policy=self._policy, limits=self._limits, now=now)
        self._policy.check_proposal(self, sender, proposal)
