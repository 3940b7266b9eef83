"""The bytes that are signed at login."""

from __future__ import annotations

import hashlib

import pytest

from clave_wire.errors import MisuseError
from clave_wire.login import certificate_digest, fingerprint_text, transcript

NONCE, CERTIFICATE = b"n" * 32, b"c" * 32


def test_the_transcript_is_what_the_document_says() -> None:
    signed = transcript(
        versions=[1, 515], version=515, nonce=NONCE, certificate=CERTIFICATE, identity=b"identity"
    )
    expected = b"clave login\x00" + b"\x02" + b"\x00\x01\x02\x03" + b"\x02\x03" + NONCE + CERTIFICATE
    assert signed == expected + b"\x00\x08" + b"identity"


@pytest.mark.parametrize(("nonce", "certificate"), [(b"", CERTIFICATE), (NONCE, b"c" * 31)])
def test_other_sizes_are_refused(nonce: bytes, certificate: bytes) -> None:
    with pytest.raises(MisuseError):
        transcript(versions=[1], version=1, nonce=nonce, certificate=certificate, identity=b"")


def test_longer_lists_and_identities_are_refused() -> None:
    with pytest.raises(MisuseError):
        transcript(versions=[1] * 17, version=1, nonce=NONCE, certificate=CERTIFICATE, identity=b"")
    with pytest.raises(MisuseError):
        transcript(versions=[1], version=1, nonce=NONCE, certificate=CERTIFICATE, identity=bytes(1025))


def test_a_fingerprint_reads_in_groups_of_four() -> None:
    digest = certificate_digest(b"certificate")
    assert digest == hashlib.sha256(b"certificate").digest()
    text = fingerprint_text(digest)
    assert [len(group) for group in text.split(" ")] == [4] * 16
    assert bytes.fromhex(text) == digest
