"""X.509 credentials: chains are decoded strictly, must have the leaf's key, and must lead to a root."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls import (
    SUITES,
    CipherSuite,
    KeyPackageBundle,
    NoPolicy,
    PolicyRejected,
    X509Credential,
    find_suite,
)
from clave_crypto.mls.key_package import VerifiedKeyPackage
from clave_crypto.mls.x509 import certificate_chain, check_chain
from rulekit import breaks, proves

DAY = 24 * 3600
NOW = 1_780_000_000
BEGIN, END = NOW - DAY, NOW + 30 * DAY
KEY_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)

Extensions = tuple[tuple[x509.ExtensionType, bool], ...]
AUTHORITY: Extensions = ((x509.BasicConstraints(ca=True, path_length=None), True),)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def usage(**allowed: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**KEY_USAGE | allowed)


@dataclass
class Holder:
    """Someone with a key and a certificate for it."""

    key: Any
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def issue(self, common_name: str, key: Any = None, **options: Any) -> Holder:
        return certified(common_name, key or Ed25519PrivateKey.generate(), self, **options)


def certified(
    common_name: str,
    key: Any,
    issuer: Holder | None = None,
    *,
    extensions: Extensions = (),
    begin: int = BEGIN,
    end: int = END,
    signed_with: hashes.SHA256 | hashes.SHA384 | hashes.SHA3_256 | None = None,
    issuer_name: str = "",
) -> Holder:
    """Return a holder whose certificate is signed by `issuer`, or by itself."""
    signer = issuer.key if issuer else key
    if isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) and signed_with is None:
        signed_with = hashes.SHA256()
    named = issuer.certificate.subject if issuer else name(common_name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(name(issuer_name) if issuer_name else named)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(begin, UTC))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return Holder(key, builder.sign(signer, signed_with))


def new_root(**options: Any) -> Holder:
    options.setdefault("extensions", AUTHORITY)
    return certified("root", Ed25519PrivateKey.generate(), **options)


def credential(*holders: Holder) -> X509Credential:
    return X509Credential(tuple(holder.der for holder in holders))


class TestReading:
    def test_the_chain_is_read_in_order(self) -> None:
        root = new_root()
        member = root.issue("alice")
        assert certificate_chain(credential(member, root)) == (member.certificate, root.certificate)

    def test_no_certificate_is_refused(self) -> None:
        with pytest.raises(DecodeError, match="no certificate"):
            certificate_chain(X509Credential(()))

    def test_what_is_not_der_is_refused(self) -> None:
        der = new_root().der
        pem = new_root().certificate.public_bytes(Encoding.PEM)
        long_length = b"\x30\x83\x00" + der[2:]
        assert der[:2] == b"\x30\x82" or der[:2] == b"\x30\x81"
        for bad in (b"", b"certificate", der[:-1], der + b"\0", pem, long_length):
            with pytest.raises(DecodeError, match="not DER"):
                certificate_chain(X509Credential((bad,)))
            with pytest.raises(DecodeError, match="not DER"):
                certificate_chain(X509Credential((der, bad)))

    def test_invalid_certificate_version_is_refused(self) -> None:
        der = new_root().der
        version = b"\xa0\x03\x02\x01"
        assert der.count(version) == 1
        with pytest.raises(DecodeError, match="RFC 5280"):
            certificate_chain(X509Credential((der.replace(version + b"\2", version + b"\3"),)))

    @pytest.mark.parametrize("serial", [b"\0", b"\x81"])
    @pytest.mark.parametrize("action", ["error", "ignore"])
    def test_a_serial_number_that_is_not_positive_is_refused(self, serial: bytes, action: Any) -> None:
        der = new_root().der
        one = b"\xa0\x03\x02\x01\2\x02\x01"
        assert der.count(one + b"\1") == 1
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            with pytest.raises(DecodeError, match=r"RFC 5280|serial number"):
                certificate_chain(X509Credential((der.replace(one + b"\1", one + serial),)))

    def test_flipped_bits_raise_no_other_errors(self) -> None:
        der = new_root().der
        for at in range(len(der) * 8):
            flipped = bytearray(der)
            flipped[at // 8] ^= 1 << at % 8
            try:
                check_chain(X509Credential((bytes(flipped), der)), [], NOW)
            except (DecodeError, PolicyRejected):
                continue
            raise AssertionError(at)


class TestChain:
    def test_a_chain_to_a_root_is_accepted(self) -> None:
        root = new_root()
        middle = root.issue("middle", extensions=AUTHORITY)
        member = middle.issue("alice", extensions=((usage(digital_signature=True), True),))
        trusted = [new_root().certificate, root.certificate]
        for chain in (credential(member, middle, root), credential(member, middle)):
            assert check_chain(chain, trusted, NOW) == member.certificate
        assert check_chain(credential(member), [middle.certificate], NOW) == member.certificate
        assert check_chain(credential(member), [member.certificate], NOW) == member.certificate

    def test_other_kinds_of_keys_are_accepted(self) -> None:
        keys = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP521R1()),
            Ed448PrivateKey.generate(),
            rsa.generate_private_key(65537, 2048),
        )
        for key in keys:
            root = certified("root", key, extensions=AUTHORITY)
            member = root.issue("alice")
            assert check_chain(credential(member), [root.certificate], NOW) == member.certificate

    def test_names_may_be_critical(self) -> None:
        root = new_root()
        names = x509.SubjectAlternativeName([x509.RFC822Name("alice@example.org")])
        member = root.issue("alice", extensions=((names, True),))
        assert check_chain(credential(member), [root.certificate], NOW) == member.certificate

    def test_empty_list_of_roots_trusts_nothing(self) -> None:
        root = new_root()
        for roots in ([], [new_root().certificate]):
            with pytest.raises(PolicyRejected, match="does not lead"):
                check_chain(credential(root.issue("alice"), root), roots, NOW)

    def test_root_with_the_same_name_and_another_key_is_refused(self) -> None:
        root, twin = new_root(), new_root()
        assert root.certificate.subject == twin.certificate.subject
        with pytest.raises(PolicyRejected, match="does not lead"):
            check_chain(credential(root.issue("alice")), [twin.certificate], NOW)

    def test_issuer_with_another_name_is_refused(self) -> None:
        root = new_root()
        with pytest.raises(PolicyRejected, match="does not lead"):
            check_chain(credential(root.issue("alice", issuer_name="toor")), [root.certificate], NOW)

    def test_a_chain_that_is_broken_or_out_of_order_is_refused(self) -> None:
        root = new_root()
        middle = root.issue("middle", extensions=AUTHORITY)
        other = root.issue("middle", extensions=AUTHORITY)
        member = middle.issue("alice", extensions=AUTHORITY)
        for chain in (
            credential(member, other, root),
            credential(member, root),
            credential(member, root, middle, root),
            credential(member, member, middle, root),
        ):
            with pytest.raises(PolicyRejected, match="not issued by the next"):
                check_chain(chain, [root.certificate], NOW)
        with pytest.raises(PolicyRejected, match="not issued by the next"):
            check_chain(credential(other, middle), [root.certificate, middle.certificate], NOW)

    @pytest.mark.parametrize("which", ["root", "middle", "member"])
    @pytest.mark.parametrize("now", [BEGIN + 999, BEGIN + 3001])
    def test_each_certificate_must_be_valid_now(self, which: str, now: int) -> None:
        def times(holder: str) -> dict[str, int]:
            return {"begin": BEGIN + 1000, "end": BEGIN + 3000} if holder == which else {}

        root = new_root(**times("root"))
        middle = root.issue("middle", extensions=AUTHORITY, **times("middle"))
        member = middle.issue("alice", **times("member"))
        for chain in (credential(member, middle, root), credential(member, middle)):
            for good in (BEGIN + 1000, BEGIN + 3000):
                assert check_chain(chain, [root.certificate], good) == member.certificate
            with pytest.raises(PolicyRejected, match="not valid yet"):
                check_chain(chain, [root.certificate], now)

    @pytest.mark.parametrize(
        "extensions",
        [
            (),
            ((x509.BasicConstraints(ca=False, path_length=None), True),),
            ((usage(key_cert_sign=True), True),),
        ],
    )
    def test_certificate_that_is_not_an_authority_cannot_issue(self, extensions: Extensions) -> None:
        root = new_root()
        mallory = root.issue("mallory", extensions=extensions)
        with pytest.raises(PolicyRejected, match="not an authority"):
            check_chain(credential(mallory.issue("alice"), mallory), [root.certificate], NOW)
        with pytest.raises(PolicyRejected, match="not an authority"):
            check_chain(credential(mallory.issue("alice")), [mallory.certificate], NOW)

    def test_an_authority_must_be_for_issuing(self) -> None:
        for allowed in ({"crl_sign": True}, {"digital_signature": True}):
            root = new_root(extensions=(*AUTHORITY, (usage(**allowed), True)))
            with pytest.raises(PolicyRejected, match="not for issuing"):
                check_chain(credential(root.issue("alice")), [root.certificate], NOW)
        root = new_root(extensions=(*AUTHORITY, (usage(key_cert_sign=True), True)))
        member = root.issue("alice")
        assert check_chain(credential(member), [root.certificate], NOW) == member.certificate

    def test_a_member_must_be_for_signing(self) -> None:
        root = new_root()
        member = root.issue("alice", extensions=((usage(key_agreement=True), True),))
        with pytest.raises(PolicyRejected, match="not for signatures"):
            check_chain(credential(member), [root.certificate], NOW)

    @pytest.mark.parametrize("allowed", [0, 1, 2])
    def test_a_chain_is_no_longer_than_its_authorities_allow(self, allowed: int) -> None:
        root = new_root(extensions=((x509.BasicConstraints(ca=True, path_length=allowed), True),))
        holders = [root]
        for depth in range(3):
            member = holders[0].issue("alice")
            chain = credential(member, *holders)
            if depth <= allowed:
                assert check_chain(chain, [root.certificate], NOW) == member.certificate
            else:
                with pytest.raises(PolicyRejected, match="longer"):
                    check_chain(chain, [root.certificate], NOW)
            holders.insert(0, holders[0].issue(f"middle {depth}", extensions=AUTHORITY))

    @pytest.mark.parametrize("where", ["root", "member"])
    @pytest.mark.parametrize(
        ("extension", "critical", "says"),
        [
            (x509.NameConstraints([x509.DNSName("example.org")], None), True, "name constraints"),
            (x509.NameConstraints([x509.DNSName("example.org")], None), False, "name constraints"),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), True, "critical"),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True, r"1\.2\.3\.4"),
        ],
    )
    def test_unsupported_certificate_content_is_refused(
        self, where: str, extension: x509.ExtensionType, critical: bool, says: str
    ) -> None:
        more: Extensions = ((extension, critical),)
        root = new_root(extensions=AUTHORITY + more if where == "root" else AUTHORITY)
        member = root.issue("alice", extensions=more if where == "member" else ())
        with pytest.raises(PolicyRejected, match=says):
            check_chain(credential(member), [root.certificate], NOW)

    def test_unknown_extension_that_is_not_critical_is_ignored(self) -> None:
        root = new_root()
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
        member = root.issue("alice", extensions=((unknown, False),))
        assert check_chain(credential(member), [root.certificate], NOW) == member.certificate

    def test_malformed_extensions_are_refused(self) -> None:
        root = new_root()
        broken = x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"broken")
        member = root.issue("alice", extensions=((broken, False),))
        with pytest.raises(PolicyRejected, match="malformed"):
            check_chain(credential(member), [root.certificate], NOW)

    def test_an_old_hash_is_refused(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        root = certified("root", key, extensions=AUTHORITY)
        good = root.issue("alice", signed_with=hashes.SHA384())
        assert check_chain(credential(good), [root.certificate], NOW) == good.certificate
        bad = root.issue("alice", signed_with=hashes.SHA3_256())
        with pytest.raises(PolicyRejected, match="sha3-256"):
            check_chain(credential(bad), [root.certificate], NOW)


def key_object(suite: CipherSuite, private: Secret) -> Any:
    kinds: dict[int, Callable[[bytes], Any]] = {
        32: Ed25519PrivateKey.from_private_bytes,
        57: Ed448PrivateKey.from_private_bytes,
        65: lambda scalar: ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1()),
        97: lambda scalar: ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP384R1()),
        133: lambda scalar: ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP521R1()),
    }
    return kinds[len(suite.signature.public_key(private))](private)


def offer(suite: CipherSuite, private: Secret, chain: X509Credential) -> KeyPackageBundle:
    return KeyPackageBundle.generate(suite, chain, private, not_before=BEGIN, not_after=END)


def verify(bundle: KeyPackageBundle) -> VerifiedKeyPackage:
    return bundle.key_package.verify(policy=NoPolicy(), now=NOW)


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: f"{suite.id:#06x}")
def test_a_leaf_with_its_own_certificate_is_accepted(suite: CipherSuite) -> None:
    private = suite.signature.generate(os.urandom)
    root = new_root()
    member = root.issue("alice", key_object(suite, private))
    bundle = offer(suite, private, credential(member, root))
    assert verify(bundle).key_package.leaf_node.credential == credential(member, root)


@proves("credential-x509-key")
def test_a_certificate_for_another_key_is_refused() -> None:
    suite = find_suite(1)
    private = suite.signature.generate(os.urandom)
    root = new_root()
    own = root.issue("alice", key_object(suite, private))
    for other in (
        root.issue("alice"),
        root.issue("alice", ec.generate_private_key(ec.SECP256R1())),
        root.issue("alice", rsa.generate_private_key(65537, 2048)),
    ):
        with breaks("credential-x509-key"):
            verify(offer(suite, private, credential(other, own, root)))
    ed25519, unknown = b"\x06\x03\x2b\x65\x70\x03", b"\x06\x03\x2b\x65\x7f\x03"
    assert own.der.count(ed25519) == 2  # of the key and, at the end, of the signature
    with breaks("credential-x509-key"):
        verify(offer(suite, private, X509Credential((own.der.replace(ed25519, unknown, 1),))))
    p256 = ec.generate_private_key(ec.SECP256R1())
    x = p256.public_key().public_numbers().x.to_bytes(32, "big")
    off_curve = root.issue("alice", p256).der.replace(x, bytes(32))
    with breaks("credential-x509-key"):
        verify(offer(suite, private, X509Credential((off_curve,))))


@proves("credential-x509-form")
def test_a_chain_that_is_empty_or_not_der_is_refused() -> None:
    suite = find_suite(1)
    private = suite.signature.generate(os.urandom)
    own = certified("alice", key_object(suite, private))
    good = credential(own)
    for certificates in ((), (b"",), (own.der[:-1],), (own.der, b"more")):
        with breaks("credential-x509-form"):
            verify(offer(suite, private, replace(good, certificates=certificates)))
