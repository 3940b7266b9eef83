"""What the rows that others rely on are sealed with, as SQL expressions. Knows no connection.

Whoever writes a row writes its seal with it; whoever reads one compares. A row that was lost has no seal left
to compare, so counts of rows are sealed too, beside what the rows belong to. Texts are sealed as bytes, as a
damaged one may be no UTF-8. `schema` defines the function `seal`.
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
    "PACKAGES",
    "PERSON",
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

KEY_PACKAGE: Final = "seal('key package', key_packages.device, key_packages.suite, key_packages.package)"
LAST_RESORT: Final = "seal('last resort', last_resorts.device, last_resorts.suite, last_resorts.package)"
WELCOME: Final = (
    "seal('welcome', welcomes.id, welcomes.room, welcomes.seq, welcomes.sender, welcomes.welcome,"
    " welcomes.at)"
)
INVITATION: Final = (
    "seal('invitation', invitations.id, invitations.device, invitations.room, invitations.welcome,"
    " invitations.account, invitations.acquainted, invitations.help)"
)
BAN: Final = (
    "seal('ban', CAST(bans.kind AS BLOB), CAST(bans.subject AS BLOB), CAST(bans.note AS BLOB), bans.made_at)"
)
TOKEN: Final = (
    "seal('token', tokens.id, tokens.digest, CAST(tokens.note AS BLOB),"  # noqa: S105  (no secret)
    " tokens.made_at, tokens.expires_at,"
    " tokens.uses_left)"
)
TOTAL: Final = "seal('total', totals.kind, totals.number)"
"""How many rows the table `kind` has, counted up and down with them: unlike a count made anew it stays wrong.

Only bans are counted so: a lost token lets nobody in, and whoever has it is refused.
"""
