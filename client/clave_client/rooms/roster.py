"""Who is in a room, from the group's leaves to people. Knows the group and the store; sends nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

from clave_client.events import Person
from clave_client.rooms.policy import member_identity
from clave_client.store.database import Store
from clave_client.store.pins import Pins
from clave_crypto.identity import VerifiedIdentity
from clave_crypto.mls import Application, Group, Member, MemberSender, Remove
from clave_wire.text import sanitize

__all__ = ["Roster"]

_INVITER = "inviter"
"""The part of a room's stored state that is the leaf which signed the welcome; it goes with the group."""


class Roster:
    """The members of one group in one epoch as people."""

    def __init__(self, group: Group, store: Store) -> None:
        self._group = group
        self._store = store
        self._pins = Pins(store)
        self._members = {member.leaf_index: member for member in group.members()}
        self._by_device = {member.signature_key: member for member in self._members.values()}

    def person(self, member: Member | Application) -> Person:
        """Return who a member, or the sender of a message, is."""
        return self.person_of(member_identity(member))

    def person_of(self, identity: VerifiedIdentity) -> Person:
        """Return who a device belongs to, as this profile knows its account."""
        known = self._pins.contradicted_by(identity.name, identity.account)
        verified = known is None and self._pins.is_verified(identity.name, identity.account)
        name, device_name = sanitize(identity.name), sanitize(identity.device_name)
        other = b"" if known is None else known.account
        return Person(name, identity.account, device_name, identity.device, verified, other)

    def members(self) -> dict[int, Member]:
        """Return the members by leaf index."""
        return self._members

    def people(self) -> dict[int, Person]:
        """Return the members as people, by leaf index, this device included."""
        return {index: self.person(member) for index, member in self._members.items()}

    def account(self, leaf: int | None = None) -> bytes:
        """Return the account of the member at a leaf, or this device's own."""
        return member_identity(self._members[self._group.own_leaf if leaf is None else leaf]).account

    @cached_property
    def accounts(self) -> frozenset[bytes]:
        """The accounts of all members."""
        return frozenset(member_identity(member).account for member in self._members.values())

    def find(self, device: bytes) -> Person | None:
        """Return whose device this is, None if it is no member's."""
        member = self._by_device.get(device)
        return None if member is None else self.person(member)

    @property
    def own_device(self) -> bytes:
        """This device's key."""
        return self._members[self._group.own_leaf].signature_key

    def has(self, device: bytes) -> bool:
        """Return whether the device with this key is a member."""
        return device in self._by_device

    def missing_in(self, other: Roster) -> list[Member]:
        """Return the members whose devices are not in another roster."""
        return [member for device, member in self._by_device.items() if not other.has(device)]

    def devices(self) -> list[bytes]:
        """Return the devices of all members, in the order of their leaves."""
        return list(self._by_device)

    def others(self, account: bytes, without: Collection[bytes] = ()) -> list[bytes]:
        """Return the devices of all other accounts but those of `without`, in the order of their leaves."""
        return [
            device
            for device, member in self._by_device.items()
            if device not in without and member_identity(member).account != account
        ]

    @property
    def has_sibling_devices(self) -> bool:
        """Whether this device's account has another device here."""
        own = self.account()
        return sum(member_identity(member).account == own for member in self._members.values()) > 1

    def remember(self, members: Sequence[Member]) -> None:
        """Remember the accounts of `members`, and who welcomed this device; a transaction is the caller's."""
        for member in members:
            identity = member_identity(member)
            self._store.add_account(identity.account, identity.name)
        room, welcomed_by = self._group.group_id, self._group.welcomed_by
        if welcomed_by is not None and self._store.part(room, _INVITER) is None:
            self._store.put_part(room, _INVITER, welcomed_by.to_bytes(4, "big"))

    def inviter(self) -> Person | None:
        """Return who welcomed this device, as long as the invitation is not answered.

        None when that is not known, of a room that an earlier version of this program stored.
        """
        member = self.inviting_member()
        return None if member is None else self.person(member)

    def inviting_member(self) -> Member | None:
        """Return who welcomed this device, as `inviter` does, without looking anybody up."""
        leaf = self._store.part(self._group.group_id, _INVITER)
        return None if leaf is None else self._members.get(int.from_bytes(leaf, "big"))

    def name_differences(self, registered: Iterable[tuple[bytes, str]]) -> dict[str, str]:
        """Return the members that go by another name at the relay, and by which one."""
        names = ((self._by_device[device], name) for device, name in registered if device in self._by_device)
        return {
            sanitize(member_identity(member).name): sanitize(name)
            for member, name in names
            if member_identity(member).name != name
        }

    def leavers(self) -> set[int]:
        """Return the leaves of others that have proposed their own removal.

        This device's own leaving is in the log only when it is over.
        """
        proposals, own = self._group.pending_proposals, self._group.own_leaf
        return {
            p.removed
            for _, sender, p in proposals
            if isinstance(p, Remove) and MemberSender(p.removed) == sender and p.removed != own
        }

    def own_rank(self, online: Collection[bytes], among: Collection[bytes] | None = None) -> int:
        """Return this device's place in the order in which members step up to do what one of them has to.

        `online` are the devices the relay says are there, a lie costs time and nothing else. `among` are
        those that can do it: all of them, or so many.
        """
        leavers, own = self.leavers(), self._group.own_leaf
        before = (
            member
            for index, member in self._members.items()
            if index < own and index not in leavers and (among is None or member.signature_key in among)
        )
        return sum(member.signature_key in online for member in before)

    def routing_differences(self, routed: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the devices the relay should route to but does not, and those it should not but does."""
        leavers = self.leavers()
        agreed = {member.signature_key for index, member in self._members.items() if index not in leavers}
        return sorted(agreed.difference(routed)), sorted(set(routed).difference(agreed))
