"""Registration tokens in the database, as SHA-256 digests. Knows a token itself only when it is made."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

import apsw
import msgspec

from clave_host.clock import utc_text
from clave_server.errors import DamageError, Refusal
from clave_server.storage.seals import TOKEN
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

_SEAL: Final = f"UPDATE tokens SET seal = {TOKEN} WHERE id = ?"  # noqa: S608  (a constant)


class Token(msgspec.Struct, frozen=True):
    """What is stored of a token. Times in ms since 1970; None for no expiry and for any number of uses."""

    id: int
    note: str
    made_at: int
    expires_at: int | None
    uses_left: int | None

    def usable(self, now: int) -> bool:
        """Return whether one can register with it at `now` (ms since 1970)."""
        return (self.expires_at is None or self.expires_at > now) and self.uses_left != 0


def new_token() -> str:
    """Return a new token of 128 random bits, as 32 hex digits."""
    return secrets.token_hex(16)


def token_digest(token: str) -> bytes:
    """Return the SHA-256 (32 bytes) of a token. No salt: tokens are random."""
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
    """Store a token; return its id."""
    made: int = connection.execute(
        "INSERT INTO tokens(digest, note, made_at, expires_at, uses_left) VALUES (?, ?, ?, ?, ?)"
        " RETURNING id",
        (digest, note, made_at, expires_at, uses),
    ).get
    connection.execute(_SEAL, (made,))
    return made


def read_tokens(connection: apsw.Connection) -> list[Token]:
    """Return all tokens, oldest first, used up and expired ones too. Raises `DamageError`."""
    damaged = connection.execute(f"SELECT id FROM tokens WHERE seal IS NOT {TOKEN}").fetchone()  # noqa: S608
    if damaged is not None:
        raise DamageError(
            f"registration token {damaged[0]} is damaged on disk;"
            f" restore a backup, or run: clave-relay token revoke {damaged[0]}"
        )
    rows: list[Any] = connection.execute(
        "SELECT id, note, made_at, expires_at, uses_left FROM tokens ORDER BY id"
    ).fetchall()
    return [Token(*row) for row in rows]


def revoke_token(connection: apsw.Connection, token: int) -> bool:
    """Delete the token of this id; return whether there was one."""
    return connection.execute("DELETE FROM tokens WHERE id = ? RETURNING id", (token,)).get is not None


def spend_token(connection: apsw.Connection, digest: bytes, now: int) -> None:
    """Use a token once, at `now` (ms since 1970). Raises `Refusal`, or `DamageError` for a damaged one."""
    row = connection.execute(
        f"SELECT id, expires_at, uses_left, seal = {TOKEN} FROM tokens WHERE digest = ?",  # noqa: S608  (a constant)
        (digest,),
    ).get
    if row is None:
        if connection.execute("SELECT 1 FROM tokens NOT INDEXED WHERE digest = ?", (digest,)).get:
            raise DamageError("a registration token cannot be looked up: its index is damaged on disk")
        raise Refusal(Code.TOKEN, "the registration token is wrong, or was revoked")
    number, expires_at, uses_left, whole = row
    if not whole:
        raise DamageError(f"registration token {number} is damaged on disk")
    if uses_left == 0:
        raise Refusal(Code.TOKEN, "the registration token is used up")
    if not Token(number, "", 0, expires_at, uses_left).usable(now):
        raise Refusal(
            Code.TOKEN,
            f"the registration token expired at {utc_text(expires_at)};"
            f" this relay's clock says {utc_text(now)}",
        )
    connection.execute("UPDATE tokens SET uses_left = uses_left - 1 WHERE id = ?", (number,))
    connection.execute(_SEAL, (number,))
