"""Forging what an honest client never makes: good in everything but what a test wants wrong."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Capabilities,
    CipherSuite,
    Extension,
    FindPsk,
    GroupView,
    KeyPackage,
    KeyPackageBundle,
    Limits,
    MemberSender,
    PreSharedKeyID,
    Proposal,
    X509Credential,
    encode_message,
)
from clave_crypto.mls.applying import apply_proposals
from clave_crypto.mls.committing import CommitMade, make_commit
from clave_crypto.mls.epoch import no_psks
from clave_crypto.mls.framing import (
    AuthData,
    CommitAuthData,
    ProposalContent,
    PublicMessage,
    decode_message,
)
from clave_crypto.mls.key_schedule import derive_epoch, welcome_key_nonce
from clave_crypto.mls.leaf_node import (
    CommitSource,
    KeyPackageSource,
    LeafNode,
    UpdateSource,
    leaf_node_tbs,
    sign_leaf_node,
)
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.proposals import Commit, ContentType, ProposalByReference, ProposalByValue
from clave_crypto.mls.protection import membership_tag, sign_content
from clave_crypto.mls.psk import psk_secret
from clave_crypto.mls.ratchet_tree import RatchetTree, TreeNodes
from clave_crypto.mls.sending import frame, protect, sign
from clave_crypto.mls.update_path import HPKECiphertext, UpdatePath, UpdatePathNode
from clave_crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome
from clave_crypto.mls.wire_format import WireFormat
from groupkit import DAY, NOW, SUITE, Party

SMALL_ORDER = bytes([1]) + bytes(31)
"""An Ed25519 public key that must not be used."""


def suite_as(kind: type[CipherSuite], suite: CipherSuite) -> CipherSuite:
    """Return `suite` with some methods of its own."""
    other = copy.copy(suite)
    object.__setattr__(other, "__class__", kind)
    return other


def key_pair() -> bytes:
    """Return a new public encryption key."""
    return SUITE.kem.derive_key_pair(os.urandom(32))[1]


# Key packages


def offered(party: Party | None = None, **changes: Any) -> KeyPackage:
    """Return a good key package with some fields of its leaf changed, everything signed again."""
    party = party or Party("blue")
    package = party.offer().key_package
    leaf = replace(package.leaf_node, **{"extensions": ()} | changes)
    if "signature" not in changes:
        tbs = leaf_node_tbs(leaf, b"", 0)
        leaf = replace(leaf, signature=SUITE.sign_with_label(party.signature_secret, b"LeafNodeTBS", tbs))
    return signed(party, replace(package, leaf_node=leaf))


def signed(party: Party, package: KeyPackage) -> KeyPackage:
    """Return a key package signed by `party`."""
    signature = SUITE.sign_with_label(party.signature_secret, b"KeyPackageTBS", package.tbs())
    return replace(package, signature=signature)


def capabilities(**changes: Any) -> Capabilities:
    """Return usual capabilities with some fields changed."""
    return replace(Party("blue").offer().key_package.leaf_node.capabilities, **changes)


def with_capabilities(party: Party, **changes: Any) -> LeafNode:
    """Return a good leaf of `party`'s for a key package, with some fields of its capabilities changed."""
    leaf = party.offer().key_package.leaf_node
    leaf = replace(leaf, capabilities=replace(leaf.capabilities, **changes))
    tbs = leaf_node_tbs(leaf, b"", 0)
    return replace(leaf, signature=SUITE.sign_with_label(party.signature_secret, b"LeafNodeTBS", tbs))


def certified(party: Party) -> X509Credential:
    """Return a certificate that the party signed for itself."""
    key = Ed25519PrivateKey.from_private_bytes(party.signature_secret)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, party.name)])
    begins = datetime.fromtimestamp(NOW - DAY, UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=2))
    return X509Credential((builder.sign(key, None).public_bytes(Encoding.DER),))


# Messages


def forged(sender: Party, body: Any, **changes: Any) -> bytes:
    """Return any body as a message its sender signed and sealed, some fields of the content changed."""
    epoch = sender.group._epoch
    content = replace(frame(epoch.context, MemberSender(epoch.own_leaf), body, b""), **changes)
    found = sender.group._secret_tree.find_next(sender.group.own_leaf, ContentType(body.tag[0]))
    signature = sign(epoch, content, found)
    auth = CommitAuthData(signature, b"") if isinstance(body, Commit) else AuthData(signature)
    sender.group._secret_tree.consume(found)
    return protect(epoch, content, auth, found, padding=pad_to_bucket, random=os.urandom)


def forged_proposal(sender: Party, proposal: Proposal) -> bytes:
    """Return a proposal without checking it."""
    return forged(sender, ProposalContent(proposal))


def forged_commit(sender: Party, proposals: Sequence[Any], **changes: Any) -> bytes:
    """Return a commit without checking what it covers; its path is a good one for covering nothing."""
    named = tuple(one if isinstance(one, ProposalByReference) else ProposalByValue(one) for one in proposals)
    if not changes:
        return committed(sender, named).message
    return forged(sender, Commit(named, **changes))


def committed(sender: Party, named: Sequence[Any] = (), init_secret: Secret | None = None) -> CommitMade:
    """Return a commit that names proposals and does what an empty one does."""
    epoch = sender.group._epoch
    return make_commit(
        epoch,
        MemberSender(epoch.own_leaf),
        apply_proposals(epoch, MemberSender(epoch.own_leaf), [], limits=Limits()),
        named,
        template=sender.group.member(epoch.own_leaf).leaf,
        init_secret=init_secret or epoch.secrets.init_secret,
        found=sender.group._secret_tree.find_next(epoch.own_leaf, ContentType.COMMIT),
        authenticated_data=b"",
        find_psk=lambda _: Secret(b"x"),
        limits=Limits(),
        random=os.urandom,
    )


def public(party: Party, body: Any, **changes: Any) -> PublicMessage:
    """Return a good public message, signed and tagged."""
    epoch = party.group._epoch
    content = replace(frame(epoch.context, MemberSender(epoch.own_leaf), body, b""), **changes)
    signature = sign_content(
        SUITE, epoch.signature_secret, WireFormat.PUBLIC_MESSAGE, content, epoch.context_bytes
    )
    message = PublicMessage(content, AuthData(signature), b"")
    tag = membership_tag(SUITE, epoch.secrets.membership_key, message, epoch.context_bytes)
    return replace(message, membership_tag=tag)


def forged_entry(group: GroupView, joiner: Party, commit: bytes, **changes: Any) -> bytes:
    """Return an external commit to `group` with parts of its content changed, signed again by the joiner."""
    message = decode_message(commit)
    assert isinstance(message, PublicMessage)
    content = replace(message.content, body=replace(message.content.body, **changes))
    context = group._epoch.context_bytes
    signature = sign_content(SUITE, joiner.signature_secret, WireFormat.PUBLIC_MESSAGE, content, context)
    return encode_message(PublicMessage(content, replace(message.auth, signature=signature), b""))


# Paths


def good_path(sender: Party) -> UpdatePath:
    """Return a path that others accept until they open it."""
    epoch = sender.group._epoch
    tree = committed(sender).epoch.tree
    leaf = tree.leaf(sender.group.own_leaf)
    assert leaf is not None
    nodes = []
    for node, copath in epoch.tree.filtered_direct_path(sender.group.own_leaf):
        parent = tree.parent_node(node)
        assert parent is not None
        sealed = (HPKECiphertext(key_pair(), bytes(48)) for _ in tree.resolution(copath))
        nodes.append(UpdatePathNode(parent.encryption_key, tuple(sealed)))
    return UpdatePath(leaf, tuple(nodes))


def with_leaf(
    sender: Party,
    path: UpdatePath,
    *,
    encryption_key: bytes | None = None,
    source: KeyPackageSource | UpdateSource | CommitSource | None = None,
) -> UpdatePath:
    """Return `path` with its leaf signed again by `sender`, its key or source replaced if given."""
    leaf = path.leaf_node
    signed = sign_leaf_node(
        SUITE,
        sender.signature_secret,
        leaf,
        encryption_key=leaf.encryption_key if encryption_key is None else encryption_key,
        source=leaf.source if source is None else source,
        group_id=sender.group.group_id,
        leaf_index=sender.group.own_leaf,
    )
    return UpdatePath(signed, path.nodes)


def with_node(path: UpdatePath, **changes: Any) -> UpdatePath:
    """Return `path` with its first parent changed."""
    return UpdatePath(path.leaf_node, (replace(path.nodes[0], **changes), *path.nodes[1:]))


def old_key(party: Party) -> bytes:
    """Return the encryption key that the party's leaf has."""
    return party.group.member(party.group.own_leaf).leaf.encryption_key


# Welcomes


class Forger:
    """Opens a Welcome that `signer` made for `bundle`, to seal it again with something changed."""

    def __init__(
        self, signer: Party, bundle: KeyPackageBundle, welcome_message: bytes, find_psk: FindPsk = no_psks
    ) -> None:
        self.signer = signer
        self.bundle = bundle
        self.find_psk = find_psk
        welcome = decode_message(welcome_message)
        assert isinstance(welcome, Welcome)
        (entry,) = (one for one in welcome.secrets if one.new_member == bundle.reference)
        sealed = entry.encrypted_group_secrets
        opened = SUITE.decrypt_with_label(
            bundle.init_secret, b"Welcome", welcome.encrypted_group_info, sealed.kem_output, sealed.ciphertext
        )
        self.secrets = GroupSecrets.decode(opened)
        key, nonce = welcome_key_nonce(SUITE, self.secrets.joiner_secret, self._psk_secret(self.secrets.psks))
        self.info = GroupInfo.decode(SUITE.open(key, nonce, b"", welcome.encrypted_group_info))
        self.tree = RatchetTree(SUITE, TreeNodes.decode(self.info.extensions[0].extension_data).nodes)

    def welcome_with(
        self,
        *,
        info: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        secrets: dict[str, Any] | None = None,
        tree: RatchetTree | bytes | None = None,
        signer: Party | None = None,
        tag: bytes | None = None,
    ) -> bytes:
        """Return a Welcome in which only what is given here is wrong."""
        changed: dict[str, Any] = {}
        encoded = self.tree.encode()
        if isinstance(tree, RatchetTree):
            encoded, changed["tree_hash"] = tree.encode(), tree.tree_hash()
        elif tree is not None:
            encoded = tree
        group_context = replace(self.info.group_context, **(changed | (context or {})))
        group_secrets = replace(self.secrets, **(secrets or {}))
        psk = self._psk_secret(group_secrets.psks)
        epoch, _ = derive_epoch(SUITE, group_secrets.joiner_secret, psk, group_context.encode())
        good_tag = SUITE.mac(epoch.confirmation_key, group_context.confirmed_transcript_hash)
        extensions = (Extension(2, encoded),)
        unsigned = GroupInfo(group_context, extensions, tag or good_tag, self.info.signer, b"")
        unsigned = replace(unsigned, **(info or {}))
        by = (signer or self.signer).signature_secret
        signature = SUITE.sign_with_label(by, b"GroupInfoTBS", unsigned.tbs())
        key, nonce = welcome_key_nonce(SUITE, group_secrets.joiner_secret, psk)
        sealed_info = SUITE.seal(key, nonce, b"", replace(unsigned, signature=signature).encode())
        sealed = SUITE.encrypt_with_label(
            self.bundle.key_package.init_key, b"Welcome", sealed_info, group_secrets.encode()
        )
        entry = EncryptedGroupSecrets(self.bundle.reference, HPKECiphertext(*sealed))
        return encode_message(Welcome(SUITE.id, (entry,), sealed_info))

    def tree_with(self, node: int, **changes: Any) -> RatchetTree:
        """Return the tree with one node changed."""
        tree = self.tree.copy()
        contents = tree.node(node)
        assert contents is not None
        tree.set_node(node, replace(contents, **changes))
        return tree

    def _psk_secret(self, psks: Sequence[PreSharedKeyID]) -> Secret:
        return psk_secret(SUITE, [(psk_id, self.find_psk(psk_id) or Secret(b"x")) for psk_id in psks])
