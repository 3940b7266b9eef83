"""Objections of one room: which devices accounts want removed from routing by `Mend`. Knows no room.

Functions return a new mapping and do not change their arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from clave_server.rooms.joining import Joining, ordinary_accounts

__all__ = ["Objections", "drop_objections", "object_to"]

Objections = Mapping[bytes, str]
"""By device, the first account that wants it removed."""


def object_to(
    objections: Objections,
    members: Mapping[bytes, str],
    joining: Joining,
    device: bytes,
    remove: Sequence[bytes],
) -> tuple[Objections, list[bytes]]:
    """Return the objections after `device`, which is not joining, wants `remove` removed, and who is to go.

    That is `device` itself, who is joining, and others that a second account objects to. First objections are
    noted; those of an account without an ordinary member do not count.
    """
    account, accounts = members[device], ordinary_accounts(members, joining)
    noted, removed = dict(objections), list[bytes]()
    for other in remove:
        if other == device or other in joining:
            removed.append(other)
        elif other in members and members[other] != account:
            first = noted.get(other, account)
            if first != account and first in accounts:
                removed.append(other)
            else:
                noted[other] = account
    return noted, removed


def drop_objections(objections: Objections, added: Set[bytes]) -> Objections:
    """Return `objections` without those to devices that are added anew."""
    if objections.keys().isdisjoint(added):
        return objections
    return {one: by for one, by in objections.items() if one not in added}
