"""Vectors of encodings and of the arithmetic of trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clave_crypto.codec import decode_vector, encode_vector, vector_end
from clave_crypto.errors import DecodeError
from clave_crypto.mls import Add, KeyPackage, PreSharedKey, Remove, Update, tree_math
from clave_crypto.mls.framing import PrivateMessage, PublicMessage, decode_message, encode_message
from clave_crypto.mls.proposals import Commit, ExternalInit, GroupContextExtensions, ReInit
from clave_crypto.mls.ratchet_tree import TreeNodes
from clave_crypto.mls.welcome import GroupInfo, GroupSecrets, Welcome
from vectors.checks.schema import LEAF, Case, unhex, vector


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
