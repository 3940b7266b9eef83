"""Get a group: create, join or restore it, or continue another one. Sends nothing."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from typing import Self

from clave_crypto.codec import u16
from clave_crypto.keys import Secret
from clave_crypto.mls.applying import judge_extensions
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.continuing import continue_group
from clave_crypto.mls.creating import create
from clave_crypto.mls.credentials import Credential
from clave_crypto.mls.epoch import FindPsk, no_psks
from clave_crypto.mls.errors import LocalError
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.grease import DEFAULT_GREASE, Grease
from clave_crypto.mls.group_view import GroupView
from clave_crypto.mls.joining import FindBundle, join
from clave_crypto.mls.key_package import KeyPackage, RandomBytes, leaf_template, new_leaf_node
from clave_crypto.mls.limits import DEFAULT_LIMITS, Limits
from clave_crypto.mls.outside import decode_group_info, join_externally
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.psk import PreSharedKeyID, ResumptionUsage
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.state import GroupState, restore
from clave_crypto.mls.suites import CipherSuite, find_suite

__all__ = ["GroupStart"]


class GroupStart(GroupView):
    """The part of `Group` that makes groups."""

    @classmethod
    @checked
    def create(
        cls,
        suite: CipherSuite,
        group_id: bytes,
        identity: bytes | Credential,
        signature_secret: Secret,
        *,
        policy: Policy,
        extensions: Sequence[Extension] = (),
        not_before: int,
        not_after: int,
        extension_types: Sequence[u16] = (),
        proposal_types: Sequence[u16] = (),
        limits: Limits = DEFAULT_LIMITS,
        grease: Grease = DEFAULT_GREASE,
        random: RandomBytes = os.urandom,
    ) -> Self:
        """Create a group with one member (section 11). Its leaf's lifetime is in seconds since 1970.

        `identity` given as bytes makes a basic credential.

        Raises:
            ValidationError: the extensions conflict, or require what `extension_types` lacks.
            LimitError: the leaf or the extensions are too long.
            PolicyRejected: the application refuses the leaf.

        """
        leaf, leaf_secret = new_leaf_node(
            suite,
            identity,
            signature_secret,
            not_before=not_before,
            not_after=not_after,
            extension_types=extension_types,
            proposal_types=proposal_types,
            grease=grease,
            random=random,
        )
        policy.check_leaf(leaf)
        epoch_secret = Secret(random(suite.hash_size))
        epoch, secret_tree = create(
            suite, group_id, leaf, leaf_secret, signature_secret, extensions, epoch_secret, limits
        )
        judge_extensions(suite, extensions, policy)
        return cls(epoch, secret_tree, policy, limits=limits)

    @classmethod
    @checked
    def join(
        cls,
        welcome: bytes,
        find_bundle: FindBundle,
        *,
        policy: Policy,
        ratchet_tree: bytes | None = None,
        find_psk: FindPsk = no_psks,
        origin: GroupView | None = None,
        other_groups: Container[bytes],
        limits: Limits = DEFAULT_LIMITS,
        spread: Spread = map,
    ) -> Self:
        """Join by a Welcome (an encoded MLSMessage); `find_bundle` is asked for each key package it names.

        Pass `ratchet_tree` if the Welcome does not contain it, `origin` if the group continues another one,
        and as `other_groups` the ids of this client's groups: a second group with the same id is refused.
        Leaves are checked one after the other unless `spread` distributes them, as a `ThreadPoolExecutor`'s
        `map` does.

        Store the group and delete the bundle in one transaction. A last-resort bundle is kept, so its Welcome
        can arrive again: remember which `group_id` and `epoch` it joined, and enter no epoch twice.

        Raises:
            LocalError: it is for no key package of this client, or continues a group other than `origin`.
            MalformedError: an encoding is not valid.
            DecryptionError: it does not decrypt.
            UnsupportedError: it needs a cipher suite or pre-shared key that this client does not have.
            ValidationError: the group info or the tree breaks a rule.
            LimitError: it or the tree is too large.
            PolicyRejected: the application refuses a member's leaf.

        """
        epoch, secret_tree, signer = join(
            welcome,
            find_bundle,
            policy=policy,
            ratchet_tree=ratchet_tree,
            find_psk=find_psk,
            origin=None if origin is None else origin._as_origin(find_psk),
            other_groups=other_groups,
            limits=limits,
            spread=spread,
        )
        return cls(epoch, secret_tree, policy, limits=limits, welcomed_by=signer)

    @classmethod
    @checked
    def join_externally(
        cls,
        group_info: bytes,
        identity: bytes | Credential,
        signature_secret: Secret,
        *,
        policy: Policy,
        ratchet_tree: bytes | None = None,
        removes: int | None = None,
        psks: Sequence[PreSharedKeyID] = (),
        self_removes: Sequence[bytes] = (),
        find_psk: FindPsk = no_psks,
        other_groups: Container[bytes],
        authenticated_data: bytes = b"",
        extension_types: Sequence[u16] = (),
        proposal_types: Sequence[u16] = (),
        leaf_extensions: Sequence[Extension] = (),
        limits: Limits = DEFAULT_LIMITS,
        spread: Spread = map,
        grease: Grease = DEFAULT_GREASE,
        random: RandomBytes = os.urandom,
    ) -> tuple[Self, bytes]:
        """Join by an external commit to a GroupInfo (an encoded MLSMessage); return the group and the commit.

        The commit is an unencrypted MLSMessage. The group is already in the epoch that the commit starts:
        store it before sending the commit, send nothing else until the commit is accepted, and delete the
        group if another commit is accepted. `removes` is the leaf index that this client had before, if any;
        `other_groups` are the ids of this client's groups, without the one it returns to by `removes`.
        `self_removes` are the messages with SelfRemoves of the GroupInfo's epoch that are known. The leaf has
        `leaf_extensions`, whose types have to be among `extension_types`.

        Raises:
            MalformedError: an encoding is not valid.
            UnsupportedError: it needs a cipher suite or pre-shared key that this client does not have.
            ValidationError: the group info, the tree or what is proposed breaks a rule.
            LimitError: it or the tree is too large.
            PolicyRejected: the application refuses a member's leaf.

        """
        suite = find_suite(decode_group_info(group_info).group_context.cipher_suite)
        template = leaf_template(
            suite,
            identity,
            signature_secret,
            extension_types,
            proposal_types,
            grease,
            random,
            leaf_extensions,
        )
        made = join_externally(
            group_info,
            template,
            signature_secret,
            policy=policy,
            ratchet_tree=ratchet_tree,
            removes=removes,
            psks=psks,
            self_removes=self_removes,
            find_psk=find_psk,
            other_groups=other_groups,
            authenticated_data=authenticated_data,
            limits=limits,
            spread=spread,
            random=random,
        )
        return cls(made.epoch, made.secret_tree, policy, limits=limits), made.message

    @classmethod
    @checked
    def restore(cls, state: GroupState, *, policy: Policy, limits: Limits = DEFAULT_LIMITS) -> Self:
        """Return the group whose `state()` this is, or whose `changes()` were written to it.

        Of `pages` only those above this member's leaf are read now, others when they are needed.

        Raises:
            StateError: it is not a state, or its parts belong to different epochs.

        """
        stored = restore(state, limits)
        return cls(
            stored.epoch,
            stored.secret_tree,
            policy,
            limits=limits,
            past=stored.past,
            pending=stored.pending,
            closed=stored.closed,
            reinit=stored.reinit,
            stored=state if stored.is_paged else None,
        )

    @checked
    def reinitialize(
        self,
        key_packages: Sequence[KeyPackage],
        identity: bytes | Credential,
        signature_secret: Secret,
        *,
        now: int,
        not_before: int,
        not_after: int,
        extension_types: Sequence[u16] = (),
        proposal_types: Sequence[u16] = (),
        path: bool = True,
        ratchet_tree: bool = True,
        grease: Grease = DEFAULT_GREASE,
        random: RandomBytes = os.urandom,
    ) -> tuple[Self, bytes]:
        """Create the group that replaces this one after a ReInit (section 11.2); return it and its Welcome.

        `key_packages` are those of all other members, for the new cipher suite; `identity` and
        `signature_secret` are this member's own in the new group. Store the new group and the Welcome in one
        transaction, then send the Welcome.

        Raises:
            LocalError: no ReInit was committed.
            UnsupportedError: its cipher suite is not supported.
            ValidationError: a key package breaks a rule or a member is missing.
            PolicyRejected: the application refuses a leaf.

        """
        self._check_member()
        if self._reinit is None:
            raise LocalError("the group has no committed ReInit: propose and commit one first")
        fresh = type(self).create(
            find_suite(self._reinit.cipher_suite),
            self._reinit.group_id,
            identity,
            signature_secret,
            policy=self._policy,
            extensions=self._reinit.extensions,
            not_before=not_before,
            not_after=not_after,
            extension_types=extension_types,
            proposal_types=proposal_types,
            limits=self._limits,
            grease=grease,
            random=random,
        )
        return self._continue(
            ResumptionUsage.REINIT, fresh, key_packages, now, path, ratchet_tree, grease, random
        )

    @checked
    def branch(
        self,
        group_id: bytes,
        key_packages: Sequence[KeyPackage],
        *,
        extensions: Sequence[Extension] = (),
        now: int,
        not_before: int,
        not_after: int,
        extension_types: Sequence[u16] = (),
        proposal_types: Sequence[u16] = (),
        path: bool = True,
        ratchet_tree: bool = True,
        grease: Grease = DEFAULT_GREASE,
        random: RandomBytes = os.urandom,
    ) -> tuple[Self, bytes]:
        """Create a group with some of this one's members (section 11.3); return it and its Welcome.

        Store the new group and the Welcome in one transaction, then send the Welcome.

        Raises:
            ValidationError: a key package breaks a rule or belongs to no member of this group.
            PolicyRejected: the application refuses a leaf.
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        fresh = type(self).create(
            self.suite,
            group_id,
            self.member(self.own_leaf).leaf.credential,
            self._epoch.signature_secret,
            policy=self._policy,
            extensions=extensions,
            not_before=not_before,
            not_after=not_after,
            extension_types=extension_types,
            proposal_types=proposal_types,
            limits=self._limits,
            grease=grease,
            random=random,
        )
        return self._continue(
            ResumptionUsage.BRANCH, fresh, key_packages, now, path, ratchet_tree, grease, random
        )

    def _continue(
        self,
        usage: ResumptionUsage,
        fresh: Self,
        key_packages: Sequence[KeyPackage],
        now: int,
        path: bool,
        ratchet_tree: bool,
        grease: Grease,
        random: RandomBytes,
    ) -> tuple[Self, bytes]:
        epoch, secret_tree, welcome = continue_group(
            self._as_origin(),
            usage,
            fresh._epoch,
            fresh._secret_tree,
            key_packages,
            policy=self._policy,
            now=now,
            path=path,
            ratchet_tree=ratchet_tree,
            limits=self._limits,
            grease=grease,
            random=random,
        )
        return type(self)(epoch, secret_tree, self._policy, limits=self._limits), welcome
