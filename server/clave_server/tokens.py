"""Registration tokens on disk, by SHA-256: made, counted down, revoked. Knows no token but a new one."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import apsw
import msgspec

from clave_server.errors import Refusal
from clave_wire.messages import Code

__all__ = [
    "Token",
    "make_token",
    "new_token",
    "read_tokens",
    "revoke_token",
    "spend_token",
    "token_digest",
]


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token. Times in ms since 1970; no end and no count where None."""

    id: int
    note: str
    made_at: int
    expires_at: int | None
    uses_left: int | None

    def usable(self, now: int) -> bool:
        """Whether somebody could register with it at `now`."""
        return (self.expires_at is None or self.expires_at > now) and self.uses_left != 0


def new_token() -> str:
    """Make a token of 128 random bits, to be shown once."""
    return secrets.token_hex(16)


def token_digest(token: str) -> bytes:
    """SHA-256 (32 bytes) of a token. It needs no salt: a token is random, not chosen."""
    return hashlib.sha256(token.encode()).digest()


def make_token(
    connection: apsw.Connection,
    digest: bytes,
    *,
    note: str,
    made_at: int,
    expires_at: int | None,
    uses: int | None,
) -> int:
    """Keep a token and return its id."""
    made: int = connection.execute(
        "INSERT INTO tokens(digest, note, made_at, expires_at, uses_left) VALUES (?, ?, ?, ?, ?)"
        " RETURNING id",
        (digest, note, made_at, expires_at, uses),
    ).get
    return made


def read_tokens(connection: apsw.Connection) -> list[Token]:
    """Return every token kept, oldest first, of no more use or not."""
    rows: list[Any] = connection.execute(
        "SELECT id, note, made_at, expires_at, uses_left FROM tokens ORDER BY id"
    ).fetchall()
    return [Token(*row) for row in rows]


def revoke_token(connection: apsw.Connection, token: int) -> bool:
    """Forget the token of this id; return whether there was one."""
    return connection.execute("DELETE FROM tokens WHERE id = ? RETURNING id", (token,)).get is not None


def spend_token(connection: apsw.Connection, digest: bytes, now: int) -> None:
    """Use a token once, at `now` (ms since 1970). Raises `Refusal`."""
    spent = connection.execute(
        "UPDATE tokens SET uses_left = uses_left - 1"
        " WHERE digest = ?1 AND ifnull(expires_at > ?2, 1) AND ifnull(uses_left > 0, 1) RETURNING id",
        (digest, now),
    ).get
    if spent is None:
        raise Refusal(Code.TOKEN, "the registration token is wrong, expired or used up")
