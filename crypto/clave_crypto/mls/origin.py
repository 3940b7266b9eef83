"""The group that a reinitialised or branched group continues (RFC 9420, sections 11.2 and 11.3).

Compares the two and derives nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from clave_crypto.mls.epoch import Epoch, FindPsk
from clave_crypto.mls.errors import LocalError
from clave_crypto.mls.key_schedule import GroupContext
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import ReInit
from clave_crypto.mls.psk import ResumptionPsk, ResumptionUsage
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.rules.welcome import (
    check_first_epoch,
    check_reinit,
    check_same_members,
    check_same_parameters,
    check_subset,
)

__all__ = ["Origin", "check_continues", "find_origin"]


@dataclass(frozen=True, repr=False)
class Origin:
    """The last epoch of a group, its committed ReInit, and the lookup of its pre-shared keys."""

    epoch: Epoch
    reinit: ReInit | None
    find_psk: FindPsk


def find_origin(origin: Origin | None, psk: ResumptionPsk) -> Origin:
    """Return `origin` if it is the group that `psk` names.

    Raises:
        LocalError: it is another group, or none was given.

    """
    if origin is None or origin.epoch.context.group_id != psk.psk_group_id:
        raise LocalError("the Welcome's group continues another one: pass that group as `origin`")
    return origin


def check_continues(
    origin: Origin, psk: ResumptionPsk, context: GroupContext, tree: RatchetTree, policy: Policy
) -> None:
    """Check that the group of `context` and `tree` continues `origin` in the way that `psk` says.

    Raises:
        ValidationError: its parameters or its members are not what they should be.

    """
    old = {policy.client(leaf) for _, leaf in origin.epoch.tree.leaves()}
    new = {policy.client(leaf) for _, leaf in tree.leaves()}
    check_first_epoch(context)
    if psk.usage is ResumptionUsage.REINIT:
        check_reinit(origin.reinit, psk.psk_epoch, origin.epoch.context.epoch, context)
        check_same_members(len(old - new))
    else:
        check_same_parameters(origin.epoch.context, context)
        check_subset(len(new - old))
