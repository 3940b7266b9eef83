"""The relay's certificates: its own, one that follows it, and the operator's."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import ssl
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from certificatekit import Authority, PrivateKey, ec_key, key_pem, write_pair
from clave_server.certificates import Certificates
from clave_server.errors import OrderError, StartError
from clave_server.folder import DataFolder
from clave_server.tls import TlsFiles, load_credentials
from clave_wire import messages as m
from clave_wire.login import certificate_digest, succession
from relaykit import PATIENCE_SECONDS, Participant, RawClient, RelayProcess, RelayUnderTest, running_relay

NOW = dt.datetime(2030, 1, 2, tzinfo=dt.UTC)
HOST = "relay.example"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    with DataFolder(tmp_path / "data") as held:
        yield held


@pytest.fixture
def authority() -> Authority:
    return Authority()


def own_files(folder: Path, authority: Authority, key: PrivateKey | None = None) -> TlsFiles:
    key = key or ec_key()
    return TlsFiles(*write_pair(folder, authority.vouch(key, HOST), key))


def is_signed(pem: bytes, message: m.NextCertificate) -> bool:
    """Check an announcement the way docs/protocol.md says, with the certificate in `pem`."""
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


def test_the_next_certificate_is_announced_and_takes_its_place(folder: DataFolder) -> None:
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


def test_a_relay_that_starts_again_still_announces(folder: DataFolder) -> None:
    certificates = Certificates.open(folder, None, NOW)
    certificates.prepare(NOW)
    again = Certificates.open(folder, None, NOW)
    assert again.following == certificates.following
    announced = again.announcement(again.present.digest)
    assert announced is not None
    assert is_signed(folder.certificate.read_bytes(), announced)


def test_whoever_saw_a_former_certificate_is_told_what_it_would_see_now(folder: DataFolder) -> None:
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


def test_a_crash_in_the_middle_of_the_switch_leaves_the_new_one(folder: DataFolder) -> None:
    certificates = Certificates.open(folder, None, NOW)
    certificates.prepare(NOW)
    pem = folder.next_certificate.read_bytes()
    certificates.switch()
    folder.next_certificate.write_bytes(pem)  # as if it had not come to be removed
    again = Certificates.open(folder, None, NOW)
    assert (again.present.digest, again.following) == (certificates.present.digest, None)
    assert not folder.next_certificate.exists()


def test_a_second_one_is_not_announced_by_accident(folder: DataFolder) -> None:
    certificates = Certificates.open(folder, None, NOW)
    certificates.prepare(NOW)
    first = certificates.following
    with pytest.raises(OrderError, match=r"announced already.*remove"):
        certificates.prepare(NOW)
    assert certificates.following == first
    folder.next_certificate.unlink()
    certificates.prepare(NOW)
    assert certificates.following not in (None, first)


def test_there_is_nothing_to_switch_to(folder: DataFolder) -> None:
    certificates = Certificates.open(folder, None, NOW)
    present = certificates.present
    with pytest.raises(OrderError, match=r"no next certificate.*certificate next"):
        certificates.switch()
    assert certificates.present is present


def test_a_certificate_without_its_key_is_announced_but_not_shown(
    folder: DataFolder, authority: Authority
) -> None:
    certificates = Certificates.open(folder, None, NOW)
    pem, present = folder.certificate.read_bytes(), certificates.present
    certificates.prepare(NOW, authority.vouch(ec_key(), HOST))
    assert certificates.announcement(present.digest) is not None
    with pytest.raises(OrderError, match=r"tls-next.pem does not hold a private key.*--tls-certificate"):
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
def test_keys_of_every_kind_announce(
    folder: DataFolder, tmp_path: Path, authority: Authority, kind: str
) -> None:
    own = own_files(tmp_path, authority, KEYS[kind]())
    certificates = Certificates.open(folder, own, NOW)
    assert not folder.certificate.exists()
    certificates.prepare(NOW, authority.vouch(ec_key(), HOST))
    announced = certificates.announcement(certificates.present.digest)
    assert announced is not None
    assert is_signed(own.certificate.read_bytes(), announced)


def test_chain_and_key_may_be_one_file(folder: DataFolder, tmp_path: Path, authority: Authority) -> None:
    key = ec_key()
    both = tmp_path / "both.pem"
    both.write_bytes(key_pem(key) + authority.vouch(key, HOST))
    both.chmod(0o640)
    certificates = Certificates.open(folder, TlsFiles(both, both), NOW)
    leaf = x509.load_pem_x509_certificates(both.read_bytes())[0]
    assert certificates.present.digest == certificate_digest(leaf.public_bytes(serialization.Encoding.DER))


def test_another_one_is_announced_by_the_key_before_it(
    folder: DataFolder, tmp_path: Path, authority: Authority
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


def test_what_was_announced_ahead_is_settled_by_showing_it(
    folder: DataFolder, tmp_path: Path, authority: Authority
) -> None:
    own, key = own_files(tmp_path, authority), ec_key()
    certificates = Certificates.open(folder, own, NOW)
    chain = authority.vouch(key, HOST)
    with pytest.raises(OrderError, match="certificate of yours: name the FILE"):
        certificates.prepare(NOW)
    certificates.prepare(NOW, chain)
    with pytest.raises(OrderError, match=r"certificate of yours: replace .*chain.pem"):
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
def test_files_that_cannot_be_used_change_nothing(
    folder: DataFolder,
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


def test_files_that_are_just_being_replaced_are_not_mixed_up(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_files(tmp_path, authority)

    load = ssl.SSLContext.load_cert_chain

    def replaced_meanwhile(context: ssl.SSLContext, *files: Path, password: str) -> None:
        load(context, *files, password=password)
        own_files(tmp_path, authority)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", replaced_meanwhile)
    with pytest.raises(StartError, match="is being replaced just now; try again"):
        load_credentials(own)


# --- with people connected -------------------------------------------------------------------------------


async def answers(client: RawClient) -> None:
    """Check that a connection still serves; what it was told meanwhile has to be read before."""
    answer = await client.ask(m.Lookup(client.next_id(), client.participant.name))
    assert isinstance(answer, m.Account), answer


async def test_everyone_is_told_at_once_and_at_each_login(relay: RelayUnderTest) -> None:
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


async def test_who_is_not_logged_in_is_told_nothing(relay: RelayUnderTest) -> None:
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


async def test_certificates_change_while_people_come(tmp_path: Path, authority: Authority) -> None:
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


# --- by command and by signal ----------------------------------------------------------------------------


async def order(data: Path, *words: str | Path) -> tuple[int, list[str]]:
    """Run `clave-relay certificate`; return its exit status and what it printed, line by line."""
    return await run(data, "certificate", *words)


async def run(data: Path, *words: str | Path) -> tuple[int, list[str]]:
    command = ("-m", "clave_server", *map(str, words), "--data", str(data))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode is not None
    return process.returncode, printed.decode().splitlines()


async def test_a_stopped_relay_is_ordered_the_same(tmp_path: Path) -> None:
    data = tmp_path / "data"
    status, (line,) = await order(data)
    assert (status, "no relay has run" in line) == (1, True)
    async with RelayProcess(data) as relay:
        first = relay.first_line.split("fingerprint ")[1].strip()
    assert (await order(data))[1][0] == f"present  {first}"
    _, (_, line) = await order(data, "next")
    following = line.removeprefix("next     ")
    status, (line,) = await order(data, "next")
    assert (status, "announced already" in line) == (1, True)
    async with RelayProcess(data) as relay:
        assert relay.first_line.endswith(f"{first}\n")
        assert await order(data) == (0, [f"present  {first}", f"next     {following}"])
        status, lines = await order(data, "switch")
        assert (status, lines[0]) == (0, f"present  {following}")
        assert (await shown_at(relay.port)).hex() == following.replace(" ", "")
        status, (line,) = await order(data, "switch")
        assert (status, "no next certificate" in line) == (1, True)
    assert (await order(data))[1][0] == f"present  {following}"


async def test_a_certificate_in_a_file_is_announced_to_who_is_there(
    tmp_path: Path, authority: Authority
) -> None:
    data, key = tmp_path / "data", ec_key()
    async with RelayProcess(data) as relay:
        red = await (await RawClient.connect(relay.port)).log_in(Participant("red"))
        chain, _ = write_pair(tmp_path, authority.vouch(key, HOST), key)
        status, (_, line) = await order(data, "next", chain)
        told = await red.expect(m.NextCertificate)
        assert (status, line.removeprefix("next     ").replace(" ", "")) == (0, told.digest.hex())
        assert b"PRIVATE" not in (data / "tls-next.pem").read_bytes()
        await red.close()
    options = ("--tls-certificate", str(chain), "--tls-key", str(tmp_path / "key.pem"))
    async with RelayProcess(data, *options) as relay:
        assert await shown_at(relay.port) == told.digest
    assert not (data / "tls-next.pem").exists()


async def logs(relay: RelayProcess, words: str) -> str:
    """Return the next line of the relay's log that has these words."""
    assert relay.process.stderr
    async with asyncio.timeout(PATIENCE_SECONDS):
        while line := (await relay.process.stderr.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"the log ended without: {words}")


async def shown_at(port: int) -> bytes:
    client = await RawClient.connect(port)
    try:
        return client.certificate
    finally:
        await client.close()


async def test_a_signal_reads_the_files_again_and_drops_nobody(tmp_path: Path, authority: Authority) -> None:
    own = own_files(tmp_path, authority)
    options = ("--tls-certificate", str(own.certificate), "--tls-key", str(own.key))
    async with RelayProcess(tmp_path / "data", *options) as relay:
        red = await RawClient.connect(relay.port)
        first = red.certificate
        own_files(tmp_path, authority)
        relay.process.send_signal(signal.SIGHUP)
        line = await logs(relay, "certificate reloaded")
        second = await shown_at(relay.port)
        assert second != first
        assert second.hex()[:4] in line
        own.key.write_bytes(key_pem(ec_key()))
        relay.process.send_signal(signal.SIGHUP)
        line = await logs(relay, "not reloaded")
        assert "is not that of the certificate" in line
        assert await shown_at(relay.port) == second
        assert (await red.greet()).version, "who was there before still is"
        await red.close()


async def test_a_signal_to_a_relay_without_files_of_an_operator_is_no_end(tmp_path: Path) -> None:
    async with RelayProcess(tmp_path / "data") as relay:
        first = await shown_at(relay.port)
        relay.process.send_signal(signal.SIGHUP)
        assert "changed=False" in await logs(relay, "certificate reloaded")
        assert await shown_at(relay.port) == first


async def test_the_signal_of_a_terminal_that_closes_stops_the_relay(tmp_path: Path) -> None:
    outer, inner = os.openpty()
    words = ("-m", "clave_server", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=inner, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await process.stdout.readline()).startswith(b"listening on")
            os.close(inner)
            os.close(outer)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_check_looks_at_the_files_of_the_operator(tmp_path: Path, authority: Authority) -> None:
    own, data = own_files(tmp_path, authority), tmp_path / "data"
    options = ("--tls-certificate", own.certificate, "--tls-key", own.key, "--listen", "127.0.0.1:0")
    status, lines = await run(data, "check", *options)
    (line,) = [line for line in lines if "certificate" in line.split()[:2]]
    assert (status, line.split()[0]) == (0, "ok")
    assert str(own.certificate) in line
    own.key.write_bytes(key_pem(ec_key()))
    status, lines = await run(data, "check", *options)
    assert (status, any("is not that of the certificate" in line for line in lines)) == (1, True)
    status, lines = await run(data, "check", *options[2:])
    assert (status, any("of use only with --tls-certificate" in line for line in lines)) == (1, True)
    assert not data.exists()


@pytest.mark.parametrize("words", [(), ("next",), ("switch",)])
async def test_help_shows_an_example(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, lines = await order(tmp_path / "data", *words, "--help")
    example = " ".join(("clave-relay", "certificate", *words))
    assert (status, example in [line.strip() for line in lines]) == (0, True), lines


@pytest.mark.parametrize("option", ["--data", "--config"])
async def test_options_go_after_the_command(tmp_path: Path, option: str) -> None:
    (tmp_path / "relay.toml").touch()
    value = tmp_path / ("data" if option == "--data" else "relay.toml")
    status, lines = await order(tmp_path / "data", option, value, "next")
    assert status == 2
    assert lines[-1].endswith(f"{option} goes after the command: clave-relay certificate next {option}")
