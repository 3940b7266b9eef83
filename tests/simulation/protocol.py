"""All that the simulation knows of the rooms' protocol (version 4): what changes with it is here only."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from clave_client import events
from clave_client.events import Inconsistency
from clave_client.formats.payload import epoch_id
from clave_client.rooms.policy import RoomPolicy
from clave_crypto.mls import Group, Policy
from clave_wire.errors import RemoteError
from clave_wire.header import Header, split_payload
from clave_wire.messages import Accepted, Code, Entry, Kind, Rejected, Submit

__all__ = [
    "body_of",
    "entry_of",
    "epoch_id",
    "head_of",
    "header_of",
    "is_alarm",
    "is_fault",
    "is_message",
    "policy",
    "rejection",
    "roster_of",
    "speakers",
    "with_seq",
]

T = TypeVar("T", bound=msgspec.Struct)

_HARMLESS = (
    "your device ",  # in how many rooms it is now
    "is your primary device now",
    "your other device brought you in",
    "your removed device is taken out",
    "'s link",
    "let this device into",
    "the link led to the right room",
    "came before this device joined; it joins again",
    "you did not get into",
    "; it is tried again",
    "the relay could not write to its disk",
    "the relay cannot store messages now",
    "whether the change went through",
    "is not made, as somebody was removed; make a new one",
    "this change of ",
)
"""Notices that an honest run may bring."""

_AFTER_A_BACKUP = (
    "state too old",
    "this profile comes from a backup",
    "the relay had stopped delivering ",
    "does not count: the message is this member's own",
    "whom this device does not know, as the relay was restored",
)
_COMING_BACK = (
    "this device could not open a change of ",
    "this device follows ",
    "this device is no longer a member of the room",
    "nobody lets this device back into ",
)
"""Notices that belong to a relay or a profile that was restored from a backup."""

_FAULTS = (
    "the relay left out",
    "the relay acknowledged",
    "the relay has lost",
    "the relay broke",
    "the relay sent",
)
"""Ends of a connection that say that the relay is at fault."""


def roster_of(group: Group) -> frozenset[bytes]:
    """Return the devices that can read what is encrypted in the group now."""
    return frozenset(member.signature_key for member in group.members())


def speakers(room: Any) -> list[Group]:
    """Return the groups that a room's device may encrypt in: the present one, and that of its own rekey."""
    return [room.group] if room.commits.successor is None else [room.group, room.commits.successor]


def is_fault(event: events.Event) -> bool:
    """Tell whether an event says that the relay does not show everybody the same."""
    if isinstance(event, events.Diverged):
        return True
    return isinstance(event, events.Disconnected) and event.reason.startswith(_FAULTS)


def is_alarm(event: events.Event, *, restored: bool = False) -> bool:
    """Tell whether an event says that something is wrong; `restored` allows for what a backup explains."""
    if (
        restored
        and isinstance(event, events.Diverged)
        and event.inconsistency in (Inconsistency.AHEAD, Inconsistency.BEHIND)
    ):
        return False  # the groups' epochs do not go back with the log
    if is_fault(event):
        return True
    if isinstance(event, events.RelayRestored):
        return not restored
    if not isinstance(event, events.Notice):
        return False
    if restored and "this device is not a member of the room" in event.text:
        return False  # its join is lost; members correct that
    joins_again = event.text.startswith("joined ") and event.text.endswith(" again")
    harmless = joins_again or any(text in event.text for text in _HARMLESS)
    return not harmless and not (
        restored and any(text in event.text for text in _AFTER_A_BACKUP + _COMING_BACK)
    )


def with_seq(message: T, seq: int) -> T:
    """Return an `Entry`, `Accepted`, `Resumed` or `Invitation` with another seq."""
    return msgspec.structs.replace(message, seq=seq)


def is_message(message: Entry | Submit) -> bool:
    """Tell whether an entry is what somebody said, and not what keeps the group."""
    return message.kind is Kind.APPLICATION


def entry_of(submit: Submit, seq: int, sender: bytes) -> Entry:
    """Return the entry that came of a submission."""
    return Entry(submit.room, seq, sender, submit.submission, submit.kind, 0, submit.payload)


def rejection(accepted: Accepted, code: Code) -> Rejected:
    """Return a refusal of what was accepted."""
    return Rejected(accepted.room, accepted.submission, code, "this relay is full")


def header_of(payload: bytes) -> Header | None:
    """Return the header of a payload, None if it has none."""
    try:
        return split_payload(payload)[0]
    except RemoteError:
        return None


def head_of(payload: bytes) -> bytes:
    """Return the epoch that a payload says it was made in."""
    header = header_of(payload)
    return b"" if header is None else header.head


def body_of(entry: Entry) -> bytes:
    """Return the MLS message of an entry."""
    return split_payload(entry.payload)[2]


def policy() -> Policy:
    """Return the rules of a room."""
    return RoomPolicy()
