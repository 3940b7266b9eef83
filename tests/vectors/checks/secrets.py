"""Vectors of primitives and of derived secrets."""

from __future__ import annotations

from clave_crypto.mls import PreSharedKeyID, find_suite
from clave_crypto.mls.framing import AuthenticatedContent, CommitAuthData
from clave_crypto.mls.key_schedule import (
    GroupContext,
    confirmed_transcript_hash,
    derive_epoch,
    export_secret,
    interim_transcript_hash,
    joiner_secret,
)
from clave_crypto.mls.leaf_node import ProtocolVersion
from clave_crypto.mls.proposals import ContentType
from clave_crypto.mls.protection import sender_data_key_nonce
from clave_crypto.mls.psk import ExternalPsk, psk_secret
from clave_crypto.mls.secret_tree import SecretTree
from vectors.checks.schema import LEAF, Case, secret, unhex, vector


@vector(
    cipher_suite=LEAF,
    ref_hash={"label": LEAF, "value": LEAF, "out": LEAF},
    expand_with_label={"secret": LEAF, "label": LEAF, "context": LEAF, "length": LEAF, "out": LEAF},
    derive_secret={"secret": LEAF, "label": LEAF, "out": LEAF},
    derive_tree_secret={"secret": LEAF, "label": LEAF, "generation": LEAF, "length": LEAF, "out": LEAF},
    sign_with_label={"priv": LEAF, "pub": LEAF, "content": LEAF, "label": LEAF, "signature": LEAF},
    encrypt_with_label={
        "priv": LEAF,
        "pub": LEAF,
        "label": LEAF,
        "context": LEAF,
        "plaintext": LEAF,
        "kem_output": LEAF,
        "ciphertext": LEAF,
    },
)
def crypto_basics(case: Case) -> None:
    suite = find_suite(case["cipher_suite"])
    one = case["ref_hash"]
    assert suite.ref_hash(one["label"].encode(), unhex(one["value"])) == unhex(one["out"])
    one = case["expand_with_label"]
    expanded = suite.expand_with_label(
        unhex(one["secret"]), one["label"].encode(), unhex(one["context"]), one["length"]
    )
    assert expanded == unhex(one["out"])
    one = case["derive_secret"]
    assert suite.derive_secret(unhex(one["secret"]), one["label"].encode()) == unhex(one["out"])
    one = case["derive_tree_secret"]
    derived = suite.derive_tree_secret(
        unhex(one["secret"]), one["label"].encode(), one["generation"], one["length"]
    )
    assert derived == unhex(one["out"])
    one = case["sign_with_label"]
    label, content, public = one["label"].encode(), unhex(one["content"]), unhex(one["pub"])
    suite.verify_with_label(public, label, content, unhex(one["signature"]))
    suite.verify_with_label(public, label, content, suite.sign_with_label(unhex(one["priv"]), label, content))
    one = case["encrypt_with_label"]
    label, context, plaintext = one["label"].encode(), unhex(one["context"]), unhex(one["plaintext"])
    sealed = unhex(one["kem_output"]), unhex(one["ciphertext"])
    for kem_output, ciphertext in (
        sealed,
        suite.encrypt_with_label(unhex(one["pub"]), label, context, plaintext),
    ):
        assert (
            suite.decrypt_with_label(unhex(one["priv"]), label, context, kem_output, ciphertext) == plaintext
        )


@vector(
    cipher_suite=LEAF,
    encryption_secret=LEAF,
    sender_data={"sender_data_secret": LEAF, "ciphertext": LEAF, "key": LEAF, "nonce": LEAF},
    leaves=LEAF,
)
def secret_tree(case: Case) -> None:
    suite = find_suite(case["cipher_suite"])
    one = case["sender_data"]
    key, nonce = sender_data_key_nonce(suite, secret(one["sender_data_secret"]), unhex(one["ciphertext"]))
    assert (key, nonce) == (unhex(one["key"]), unhex(one["nonce"]))
    tree = SecretTree(suite, len(case["leaves"]), secret(case["encryption_secret"]))
    fields = {"generation", "handshake_key", "handshake_nonce", "application_key", "application_nonce"}
    for leaf_index, generations in enumerate(case["leaves"]):
        for expected in generations:
            assert expected.keys() == fields
            for content_type, prefix in (
                (ContentType.COMMIT, "handshake"),
                (ContentType.APPLICATION, "application"),
            ):
                found = tree.find(leaf_index, content_type, expected["generation"])
                assert found.key == unhex(expected[f"{prefix}_key"])
                assert found.nonce == unhex(expected[f"{prefix}_nonce"])
                tree.consume(found)


@vector(
    cipher_suite=LEAF,
    group_id=LEAF,
    initial_init_secret=LEAF,
    epochs=[
        {
            "tree_hash": LEAF,
            "commit_secret": LEAF,
            "psk_secret": LEAF,
            "confirmed_transcript_hash": LEAF,
            "group_context": LEAF,
            "joiner_secret": LEAF,
            "welcome_secret": LEAF,
            "init_secret": LEAF,
            "sender_data_secret": LEAF,
            "encryption_secret": LEAF,
            "exporter_secret": LEAF,
            "epoch_authenticator": LEAF,
            "external_secret": LEAF,
            "confirmation_key": LEAF,
            "membership_key": LEAF,
            "resumption_psk": LEAF,
            "external_pub": LEAF,
            "exporter": {"label": LEAF, "context": LEAF, "length": LEAF, "secret": LEAF},
        }
    ],
)
def key_schedule(case: Case) -> None:
    suite = find_suite(case["cipher_suite"])
    init_secret = secret(case["initial_init_secret"])
    for number, expected in enumerate(case["epochs"]):
        context = GroupContext(
            ProtocolVersion.MLS10,
            suite.id,
            unhex(case["group_id"]),
            number,
            unhex(expected["tree_hash"]),
            unhex(expected["confirmed_transcript_hash"]),
            (),
        ).encode()
        assert context == unhex(expected["group_context"])
        psk = secret(expected["psk_secret"])
        joiner = joiner_secret(suite, init_secret, secret(expected["commit_secret"]), context)
        assert joiner == unhex(expected["joiner_secret"])
        welcome_secret = suite.derive_secret(suite.extract(joiner, psk), b"welcome")
        assert welcome_secret == unhex(expected["welcome_secret"])
        secrets, encryption_secret = derive_epoch(suite, joiner, psk, context)
        assert encryption_secret == unhex(expected["encryption_secret"])
        for name in (
            "init_secret",
            "sender_data_secret",
            "exporter_secret",
            "epoch_authenticator",
            "external_secret",
            "confirmation_key",
            "membership_key",
            "resumption_psk",
        ):
            assert getattr(secrets, name) == unhex(expected[name]), name
        assert suite.kem.derive_key_pair(secrets.external_secret)[1] == unhex(expected["external_pub"])
        one = expected["exporter"]
        exported = export_secret(
            suite, secrets.exporter_secret, one["label"].encode(), unhex(one["context"]), one["length"]
        )
        assert exported == unhex(one["secret"])
        init_secret = secrets.init_secret


@vector(cipher_suite=LEAF, psks=[{"psk_id": LEAF, "psk": LEAF, "psk_nonce": LEAF}], psk_secret=LEAF)
def pre_shared_keys(case: Case) -> None:
    psks = [
        (PreSharedKeyID(ExternalPsk(unhex(one["psk_id"])), unhex(one["psk_nonce"])), secret(one["psk"]))
        for one in case["psks"]
    ]
    assert psk_secret(find_suite(case["cipher_suite"]), psks) == unhex(case["psk_secret"])


@vector(
    cipher_suite=LEAF,
    confirmation_key=LEAF,
    authenticated_content=LEAF,
    interim_transcript_hash_before=LEAF,
    confirmed_transcript_hash_after=LEAF,
    interim_transcript_hash_after=LEAF,
)
def transcript_hashes(case: Case) -> None:
    suite = find_suite(case["cipher_suite"])
    authenticated = AuthenticatedContent.decode(unhex(case["authenticated_content"]))
    auth = authenticated.auth
    assert isinstance(auth, CommitAuthData)
    confirmed = confirmed_transcript_hash(
        suite,
        unhex(case["interim_transcript_hash_before"]),
        authenticated.wire_format,
        authenticated.content.encode(),
        auth.signature,
    )
    assert confirmed == unhex(case["confirmed_transcript_hash_after"])
    assert suite.mac(unhex(case["confirmation_key"]), confirmed) == auth.confirmation_tag
    interim = interim_transcript_hash(suite, confirmed, auth.confirmation_tag)
    assert interim == unhex(case["interim_transcript_hash_after"])
