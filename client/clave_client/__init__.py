"""End-to-end encrypted group chat: the library that clients and bots stand on.

Names are imported when they are first used, so that importing this package costs nothing.

Example, in a coroutine:

    from clave_client import Client, Profile, default_home

    with Profile(default_home(), "red") as profile:
        async with Client(profile, relay="chat.example.org") as client:
            room = await client.create_room("friends")
            await room.send("hello")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clave_client.client import Client
    from clave_client.errors import (
        ClientError,
        KeyMismatch,
        KeyNotShown,
        LinkUnusable,
        LocalFault,
        MemberNotFound,
        MessageWaiting,
        NoLongerMember,
        NoOfferFits,
        NotAFolder,
        NotARelay,
        NotInRoom,
        OwnerOutdated,
        PassphraseNeeded,
        PeerError,
        PeerLacksSuite,
        ProfileError,
        ProfileExposed,
        ProfileLocked,
        ProfileNotFound,
        ProfileOfOther,
        RelayChanged,
        RelayError,
        RelayFault,
        RelayNotOfLink,
        RelayRefused,
        RelayUnknown,
        RelayUnreachable,
        RoomBehind,
        RoomNotFound,
        RoomUnreadable,
        SelfRemoval,
        StateTooOld,
        StoreDamaged,
        StoreFull,
        UsageError,
        WrongPassphrase,
    )
    from clave_client.events import (
        Advice,
        BanChanged,
        Connected,
        Disconnected,
        Diverged,
        Event,
        Inconsistency,
        InvitationAccepted,
        Invited,
        LinkEnd,
        LinksChanged,
        MemberAdded,
        MemberJoined,
        MemberLeft,
        MemberRemoved,
        Message,
        MessageDeleted,
        MessageEdited,
        MessageKind,
        MessagesExpired,
        Notice,
        OutboxChanged,
        Person,
        PinChanged,
        PolicyChanged,
        PresenceChanged,
        ReactionChanged,
        RelayRestored,
        RoleChanged,
        RoomChanged,
        RoomClosed,
        SendFailed,
        Sent,
        SettingsChanged,
        StatusChanged,
        TopicChanged,
    )
    from clave_client.net.address import RelayInfo
    from clave_client.room import Room
    from clave_client.store.database import RoomRecord
    from clave_client.store.folders import default_home, profile_names
    from clave_client.store.message_tables import HistoryLine
    from clave_client.store.profile import Profile
    from clave_client.sync.event_stream import EventStream
    from clave_client.values import Fingerprint, MemberInfo, Phase, RoomInfo, SeenKey

__all__ = [
    "Advice",
    "BanChanged",
    "Client",
    "ClientError",
    "Connected",
    "Disconnected",
    "Diverged",
    "Event",
    "EventStream",
    "Fingerprint",
    "HistoryLine",
    "Inconsistency",
    "InvitationAccepted",
    "Invited",
    "KeyMismatch",
    "KeyNotShown",
    "LinkEnd",
    "LinkInfo",
    "LinkUnusable",
    "LinksChanged",
    "LocalFault",
    "MadeLink",
    "MemberAdded",
    "MemberInfo",
    "MemberJoined",
    "MemberLeft",
    "MemberNotFound",
    "MemberRemoved",
    "Message",
    "MessageDeleted",
    "MessageEdited",
    "MessageKind",
    "MessageWaiting",
    "MessagesExpired",
    "NoLongerMember",
    "NoOfferFits",
    "NotAFolder",
    "NotARelay",
    "NotInRoom",
    "Notice",
    "OutboxChanged",
    "OwnerOutdated",
    "PassphraseNeeded",
    "PeerError",
    "PeerLacksSuite",
    "Person",
    "Phase",
    "PinChanged",
    "PolicyChanged",
    "PresenceChanged",
    "Profile",
    "ProfileError",
    "ProfileExposed",
    "ProfileLocked",
    "ProfileNotFound",
    "ProfileOfOther",
    "ReactionChanged",
    "RelayChanged",
    "RelayError",
    "RelayFault",
    "RelayInfo",
    "RelayNotOfLink",
    "RelayRefused",
    "RelayRestored",
    "RelayUnknown",
    "RelayUnreachable",
    "RoleChanged",
    "Room",
    "RoomBehind",
    "RoomChanged",
    "RoomClosed",
    "RoomInfo",
    "RoomNotFound",
    "RoomRecord",
    "RoomUnreadable",
    "SeenKey",
    "SelfRemoval",
    "SendFailed",
    "Sent",
    "SettingsChanged",
    "StateTooOld",
    "StatusChanged",
    "StoreDamaged",
    "StoreFull",
    "TopicChanged",
    "UsageError",
    "WrongPassphrase",
    "default_home",
    "profile_names",
]

_MODULES = {
    "Client": "client",
    "RelayInfo": "net.address",
    "Fingerprint": "values",
    "Room": "room",
    "LinkInfo": "values",
    "MadeLink": "values",
    "MemberInfo": "values",
    "RoomInfo": "values",
    "HistoryLine": "store.message_tables",
    "Phase": "values",
    "RoomRecord": "store.database",
    "SeenKey": "values",
    "Profile": "store.profile",
    "default_home": "store.folders",
    "profile_names": "store.folders",
    "EventStream": "sync.event_stream",
}
"""Where a public name is defined, if it is neither an error nor an event."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    errors = import_module(f"{__name__}.errors")
    module = "errors" if name in errors.__all__ else _MODULES.get(name, "events")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
