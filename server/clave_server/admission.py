"""Who may connect and who may log in: connection limits, how a login is judged. Knows no sockets."""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass

from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_identity, verify_signature
from clave_server.directory import Applicant, Registration
from clave_server.errors import Refusal
from clave_wire.errors import BadName
from clave_wire.messages import Code, Login
from clave_wire.text import check_name, fold, skeleton

__all__ = ["Admission", "Doors", "judge_login"]


@dataclass(frozen=True)
class Admission:
    """Who may register a new name; `token` is compared in constant time and never shown."""

    registration: Registration
    token: str = ""

    def __repr__(self) -> str:
        return f"<Admission {self.registration}>"

    def registering(self, login: Login, name: str) -> Refusal | None:
        """Return why `login` may not register the new name it shows, or None."""
        if self.registration is Registration.CLOSED:
            return Refusal(Code.CLOSED, "this relay takes no new names")
        if self.registration is Registration.TOKEN:
            if not login.token:
                return Refusal(Code.TOKEN, "this relay registers new names only with a registration token")
            if not hmac.compare_digest(login.token.encode(), self.token.encode()):
                return Refusal(Code.TOKEN, "the registration token is wrong")
        try:
            check_name(name)
        except BadName as error:
            return Refusal(Code.BAD_NAME, str(error))
        return None


def judge_login(login: Login, transcript: bytes) -> Applicant:
    """Verify that `login` holds on the channel of `transcript`. Raises `Refusal` with `Code.BAD_LOGIN`."""
    try:
        identity = verify_identity(login.identity, login.device)
        verify_signature(login.device, transcript, login.signature)
    except CryptoError as error:
        raise Refusal(Code.BAD_LOGIN, f"the login does not hold: {error}") from None
    name = identity.name
    return Applicant(login.device, login.identity, identity.account, name, fold(name), skeleton(name))


class Doors:
    """Counts connections, in all and by network address."""

    def __init__(self, max_clients: int, max_clients_per_ip: int) -> None:
        self._max_clients = max_clients
        self._max_clients_per_ip = max_clients_per_ip
        self._by_ip: Counter[str] = Counter()
        self._inside = 0

    def enter(self, ip: str) -> None:
        """Let one more in. Raises `Refusal` with `Code.FULL`."""
        if self._inside >= self._max_clients:
            raise Refusal(Code.FULL, f"this relay is full: it takes {self._max_clients} connections")
        if self._by_ip[ip] >= self._max_clients_per_ip:
            raise Refusal(
                Code.FULL, f"this relay takes {self._max_clients_per_ip} connections from one address"
            )
        self._inside += 1
        self._by_ip[ip] += 1

    def leave(self, ip: str) -> None:
        """Take note that one that entered is gone."""
        self._inside -= 1
        self._by_ip[ip] -= 1
        if not self._by_ip[ip]:
            del self._by_ip[ip]
