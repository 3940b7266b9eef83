"""What a program may know of a room: a member, and a summary of members and encryption. Knows no screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from clave_client.events import Person
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.suites import is_post_quantum
from clave_client.store.database import Phase
from clave_crypto.mls import CipherSuite

__all__ = ["MemberInfo", "RoomInfo"]


class MemberInfo(NamedTuple):
    """A member's device; `is_online` is what the relay says."""

    person: Person
    is_admin: bool
    is_online: bool


@dataclass(frozen=True)
class RoomInfo:
    """A summary of a room as this device knows it.

    `people`, `devices` and `unverified` are counts; `epoch` is the MLS epoch number.
    """

    id: bytes
    title: str
    phase: Phase
    epoch: int
    people: int
    devices: int
    unverified: int
    admin: bool
    suite: CipherSuite

    @classmethod
    def of(cls, room: LocalRoom, account: bytes) -> RoomInfo:
        """Return the summary of a room for the member `account`."""
        devices = room.roster.people().values()
        verified = {person.account: person.verified for person in devices}
        verified[account] = True
        return cls(
            room.id,
            room.record.title,
            room.record.phase,
            room.group.epoch,
            len(verified),
            len(devices),
            sum(not compared for compared in verified.values()),
            account in room.state.admins,
            room.group.suite,
        )

    @property
    def post_quantum(self) -> bool:
        """Whether traffic recorded today withstands a future quantum computer."""
        return is_post_quantum(self.suite)

    def lines(self) -> list[str]:
        """Return the lines to show."""
        unverified = f", {self.unverified} unverified" if self.unverified else ""
        standing = {Phase.INVITED: "you are invited", Phase.LEAVING: "you are leaving"}
        member = "you are an admin" if self.admin else "you are a member"
        lines = [
            f"{self.title}  {self.id.hex()[:8]}",
            f"people: {self.people}{unverified}; devices: {self.devices}; {standing.get(self.phase, member)}",
            f"encryption: {self.suite.words}",
            f"cipher suite: {self.suite.name}, epoch {self.epoch}",
        ]
        if not self.post_quantum:
            lines.append(
                "not post-quantum: recorded traffic would not withstand a future quantum computer;"
                " only a new room changes that"
            )
        return lines
