from __future__ import annotations

import hashlib

import pytest

from clave_client.formats.mimi.message_id import (
    account_of,
    account_uri,
    legacy_message_id,
    message_id,
    room_uri,
)

ACCOUNT = bytes(range(0xA0, 0xC0))


def test_an_id_is_of_the_lengths_and_uris_the_message_and_its_salt_twice() -> None:
    right = hashlib.sha256(b"\x00\x02s:\x00\x04r:\xc3\xa9" + b"<salt>" + b"salt").digest()
    assert message_id(b"<salt>", b"salt", sender="s:", room="r:é") == b"\x01" + right[:31]


def test_an_id_of_the_format_before() -> None:
    expected = hashlib.sha256(b"clave message id\0" + b"r" * 16 + ACCOUNT + b"i" * 16).digest()
    assert legacy_message_id(b"r" * 16, ACCOUNT, b"i" * 16) == b"\x01" + expected[:31]


def test_uris() -> None:
    assert account_uri(ACCOUNT) == "clave:account/" + ACCOUNT.hex()
    assert room_uri(bytes(16)) == "clave:room/" + "00" * 16
    assert account_of(account_uri(ACCOUNT)) == ACCOUNT


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "clave:account/",
        ACCOUNT.hex(),
        account_uri(ACCOUNT[1:]),
        account_uri(ACCOUNT + b"x"),
        "clave:account/" + ACCOUNT.hex().upper(),
        "clave:account/" + ACCOUNT.hex(" "),
        "CLAVE:account/" + ACCOUNT.hex(),
        "clave:account/" + "zz" * 32,
        "clave:account/" + "é" * 64,
        room_uri(bytes(32)),
        "mimi://example.com/u/alice-smith",
    ],
)
def test_what_is_no_uri_of_an_account(uri: str) -> None:
    assert account_of(uri) is None
