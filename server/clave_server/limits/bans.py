"""Who is banned: names, addresses, networks; in memory to judge by, on disk to keep. Knows no connection."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final

import apsw
import msgspec
import structlog

from clave_server.errors import AdminError, DamageError, Refusal
from clave_server.limits.token_buckets import network_of
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
"""As in `fe80::1%eth0`: whoever is there is banned on every interface."""

_SEAL: Final = f"UPDATE bans SET seal = {BAN} WHERE kind = ? AND subject = ?"  # noqa: S608  (a constant)
_COUNT: Final = (  # what is damaged stays so
    "UPDATE totals SET number = number + ?1, seal = seal('total', kind, number + ?1)"  # noqa: S608
    f" WHERE kind = 'bans' AND seal = {TOTAL}"
)
_COUNT_ANEW: Final = (
    "INSERT OR REPLACE INTO totals SELECT 'bans', count(*), seal('total', 'bans', count(*)) FROM bans"
)
_COMPLETE: Final = (
    f"SELECT seal = {TOTAL} AND number = (SELECT count(*) FROM bans) FROM totals WHERE kind = 'bans'"  # noqa: S608
)
"""Whether there are as many bans as were counted."""

_WAY_OUT: Final = "restore a backup, or run: clave-relay unban --damaged"


class BanKind(enum.StrEnum):
    """What a ban is about."""

    NAME = "name"
    NETWORK = "network"


class Ban(msgspec.Struct, frozen=True):
    """One ban: of a folded account name, an IPv4 address, or a network as `192.0.2.0/24`.

    `made_at` is in ms since 1970.
    """

    kind: BanKind
    subject: str
    note: str = ""
    made_at: int = 0


def parse_ban(text: str) -> Ban:
    """Read what an operator names: an address, a network, else an account's name. Raises `AdminError`.

    An address of IPv6 stands for its /64, all of whose addresses are one party's.
    """
    try:
        return Ban(BanKind.NETWORK, _spell(text) if "/" in text else network_of(text))
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
    """Raise `AdminError` unless `ban` can be in force: what an order holds may be anybody's writing."""
    if ban.kind is BanKind.NETWORK:
        if parse_ban(ban.subject) != Ban(ban.kind, ban.subject):
            raise AdminError(f"{ban.subject!a} is not how a network is written here")
    elif not ban.subject or not ban.subject.isprintable():
        raise AdminError(f"{ban.subject!a} is no account's name")


class Bans:
    """The bans in force. Judging costs as much as there are different prefix lengths among them.

    One that is kept and makes no sense is logged and not in force.
    """

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._names: set[str] = set()
        self._networks: dict[tuple[int, int], set[int]] = {}
        for ban in bans:
            try:
                self.add(ban)
            except ValueError:
                _log.error("a stored ban names no network and is not in force", subject=ban.subject)

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
    """Forget a ban; return whether there was one."""
    lifted = connection.execute(
        "DELETE FROM bans WHERE kind = ? AND subject = ? RETURNING 1", (ban.kind, ban.subject)
    ).get
    if lifted:
        connection.execute(_COUNT, (-1,))
    return lifted is not None


def read_bans(connection: apsw.Connection) -> list[Ban]:
    """Return every ban, oldest first.

    Raises `DamageError` if one is damaged or missing: without it somebody banned would be let in.
    """
    for subject in _damaged_subjects(connection):
        raise DamageError(f"the ban of {subject!a} is damaged on disk; {_WAY_OUT}")
    if not connection.execute(_COMPLETE).get:
        raise DamageError(f"a ban is missing on disk, or their count is damaged; {_WAY_OUT}")
    rows: list[Any] = connection.execute(
        "SELECT kind, subject, note, made_at FROM bans ORDER BY made_at, kind, subject"
    ).fetchall()
    try:
        return [Ban(BanKind(kind), subject, note, made_at) for kind, subject, note, made_at in rows]
    except ValueError:
        raise DamageError("a ban in the database is of no known kind; restore it from a backup") from None


def drop_damaged_bans(connection: apsw.Connection) -> list[str]:
    """Forget the bans that are damaged and count the others anew; return the subjects that are forgotten."""
    dropped = _damaged_subjects(connection)
    connection.execute(f"DELETE FROM bans WHERE seal IS NOT {BAN}")  # noqa: S608  (a constant)
    connection.execute(_COUNT_ANEW)
    return dropped


def _damaged_subjects(connection: apsw.Connection) -> list[str]:
    rows = connection.execute(
        f"SELECT CAST(subject AS BLOB) FROM bans WHERE seal IS NOT {BAN}"  # noqa: S608  (a constant)
    )
    return [bytes(subject or b"").decode(errors="replace") for (subject,) in rows]


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _plain(network: _Network) -> _Network:
    """Write IPv4 addresses that are spelled as IPv6 as what they are."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _spell(text: str) -> str:
    network = _plain(ipaddress.ip_network(_INTERFACE.sub("", text), strict=False))
    alone = network.version == 4 and network.prefixlen == network.max_prefixlen
    return str(network.network_address if alone else network)


def _place(ban: Ban) -> tuple[tuple[int, int], int]:
    network = ipaddress.ip_network(ban.subject)
    bits = network.max_prefixlen - network.prefixlen
    return (network.version, network.prefixlen), int(network.network_address) >> bits
