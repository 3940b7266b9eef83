"""Seals, the checksums of rows, as SQL expressions. Knows no connection.

Code that writes a row writes its seal; code that reads one compares it. A lost row has no seal to compare, so
counts of rows are sealed too, in the row that they belong to. Texts are sealed as bytes, as a damaged text
may not be UTF-8. `schema` defines the SQL function `seal`.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCOUNT",
    "BAN",
    "DEVICE",
    "INVITATION",
    "INVITED",
    "KEY_PACKAGE",
    "LAST_RESORT",
    "LINK",
    "OFFER",
    "PACKAGES",
    "PERSON",
    "REVOCATION",
    "REVOKED",
    "ROOM",
    "TOKEN",
    "TOTAL",
    "WELCOME",
]

ACCOUNT: Final = "seal('account', accounts.id, accounts.account, accounts.name)"

PERSON: Final = (
    "seal('person', accounts.id, CAST(accounts.folded AS BLOB), CAST(accounts.skeleton AS BLOB),"
    " (SELECT count(*) FROM devices AS counted WHERE counted.account = accounts.id))"
)
"""`accounts.person`: what the name compares as, and how many devices the account has."""

REVOKED: Final = (
    "seal('revoked', accounts.id, (SELECT count(*) FROM revocations WHERE revocations.account = accounts.id))"
)
"""`accounts.revoked`: how many devices the account has revoked."""

REVOCATION: Final = "seal('revocation', revocations.account, revocations.device, revocations.signature)"

DEVICE: Final = "seal('device', devices.device, devices.account, devices.identity)"

PACKAGES: Final = (
    "seal('packages', devices.device,"
    " (SELECT count(*) FROM key_packages WHERE key_packages.device = devices.device),"
    " (SELECT sum(suite) FROM key_packages WHERE key_packages.device = devices.device),"
    " (SELECT count(*) FROM last_resorts WHERE last_resorts.device = devices.device),"
    " (SELECT sum(suite) FROM last_resorts WHERE last_resorts.device = devices.device))"
)
"""`devices.packages`: how many key packages and last resorts a device has, of which suites."""

INVITED: Final = (
    "seal('invited', devices.device,"
    " (SELECT count(*) FROM invitations WHERE invitations.device = devices.device))"
)
"""`devices.invited`: how many invitations wait for a device."""

KEY_PACKAGE: Final = (
    "seal('key package', key_packages.device, key_packages.suite, key_packages.package,"
    " key_packages.not_after)"
)
LAST_RESORT: Final = "seal('last resort', last_resorts.device, last_resorts.suite, last_resorts.package)"
WELCOME: Final = (
    "seal('welcome', welcomes.id, welcomes.room, welcomes.seq, welcomes.sender, welcomes.welcome,"
    " welcomes.at)"
)
INVITATION: Final = (
    "seal('invitation', invitations.id, invitations.device, invitations.room, invitations.welcome,"
    " invitations.account, invitations.acquainted, invitations.help)"
)
LINK: Final = "seal('link', links.room, links.link, links.not_after, links.uses, links.revoked)"
OFFER: Final = (
    "seal('offer', offers.room, offers.account, offers.settled, offers.seq, offers.keys, offers.group_info)"
)
BAN: Final = (
    "seal('ban', CAST(bans.kind AS BLOB), CAST(bans.subject AS BLOB), CAST(bans.note AS BLOB), bans.made_at)"
)
TOKEN: Final = (
    "seal('token', tokens.id, tokens.digest, CAST(tokens.note AS BLOB),"  # noqa: S105  (no secret)
    " tokens.made_at, tokens.expires_at,"
    " tokens.uses_left)"
)
ROOM: Final = (
    "seal('room', room, seq, handshake, legacy, restores, kept_from,"
    " (SELECT count(*) FROM stays WHERE stays.room = rooms.room),"
    " (SELECT count(*) FROM submissions WHERE submissions.room = rooms.room),"
    " (SELECT count(*) FROM rekeys WHERE rekeys.room = rooms.room),"
    " (SELECT count(*) FROM joining WHERE joining.room = rooms.room))"
)
"""A room's row, with the number of rows in the tables that refer to it."""

TOTAL: Final = "seal('total', totals.kind, totals.number)"
"""The number of rows of the table `kind`, incremented and decremented with them, so that it stays wrong when
a row is lost. Only bans are counted so: a lost token lets nobody in.
"""
