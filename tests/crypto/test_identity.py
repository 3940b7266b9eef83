"""Identities verify only as their account signed them; fingerprints and safety numbers differ by account."""

from __future__ import annotations

import re

import pytest

from clave_crypto.errors import IdentityError, KeyRejected, SignatureInvalid
from clave_crypto.identity import (
    AccountKey,
    DeviceKey,
    VerifiedIdentity,
    fingerprint,
    safety_number,
    verify_identity,
    verify_revocation,
    verify_signature,
)
from clave_crypto.keys import Secret

ACCOUNT = AccountKey.from_secret(Secret(b"account secret, thirty-two bytes"))
DEVICE = DeviceKey.from_secret(Secret(b"device secret: thirty-two bytes!"))
ENCODED = ACCOUNT.certify("red", "laptop", DEVICE.public)


def test_certified_device_is_verified() -> None:
    expected = VerifiedIdentity("red", ACCOUNT.public, "laptop", DEVICE.public)
    assert verify_identity(ENCODED, DEVICE.public) == expected


def test_names_may_use_any_script() -> None:
    encoded = ACCOUNT.certify("røð", "赤" * 21, DEVICE.public)
    assert verify_identity(encoded, DEVICE.public).device_name == "赤" * 21


def test_another_device_is_refused() -> None:
    with pytest.raises(IdentityError):
        verify_identity(ENCODED, DeviceKey.generate().public)


@pytest.mark.parametrize("position", range(len(ENCODED)))
def test_every_changed_byte_is_refused(position: int) -> None:
    changed = bytearray(ENCODED)
    changed[position] ^= 1
    with pytest.raises(IdentityError):
        verify_identity(bytes(changed), DEVICE.public)


@pytest.mark.parametrize("encoded", [b"", ENCODED[:-1], ENCODED + b"\0"])
def test_malformed_identity_is_refused(encoded: bytes) -> None:
    with pytest.raises(IdentityError):
        verify_identity(encoded, DEVICE.public)


def test_small_order_account_is_refused() -> None:
    forged = ENCODED.replace(ACCOUNT.public, bytes([1]) + bytes(31))
    forged = forged[:-64] + bytes([1]) + bytes(63)
    with pytest.raises(IdentityError, match="small order"):
        verify_identity(forged, DEVICE.public)


@pytest.mark.parametrize("name", ["", "a" * 65, "赤" * 22, "\ud800"])
def test_names_out_of_bounds_are_not_certified(name: str) -> None:
    for names in ((name, "laptop"), ("red", name)):
        with pytest.raises(IdentityError):
            ACCOUNT.certify(*names, DEVICE.public)


def test_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(IdentityError, match="UTF-8"):
        verify_identity(ENCODED.replace(b"red", b"r\xffd"), DEVICE.public)


def test_unfit_device_key_is_not_certified() -> None:
    with pytest.raises(KeyRejected):
        ACCOUNT.certify("red", "laptop", bytes(32))


def test_device_signatures() -> None:
    signature = DEVICE.sign(b"message")
    verify_signature(DEVICE.public, b"message", signature)
    with pytest.raises(SignatureInvalid):
        verify_signature(DEVICE.public, b"another message", signature)
    with pytest.raises(SignatureInvalid):
        verify_signature(ACCOUNT.public, b"message", signature)
    with pytest.raises(SignatureInvalid):
        verify_signature(DEVICE.public, b"message", b"short")
    with pytest.raises(KeyRejected):
        verify_signature(bytes([1]) + bytes(31), b"message", bytes([1]) + bytes(63))


def test_identity_signature_is_not_valid_as_device_signature() -> None:
    """The domain label separates what an account signs from everything else."""
    assert DEVICE.secret != ACCOUNT.secret
    with pytest.raises(SignatureInvalid):
        verify_signature(ACCOUNT.public, ENCODED[:-65], ENCODED[-64:])


def test_keys_never_show() -> None:
    for key in (ACCOUNT, DEVICE, AccountKey.generate()):
        assert bytes(key.secret).hex() not in repr(key)
        assert key.public.hex() in repr(key)


def test_fingerprint_format_and_dependence_on_the_account() -> None:
    shown = fingerprint(ACCOUNT.public)
    assert re.fullmatch(r"([a-z2-7]{4} ){7}[a-z2-7]{4}", shown)
    assert shown == fingerprint(ACCOUNT.public) != fingerprint(AccountKey.generate().public)


def test_safety_number_is_the_same_for_both() -> None:
    other = AccountKey.generate().public
    shown = safety_number(ACCOUNT.public, other)
    assert re.fullmatch(r"(\d{5} ){11}\d{5}", shown)
    assert shown == safety_number(other, ACCOUNT.public)
    assert shown != safety_number(ACCOUNT.public, AccountKey.generate().public)


def test_a_revocation_is_by_this_account_of_this_device() -> None:
    account, device = AccountKey.generate(), DeviceKey.generate()
    signature = account.revoke(device.public)
    verify_revocation(account.public, device.public, signature)
    for other in (AccountKey.generate().public, device.public):
        with pytest.raises(SignatureInvalid):
            verify_revocation(other, device.public, signature)
    with pytest.raises(SignatureInvalid):
        verify_revocation(account.public, DeviceKey.generate().public, signature)
    forged = device.sign(b"clave 1 revoked device\0" + account.public + device.public)
    with pytest.raises(SignatureInvalid):
        verify_revocation(account.public, device.public, forged)
