from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from certificatekit import Authority, PrivateKey, ec_key
from clave_client.errors import RelayChanged, RelayFault
from clave_client.net.certificate_trust import CertificateTrust, check_succession
from clave_client.store.database import Store
from clave_crypto.keys import Secret
from clave_wire.login import certificate_digest, fingerprint_text, succession

PIN, NEXT, OTHER = (bytes([value]) * 32 for value in (1, 2, 3))
HOST = "chat.example"


def judge(
    trust: CertificateTrust, shown: bytes, host: str = HOST, *, vouched: bool = False
) -> CertificateTrust:
    return trust.evaluate(shown, host, vouched=vouched)


def refuses(trust: CertificateTrust, shown: bytes, host: str = HOST, *, vouched: bool = False) -> str:
    with pytest.raises(RelayChanged) as caught:
        judge(trust, shown, host, vouched=vouched)
    return str(caught.value)


def test_the_first_certificate_is_pinned() -> None:
    assert judge(CertificateTrust(), PIN) == CertificateTrust(PIN)
    assert judge(CertificateTrust(PIN), PIN) == CertificateTrust(PIN)


def test_another_certificate_is_refused_and_both_fingerprints_are_shown() -> None:
    text = refuses(CertificateTrust(PIN, NEXT, HOST), OTHER)
    assert fingerprint_text(PIN) in text
    assert fingerprint_text(OTHER) in text
    assert "ask its operator" in text
    assert "\n" not in text


def test_the_announced_certificate_replaces_the_pin() -> None:
    announced = CertificateTrust(PIN).with_announced(NEXT)
    assert judge(announced, PIN) == announced, "until it is shown, nothing changes"
    followed = judge(announced, NEXT)
    assert followed == CertificateTrust(NEXT)
    refuses(followed, PIN)


def test_the_latest_announcement_counts() -> None:
    trust = CertificateTrust(PIN).with_announced(OTHER).with_announced(NEXT)
    refuses(trust, OTHER)
    assert judge(trust, NEXT) == CertificateTrust(NEXT)
    assert CertificateTrust(PIN, NEXT).with_announced(PIN) == CertificateTrust(PIN), (
        "the present one follows nothing"
    )


def test_a_certificate_signed_by_an_authority_at_first_contact_can_be_renewed() -> None:
    trust = judge(CertificateTrust(), PIN, "Chat.Example", vouched=True)
    assert trust == CertificateTrust(PIN, None, HOST)
    assert judge(trust, OTHER, vouched=True) == CertificateTrust(OTHER, None, HOST)
    refuses(trust, OTHER)
    refuses(trust, OTHER, "elsewhere.example", vouched=True)


def test_an_announcement_is_accepted_also_with_a_trusted_authority() -> None:
    assert judge(CertificateTrust(PIN, NEXT, HOST), NEXT) == CertificateTrust(NEXT, None, HOST)


def test_an_authority_cannot_replace_a_pin() -> None:
    for trust in (CertificateTrust(PIN), CertificateTrust(PIN, None, HOST).with_pin(PIN)):
        assert not trust.asks_authorities(HOST)
        refuses(trust, OTHER, vouched=True)
        assert judge(trust, PIN, vouched=True) == CertificateTrust(PIN)


def test_a_fingerprint_from_the_user_replaces_the_pin() -> None:
    assert CertificateTrust(PIN, NEXT, HOST).with_pin(OTHER) == CertificateTrust(OTHER)
    assert CertificateTrust(PIN, NEXT, HOST).with_pin(PIN) == CertificateTrust(PIN, NEXT), (
        "what was announced still follows"
    )


def test_authorities_are_asked_only_where_it_matters() -> None:
    assert CertificateTrust().asks_authorities(HOST)
    assert CertificateTrust(PIN, None, HOST).asks_authorities("CHAT.example")
    assert not CertificateTrust(PIN, None, HOST).asks_authorities("elsewhere.example")


@pytest.mark.parametrize(
    "trust",
    [
        CertificateTrust(),
        CertificateTrust(PIN),
        CertificateTrust(PIN, NEXT),
        CertificateTrust(PIN, NEXT, HOST),
    ],
)
def test_it_is_stored_and_loaded(tmp_path: Path, trust: CertificateTrust) -> None:
    store = Store(tmp_path / "store.db", Secret(b"k" * 32))
    assert CertificateTrust.load(store) == CertificateTrust()
    CertificateTrust(OTHER, OTHER, "elsewhere.example").save(store)
    trust.save(store)
    assert CertificateTrust.load(store) == trust
    store.close()


# --- announcements -------------------------------------------------------------------------------------

SIGN: dict[str, tuple[Callable[[], PrivateKey], Callable[[PrivateKey, bytes], bytes]]] = {
    "P-256": (ec_key, lambda key, data: key.sign(data, ec.ECDSA(hashes.SHA256()))),  # type: ignore[call-arg,arg-type]  # its own kind of key
    "RSA": (
        lambda: rsa.generate_private_key(65537, 2048),
        lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()),  # type: ignore[call-arg,arg-type]  # its own kind of key
    ),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, lambda key, data: key.sign(data)),  # type: ignore[call-arg]  # its own kind of key
}


def certificate_of(key: PrivateKey) -> bytes:
    chain = Authority().vouch(key, HOST)
    return x509.load_pem_x509_certificate(chain).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("kind", SIGN)
def test_an_announcement_has_to_be_signed_by_the_present_key(kind: str) -> None:
    make, sign = SIGN[kind]
    key = make()
    certificate = certificate_of(key)
    signed = succession(certificate_digest(certificate), NEXT)
    signature = sign(key, signed)
    check_succession(certificate, NEXT, signature)
    broken = bytes([signature[0] ^ 1]) + signature[1:]
    for following, bad in (
        (NEXT, broken),
        (NEXT, b""),
        (NEXT, sign(make(), signed)),
        (OTHER, signature),
        (NEXT, sign(key, succession(PIN, NEXT))),
        (NEXT, sign(key, NEXT)),
    ):
        with pytest.raises(RelayFault, match="did not sign; ask its operator"):
            check_succession(certificate, following, bad)


def test_an_unsupported_key_type_cannot_announce() -> None:
    key = ed448.Ed448PrivateKey.generate()
    certificate = certificate_of(key)
    signature = key.sign(succession(certificate_digest(certificate), NEXT))
    with pytest.raises(RelayFault, match="kind of key"):
        check_succession(certificate, NEXT, signature)
