"""The relay's certificates: its own, the next one, and the operator's."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from certificatekit import HOST, Authority, PrivateKey, ec_key, key_pem, own_files, write_pair
from clave_server.errors import AdminError, StartError
from clave_server.net.tls import TlsFiles, load_credentials
from clave_server.relay.certificates import Certificates
from clave_server.storage.data_dir import DataDir
from clave_wire import messages as m
from clave_wire.login import certificate_digest, succession
from relaykit import RawClient, RelayUnderTest, running_relay

NOW = dt.datetime(2030, 1, 2, tzinfo=dt.UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataDir]:
    with DataDir(tmp_path / "data") as held:
        yield held


def is_signed(pem: bytes, message: m.NextCertificate) -> bool:
    """Check an announcement as docs/protocol.md says, with the certificate in `pem`."""
    certificate = x509.load_pem_x509_certificate(pem)
    digest = certificate_digest(certificate.public_bytes(serialization.Encoding.DER))
    signed, key = b"clave next certificate\0" + digest + message.digest, certificate.public_key()
    assert signed == succession(digest, message.digest)
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(message.signature, signed, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(message.signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ed25519.Ed25519PublicKey)
        key.verify(message.signature, signed)
    return True


# --- one that the relay made, and the next ---------------------------------------------------------------


def test_the_next_certificate_is_announced_and_takes_its_place(folder: DataDir) -> None:
    certificates = Certificates.open(folder, None, NOW)
    first, first_pem = certificates.present.digest, folder.certificate.read_bytes()
    assert certificates.announcement(first) is None
    certificates.prepare(NOW)
    second = certificates.following
    announcement = certificates.announcement(first)
    assert announcement is not None
    assert announcement.digest == second != first
    assert is_signed(first_pem, announcement)
    assert certificates.present.digest == first
    assert stat.S_IMODE(folder.next_certificate.stat().st_mode) == 0o600
    certificates.switch()
    assert certificates.present.digest == second
    assert certificates.following is None
    assert certificates.announcement(second or b"") is None
    assert stat.S_IMODE(folder.certificate.stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.path.iterdir()) == ["lock", "tls.pem"]
    assert Certificates.open(folder, None, NOW).present.digest == second


def test_an_announcement_survives_a_restart(folder: DataDir) -> None:
    certificates = Certificates.open(folder, None, NOW)
    certificates.prepare(NOW)
    again = Certificates.open(folder, None, NOW)
    assert again.following == certificates.following
    announced = again.announcement(again.present.digest)
    assert announced is not None
    assert is_signed(folder.certificate.read_bytes(), announced)


def test_connections_that_saw_a_former_certificate_get_the_present_one_announced(folder: DataDir) -> None:
    certificates = Certificates.open(folder, None, NOW)
    first, pem = certificates.present.digest, folder.certificate.read_bytes()
    for _ in range(2):
        certificates.prepare(NOW)
        present = certificates.present.digest
        told = certificates.announcement(first)
        assert told is not None
        assert told.digest == (certificates.following if present == first else present)
        certificates.switch()
        told = certificates.announcement(first)
        assert told is not None
        assert told.digest == certificates.present.digest
        assert is_signed(pem, told)


def test_a_crash_during_the_switch_leaves_the_new_certificate(folder: DataDir) -> None:
    certificates = Certificates.open(folder, None, NOW)
    certificates.prepare(NOW)
    pem = folder.next_certificate.read_bytes()
    certificates.switch()
    folder.next_certificate.write_bytes(pem)  # as if it had not come to be removed
    again = Certificates.open(folder, None, NOW)
    assert (again.present.digest, again.following) == (certificates.present.digest, None)
    assert not folder.next_certificate.exists()


def test_a_second_announcement_is_refused_until_the_first_is_removed(folder: DataDir) -> None:
    certificates = Certificates.open(folder, None, NOW)
    certificates.prepare(NOW)
    first = certificates.following
    with pytest.raises(AdminError, match=r"announced already.*remove"):
        certificates.prepare(NOW)
    assert certificates.following == first
    folder.next_certificate.unlink()
    certificates.prepare(NOW)
    assert certificates.following not in (None, first)


@pytest.mark.parametrize("junk", [b"junk", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_an_invalid_certificate_is_not_stored_as_the_next_one(folder: DataDir, junk: bytes) -> None:
    certificates = Certificates.open(folder, None, NOW)
    with pytest.raises(AdminError):
        certificates.prepare(NOW, junk)
    assert not folder.next_certificate.exists()
    certificates.prepare(NOW)


def test_a_switch_without_a_next_certificate_is_refused(folder: DataDir) -> None:
    certificates = Certificates.open(folder, None, NOW)
    present = certificates.present
    with pytest.raises(AdminError, match=r"no next certificate.*certificate next"):
        certificates.switch()
    assert certificates.present is present


def test_a_next_certificate_without_its_key_is_announced_but_cannot_be_shown(
    folder: DataDir, authority: Authority
) -> None:
    certificates = Certificates.open(folder, None, NOW)
    pem, present = folder.certificate.read_bytes(), certificates.present
    certificates.prepare(NOW, authority.vouch(ec_key(), HOST))
    assert certificates.announcement(present.digest) is not None
    with pytest.raises(AdminError, match=r"tls-next.pem does not hold a private key.*--tls-certificate"):
        certificates.switch()
    assert certificates.present is present
    assert folder.certificate.read_bytes() == pem


# --- the operator's own -----------------------------------------------------------------------------------

KEYS: dict[str, Callable[[], PrivateKey]] = {
    "P-256": ec_key,
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_announcements_are_signed_by_every_kind_of_key(
    folder: DataDir, tmp_path: Path, authority: Authority, kind: str
) -> None:
    own = own_files(tmp_path, authority, KEYS[kind]())
    certificates = Certificates.open(folder, own, NOW)
    assert not folder.certificate.exists()
    certificates.prepare(NOW, authority.vouch(ec_key(), HOST))
    announced = certificates.announcement(certificates.present.digest)
    assert announced is not None
    assert is_signed(own.certificate.read_bytes(), announced)


def test_chain_and_key_may_be_one_file(folder: DataDir, tmp_path: Path, authority: Authority) -> None:
    key = ec_key()
    both = tmp_path / "both.pem"
    both.write_bytes(key_pem(key) + authority.vouch(key, HOST))
    both.chmod(0o640)
    certificates = Certificates.open(folder, TlsFiles(both, both), NOW)
    leaf = x509.load_pem_x509_certificates(both.read_bytes())[0]
    assert certificates.present.digest == certificate_digest(leaf.public_bytes(serialization.Encoding.DER))


def test_a_reloaded_certificate_is_announced_by_the_former_key(
    folder: DataDir, tmp_path: Path, authority: Authority
) -> None:
    own = own_files(tmp_path, authority)
    pem = own.certificate.read_bytes()
    certificates = Certificates.open(folder, own, NOW)
    former = certificates.present.digest
    assert not certificates.reload(), "nothing changed"
    own_files(tmp_path, authority)
    assert certificates.reload()
    told = certificates.announcement(former)
    assert told is not None
    assert told.digest == certificates.present.digest != former
    assert is_signed(pem, told)


def test_an_announcement_ends_when_its_certificate_is_shown(
    folder: DataDir, tmp_path: Path, authority: Authority
) -> None:
    own, key = own_files(tmp_path, authority), ec_key()
    certificates = Certificates.open(folder, own, NOW)
    chain = authority.vouch(key, HOST)
    with pytest.raises(AdminError, match="certificate of yours: name the FILE"):
        certificates.prepare(NOW)
    certificates.prepare(NOW, chain)
    with pytest.raises(AdminError, match=r"certificate of yours: replace .*chain.pem"):
        certificates.switch()
    announced = certificates.following
    write_pair(tmp_path, chain, key)
    certificates.reload()
    assert (certificates.present.digest, certificates.following) == (announced, None)


def _missing(own: TlsFiles, _: Authority) -> None:
    own.key.unlink()


def _mismatched(own: TlsFiles, _: Authority) -> None:
    own.key.write_bytes(key_pem(ec_key()))


def _exposed(own: TlsFiles, _: Authority) -> None:
    own.key.chmod(0o644)


def _protected(own: TlsFiles, _: Authority) -> None:
    own.key.write_bytes(key_pem(ec_key(), b"a passphrase"))


def _no_key(own: TlsFiles, _: Authority) -> None:
    own.key.write_bytes(b"")


def _no_certificate(own: TlsFiles, _: Authority) -> None:
    own.certificate.write_bytes(own.key.read_bytes())


def _strange(own: TlsFiles, authority: Authority) -> None:
    key = ed448.Ed448PrivateKey.generate()
    write_pair(own.certificate.parent, authority.vouch(key, HOST), key)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_missing, "cannot read .*key.pem: No such file"),
        (_mismatched, "key .*key.pem is not that of the certificate .*chain.pem"),
        (_exposed, "everybody can read the key .*chmod o= "),
        (_protected, "key.pem has a passphrase; store it without"),
        (_no_key, "key.pem does not hold a private key in PEM"),
        (_no_certificate, "chain.pem does not hold a certificate in PEM"),
        (_strange, "of a kind that clients do not know; take ECDSA, RSA or Ed25519"),
    ],
)
def test_unusable_certificate_files_change_nothing(
    folder: DataDir,
    tmp_path: Path,
    authority: Authority,
    spoil: Callable[[TlsFiles, Authority], None],
    words: str,
) -> None:
    own = own_files(tmp_path, authority)
    certificates = Certificates.open(folder, own, NOW)
    present = certificates.present
    spoil(own, authority)
    with pytest.raises(StartError, match=words) as caught:
        certificates.reload()
    assert "\n" not in str(caught.value)
    assert certificates.present is present
    with pytest.raises(StartError, match=words):
        Certificates.open(folder, own, NOW)


def test_files_replaced_while_they_are_read_are_refused(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_files(tmp_path, authority)

    load = ssl.SSLContext.load_cert_chain

    def replaced_meanwhile(context: ssl.SSLContext, chain: Path, key: Path, password: str) -> None:
        load(context, chain, key, password=password)
        own_files(tmp_path, authority)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", replaced_meanwhile)
    with pytest.raises(StartError, match="is being replaced just now; try again"):
        load_credentials(own)


# --- with people connected -------------------------------------------------------------------------------


async def answers(client: RawClient) -> None:
    """Check that a connection still works; messages sent to it before must have been read."""
    answer = await client.ask(m.Lookup(client.next_id(), client.participant.name))
    assert isinstance(answer, m.Account), answer


async def test_a_next_certificate_is_announced_at_once_and_at_each_login(relay: RelayUnderTest) -> None:
    certificates = relay.relay.certificates
    pem = (relay.folder / "data" / "tls.pem").read_bytes()
    red = await relay.join("red")
    certificates.prepare(NOW)
    relay.relay.announce()
    blue = await relay.join("blue")
    for client in (red, blue):
        told = await client.expect(m.NextCertificate)
        assert told.digest == certificates.following
        assert is_signed(pem, told)
    certificates.switch()
    relay.relay.announce()
    green = await relay.join("green")
    assert green.certificate == told.digest != red.certificate
    for client in (red, blue):
        assert (await client.expect(m.NextCertificate)).digest == green.certificate
        await answers(client)
    await answers(green)


async def test_a_next_certificate_is_not_announced_before_login(relay: RelayUnderTest) -> None:
    client = await relay.connect()
    await client.greet()
    relay.relay.certificates.prepare(NOW)
    relay.relay.announce()
    participant = (await relay.join("red")).participant
    transcript = client.connection.transcript(client.certificate, participant.identity)
    signature = participant.key.sign(transcript)
    await client.send(m.Login(participant.device, participant.identity, signature, ""))
    await client.expect(m.LoggedIn)
    await client.expect(m.NextCertificate)


async def test_certificates_can_change_while_clients_log_in(tmp_path: Path, authority: Authority) -> None:
    own = own_files(tmp_path, authority)
    async with running_relay(tmp_path, tls=own) as relay:
        certificates = relay.relay.certificates
        shown, joining = {certificates.present.digest}, set[asyncio.Task[RawClient]]()
        came: list[RawClient] = []
        for number in range(20):
            joining |= {asyncio.create_task(relay.join(f"red{number}{letter}")) for letter in "abc"}
            done, joining = await asyncio.wait(joining, return_when=asyncio.FIRST_COMPLETED)
            came += [await task for task in done]
            own_files(tmp_path, authority)
            assert certificates.reload()
            relay.relay.announce()
            shown.add(certificates.present.digest)
        came += await asyncio.gather(*joining, relay.join("red"))
        seen = {client.certificate for client in came}
        assert seen <= shown
        assert len(seen) > 1, "some came before a change, some after it"
