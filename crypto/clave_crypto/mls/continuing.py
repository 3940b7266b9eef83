"""Make a group that continues another, by ReInit or branching (RFC 9420, sections 11.2 and 11.3).

Computes its epoch 1 and the Welcome into it. Leaves the old group as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from clave_crypto.mls.applying import apply_proposals, check_own_proposals
from clave_crypto.mls.committing import make_commit
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.grease import Grease
from clave_crypto.mls.key_package import KeyPackage, RandomBytes
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.origin import Origin, check_continues
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import Add, ContentType, PreSharedKey, Proposal, ProposalByValue
from clave_crypto.mls.psk import ResumptionPsk, ResumptionUsage, new_psk_id
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.senders import MemberSender
from clave_crypto.mls.welcoming import make_welcome

__all__ = ["continue_group"]


def continue_group(
    origin: Origin,
    usage: ResumptionUsage,
    first: Epoch,
    secret_tree: SecretTree,
    key_packages: Sequence[KeyPackage],
    *,
    policy: Policy,
    now: int,
    path: bool,
    ratchet_tree: bool,
    limits: Limits,
    grease: Grease,
    random: RandomBytes,
) -> tuple[Epoch, SecretTree, bytes]:
    """Return epoch 1 of the group whose epoch 0 is `first`, its message keys, and the Welcome for the others.

    Raises:
        ValidationError: a key package breaks a rule, or the group does not continue `origin` as `usage` says.
        PolicyRejected: the application refuses a leaf.
        LimitError: there are too many key packages, or the Welcome grows too long.

    """
    sender = MemberSender(first.own_leaf)
    psk = ResumptionPsk(usage, origin.epoch.context.group_id, origin.epoch.context.epoch)
    adds = [Add(key_package) for key_package in key_packages]
    check_own_proposals(first, sender, adds, policy=policy, limits=limits, now=now, spread=map)
    proposals: list[Proposal] = [*adds, PreSharedKey(new_psk_id(first.suite, psk, random))]
    applied = apply_proposals(first, sender, [(sender, one) for one in proposals], limits=limits)
    made = make_commit(
        first,
        sender,
        applied,
        [ProposalByValue(one) for one in proposals],
        template=first.tree.leaf(first.own_leaf) if path else None,
        init_secret=first.secrets.init_secret,
        found=secret_tree.find_next(first.own_leaf, ContentType.COMMIT),
        authenticated_data=b"",
        find_psk=origin.find_psk,
        limits=limits,
        random=random,
    )
    check_continues(origin, psk, made.epoch.context, made.epoch.tree, policy)
    welcome = make_welcome(
        made.epoch,
        made.joiner_secret,
        list(zip(applied.added, key_packages, strict=True)),
        path=made.path,
        psk_secret=made.psk_secret,
        psks=applied.psks,
        ratchet_tree=ratchet_tree,
        grease=grease,
        random=random,
    )
    limits.check_message(len(welcome))
    return made.epoch, made.secret_tree, welcome
