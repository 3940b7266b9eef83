"""Vectors of HPKE and of the hybrid KEM, from their own drafts."""

from __future__ import annotations

import pytest

from clave_crypto.mls import SUITES
from clave_crypto.mls.dhkem import DhKem
from clave_crypto.mls.hpke import AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, Hpke
from clave_crypto.mls.hybrid_kem import MLKEM768_X25519
from vectors.checks.schema import LEAF, Case, unhex, vector

KEMS = {suite.kem.id: suite.kem for suite in SUITES.values()}
KDFS = {suite.kdf.id: suite.kdf for suite in SUITES.values()}
AEADS = {aead.id: aead for aead in (AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305)}


@vector(
    mode=LEAF,
    kem_id=LEAF,
    kdf_id=LEAF,
    aead_id=LEAF,
    info=LEAF,
    ikmE=LEAF,
    ikmR=LEAF,
    skRm=LEAF,
    pkRm=LEAF,
    enc=LEAF,
    shared_secret=LEAF,
    suite_id=LEAF,
    key=LEAF,
    base_nonce=LEAF,
    exporter_secret=LEAF,
    encryptions=[{"aad": LEAF, "ct": LEAF, "nonce": LEAF, "pt": LEAF}],
    exports=[{"exporter_context": LEAF, "L": LEAF, "exported_value": LEAF}],
)
def hpke_base_mode(case: Case) -> None:
    assert case["mode"] == 0
    if case["kem_id"] not in KEMS:
        pytest.skip(f"KEM {case['kem_id']:#06x} is not in any suite")
    kem, private, enc = KEMS[case["kem_id"]], unhex(case["skRm"]), unhex(case["enc"])
    # Not the private keys: the one of X448 is clamped in the vectors, which RFC 7748 leaves to its use.
    assert kem.derive_key_pair(unhex(case["ikmR"]))[1] == kem.public_key(private) == unhex(case["pkRm"])
    shared_secret = kem.decap(private, enc)
    assert shared_secret == unhex(case["shared_secret"])
    if isinstance(kem, DhKem):  # what ML-KEM's half draws cannot be given to it
        ephemeral = kem.load_private(kem.derive_key_pair(unhex(case["ikmE"]))[0])
        assert kem.encap_from(ephemeral, unhex(case["pkRm"])) == (shared_secret, enc)
    if case["kdf_id"] not in KDFS:
        pytest.skip(f"KDF {case['kdf_id']:#06x} is not in any suite (the KEM's part of the case holds)")

    hpke = Hpke(kem, KDFS[case["kdf_id"]], AEADS[case["aead_id"]])
    info, key, base_nonce = unhex(case["info"]), unhex(case["key"]), unhex(case["base_nonce"])
    assert hpke._key_nonce(shared_secret, info) == (key, base_nonce)
    assert hpke._exporter_secret(shared_secret, info) == unhex(case["exporter_secret"])
    cipher = AEADS[case["aead_id"]].cipher(key)
    for number, one in enumerate(case["encryptions"]):
        nonce = (int.from_bytes(base_nonce, "big") ^ number).to_bytes(len(base_nonce), "big")
        assert nonce == unhex(one["nonce"])
        assert cipher.encrypt(nonce, unhex(one["pt"]), unhex(one["aad"])) == unhex(one["ct"])
    # The vectors' messages have associated data, those of MLS have none.
    sealed = cipher.encrypt(base_nonce, b"message", b"")
    assert hpke.open(private, enc, info, sealed) == b"message"
    for one in case["exports"]:
        exported = hpke.receive_export(private, enc, info, unhex(one["exporter_context"]), one["L"])
        assert exported == unhex(one["exported_value"])


@vector(seed=LEAF, eseed=LEAF, ss=LEAF, sk=LEAF, pk=LEAF, ct=LEAF)
def xwing(case: Case) -> None:
    # The X-Wing draft has another DeriveKeyPair; this shows what follows from the seed: keys and combiner.
    private, enc = unhex(case["sk"]), unhex(case["ct"])
    assert private == unhex(case["seed"])
    assert MLKEM768_X25519.public_key(private) == unhex(case["pk"])
    assert MLKEM768_X25519.decap(private, enc) == unhex(case["ss"])
