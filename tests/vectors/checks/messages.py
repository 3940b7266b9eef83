"""Vectors of protected messages, and of the Welcome."""

from __future__ import annotations

from typing import Any

from clave_crypto.mls import MemberSender, find_suite
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    AuthenticatedContent,
    CommitAuthData,
    FramedContent,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    decode_key_package,
    decode_message,
    encode_message,
)
from clave_crypto.mls.key_schedule import GroupContext, derive_epoch, welcome_key_nonce
from clave_crypto.mls.leaf_node import ProtocolVersion
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.proposals import Commit, ContentType
from clave_crypto.mls.protection import (
    content_tbs,
    membership_tag,
    open_content,
    open_sender_data,
    seal_content,
    sign_content,
)
from clave_crypto.mls.psk import psk_secret
from clave_crypto.mls.rules.message import check_membership_tag, check_message_signature
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.welcome import GroupInfo, GroupSecrets, Welcome
from clave_crypto.mls.wire_format import WireFormat
from vectors.checks.schema import LEAF, Case, secret, unhex, vector


@vector(
    cipher_suite=LEAF,
    group_id=LEAF,
    epoch=LEAF,
    tree_hash=LEAF,
    confirmed_transcript_hash=LEAF,
    signature_priv=LEAF,
    signature_pub=LEAF,
    encryption_secret=LEAF,
    sender_data_secret=LEAF,
    membership_key=LEAF,
    proposal=LEAF,
    proposal_pub=LEAF,
    proposal_priv=LEAF,
    commit=LEAF,
    commit_pub=LEAF,
    commit_priv=LEAF,
    application=LEAF,
    application_priv=LEAF,
)
def message_protection(case: Case) -> None:
    suite = find_suite(case["cipher_suite"])
    context = GroupContext(
        ProtocolVersion.MLS10,
        suite.id,
        unhex(case["group_id"]),
        case["epoch"],
        unhex(case["tree_hash"]),
        unhex(case["confirmed_transcript_hash"]),
        (),
    ).encode()
    signer, membership_key = secret(case["signature_priv"]), secret(case["membership_key"])
    sender_data_secret = secret(case["sender_data_secret"])

    def verify(authenticated: AuthenticatedContent) -> None:
        tbs = content_tbs(authenticated.wire_format, authenticated.content, context)
        check_message_signature(suite, unhex(case["signature_pub"]), tbs, authenticated.auth.signature)

    def open_public(encoded: bytes) -> Any:
        message = decode_message(encoded)
        assert isinstance(message, PublicMessage)
        check_membership_tag(membership_tag(suite, membership_key, message, context), message.membership_tag)
        verify(AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, message.content, message.auth))
        assert message.content.sender == MemberSender(1)
        return message.content.body

    def open_private(encoded: bytes) -> Any:
        message = decode_message(encoded)
        assert isinstance(message, PrivateMessage)
        sender = open_sender_data(suite, sender_data_secret, message)
        assert sender.leaf_index == 1
        tree = SecretTree(suite, 2, secret(case["encryption_secret"]))
        found = tree.find(sender.leaf_index, message.content_type, sender.generation)
        authenticated = open_content(suite, message, sender, found)
        verify(authenticated)
        return authenticated.content.body

    bodies: dict[str, ProposalContent | Commit | ApplicationData] = {
        "proposal": ProposalContent.decode(unhex(case["proposal"])),
        "commit": Commit.decode(unhex(case["commit"])),
        "application": ApplicationData(unhex(case["application"])),
    }
    for name, body in bodies.items():
        content = FramedContent(unhex(case["group_id"]), case["epoch"], MemberSender(1), b"", body)

        def auth(wire_format: WireFormat, content: FramedContent = content) -> AuthData | CommitAuthData:
            signature = sign_content(suite, signer, wire_format, content, context)
            return (
                CommitAuthData(signature, b"tag") if isinstance(content.body, Commit) else AuthData(signature)
            )

        if name != "application":
            assert open_public(unhex(case[f"{name}_pub"])) == body
            unsealed = PublicMessage(content, auth(WireFormat.PUBLIC_MESSAGE), b"")
            tag = membership_tag(suite, membership_key, unsealed, context)
            message = PublicMessage(content, unsealed.auth, tag)
            assert open_public(encode_message(message)) == body
        assert open_private(unhex(case[f"{name}_priv"])) == body
        content_type = ContentType(body.tag[0])
        sealed = seal_content(
            suite,
            content,
            auth(WireFormat.PRIVATE_MESSAGE),
            sender_leaf=1,
            sender_data_secret=sender_data_secret,
            found=SecretTree(suite, 2, secret(case["encryption_secret"])).find_next(1, content_type),
            padding=pad_to_bucket,
            random=bytes,
        )
        assert open_private(encode_message(sealed)) == body


@vector(cipher_suite=LEAF, init_priv=LEAF, signer_pub=LEAF, key_package=LEAF, welcome=LEAF)
def welcome(case: Case) -> None:
    suite = find_suite(case["cipher_suite"])
    key_package = decode_key_package(unhex(case["key_package"]))
    message = decode_message(unhex(case["welcome"]))
    assert isinstance(message, Welcome)
    reference = suite.ref_hash(b"MLS 1.0 KeyPackage Reference", key_package.encode())
    (entry,) = (one for one in message.secrets if one.new_member == reference)
    sealed = entry.encrypted_group_secrets
    opened = suite.decrypt_with_label(
        unhex(case["init_priv"]),
        b"Welcome",
        message.encrypted_group_info,
        sealed.kem_output,
        sealed.ciphertext,
    )
    joiner = GroupSecrets.decode(opened).joiner_secret
    no_psk = psk_secret(suite, [])
    key, nonce = welcome_key_nonce(suite, joiner, no_psk)
    info = GroupInfo.decode(suite.open(key, nonce, b"", message.encrypted_group_info))
    suite.verify_with_label(unhex(case["signer_pub"]), b"GroupInfoTBS", info.tbs(), info.signature)
    secrets, _ = derive_epoch(suite, joiner, no_psk, info.group_context.encode())
    tag = suite.mac(secrets.confirmation_key, info.group_context.confirmed_transcript_hash)
    assert tag == info.confirmation_tag
