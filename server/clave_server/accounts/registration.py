"""Who may register a new name, and whether a login's signature is right. Knows no sockets."""

from __future__ import annotations

import hmac
import math
import time
from typing import Final

import apsw

from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_identity, verify_signature
from clave_host.addresses import network_of
from clave_host.clock import now_ms
from clave_server.accounts.directory import Applicant
from clave_server.accounts.tokens import spend_token, token_digest
from clave_server.errors import Refusal
from clave_server.limits.token_buckets import TokenBuckets
from clave_server.option_values import RegistrationMode
from clave_wire.errors import BadName
from clave_wire.messages import Code, Login
from clave_wire.text import check_name, fold, skeleton

__all__ = ["RegistrationPolicy", "verify_login"]

_MAX_NETWORKS: Final = 100_000
"""Networks whose registrations are counted at a time."""


class RegistrationPolicy:
    """Decides who may register a new name.

    `token` is compared in constant time and never shown; the operator's other tokens are in the database.
    In mode `OPEN` one network may register `new_names` an hour, any number if None.
    """

    def __init__(self, mode: RegistrationMode, token: str = "", new_names: int | None = None) -> None:
        self.mode = mode
        self._token = token.encode()
        self._new_names = new_names
        self._rates = TokenBuckets[str](new_names / 3600, new_names, _MAX_NETWORKS) if new_names else None

    def check(self, connection: apsw.Connection, login: Login, name: str, ip: str) -> None:
        """Raise `Refusal` unless `login` from `ip` may register the new `name`.

        Runs inside the transaction that registers it, and spends a token there.
        """
        if self.mode is RegistrationMode.CLOSED:
            raise Refusal(Code.CLOSED, "this relay takes no new names")
        try:
            check_name(name)
        except BadName as error:
            raise Refusal(Code.BAD_NAME, str(error)) from None
        if self.mode is RegistrationMode.TOKEN:
            self._check_token(connection, login.token)
        elif self._rates is not None:
            wait = self._rates.take(network_of(ip), time.monotonic())
            if wait:
                raise Refusal(
                    Code.LIMIT,
                    f"this relay registers {self._new_names} names an hour from one address;"
                    f" try again in {math.ceil(wait / 60)} minutes",
                )

    def _check_token(self, connection: apsw.Connection, token: str) -> None:
        if not token:
            raise Refusal(Code.TOKEN, "this relay registers new names only with a registration token")
        if not self._token or not hmac.compare_digest(token.encode(), self._token):
            spend_token(connection, token_digest(token), now_ms())


def verify_login(login: Login, transcript: bytes) -> Applicant:
    """Verify the identity and signature of `login` over `transcript`. Raises `Refusal` (`Code.BAD_LOGIN`)."""
    try:
        identity = verify_identity(login.identity, login.device)
        verify_signature(login.device, transcript, login.signature)
    except CryptoError as error:
        raise Refusal(Code.BAD_LOGIN, f"the login does not hold: {error}") from None
    name = identity.name
    return Applicant(login.device, login.identity, identity.account, name, fold(name), skeleton(name))
