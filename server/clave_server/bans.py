"""Who is banned: names, addresses, networks; in memory to judge by, on disk to keep. Knows no connection."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from clave_server.errors import OrderError, Refusal
from clave_wire.errors import BadName
from clave_wire.messages import Code
from clave_wire.text import check_name, fold

__all__ = ["Ban", "BanKind", "Bans", "add_ban", "lift_ban", "parse_ban", "read_bans"]


class BanKind(enum.StrEnum):
    """What a ban is about."""

    NAME = "name"
    NETWORK = "network"


class Ban(msgspec.Struct, frozen=True):
    """One ban: of a folded account name, an address, or a network as `192.0.2.0/24`.

    `made_at` is in ms since 1970.
    """

    kind: BanKind
    subject: str
    note: str = ""
    made_at: int = 0


def parse_ban(text: str) -> Ban:
    """Read what an operator names: an address, a network, else an account's name. Raises `OrderError`."""
    try:
        network = _plain(ipaddress.ip_network(text, strict=False))
        alone = network.prefixlen == network.max_prefixlen
        return Ban(BanKind.NETWORK, str(network.network_address if alone else network))
    except ValueError:
        pass
    try:
        check_name(text)
    except BadName as error:
        raise OrderError(
            f"{text!a} is neither an address, a network nor an account's name: {error}"
        ) from None
    return Ban(BanKind.NAME, fold(text))


class Bans:
    """The bans in force. Judging costs as much as there are different prefix lengths among them."""

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._names: set[str] = set()
        self._networks: dict[tuple[int, int], set[int]] = {}
        for ban in bans:
            self.add(ban)

    def add(self, ban: Ban) -> None:
        """Put a ban in force."""
        if ban.kind is BanKind.NAME:
            self._names.add(ban.subject)
        else:
            form, network = _place(ban)
            self._networks.setdefault(form, set()).add(network)

    def lift(self, ban: Ban) -> None:
        """Take a ban out of force."""
        if ban.kind is BanKind.NAME:
            self._names.discard(ban.subject)
        else:
            form, network = _place(ban)
            if networks := self._networks.get(form):
                networks.discard(network)
                if not networks:
                    del self._networks[form]

    def judge(self, ip: str, name: str) -> None:
        """Raise `Refusal` with `Code.BANNED` if the address or the name is banned; empty names never are."""
        self.judge_address(ip)
        self.judge_name(name)

    def judge_address(self, ip: str) -> None:
        """Raise `Refusal` with `Code.BANNED` for a banned address."""
        if not self._networks:
            return
        network = _plain(ipaddress.ip_network(ip.partition("%")[0]))
        bits, value = network.max_prefixlen, int(network.network_address)
        for (version, prefix), networks in self._networks.items():
            if version == network.version and value >> (bits - prefix) in networks:
                raise Refusal(Code.BANNED, "this relay takes no connections from this address")

    def judge_name(self, name: str) -> None:
        """Raise `Refusal` with `Code.BANNED` for a banned account's name."""
        if self._names and fold(name) in self._names:
            raise Refusal(Code.BANNED, f"the account {name} is banned from this relay")


def add_ban(connection: apsw.Connection, ban: Ban) -> None:
    """Keep a ban; one that is kept gets the new note."""
    connection.execute(
        "INSERT INTO bans(kind, subject, note, made_at) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT DO UPDATE SET note = ?3",
        (ban.kind, ban.subject, ban.note, ban.made_at),
    )


def lift_ban(connection: apsw.Connection, ban: Ban) -> bool:
    """Forget a ban; return whether there was one."""
    lifted = connection.execute(
        "DELETE FROM bans WHERE kind = ? AND subject = ? RETURNING 1", (ban.kind, ban.subject)
    ).get
    return lifted is not None


def read_bans(connection: apsw.Connection) -> list[Ban]:
    """Return every ban, oldest first."""
    rows: list[Any] = connection.execute(
        "SELECT kind, subject, note, made_at FROM bans ORDER BY made_at, kind, subject"
    ).fetchall()
    return [Ban(BanKind(kind), subject, note, made_at) for kind, subject, note, made_at in rows]


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _plain(network: _Network) -> _Network:
    """Write IPv4 addresses that are spelled as IPv6 as what they are."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _place(ban: Ban) -> tuple[tuple[int, int], int]:
    network = ipaddress.ip_network(ban.subject)
    bits = network.max_prefixlen - network.prefixlen
    return (network.version, network.prefixlen), int(network.network_address) >> bits
