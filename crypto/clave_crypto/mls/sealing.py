"""Encrypt an application's data to the key of one member's leaf. Changes no state, sends no message.

Anyone who knows the leaf can do it, so the data is not authenticated. It can be decrypted as long as the
leaf's private key is kept, which the member's next Update or commit with a path replaces.
"""

from __future__ import annotations

from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.epoch import Epoch
from clave_crypto.mls.errors import LocalError, undecodable
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.update_path import HPKECiphertext

__all__ = ["open_from_member", "seal_to_member"]

_LABELS_OF_MLS = frozenset({"UpdatePathNode", "Welcome"})
"""Labels of EncryptWithLabel in RFC 9420; an application must not open what they protect."""


def seal_to_member(epoch: Epoch, leaf: LeafNode, label: str, data: bytes) -> bytes:
    """Return `data` encrypted to a leaf's key by EncryptWithLabel (section 5.1.3), as an HPKECiphertext.

    The context is the group's id.

    Raises:
        LocalError: `label` is reserved by MLS.

    """
    _check_label(label)
    group_id = epoch.context.group_id
    sealed = epoch.suite.encrypt_with_label(leaf.encryption_key, label.encode(), group_id, data)
    return HPKECiphertext(*sealed).encode()


def open_from_member(epoch: Epoch, label: str, sealed: bytes, key: Secret) -> Secret:
    """Return what `seal_to_member` was given, by the private key of this member's leaf.

    Raises:
        LocalError: `label` is reserved by MLS.
        MalformedError: `sealed` is not an encoded HPKECiphertext.
        DecryptionError: it was not encrypted to this leaf's key with this label and group id.

    """
    _check_label(label)
    try:
        ciphertext = HPKECiphertext.decode(sealed)
    except DecodeError as error:
        raise undecodable("the sealed data", error) from error
    return epoch.suite.decrypt_with_label(
        key,
        label.encode(),
        epoch.context.group_id,
        ciphertext.kem_output,
        ciphertext.ciphertext,
    )


def _check_label(label: str) -> None:
    if label in _LABELS_OF_MLS:
        raise LocalError(f"the label {label!r} is reserved by MLS: choose another")
