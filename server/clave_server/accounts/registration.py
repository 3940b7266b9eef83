"""Who may connect and who may log in: connection limits, how a login is judged. Knows no sockets."""

from __future__ import annotations

import hmac
import math
import time
from collections import Counter
from typing import Final

import apsw

from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_identity, verify_signature
from clave_server.accounts.directory import Applicant, RegistrationMode
from clave_server.accounts.tokens import spend_token, token_digest
from clave_server.errors import Refusal
from clave_server.limits.bans import Bans
from clave_server.limits.token_buckets import TokenBuckets, network_of
from clave_wire.errors import BadName
from clave_wire.messages import Code, Login
from clave_wire.text import check_name, fold, skeleton

__all__ = ["ConnectionLimits", "RegistrationPolicy", "verify_login"]


_MAX_NETWORKS: Final = 100_000
"""Networks whose registrations are counted at a time."""


class RegistrationPolicy:
    """Who may register a new name.

    `token` is compared in constant time and never shown; the operator's other tokens are in the database.
    With open registration one network may register `new_names` in an hour, any number if None.
    """

    def __init__(self, registration: RegistrationMode, token: str = "", new_names: int | None = None) -> None:
        self.registration = registration
        self._token = token.encode()
        self._new_names = new_names
        self._rates = TokenBuckets[str](new_names / 3600, new_names, _MAX_NETWORKS) if new_names else None

    def permit(self, connection: apsw.Connection, login: Login, name: str, ip: str) -> None:
        """Let `login` from `ip` register the new `name`, in the transaction that does. Raises `Refusal`."""
        if self.registration is RegistrationMode.CLOSED:
            raise Refusal(Code.CLOSED, "this relay takes no new names")
        try:
            check_name(name)
        except BadName as error:
            raise Refusal(Code.BAD_NAME, str(error)) from None
        if self.registration is RegistrationMode.TOKEN:
            self._take_token(connection, login.token)
        elif self._rates is not None:
            wait = self._rates.take(network_of(ip), time.monotonic())
            if wait:
                raise Refusal(
                    Code.LIMIT,
                    f"this relay registers {self._new_names} names an hour from one address;"
                    f" try again in {math.ceil(wait / 60)} minutes",
                )

    def _take_token(self, connection: apsw.Connection, token: str) -> None:
        if not token:
            raise Refusal(Code.TOKEN, "this relay registers new names only with a registration token")
        if not self._token or not hmac.compare_digest(token.encode(), self._token):
            spend_token(connection, token_digest(token), time.time_ns() // 1_000_000)


def verify_login(login: Login, transcript: bytes) -> Applicant:
    """Verify that `login` holds on the channel of `transcript`. Raises `Refusal` with `Code.BAD_LOGIN`."""
    try:
        identity = verify_identity(login.identity, login.device)
        verify_signature(login.device, transcript, login.signature)
    except CryptoError as error:
        raise Refusal(Code.BAD_LOGIN, f"the login does not hold: {error}") from None
    name = identity.name
    return Applicant(login.device, login.identity, identity.account, name, fold(name), skeleton(name))


class ConnectionLimits:
    """Counts connections, in all and by network address, and keeps those out who are banned."""

    def __init__(self, max_clients: int, max_clients_per_ip: int, bans: Bans) -> None:
        self.bans = bans
        self._max_clients = max_clients
        self._max_clients_per_ip = max_clients_per_ip
        self._by_network: Counter[str] = Counter()
        self._inside = 0

    def enter(self, ip: str) -> None:
        """Let one more in. Raises `Refusal` with `Code.FULL` or `Code.BANNED`."""
        self.bans.judge_address(ip)
        if self._inside >= self._max_clients:
            raise Refusal(Code.FULL, f"this relay is full: it takes {self._max_clients} connections")
        network = network_of(ip)
        if self._by_network[network] >= self._max_clients_per_ip:
            raise Refusal(
                Code.FULL, f"this relay takes {self._max_clients_per_ip} connections from one address"
            )
        self._inside += 1
        self._by_network[network] += 1

    def leave(self, ip: str) -> None:
        """Take note that one that entered is gone."""
        self._inside -= 1
        network = network_of(ip)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
