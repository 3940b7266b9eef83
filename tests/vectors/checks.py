"""What each official vector file asks for. A case is known by its fields, not by its file's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clave_crypto.codec import decode_vector, encode_vector, vector_end
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Group,
    KeyPackage,
    KeyPackageBundle,
    LeafNode,
    Policy,
    PreSharedKey,
    PreSharedKeyID,
    Remove,
    Update,
    find_suite,
    tree_math,
)
from clave_crypto.mls.framing import (
    ApplicationData,
    AuthData,
    AuthenticatedContent,
    CommitAuthData,
    FramedContent,
    MemberSender,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    decode_key_package,
    decode_message,
    encode_message,
)
from clave_crypto.mls.key_schedule import (
    GroupContext,
    confirmed_transcript_hash,
    derive_epoch,
    export_secret,
    interim_transcript_hash,
    joiner_secret,
    welcome_key_nonce,
)
from clave_crypto.mls.leaf_node import CommitSource, KeyPackageSource, ProtocolVersion, sign_leaf_node
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.proposals import (
    Commit,
    ContentType,
    ExternalInit,
    GroupContextExtensions,
    ReInit,
)
from clave_crypto.mls.protection import (
    content_tbs,
    membership_tag,
    open_content,
    open_sender_data,
    seal_content,
    sender_data_key_nonce,
    sign_content,
)
from clave_crypto.mls.psk import ExternalPsk, psk_secret
from clave_crypto.mls.ratchet_tree import RatchetTree, TreeNodes
from clave_crypto.mls.rules.leaf import check_leaf, check_signature, check_source
from clave_crypto.mls.rules.message import check_membership_tag, check_message_signature
from clave_crypto.mls.rules.path import check_path_parent_hash
from clave_crypto.mls.rules.tree import check_tree, check_tree_shape, leaf_source
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.treekem import create_path, derive_path_keys, encrypt_path, merge_path, open_path
from clave_crypto.mls.update_path import UpdatePath
from clave_crypto.mls.welcome import GroupInfo, GroupSecrets, Welcome
from clave_crypto.mls.wire_format import WireFormat

Case = dict[str, Any]
Shape = dict[str, Any]

LEAF = None
"""In a shape: a value with no fields of its own."""


@dataclass(frozen=True)
class Schema:
    """The fields of a kind of case, and what checks it: nothing, for a `reason`, if it is not supported."""

    shape: Shape
    check: Callable[[Case], None] | None
    reason: str = ""


SCHEMAS: list[Schema] = []


def vector(**shape: Any) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    def declare(check: Callable[[Case], None]) -> Callable[[Case], None]:
        SCHEMAS.append(Schema(shape, check))
        return check

    return declare


def schema_of(case: Case) -> Schema:
    """Return the schema a case has, or fail on fields that none has."""
    for schema in SCHEMAS:
        if schema.shape.keys() == case.keys():
            assert_shape(schema.shape, case)
            return schema
    raise AssertionError(f"no known kind of vector has the fields {sorted(case)}")


def assert_shape(shape: Any, value: Any) -> None:
    if isinstance(shape, list):
        for item in value:
            assert_shape(shape[0], item)
    elif isinstance(shape, dict):
        assert shape.keys() == value.keys(), f"unknown fields: {sorted(shape.keys() ^ value.keys())}"
        for name, inner in shape.items():
            assert_shape(inner, value[name])


class Anyone(Policy):
    """Accepts everything that the RFC accepts."""

    def check_leaf(self, leaf: LeafNode) -> None: ...
    def check_successor(self, old: LeafNode, new: LeafNode) -> None: ...
    def check_commit(self, group: Group, committer: int, proposals: Any) -> None: ...


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def secret(text: str) -> Secret:
    return Secret(bytes.fromhex(text))


def tree_from(case: Case, field: str) -> RatchetTree:
    nodes = TreeNodes.decode(unhex(case[field])).nodes
    check_tree_shape(nodes)
    return RatchetTree(find_suite(case["cipher_suite"]), nodes)


@vector(vlbytes_header=LEAF, length=LEAF)
def deserialization(case: Case) -> None:
    header, length = unhex(case["vlbytes_header"]), case["length"]
    whole = header + bytes(length)
    assert vector_end(whole, 0, len(whole)) == (len(header), len(whole))
    assert encode_vector(bytes(length)) == whole
    assert decode_vector(whole) == bytes(length)


@vector(n_leaves=LEAF, n_nodes=LEAF, root=LEAF, left=LEAF, right=LEAF, parent=LEAF, sibling=LEAF)
def tree_maths(case: Case) -> None:
    n_leaves = case["n_leaves"]
    assert tree_math.node_count(n_leaves) == case["n_nodes"]
    assert tree_math.root(n_leaves) == case["root"]
    for node in range(case["n_nodes"]):
        assert or_none(tree_math.left, node) == case["left"][node]
        assert or_none(tree_math.right, node) == case["right"][node]
        assert or_none(tree_math.parent, node, n_leaves) == case["parent"][node]
        assert or_none(tree_math.sibling, node, n_leaves) == case["sibling"][node]


def or_none(function: Callable[..., int], *args: int) -> int | None:
    try:
        return function(*args)
    except ValueError:
        return None


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


@vector(
    cipher_suite=LEAF,
    tree_before=LEAF,
    proposal=LEAF,
    proposal_sender=LEAF,
    tree_hash_before=LEAF,
    tree_after=LEAF,
    tree_hash_after=LEAF,
)
def tree_operations(case: Case) -> None:
    tree = tree_from(case, "tree_before")
    assert tree.tree_hash() == unhex(case["tree_hash_before"])
    match ProposalContent.decode(unhex(case["proposal"])).proposal:
        case Add(key_package):
            tree.add_leaf(key_package.leaf_node)
        case Update(leaf_node):
            tree.update_leaf(case["proposal_sender"], leaf_node)
        case Remove(removed):
            tree.remove_leaf(removed)
        case other:
            raise AssertionError(other)
    assert tree.encode() == unhex(case["tree_after"])
    assert tree.tree_hash() == unhex(case["tree_hash_after"])


@vector(cipher_suite=LEAF, tree=LEAF, group_id=LEAF, resolutions=LEAF, tree_hashes=LEAF)
def tree_validation(case: Case) -> None:
    tree = tree_from(case, "tree")
    for node, expected in enumerate(case["resolutions"]):
        assert tree.resolution(node) == expected
    assert [tree.tree_hash(node).hex() for node in range(len(case["tree_hashes"]))] == case["tree_hashes"]
    check_tree(tree)
    for leaf_index, leaf in tree.leaves():
        check_leaf(
            tree.suite, leaf, leaf_source(leaf), group_id=unhex(case["group_id"]), leaf_index=leaf_index
        )


@vector(
    cipher_suite=LEAF,
    group_id=LEAF,
    epoch=LEAF,
    confirmed_transcript_hash=LEAF,
    ratchet_tree=LEAF,
    leaves_private=[
        {
            "index": LEAF,
            "encryption_priv": LEAF,
            "signature_priv": LEAF,
            "path_secrets": [{"node": LEAF, "path_secret": LEAF}],
        }
    ],
    update_paths=[
        {
            "sender": LEAF,
            "update_path": LEAF,
            "path_secrets": LEAF,
            "commit_secret": LEAF,
            "tree_hash_after": LEAF,
        }
    ],
)
def treekem(case: Case) -> None:
    original = tree_from(case, "ratchet_tree")
    suite = original.suite
    group_id = unhex(case["group_id"])
    private: dict[int, dict[int, Secret]] = {}
    signers: dict[int, Secret] = {}
    for one in case["leaves_private"]:
        keys = {2 * one["index"]: secret(one["encryption_priv"])}
        for item in one["path_secrets"]:
            keys |= derive_path_keys(original, [item["node"]], secret(item["path_secret"]))[0]
        for node, key in keys.items():
            contents = original.node(node)
            assert contents is not None
            assert suite.kem.public_key(key) == contents.encryption_key
        private[one["index"]], signers[one["index"]] = keys, secret(one["signature_priv"])

    def context(tree: RatchetTree) -> bytes:
        confirmed = unhex(case["confirmed_transcript_hash"])
        return GroupContext(
            ProtocolVersion.MLS10, suite.id, group_id, case["epoch"], tree.tree_hash(), confirmed, ()
        ).encode()

    def opened(tree: RatchetTree, sender: int, path: UpdatePath, receiver: int) -> Secret:
        _, commit_secret = open_path(
            tree,
            sender,
            path,
            own_leaf=receiver,
            private_keys=private[receiver],
            group_context=context(tree),
            added=frozenset(),
        )
        return commit_secret

    for one in case["update_paths"]:
        sender, path = one["sender"], UpdatePath.decode(unhex(one["update_path"]))
        tree = original.copy()
        check_path_parent_hash(path, merge_path(tree, sender, path))
        # Not all of check_leaf: these leaves list suites 1 to 6 only, those of suite 7 as well.
        check_source(path.leaf_node, CommitSource)
        check_signature(suite, path.leaf_node, group_id, sender)
        assert tree.tree_hash() == unhex(one["tree_hash_after"])
        made_tree = original.copy()

        def make_leaf(
            encryption_key: bytes,
            parent_hash: bytes,
            sender: int = sender,
            template: LeafNode = path.leaf_node,
        ) -> LeafNode:
            return sign_leaf_node(
                suite,
                signers[sender],
                template,
                encryption_key=encryption_key,
                source=CommitSource(parent_hash),
                group_id=group_id,
                leaf_index=sender,
            )

        made = create_path(made_tree, sender, make_leaf, random=deterministic_random())
        made_path = encrypt_path(made_tree, made, context(made_tree), frozenset())
        for receiver, _ in original.leaves():
            if receiver == sender:
                assert one["path_secrets"][receiver] is None
                continue
            assert opened(tree, sender, path, receiver) == unhex(one["commit_secret"])
            common = tree_math.common_ancestor(2 * sender, 2 * receiver)
            expected, _ = derive_path_keys(tree, [common], secret(one["path_secrets"][receiver]))
            assert common in expected
            assert opened(made_tree, sender, made_path, receiver) == made.commit_secret


def deterministic_random() -> Callable[[int], bytes]:
    count = iter(range(1, 256))
    return lambda size: bytes([next(count)]) * size


MESSAGE_FIELDS: dict[str, Any] = {
    "mls_welcome": Welcome,
    "mls_group_info": GroupInfo,
    "mls_key_package": KeyPackage,
    "public_message_application": PublicMessage,
    "public_message_proposal": PublicMessage,
    "public_message_commit": PublicMessage,
    "private_message": PrivateMessage,
}

STRUCT_FIELDS: dict[str, Any] = {
    "ratchet_tree": TreeNodes,
    "group_secrets": GroupSecrets,
    "add_proposal": Add,
    "update_proposal": Update,
    "remove_proposal": Remove,
    "pre_shared_key_proposal": PreSharedKey,
    "re_init_proposal": ReInit,
    "external_init_proposal": ExternalInit,
    "group_context_extensions_proposal": GroupContextExtensions,
    "commit": Commit,
}


@vector(**dict.fromkeys((*MESSAGE_FIELDS, *STRUCT_FIELDS), LEAF))
def messages(case: Case) -> None:
    for field, kind in MESSAGE_FIELDS.items():
        data = unhex(case[field])
        message = decode_message(data)
        assert isinstance(message, kind)
        assert encode_message(message) == data
    for field, kind in STRUCT_FIELDS.items():
        data = unhex(case[field])
        assert kind.decode(data).encode() == data
        try:
            kind.decode(data + b"\0")
        except DecodeError:
            continue
        raise AssertionError(f"{field} decodes with a byte too many")


@vector(
    cipher_suite=LEAF,
    external_psks=[{"psk_id": LEAF, "psk": LEAF}],
    key_package=LEAF,
    signature_priv=LEAF,
    encryption_priv=LEAF,
    init_priv=LEAF,
    welcome=LEAF,
    ratchet_tree=LEAF,
    initial_epoch_authenticator=LEAF,
    epochs=[{"proposals": LEAF, "commit": LEAF, "epoch_authenticator": LEAF}],
)
def passive_client(case: Case) -> None:
    suite = find_suite(case["cipher_suite"])
    key_package = decode_key_package(unhex(case["key_package"]))
    bundle = KeyPackageBundle(
        key_package,
        secret(case["init_priv"]),
        secret(case["encryption_priv"]),
        secret(case["signature_priv"]),
    )
    leaf = key_package.leaf_node
    assert suite.kem.public_key(bundle.init_secret) == key_package.init_key
    assert suite.kem.public_key(bundle.leaf_secret) == leaf.encryption_key
    assert suite.signature.public_key(bundle.signature_secret) == leaf.signature_key
    psks = {unhex(one["psk_id"]): secret(one["psk"]) for one in case["external_psks"]}

    def find_psk(psk_id: PreSharedKeyID) -> Secret | None:
        return psks.get(psk_id.psk.psk_id) if isinstance(psk_id.psk, ExternalPsk) else None

    assert isinstance(leaf.source, KeyPackageSource)
    now = leaf.source.not_before + 3600
    group = Group.join(
        unhex(case["welcome"]),
        lambda reference: bundle if reference == bundle.reference else None,
        policy=Anyone(),
        ratchet_tree=unhex(case["ratchet_tree"]) if case["ratchet_tree"] else None,
        find_psk=find_psk,
    )
    assert group.epoch_authenticator == unhex(case["initial_epoch_authenticator"])
    for expected in case["epochs"]:
        for proposal in expected["proposals"]:
            group.receive(unhex(proposal), now=now, find_psk=find_psk)
        group.receive(unhex(expected["commit"]), now=now, find_psk=find_psk)
        assert group.epoch_authenticator == unhex(expected["epoch_authenticator"])
        group = Group.restore(group.state(), policy=Anyone())


SCHEMAS.append(
    Schema(
        dict.fromkeys(("seed", "eseed", "ss", "sk", "pk", "ct")), None, "the hybrid KEM is not supported yet"
    )
)
SCHEMAS.append(
    Schema(
        dict.fromkeys(
            (
                *("mode", "kem_id", "kdf_id", "aead_id", "info", "ikmE", "ikmR", "skRm", "pkRm", "enc"),
                *(
                    "shared_secret",
                    "suite_id",
                    "key",
                    "base_nonce",
                    "exporter_secret",
                    "encryptions",
                    "exports",
                ),
            )
        ),
        None,
        "the hybrid KEM is not supported yet",
    )
)
