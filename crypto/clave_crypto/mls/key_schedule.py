"""The key schedule: derive each epoch's secrets from those of the last (RFC 9420, section 8).

Knows no tree and no messages; takes hashes and encodings of them.
"""

from __future__ import annotations

from clave_crypto.codec import Struct, encode_vector, struct, u16, u64
from clave_crypto.keys import Secret
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.leaf_node import ProtocolVersion
from clave_crypto.mls.suites import CipherSuite

__all__ = [
    "EpochSecrets",
    "GroupContext",
    "confirmed_transcript_hash",
    "derive_epoch",
    "export_secret",
    "first_epoch",
    "interim_transcript_hash",
    "joiner_secret",
    "welcome_key_nonce",
]


@struct()
class GroupContext(Struct):
    """What the members agree on (section 8.1)."""

    version: ProtocolVersion
    cipher_suite: u16
    group_id: bytes
    epoch: u64
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: tuple[Extension, ...]


@struct()
class EpochSecrets(Struct):
    """The secrets kept for an epoch; the encryption secret is kept in a `SecretTree`."""

    sender_data_secret: Secret
    exporter_secret: Secret
    external_secret: Secret
    confirmation_key: Secret
    membership_key: Secret
    resumption_psk: Secret
    epoch_authenticator: Secret
    init_secret: Secret


def joiner_secret(
    suite: CipherSuite, init_secret: Secret, commit_secret: Secret, group_context: bytes
) -> Secret:
    """Return the joiner_secret of the epoch that `group_context` describes."""
    pre = suite.extract(init_secret, commit_secret)
    return suite.expand_with_label(pre, b"joiner", group_context, suite.hash_size)


def derive_epoch(
    suite: CipherSuite, joiner: Secret, psk_secret: Secret, group_context: bytes
) -> tuple[EpochSecrets, Secret]:
    """Return the epoch's secrets and its encryption_secret."""
    member = suite.extract(joiner, psk_secret)
    return first_epoch(suite, suite.expand_with_label(member, b"epoch", group_context, suite.hash_size))


def first_epoch(suite: CipherSuite, epoch_secret: Secret) -> tuple[EpochSecrets, Secret]:
    """Return the secrets and the encryption_secret derived from an epoch_secret (table 4)."""
    labels = (
        b"sender data",
        b"exporter",
        b"external",
        b"confirm",
        b"membership",
        b"resumption",
        b"authentication",
        b"init",
    )
    secrets = EpochSecrets(*(suite.derive_secret(epoch_secret, label) for label in labels))
    return secrets, suite.derive_secret(epoch_secret, b"encryption")


def welcome_key_nonce(suite: CipherSuite, joiner: Secret, psk_secret: Secret) -> tuple[Secret, Secret]:
    """Return the key and nonce of a Welcome's group info (section 12.4.3.1)."""
    welcome_secret = suite.derive_secret(suite.extract(joiner, psk_secret), b"welcome")
    key = suite.expand_with_label(welcome_secret, b"key", b"", suite.key_size)
    return key, suite.expand_with_label(welcome_secret, b"nonce", b"", suite.nonce_size)


def export_secret(
    suite: CipherSuite, exporter_secret: Secret, label: bytes, context: bytes, length: int
) -> Secret:
    """Return MLS-Exporter(label, context, length) (section 8.5)."""
    derived = suite.derive_secret(exporter_secret, label)
    return suite.expand_with_label(derived, b"exported", suite.hash(context), length)


def confirmed_transcript_hash(
    suite: CipherSuite, interim: bytes, wire_format: int, content: bytes, signature: bytes
) -> bytes:
    """Return the confirmed transcript hash after a commit with this encoded FramedContent (section 8.2)."""
    return suite.hash(interim + wire_format.to_bytes(2, "big") + content + encode_vector(signature))


def interim_transcript_hash(suite: CipherSuite, confirmed: bytes, confirmation_tag: bytes) -> bytes:
    """Return the interim transcript hash after a commit (section 8.2)."""
    return suite.hash(confirmed + encode_vector(confirmation_tag))
