"""Structs by which a new member joins: GroupInfo, GroupSecrets, Welcome (RFC 9420, 12.4.3). No logic."""

from __future__ import annotations

from clave_crypto.codec import Struct, encode_vector, struct, u16, u32
from clave_crypto.keys import Secret
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.key_schedule import GroupContext
from clave_crypto.mls.psk import PreSharedKeyID
from clave_crypto.mls.update_path import HPKECiphertext
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["EncryptedGroupSecrets", "GroupInfo", "GroupSecrets", "Welcome"]


@struct(tag=WireFormat.GROUP_INFO)
class GroupInfo(Struct):
    """The state of a group, signed by member `signer`."""

    group_context: GroupContext
    extensions: tuple[Extension, ...]
    confirmation_tag: bytes
    signer: u32
    signature: bytes

    def tbs(self) -> bytes:
        """Return the encoded GroupInfoTBS."""
        return self.encode()[: -len(encode_vector(self.signature))]


@struct()
class GroupSecrets(Struct):
    """What one new member needs besides the group info."""

    joiner_secret: Secret
    path_secret: Secret | None
    psks: tuple[PreSharedKeyID, ...]


@struct()
class EncryptedGroupSecrets(Struct):
    """GroupSecrets for the owner of one key package."""

    new_member: bytes
    encrypted_group_secrets: HPKECiphertext


@struct(tag=WireFormat.WELCOME)
class Welcome(Struct):
    """An invitation into a group for one or more new members."""

    cipher_suite: u16
    secrets: tuple[EncryptedGroupSecrets, ...]
    encrypted_group_info: bytes
