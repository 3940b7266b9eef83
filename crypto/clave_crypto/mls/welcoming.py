"""Make a signed GroupInfo, and Welcomes that contain it (RFC 9420, section 12.4.3).

Reads an epoch and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.extensions import Extension, ExtensionType, ExternalPub
from clave_crypto.mls.framing import encode_message
from clave_crypto.mls.grease import Grease, grease_extension
from clave_crypto.mls.key_package import KeyPackage, RandomBytes
from clave_crypto.mls.key_schedule import welcome_key_nonce
from clave_crypto.mls.psk import PreSharedKeyID
from clave_crypto.mls.spread import Spread, apply_spread
from clave_crypto.mls.treekem import NewPath
from clave_crypto.mls.update_path import HPKECiphertext
from clave_crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome

__all__ = ["external_key_pair", "make_group_info", "make_welcome"]


def external_key_pair(epoch: Epoch) -> tuple[Secret, bytes]:
    """Return the epoch's key pair for external commits (section 8)."""
    return epoch.suite.kem.derive_key_pair(epoch.secrets.external_secret)


def make_group_info(
    epoch: Epoch, *, ratchet_tree: bool, external_pub: bool, grease: Grease, random: RandomBytes
) -> GroupInfo:
    """Return the epoch's GroupInfo, signed by this member, with the tree and the external key on request."""
    extensions = []
    if ratchet_tree:
        extensions.append(Extension(ExtensionType.RATCHET_TREE, epoch.tree.encode()))
    if external_pub:
        _, public = external_key_pair(epoch)
        extensions.append(Extension(ExtensionType.EXTERNAL_PUB, ExternalPub(public).encode()))
    if grease.group_info_extensions:
        extensions.append(grease_extension(random))

    def with_signature(signature: bytes) -> GroupInfo:
        return GroupInfo(epoch.context, tuple(extensions), epoch.confirmation_tag, epoch.own_leaf, signature)

    tbs = with_signature(b"").tbs()
    return with_signature(epoch.suite.sign_with_label(epoch.signature_secret, b"GroupInfoTBS", tbs))


def make_welcome(
    epoch: Epoch,
    joiner_secret: Secret,
    added: Sequence[tuple[int, KeyPackage]],
    *,
    path: NewPath | None,
    psk_secret: Secret,
    psks: tuple[PreSharedKeyID, ...],
    ratchet_tree: bool,
    grease: Grease,
    spread: Spread = map,
    random: RandomBytes,
) -> bytes:
    """Return one Welcome into `epoch`, an encoded MLSMessage, for all members added, by leaf index.

    `path`, `joiner_secret`, `psk_secret` and `psks` are those of the commit that added them.
    """
    suite = epoch.suite
    group_info = make_group_info(
        epoch, ratchet_tree=ratchet_tree, external_pub=False, grease=grease, random=random
    )
    key, nonce = welcome_key_nonce(suite, joiner_secret, psk_secret)
    encrypted_group_info = suite.seal(key, nonce, b"", group_info.encode())

    def seal(newcomer: tuple[int, KeyPackage]) -> EncryptedGroupSecrets:
        leaf_index, key_package = newcomer
        common = tree_math.common_ancestor(2 * epoch.own_leaf, 2 * leaf_index)
        path_secret = None if path is None else path.path_secrets[common]
        group_secrets = GroupSecrets(joiner_secret, path_secret, psks)
        sealed = suite.encrypt_with_label(
            key_package.init_key, b"Welcome", encrypted_group_info, group_secrets.encode()
        )
        reference = suite.ref_hash(b"MLS 1.0 KeyPackage Reference", key_package.encode())
        return EncryptedGroupSecrets(reference, HPKECiphertext(*sealed))

    secrets = apply_spread(spread, seal, added)
    return encode_message(Welcome(suite.id, tuple(secrets), encrypted_group_info))
