"""Bans of accounts, addresses and networks: checked in memory, kept in the database. Knows no connection."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final

import apsw
import msgspec
import structlog

from clave_host.addresses import network_of
from clave_server.errors import AdminError, DamageError, Refusal
from clave_server.storage.seals import BAN, TOTAL
from clave_wire.errors import BadName
from clave_wire.messages import Code
from clave_wire.text import check_name, fold

__all__ = [
    "Ban",
    "BanKind",
    "Bans",
    "add_ban",
    "check_ban",
    "drop_damaged_bans",
    "lift_ban",
    "parse_ban",
    "read_bans",
]

_log = structlog.get_logger()

_INTERFACE: Final = re.compile(r"%[^/]*")
"""As in `fe80::1%eth0`: a ban holds on every interface."""

_SEAL: Final = f"UPDATE bans SET seal = {BAN} WHERE kind = ? AND subject = ?"  # noqa: S608  (a constant)
_COUNT: Final = (  # a damaged count stays damaged
    "UPDATE totals SET number = number + ?1, seal = seal('total', kind, number + ?1)"  # noqa: S608
    f" WHERE kind = 'bans' AND seal = {TOTAL}"
)
_RECOUNT: Final = (
    "INSERT OR REPLACE INTO totals SELECT 'bans', count(*), seal('total', 'bans', count(*)) FROM bans"
)
_COMPLETE: Final = (
    f"SELECT seal = {TOTAL} AND number = (SELECT count(*) FROM bans) FROM totals WHERE kind = 'bans'"  # noqa: S608
)
"""Whether as many bans are there as were counted."""

_REPAIR: Final = "restore a backup, or run: clave-relay unban --damaged"


class BanKind(enum.StrEnum):
    """What a ban names."""

    NAME = "name"
    NETWORK = "network"


class Ban(msgspec.Struct, frozen=True):
    """One ban: of a folded account name, an IPv4 address, or a network such as `192.0.2.0/24`.

    `made_at` is in ms since 1970.
    """

    kind: BanKind
    subject: str
    note: str = ""
    made_at: int = 0


def parse_ban(text: str) -> Ban:
    """Parse an address, a network or else an account's name. Raises `AdminError`.

    An IPv6 address stands for its /64, which one customer controls.
    """
    try:
        return Ban(BanKind.NETWORK, _canonical(text) if "/" in text else network_of(text))
    except ValueError:
        pass
    try:
        check_name(text)
    except BadName as error:
        raise AdminError(
            f"{text!a} is neither an address, a network nor an account's name: {error}"
        ) from None
    return Ban(BanKind.NAME, fold(text))


def check_ban(ban: Ban) -> None:
    """Raise `AdminError` unless `ban` is a canonical network or a printable name; it came over a socket."""
    if ban.kind is BanKind.NETWORK:
        if parse_ban(ban.subject) != Ban(ban.kind, ban.subject):
            raise AdminError(f"{ban.subject!a} is not how a network is written here")
    elif not ban.subject or not ban.subject.isprintable():
        raise AdminError(f"{ban.subject!a} is no account's name")


class Bans:
    """The bans in force. A check takes one lookup for each prefix length among them.

    A stored network ban whose subject is no network is logged and not in force.
    """

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._names: set[str] = set()
        self._networks: dict[tuple[int, int], set[int]] = {}
        for ban in bans:
            try:
                self.add(ban)
            except ValueError:
                _log.error("ban not in force: it names no network", subject=ban.subject)

    def add(self, ban: Ban) -> None:
        """Put `ban` in force."""
        if ban.kind is BanKind.NAME:
            self._names.add(ban.subject)
        else:
            prefix, network = _key_of(ban)
            self._networks.setdefault(prefix, set()).add(network)

    def lift(self, ban: Ban) -> None:
        """Take `ban` out of force."""
        if ban.kind is BanKind.NAME:
            self._names.discard(ban.subject)
        else:
            prefix, network = _key_of(ban)
            if networks := self._networks.get(prefix):
                networks.discard(network)
                if not networks:
                    del self._networks[prefix]

    def check(self, ip: str, name: str) -> None:
        """Raise `Refusal` with `Code.BANNED` if the address or the name is banned; an empty name never is."""
        self.check_address(ip)
        self.check_name(name)

    def check_address(self, ip: str) -> None:
        """Raise `Refusal` with `Code.BANNED` for a banned address."""
        if not self._networks:
            return
        network = _unmapped(ipaddress.ip_network(ip.partition("%")[0]))
        bits, value = network.max_prefixlen, int(network.network_address)
        for (version, prefix), networks in self._networks.items():
            if version == network.version and value >> (bits - prefix) in networks:
                raise Refusal(Code.BANNED, "this relay takes no connections from this address")

    def check_name(self, name: str) -> None:
        """Raise `Refusal` with `Code.BANNED` for a banned account's name."""
        if self._names and fold(name) in self._names:
            raise Refusal(Code.BANNED, f"the account {name} is banned from this relay")


def add_ban(connection: apsw.Connection, ban: Ban) -> None:
    """Store a ban; one that is stored already gets the new note."""
    new = connection.execute(
        "SELECT NOT EXISTS (SELECT 1 FROM bans WHERE kind = ? AND subject = ?)", (ban.kind, ban.subject)
    ).get
    connection.execute(
        "INSERT INTO bans(kind, subject, note, made_at) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT DO UPDATE SET note = ?3",
        (ban.kind, ban.subject, ban.note, ban.made_at),
    )
    connection.execute(_SEAL, (ban.kind, ban.subject))
    connection.execute(_COUNT, (new,))


def lift_ban(connection: apsw.Connection, ban: Ban) -> bool:
    """Delete a ban; return whether there was one."""
    lifted = connection.execute(
        "DELETE FROM bans WHERE kind = ? AND subject = ? RETURNING 1", (ban.kind, ban.subject)
    ).get
    if lifted:
        connection.execute(_COUNT, (-1,))
    return lifted is not None


def read_bans(connection: apsw.Connection) -> list[Ban]:
    """Return every ban, oldest first.

    Raises `DamageError` if one is damaged or missing, as a banned account would be let in without it.
    """
    for subject in _damaged_subjects(connection):
        raise DamageError(f"the ban of {subject!a} is damaged on disk; {_REPAIR}")
    if not connection.execute(_COMPLETE).get:
        raise DamageError(f"a ban is missing on disk, or their count is damaged; {_REPAIR}")
    rows: list[Any] = connection.execute(
        "SELECT kind, subject, note, made_at FROM bans ORDER BY made_at, kind, subject"
    ).fetchall()
    try:
        return [Ban(BanKind(kind), subject, note, made_at) for kind, subject, note, made_at in rows]
    except ValueError:
        raise DamageError("a ban in the database is of no known kind; restore it from a backup") from None


def drop_damaged_bans(connection: apsw.Connection) -> list[str]:
    """Delete the damaged bans and recount the others; return the subjects of those deleted."""
    dropped = _damaged_subjects(connection)
    connection.execute(f"DELETE FROM bans WHERE seal IS NOT {BAN}")  # noqa: S608  (a constant)
    connection.execute(_RECOUNT)
    return dropped


def _damaged_subjects(connection: apsw.Connection) -> list[str]:
    rows = connection.execute(
        f"SELECT CAST(subject AS BLOB) FROM bans WHERE seal IS NOT {BAN}"  # noqa: S608  (a constant)
    )
    return [bytes(subject or b"").decode(errors="replace") for (subject,) in rows]


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _unmapped(network: _Network) -> _Network:
    """Write an IPv4-mapped IPv6 network as IPv4."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _canonical(text: str) -> str:
    network = _unmapped(ipaddress.ip_network(_INTERFACE.sub("", text), strict=False))
    alone = network.version == 4 and network.prefixlen == network.max_prefixlen
    return str(network.network_address if alone else network)


def _key_of(ban: Ban) -> tuple[tuple[int, int], int]:
    network = ipaddress.ip_network(ban.subject)
    bits = network.max_prefixlen - network.prefixlen
    return (network.version, network.prefixlen), int(network.network_address) >> bits
