"""Devices of one room that a link let in and no other account confirmed yet. Knows no room.

The relay routes to a device that is joining, and lets it decide nothing for the others.

Functions return a new mapping, or the same if nothing changes, and do not change their arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["Joining", "add_joining", "drop_confirmed", "drop_joining", "ordinary_accounts"]

Joining = Mapping[bytes, int]
"""By device, the seq of its last rekey, as others may repeat its payload and with it its reference."""


def ordinary_accounts(members: Mapping[bytes, str], joining: Joining) -> set[str]:
    """Return the names of the accounts of those `members` that are not joining."""
    return {name for device, name in members.items() if device not in joining}


def add_joining(joining: Joining, members: Mapping[bytes, str], device: bytes, seq: int) -> Joining:
    """Return `joining` with `device`, one of `members`, which asks to join by the rekey at `seq`.

    Without it if no other account has a member that is not joining, as then nobody could confirm it.
    """
    if ordinary_accounts(members, joining) <= {members[device]}:
        return drop_joining(joining, {device})
    return {**joining, device: seq}


def drop_confirmed(joining: Joining, seq: int) -> Joining:
    """Return `joining` without the device whose last rekey, at `seq`, was confirmed."""
    return drop_joining(joining, [device for device, last in joining.items() if last == seq])


def drop_joining(joining: Joining, devices: Collection[bytes]) -> Joining:
    """Return `joining` without `devices`."""
    if joining.keys().isdisjoint(devices):
        return joining
    return {device: seq for device, seq in joining.items() if device not in devices}
