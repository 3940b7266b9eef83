"""A change of a room's agreed state, as what is to be different: it can be made again on another state."""

from __future__ import annotations

import msgspec

from clave_client.formats.agreed_state import POLICIES, AgreedState, Role
from clave_client.formats.room_link import RoomLink

__all__ = ["StateChange"]


class StateChange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is to be different: an empty `title`, a `topic` of None and a negative `expiry` mean no change.

    `roles` are by account, `policies` by their names; `banned` and `unbanned` are accounts. `links` are new
    ones, `ended` the keys of links. `pinned` and `unpinned` are ids of messages.
    """

    title: str = ""
    topic: str | None = None
    expiry: int = -1
    roles: dict[bytes, Role] = {}
    policies: dict[str, Role] = {}
    banned: list[bytes] = []
    unbanned: list[bytes] = []
    links: list[RoomLink] = []
    ended: list[bytes] = []
    pinned: list[bytes] = []
    unpinned: list[bytes] = []

    @classmethod
    def between(cls, before: AgreedState, after: AgreedState) -> StateChange:
        """Return what makes `after` of `before`."""
        before = before if after.is_former else before.upgraded()
        listed = {*before.owners, *before.admins, *before.guests, *after.owners, *after.admins, *after.guests}
        return cls(
            "" if after.title == before.title else after.title,
            None if after.topic == before.topic else after.topic,
            -1 if after.expiry == before.expiry else after.expiry,
            {
                each: after.role_of(each)
                for each in sorted(listed)
                if after.role_of(each) is not before.role_of(each)
            },
            {
                name: getattr(after, name)
                for name in POLICIES
                if getattr(after, name) != getattr(before, name)
            },
            [each for each in after.banned if each not in before.banned],
            [each for each in before.banned if each not in after.banned],
            [each for each in after.links if each not in before.links],
            [each.key for each in before.links if after.find_link(each.key) is None],
            [each for each in after.pinned if each not in before.pinned],
            [each for each in before.pinned if each not in after.pinned],
        )

    def __bool__(self) -> bool:
        return self != StateChange()

    @property
    def needs_current(self) -> bool:
        """Whether members of earlier versions would not understand it."""
        return self != StateChange(self.title)

    def apply(self, state: AgreedState) -> AgreedState:
        """Return the state with this change; it stays a former one if that can say it."""
        if self.needs_current:
            state = state.upgraded()
        for account, role in self.roles.items():
            state = state.with_role(account, role)
        links = {each.key: each for each in state.links if each.key not in self.ended}
        links |= {each.key: each for each in self.links}
        return msgspec.structs.replace(
            state,
            title=self.title or state.title,
            topic=state.topic if self.topic is None else self.topic,
            expiry=state.expiry if self.expiry < 0 else self.expiry,
            banned=sorted({*state.banned, *self.banned}.difference(self.unbanned)),
            links=[links[key] for key in sorted(links)],
            pinned=sorted({*state.pinned, *self.pinned}.difference(self.unpinned)),
            **self.policies,
        )
