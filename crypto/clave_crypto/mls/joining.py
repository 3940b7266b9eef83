"""Join by a Welcome, and check the GroupInfo and tree that come with it (RFC 9420, section 12.4.3.1).

Computes the epoch that is joined; stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeVar

from clave_crypto.codec import Struct
from clave_crypto.errors import DecodeError
from clave_crypto.mls import tree_math
from clave_crypto.mls.applying import combine_psks, context_size, judge_extensions
from clave_crypto.mls.epoch import Epoch, FindPsk
from clave_crypto.mls.errors import LocalError, MalformedError, undecodable
from clave_crypto.mls.extensions import ExtensionType, find_extension
from clave_crypto.mls.framing import decode_message
from clave_crypto.mls.key_package import KeyPackageBundle
from clave_crypto.mls.key_schedule import derive_epoch, interim_transcript_hash, welcome_key_nonce
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.origin import Origin, check_continues, find_origin
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.ratchet_tree import RatchetTree, decode_nodes
from clave_crypto.mls.rules.extensions import check_extensions, check_extensions_unique
from clave_crypto.mls.rules.message import check_confirmation_tag
from clave_crypto.mls.rules.tree import check_tree_shape
from clave_crypto.mls.rules.welcome import (
    check_group_id_new,
    check_group_info_signature,
    check_origin_named,
    check_psk_nonces,
    check_signer,
    check_suites_agree,
    check_tree_given,
    find_origin_psk,
    find_own_leaf,
)
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.suites import CipherSuite, find_suite
from clave_crypto.mls.treekem import derive_path_keys
from clave_crypto.mls.verifying import verify_tree
from clave_crypto.mls.welcome import GroupInfo, GroupSecrets, Welcome

__all__ = ["FindBundle", "decode_part", "join", "verify_group_info"]

_T = TypeVar("_T", bound=Struct)

FindBundle = Callable[[bytes], KeyPackageBundle | None]
"""Returns this client's key package with that reference, or None."""


def join(
    welcome_message: bytes,
    find_bundle: FindBundle,
    *,
    policy: Policy,
    ratchet_tree: bytes | None,
    find_psk: FindPsk,
    origin: Origin | None,
    other_groups: Container[bytes],
    limits: Limits,
    spread: Spread,
) -> tuple[Epoch, SecretTree, int]:
    """Return the epoch a Welcome leads to, its message keys, and the leaf index of the Welcome's signer.

    Raises as `Group.join` does.
    """
    limits.check_message(len(welcome_message))
    welcome = decode_message(welcome_message)
    if not isinstance(welcome, Welcome):
        raise MalformedError("the message is not a Welcome")
    suite = find_suite(welcome.cipher_suite)
    bundle, group_secrets = _open_group_secrets(suite, welcome, find_bundle)
    check_psk_nonces(suite, group_secrets.psks)
    continued = find_origin_psk(group_secrets.psks)
    check_origin_named(continued, expected=origin is not None)
    if continued is not None:
        origin = find_origin(origin, continued)
        find_psk = origin.find_psk
    psk = combine_psks(suite, group_secrets.psks, find_psk)
    key, nonce = welcome_key_nonce(suite, group_secrets.joiner_secret, psk)
    opened = suite.open(key, nonce, b"", welcome.encrypted_group_info)
    group_info = decode_part(GroupInfo, opened)
    context = group_info.group_context
    check_suites_agree(welcome.cipher_suite, context.cipher_suite)
    check_group_id_new(context.group_id in other_groups)
    tree = verify_group_info(suite, group_info, ratchet_tree, policy=policy, limits=limits, spread=spread)
    if continued is not None and origin is not None:
        check_continues(origin, continued, context, tree, policy)

    own_leaf = find_own_leaf(tree, bundle.key_package.leaf_node)
    private_keys = {2 * own_leaf: bundle.leaf_secret}
    if group_secrets.path_secret is not None:
        common = tree_math.common_ancestor(2 * own_leaf, 2 * group_info.signer)
        above = [node for node in tree_math.direct_path(common, tree.n_leaves) if tree.parent_node(node)]
        keys, _ = derive_path_keys(tree, [common, *above], group_secrets.path_secret)
        private_keys |= keys
    secrets, encryption_secret = derive_epoch(suite, group_secrets.joiner_secret, psk, context.encode())
    tag = suite.mac(secrets.confirmation_key, context.confirmed_transcript_hash)
    check_confirmation_tag(tag, group_info.confirmation_tag)
    epoch = Epoch(
        context,
        tree,
        secrets,
        tag,
        interim_transcript_hash(suite, context.confirmed_transcript_hash, tag),
        own_leaf,
        private_keys,
        bundle.signature_secret,
    )
    return epoch, SecretTree(suite, tree.n_leaves, encryption_secret, limits), group_info.signer


def verify_group_info(
    suite: CipherSuite,
    group_info: GroupInfo,
    ratchet_tree: bytes | None,
    *,
    policy: Policy,
    limits: Limits,
    spread: Spread,
) -> RatchetTree:
    """Check a GroupInfo and its tree, from its extension or else `ratchet_tree`; return the tree.

    Raises:
        MalformedError, ValidationError: it is malformed or breaks a rule.
        LimitError: the tree is too large.
        PolicyRejected: the application refuses a leaf.

    """
    context = group_info.group_context
    check_extensions_unique(group_info.extensions)
    check_extensions(context.extensions)
    limits.check_context(context_size(context.extensions))
    judge_extensions(suite, context.extensions, policy)
    embedded = find_extension(group_info.extensions, ExtensionType.RATCHET_TREE)
    tree = _read_tree(suite, check_tree_given(ratchet_tree if embedded is None else embedded), limits)
    signer = check_signer(tree, group_info)
    check_group_info_signature(suite, signer.signature_key, group_info)
    verify_tree(tree, context, policy=policy, limits=limits, spread=spread)
    return tree


def _read_tree(suite: CipherSuite, encoded: bytes, limits: Limits) -> RatchetTree:
    try:
        nodes = decode_nodes(encoded, 2 * limits.leaves)
    except DecodeError as error:
        raise undecodable("the ratchet tree", error) from error
    tree = RatchetTree(suite, nodes)
    limits.check_leaves(tree.n_leaves)
    check_tree_shape(nodes)
    return tree


def decode_part(kind: type[_T], data: bytes) -> _T:
    """Decode a part of a Welcome or GroupInfo; raises `MalformedError` or `UnsupportedError`."""
    try:
        return kind.decode(data)
    except DecodeError as error:
        raise undecodable(f"the {kind.__name__}", error) from error


def _open_group_secrets(
    suite: CipherSuite, welcome: Welcome, find_bundle: FindBundle
) -> tuple[KeyPackageBundle, GroupSecrets]:
    for entry in welcome.secrets:
        bundle = find_bundle(entry.new_member)
        if bundle is None:
            continue
        check_suites_agree(welcome.cipher_suite, bundle.key_package.cipher_suite)
        sealed = entry.encrypted_group_secrets
        opened = suite.decrypt_with_label(
            bundle.init_secret, b"Welcome", welcome.encrypted_group_info, sealed.kem_output, sealed.ciphertext
        )
        return bundle, decode_part(GroupSecrets, opened)
    raise LocalError("the Welcome is for none of this client's key packages")
