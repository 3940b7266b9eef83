"""All that the simulation knows of the rooms' protocol: what changes with the protocol's version is here only.

Written for protocol 3. What protocol 4 needs is marked with "P4".
"""

from __future__ import annotations

from typing import Any

from clave_client import events

__all__ = ["epoch_name", "is_alarm", "roster_of"]

_HARMLESS = (
    "the relay cannot store messages now",
    "whether the change went through",
)
"""Notices that an honest run may bring."""


def epoch_name(group: Any) -> Any:
    """Return what two members compare to tell whether they are in the same epoch.

    P4: the number is not enough, as a rekey's maker may be in an epoch that another rekey replaces.
    """
    return group.epoch


def roster_of(group: Any) -> frozenset[bytes]:
    """Return the devices that can read what is encrypted in the group now."""
    return frozenset(member.signature_key for member in group.members())


def is_alarm(event: events.Event) -> bool:
    """Tell whether an event says that something is wrong with the relay or with a member."""
    if isinstance(event, events.Diverged):
        return True
    return isinstance(event, events.Notice) and not event.text.startswith(_HARMLESS)
