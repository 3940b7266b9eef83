"""Rules for joining by Welcome or GroupInfo (RFC 9420, sections 11.2, 11.3 and 12.4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clave_crypto.mls.extensions import ExtensionType, ExternalPub, find_extension
from clave_crypto.mls.psk import PreSharedKeyID, ResumptionPsk, ResumptionUsage
from clave_crypto.mls.rules.registry import BrokenRuleError, rule

if TYPE_CHECKING:
    from clave_crypto.mls.key_schedule import GroupContext
    from clave_crypto.mls.leaf_node import LeafNode
    from clave_crypto.mls.proposals import ReInit
    from clave_crypto.mls.ratchet_tree import RatchetTree
    from clave_crypto.mls.suites import CipherSuite
    from clave_crypto.mls.welcome import GroupInfo

__all__ = [
    "check_first_epoch",
    "check_group_id_new",
    "check_group_info_signature",
    "check_origin_named",
    "check_psk_nonces",
    "check_reinit",
    "check_same_members",
    "check_same_parameters",
    "check_signer",
    "check_subset",
    "check_suites_agree",
    "check_tree_given",
    "find_external_pub",
    "find_origin_psk",
    "find_own_leaf",
]


@rule("welcome-suite", "12.4.3.1")
def check_suites_agree(welcome: int, other: int) -> None:
    """The key package, the Welcome and the group have the same cipher suite."""
    if welcome != other:
        raise BrokenRuleError("the cipher suites of key package, Welcome and group differ")


@rule("welcome-tree-given", "12.4.3.3")
def check_tree_given(tree: bytes | None) -> bytes:
    """A joiner has the ratchet tree, from the Welcome or otherwise."""
    if tree is None:
        raise BrokenRuleError("the Welcome comes without the ratchet tree")
    return tree


@rule("group-info-signer", "12.4.3.1")
def check_signer(tree: RatchetTree, group_info: GroupInfo) -> LeafNode:
    """The signer of a GroupInfo is a member."""
    leaf = tree.leaf(group_info.signer)
    if leaf is None:
        raise BrokenRuleError("the signer of the group info is not a member")
    return leaf


@rule("group-info-signature", "12.4.3.1")
def check_group_info_signature(suite: CipherSuite, public: bytes, group_info: GroupInfo) -> None:
    """A GroupInfo is signed by its signer."""
    suite.verify_with_label(public, b"GroupInfoTBS", group_info.tbs(), group_info.signature)


@rule("welcome-own-leaf", "12.4.3.1")
def find_own_leaf(tree: RatchetTree, leaf: LeafNode) -> int:
    """The tree has the leaf of the joiner's key package."""
    for leaf_index, candidate in tree.leaves():
        if candidate == leaf:
            return leaf_index
    raise BrokenRuleError("the ratchet tree lacks the joiner's leaf")


@rule("group-id-new", "12.4.3")
def check_group_id_new(is_known: bool) -> None:
    """A joiner is not in another group with the same id."""
    if is_known:
        raise BrokenRuleError("this client is already in a group with that id")


@rule("external-pub", "12.4.3.2")
def find_external_pub(suite: CipherSuite, group_info: GroupInfo) -> bytes:
    """A GroupInfo to join by an external commit has a key for it."""
    data = find_extension(group_info.extensions, ExtensionType.EXTERNAL_PUB)
    if data is None:
        raise BrokenRuleError("the group info has no key for external commits")
    external_pub = ExternalPub.decode(data).external_pub
    suite.kem.check_public(external_pub)
    return external_pub


@rule("welcome-psk-nonces", "8.4")
def check_psk_nonces(suite: CipherSuite, psks: Sequence[PreSharedKeyID]) -> None:
    """The nonce of each pre-shared key of a Welcome is as long as the hash."""
    if any(len(psk.psk_nonce) != suite.hash_size for psk in psks):
        raise BrokenRuleError("a pre-shared key's nonce has the wrong length")


@rule("welcome-one-origin", "12.4.3.1")
def find_origin_psk(psks: Sequence[PreSharedKeyID]) -> ResumptionPsk | None:
    """A Welcome continues at most one group, by reinitialising or branching."""
    origins = [
        psk.psk
        for psk in psks
        if isinstance(psk.psk, ResumptionPsk) and psk.psk.usage is not ResumptionUsage.APPLICATION
    ]
    if len(origins) > 1:
        raise BrokenRuleError("the Welcome continues more than one group")
    return origins[0] if origins else None


@rule("origin-named", "11.2")
def check_origin_named(psk: ResumptionPsk | None, *, expected: bool) -> None:
    """A group joined as the continuation of another uses the other's resumption key."""
    if expected and psk is None:
        raise BrokenRuleError("the Welcome does not continue the group that it should")


@rule("origin-first-epoch", "12.4.3.1")
def check_first_epoch(context: GroupContext) -> None:
    """A group that continues another is joined in its epoch 1."""
    if context.epoch != 1:
        raise BrokenRuleError("the group that continues another is not in epoch 1")


def check_reinit(reinit: ReInit | None, psk_epoch: int, last_epoch: int, context: GroupContext) -> None:
    """Check that a group is the one described by the ReInit in another's `last_epoch`."""
    agreed = check_reinit_agreed(reinit)
    check_reinit_epoch(psk_epoch, last_epoch)
    check_reinit_parameters(agreed, context)


@rule("reinit-agreed", "12.4.3.1")
def check_reinit_agreed(reinit: ReInit | None) -> ReInit:
    """The last commit of a group that is replaced has a ReInit."""
    if reinit is None:
        raise BrokenRuleError("the old group has no committed ReInit")
    return reinit


@rule("reinit-epoch", "11.2")
def check_reinit_epoch(psk_epoch: int, last_epoch: int) -> None:
    """A group that replaces another uses the resumption key of the other's last epoch."""
    if psk_epoch != last_epoch:
        raise BrokenRuleError("the new group does not use the resumption key of the old one's last epoch")


@rule("reinit-parameters", "11.2")
def check_reinit_parameters(reinit: ReInit, context: GroupContext) -> None:
    """A group that replaces another has the id, version, cipher suite and extensions of the ReInit."""
    agreed = (reinit.group_id, reinit.version, reinit.cipher_suite, reinit.extensions)
    if agreed != (context.group_id, context.version, context.cipher_suite, context.extensions):
        raise BrokenRuleError("the new group is not the one that the ReInit describes")


@rule("reinit-members", "12.4.3.1")
def check_same_members(unmatched: int) -> None:
    """Every member of a group that was replaced is a member of the new one."""
    if unmatched:
        raise BrokenRuleError(f"{unmatched} members of the old group are not in the new one")


@rule("branch-parameters", "11.3")
def check_same_parameters(old: GroupContext, new: GroupContext) -> None:
    """A branch has the protocol version and cipher suite of the group it comes from."""
    if (old.version, old.cipher_suite) != (new.version, new.cipher_suite):
        raise BrokenRuleError("the branch has another version or cipher suite than its group")


@rule("branch-members", "11.3")
def check_subset(unmatched: int) -> None:
    """Every member of a branch is a member of the group it comes from."""
    if unmatched:
        raise BrokenRuleError(f"{unmatched} members of the branch are not in its group")
