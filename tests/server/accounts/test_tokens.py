"""Registration tokens: how many times and how long they are valid, and what is stored of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from clave_server.accounts.tokens import (
    Token,
    make_token,
    new_token,
    read_tokens,
    revoke_token,
    spend_token,
    token_digest,
)
from clave_server.errors import DamageError, Refusal
from clave_server.storage import schema
from clave_wire.messages import Code


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = schema.connect_writer(tmp_path / "relay.db")
    yield connection
    connection.close()


def store_token(
    connection: apsw.Connection, token: str, *, expires_at: int | None = None, uses: int | None = None
) -> int:
    return make_token(
        connection, token_digest(token), note="a note", made_at=1000, expires_at=expires_at, uses=uses
    )


def can_spend(connection: apsw.Connection, token: str, now: int = 2000) -> bool:
    try:
        spend_token(connection, token_digest(token), now)
    except Refusal as refusal:
        return refusal.code is not Code.TOKEN
    return True


def test_a_token_registers_as_often_as_its_uses(connection: apsw.Connection) -> None:
    store_token(connection, "twice", uses=2)
    assert [can_spend(connection, "twice") for _ in range(3)] == [True, True, False]
    assert read_tokens(connection) == [Token(1, "a note", 1000, None, 0)]
    assert not read_tokens(connection)[0].usable(2000)


def test_a_token_registers_until_it_expires(connection: apsw.Connection) -> None:
    store_token(connection, "soon over", expires_at=3000)
    (token,) = read_tokens(connection)
    for now, holds in ((2999, True), (3000, False), (4000, False)):
        assert token.usable(now) == holds
        assert can_spend(connection, "soon over", now) == holds


def test_a_token_without_limits_registers_any_number_of_times(connection: apsw.Connection) -> None:
    store_token(connection, "any")
    assert all(can_spend(connection, "any", 10**15) for _ in range(5))
    assert read_tokens(connection)[0].usable(10**15)


def test_revoked_and_unknown_tokens_are_refused(connection: apsw.Connection) -> None:
    first, second = store_token(connection, "one"), store_token(connection, "two")
    assert revoke_token(connection, first)
    assert not revoke_token(connection, first)
    assert [can_spend(connection, token) for token in ("one", "two", "three", "")] == [
        False,
        True,
        False,
        False,
    ]
    assert store_token(connection, "later") > second


@pytest.mark.parametrize(
    "change",
    ["uses_left = 5", "expires_at = NULL", "note = 'else'", "note = CAST(x'ff' AS TEXT)", "seal = x''"],
)
def test_a_damaged_token_registers_nobody(connection: apsw.Connection, change: str) -> None:
    store_token(connection, "other")
    store_token(connection, "once", uses=1, expires_at=3000)
    connection.execute(f"UPDATE tokens SET {change} WHERE id = 2")  # noqa: S608  (a test's own words)
    with pytest.raises(DamageError, match="token 2 is damaged"):
        spend_token(connection, token_digest("once"), 2000)
    with pytest.raises(DamageError, match="token 2 is damaged"):
        read_tokens(connection)
    assert can_spend(connection, "other")
    assert revoke_token(connection, 2)
    assert [token.id for token in read_tokens(connection)] == [1]


def test_only_the_digest_of_a_token_is_stored(connection: apsw.Connection, tmp_path: Path) -> None:
    token = new_token()
    assert token != new_token()
    store_token(connection, token)
    connection.pragma("wal_checkpoint")
    assert token.encode() not in (tmp_path / "relay.db").read_bytes()
    assert token_digest(token) in (tmp_path / "relay.db").read_bytes()
