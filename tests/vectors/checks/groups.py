"""Vectors of a member who only receives."""

from __future__ import annotations

from clave_crypto.keys import Secret
from clave_crypto.mls import Group, KeyPackageBundle, Limits, NoPolicy, PreSharedKeyID, find_suite
from clave_crypto.mls.framing import decode_key_package
from clave_crypto.mls.leaf_node import KeyPackageSource
from clave_crypto.mls.psk import ExternalPsk
from vectors.checks.schema import LEAF, Case, secret, unhex, vector

UNBOUNDED = Limits(lifetime=1 << 64)
"""Leaves of the official vectors live for ever."""


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
    group = Group.join(
        unhex(case["welcome"]),
        lambda reference: bundle if reference == bundle.reference else None,
        policy=NoPolicy(),
        ratchet_tree=unhex(case["ratchet_tree"]) if case["ratchet_tree"] else None,
        find_psk=find_psk,
        other_groups=(),
        limits=UNBOUNDED,
    )
    assert group.epoch_authenticator == unhex(case["initial_epoch_authenticator"])
    for expected in case["epochs"]:
        for proposal in expected["proposals"]:
            group.receive(unhex(proposal), find_psk=find_psk)
        group.receive(unhex(expected["commit"]), find_psk=find_psk)
        assert group.epoch_authenticator == unhex(expected["epoch_authenticator"])
        group = Group.restore(group.state(), policy=NoPolicy(), limits=UNBOUNDED)
