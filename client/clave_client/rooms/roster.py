"""The members of a room, from the group's leaves to people. Knows the group and the store; sends nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Self

import msgspec

from clave_client.events import Person
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION
from clave_client.formats.payload import epoch_id
from clave_client.formats.room_link import LINK_EXTENSION
from clave_client.rooms.policy import device_identity, member_identity
from clave_client.store.database import Store
from clave_client.store.pins import Pins
from clave_crypto.identity import VerifiedIdentity
from clave_crypto.mls import Application, Group, Member, MemberSender, Remove
from clave_wire.text import sanitize

__all__ = ["Roster", "RosterMember"]

_INVITER = "inviter"
"""The stored part of a room with the leaf that signed the welcome (u32)."""


class RosterMember(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member's device: its key, its account and name, and the encoded identity in which they are signed.

    `is_current` says that it reads MIMI content and knows roles, `has_links` that it knows links.
    """

    leaf_index: int
    signature_key: bytes
    identity: bytes
    account: bytes
    name: str
    is_current: bool
    has_links: bool = False

    @classmethod
    def of(cls, member: Member) -> RosterMember:
        """Return a member of a group. Raises `PolicyRejected` if its account did not sign its device."""
        found = member_identity(member)
        listed = member.leaf.capabilities.extensions
        is_current, has_links = AGREED_STATE_EXTENSION in listed, LINK_EXTENSION in listed
        leaf, key, identity = member.leaf_index, member.signature_key, member.identity
        return cls(leaf, key, identity, found.account, found.name, is_current, has_links)


class _RosterRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A roster as stored; `leavers` are the leaves of others that have proposed their own removal."""

    head: bytes
    own_leaf: int
    leavers: list[int]
    members: list[RosterMember]


class Roster:
    """The members of one group in one epoch as people. Make it with `of` or `decode`."""

    def __init__(self, record: _RosterRecord, room: bytes, store: Store, welcomed_by: int | None) -> None:
        self._record = record
        self._room = room
        self._store = store
        self._welcomed_by = welcomed_by
        self._pins = Pins(store)
        self._people: dict[VerifiedIdentity, Person] = {}
        self._people_version = -1
        self._members = {member.leaf_index: member for member in record.members}
        self._by_device = {member.signature_key: member for member in record.members}

    @classmethod
    def of(cls, group: Group, store: Store) -> Self:
        """Return the roster of a group, with its proposals as they are now. Raises `PolicyRejected`."""
        own = group.own_leaf
        # This device's own is never pending: once it is in the log, the room is closed.
        leavers = [
            p.removed
            for _, sender, p in group.pending_proposals
            if isinstance(p, Remove) and MemberSender(p.removed) == sender and p.removed != own
        ]
        members = [RosterMember.of(member) for member in group.members()]
        record = _RosterRecord(epoch_id(group), own, leavers, members)
        return cls(record, group.group_id, store, group.welcomed_by)

    @classmethod
    def decode(cls, data: bytes, room: bytes, store: Store) -> Self:
        """Return what `encode` stored of a room. Raises `msgspec.DecodeError`."""
        record = msgspec.msgpack.decode(data, type=_RosterRecord)
        return cls(record, room, store, None)

    def encode(self) -> bytes:
        """Return the bytes to store."""
        return msgspec.msgpack.encode(self._record)

    @property
    def head(self) -> bytes:
        """The id of the group's epoch."""
        return self._record.head

    def person(self, member: RosterMember | Member | Application) -> Person:
        """Return who a member, or the sender of a message, is."""
        if isinstance(member, RosterMember):
            return self.person_of(device_identity(member.identity, member.signature_key))
        return self.person_of(member_identity(member))

    def person_of(self, identity: VerifiedIdentity) -> Person:
        """Return the person of an identity, with what this profile knows of its account."""
        if self._people_version != self._store.pins_version:
            self._people, self._people_version = {}, self._store.pins_version
        person = self._people.get(identity)
        if person is None:
            person = self._people[identity] = self._make_person(identity)
        return person

    def _make_person(self, identity: VerifiedIdentity) -> Person:
        known = self._pins.contradicted_by(identity.name, identity.account)
        verified = known is None and self._pins.is_verified(identity.name, identity.account)
        name, device_name = sanitize(identity.name), sanitize(identity.device_name)
        other = b"" if known is None else known.account
        return Person(name, identity.account, device_name, identity.device, verified, other)

    def members(self) -> dict[int, RosterMember]:
        """Return the members by leaf index."""
        return self._members

    def people(self) -> dict[int, Person]:
        """Return the members as people, by leaf index, this device included."""
        return {index: self.person(member) for index, member in self._members.items()}

    def account(self, leaf: int | None = None) -> bytes:
        """Return the account of the member at a leaf, or this device's own."""
        return self._members[self._record.own_leaf if leaf is None else leaf].account

    @cached_property
    def accounts(self) -> frozenset[bytes]:
        """The accounts of all members."""
        return frozenset(member.account for member in self._members.values())

    def find(self, device: bytes) -> Person | None:
        """Return the member with this device, or None."""
        member = self._by_device.get(device)
        return None if member is None else self.person(member)

    @property
    def own_device(self) -> bytes:
        """This device's key."""
        return self._members[self._record.own_leaf].signature_key

    def has(self, device: bytes) -> bool:
        """Return whether the device with this key is a member."""
        return device in self._by_device

    def is_up_to_date(self, device: bytes) -> bool:
        """Return whether a member's device lists all that this version does."""
        member = self._by_device[device]
        return member.is_current and member.has_links

    @cached_property
    def is_current(self) -> bool:
        """Whether the devices of all members know that an account needs no role for its own devices."""
        return all(member.has_links for member in self._members.values())

    @cached_property
    def names(self) -> dict[bytes, str]:
        """The members' names by account."""
        return {member.account: sanitize(member.name) for member in self._members.values()}

    @cached_property
    def outdated(self) -> tuple[str, ...]:
        """The names of the members that read only the former content format, sorted."""
        return tuple(sorted({sanitize(each.name) for each in self._members.values() if not each.is_current}))

    @cached_property
    def without_links(self) -> tuple[str, ...]:
        """The names of the members that know neither links nor pinned messages, sorted."""
        return tuple(sorted({sanitize(each.name) for each in self._members.values() if not each.has_links}))

    def missing_in(self, other: Roster) -> list[RosterMember]:
        """Return the members whose devices are not in another roster."""
        return [member for device, member in self._by_device.items() if not other.has(device)]

    def devices(self) -> list[bytes]:
        """Return the devices of all members, in leaf order."""
        return list(self._by_device)

    def others(self, account: bytes, without: Collection[bytes] = ()) -> list[bytes]:
        """Return the devices of accounts other than `account`, except those in `without`, in leaf order."""
        return [
            device
            for device, member in self._by_device.items()
            if device not in without and member.account != account
        ]

    @property
    def has_sibling_devices(self) -> bool:
        """Whether this device's account has another device in the group."""
        own = self.account()
        return sum(member.account == own for member in self._members.values()) > 1

    def remember(self, members: Iterable[RosterMember]) -> None:
        """Store the accounts of `members`, and who welcomed this device. The caller opens the transaction."""
        for member in members:
            self._store.add_account(member.account, member.name)
        room, welcomed_by = self._room, self._welcomed_by
        if welcomed_by is not None and self._store.part(room, _INVITER) is None:
            self._store.put_part(room, _INVITER, welcomed_by.to_bytes(4, "big"))

    def inviter(self) -> Person | None:
        """Return who welcomed this device, or None in a room that an earlier version stored."""
        member = self.inviting_member()
        return None if member is None else self.person(member)

    def inviting_member(self) -> RosterMember | None:
        """Return the member that welcomed this device, or None, without reading the store of names."""
        leaf = self._store.part(self._room, _INVITER)
        return None if leaf is None else self._members.get(int.from_bytes(leaf, "big"))

    def name_differences(self, registered: Iterable[tuple[bytes, str]]) -> dict[str, str]:
        """Return the names of members that are registered at the relay by another name, with that name.

        `registered` are the relay's (device, name).
        """
        names = ((self._by_device[device], name) for device, name in registered if device in self._by_device)
        return {sanitize(member.name): sanitize(name) for member, name in names if member.name != name}

    def leavers(self) -> set[int]:
        """Return the leaves of others that have proposed their own removal."""
        return set(self._record.leavers)

    def own_rank(self, online: Collection[bytes], among: Collection[bytes] | None = None) -> int:
        """Return how many online members precede this device, by leaf, in doing what one member has to do.

        `online` are the devices the relay says are connected; a false answer only costs time. `among` are the
        devices that can do it, None for all.
        """
        leavers, own = self.leavers(), self._record.own_leaf
        before = (
            member
            for index, member in self._members.items()
            if index < own and index not in leavers and (among is None or member.signature_key in among)
        )
        return sum(member.signature_key in online for member in before)

    def routing_differences(self, routed: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the devices missing among those the relay routes to, and those that are no members."""
        leavers = self.leavers()
        agreed = {member.signature_key for index, member in self._members.items() if index not in leavers}
        return sorted(agreed.difference(routed)), sorted(set(routed).difference(agreed))
